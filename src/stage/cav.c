/* cfn cav: one concept activation vector per alive neuron of the sparse
 * autoencoder. Neurons are shared out over the ranks; the codes pass by once
 * per pass of neurons that fits in memory, and examples are fetched from the
 * ranks that hold their rows, block by block. Method: docs/methods/cav.md. */
#include <math.h>
#include <string.h>

#include "concept/cav.h"
#include "concept/cav_examples.h"
#include "concept/svm.h"
#include "image/corpus.h"
#include "math/vec.h"
#include "stage/features.h"
#include "stage/stage.h"

enum { CODES_PER_READ = 1 << 20, MOST_NEURONS_PER_BLOCK = 64 };
static const int64_t BUDGET_BYTES = INT64_C(256) << 20; /* for a pass of neurons, and for a block of fits */

struct task {
    struct job *job;
    struct features *features;
    struct store *codes; /* sae.h5 */
    struct cav_spec spec;
    int64_t neurons;   /* K */
    int64_t *indptr;   /* [N + 1] of the codes */
    int64_t *train;    /* [train_rows] global rows */
    int64_t *position; /* [N] position in train, or -1 */
    int64_t train_rows;
    int32_t *alive; /* [alive_count] neurons that fire */
    int64_t alive_count;
    struct span mine; /* of alive */
    /* Vectors of this rank, in the order of neurons. */
    int64_t done, kept, few, degenerate;
    float *cav; /* [mine.count x D] */
    float *bias, *accuracy, *pvalue;
    int32_t *neuron;
};

static void find_training_rows(struct task *t)
{
    const struct features *f = t->features;
    t->train = arena_array(t->job->run, int64_t, f->rows);
    t->position = arena_array(t->job->run, int64_t, f->rows);
    for (int64_t row = 0; row < f->rows; row++) {
        t->position[row] = f->split[row] == SPLIT_TRAIN ? t->train_rows : -1;
        if (f->split[row] == SPLIT_TRAIN)
            t->train[t->train_rows++] = row;
    }
    agree(t->job->world, t->train_rows >= 2 * CAV_MIN_EXAMPLES, EXIT_BAD_DATA,
          "cav: %lld training rows, at least %d needed\nthe split is decided by `cfn pack`", (long long)t->train_rows,
          2 * CAV_MIN_EXAMPLES);
}

static void open_codes(struct task *t)
{
    struct job *job = t->job;
    t->codes = job_open(job, "sae.h5", "sae");
    t->neurons = store_rows(t->codes, "/decoder");
    store_expect(t->codes, "/decoder", STORE_F32, 2, (int64_t[]){ -1, t->features->dim });
    store_expect(t->codes, "/fire_rate", STORE_F32, 1, &t->neurons);
    store_expect(t->codes, "/codes/indptr", STORE_I64, 1, (int64_t[]){ t->features->rows + 1 });
    t->indptr = arena_array(job->run, int64_t, t->features->rows + 1);
    store_read_all(t->codes, "/codes/indptr", t->indptr);
    int64_t entries = t->indptr[t->features->rows];
    store_expect(t->codes, "/codes/index", STORE_I32, 1, &entries);
    store_expect(t->codes, "/codes/value", STORE_F32, 1, &entries);
    bool ordered = t->indptr[0] == 0;
    for (int64_t row = 0; row < t->features->rows; row++)
        ordered = ordered && t->indptr[row] <= t->indptr[row + 1];
    agree(job->world, ordered, EXIT_BAD_DATA,
          "%s: /codes/indptr does not ascend from 0\nthe file is damaged: cfn sae --force", store_path(t->codes));
}

static void find_alive(struct task *t)
{
    struct job *job = t->job;
    float *rate = arena_array(job->run, float, t->neurons);
    store_read_all(t->codes, "/fire_rate", rate);
    t->alive = arena_array(job->run, int32_t, t->neurons);
    for (int64_t k = 0; k < t->neurons; k++)
        if (rate[k] > 0)
            t->alive[t->alive_count++] = (int32_t)k;
    t->mine = shard_rows(t->alive_count, job->world->size, job->world->rank);
    t->cav = arena_take_raw(job->run, (size_t)t->mine.count * (size_t)t->spec.dim, sizeof(float));
    t->bias = arena_array(job->run, float, t->mine.count);
    t->accuracy = arena_array(job->run, float, t->mine.count);
    t->pvalue = arena_array(job->run, float, t->mine.count);
    t->neuron = arena_array(job->run, int32_t, t->mine.count);
}

/* A block of whole rows of the codes. */
struct code_block {
    int64_t row, rows; /* first row and count */
    int32_t *index;
    float *value;
};

/* The rows after `row` that fit in one read; the same on every rank. */
static struct code_block block_at(const struct task *t, int64_t row)
{
    struct code_block block = { .row = row };
    while (row + block.rows < t->features->rows &&
           (block.rows == 0 || t->indptr[row + block.rows + 1] - t->indptr[row] <= CODES_PER_READ))
        block.rows++;
    return block;
}

static int64_t entries_of(const struct task *t, const struct code_block *block)
{
    return t->indptr[block->row + block->rows] - t->indptr[block->row];
}

static void read_block(struct task *t, const struct code_block *block)
{
    int64_t entries = entries_of(t, block);
    store_read_range(t->codes, "/codes/index", t->indptr[block->row], entries, block->index);
    store_read_range(t->codes, "/codes/value", t->indptr[block->row], entries, block->value);
    for (int64_t i = 0; i < entries; i++)
        require(block->index[i] >= 0 && block->index[i] < t->neurons, EXIT_BAD_DATA,
                "%s: /codes/index holds neuron %d, expected 0 to %lld\nthe file is damaged: cfn sae --force",
                store_path(t->codes), block->index[i], (long long)t->neurons - 1);
}

static void collect_block(const struct task *t, const struct code_block *block, struct cav_collector *collector)
{
    int64_t base = t->indptr[block->row];
    for (int64_t row = block->row; row < block->row + block->rows; row++) {
        int64_t at = t->indptr[row] - base;
        if (t->position[row] >= 0)
            cav_collect(collector, t->position[row], block->index + at, block->value + at,
                        t->indptr[row + 1] - t->indptr[row]);
    }
}

/* All codes past all collectors: each rank reads one block a round, then the blocks of the round go round. */
static void collect_codes(struct task *t, struct cav_collector *collector)
{
    struct world *world = t->job->world;
    struct arena *scratch = t->job->scratch;
    struct arena_mark mark = arena_mark(scratch);
    int64_t room = CODES_PER_READ > t->neurons ? CODES_PER_READ : t->neurons;
    struct code_block own = { .index = arena_take_raw(scratch, (size_t)room, 4),
                              .value = arena_take_raw(scratch, (size_t)room, 4) };
    struct code_block other = { .index = arena_take_raw(scratch, (size_t)room, 4),
                                .value = arena_take_raw(scratch, (size_t)room, 4) };
    struct code_block *round = arena_array(scratch, struct code_block, world->size);
    for (int64_t row = 0; row < t->features->rows;) {
        int blocks = 0;
        for (; blocks < world->size && row < t->features->rows; row += round[blocks++].rows) {
            round[blocks] = block_at(t, row);
            round[blocks].index = blocks == world->rank ? own.index : other.index;
            round[blocks].value = blocks == world->rank ? own.value : other.value;
        }
        enum phase before = phase_enter(PHASE_READ);
        if (world->rank < blocks)
            read_block(t, &round[world->rank]);
        for (int b = 0; b < blocks; b++) {
            phase_enter(PHASE_COMM);
            size_t entries = (size_t)entries_of(t, &round[b]);
            world_broadcast(world, round[b].index, entries * sizeof(int32_t), b);
            world_broadcast(world, round[b].value, entries * sizeof(float), b);
            phase_enter(PHASE_COMPUTE);
            collect_block(t, &round[b], collector);
        }
        phase_enter(before);
    }
    arena_release(scratch, mark);
}

/* Fits that are prepared and run together. */
struct fits {
    int room;                /* neurons of a block */
    const float *directions; /* [R x D] */
    struct cav_work **work;  /* [room] */
    int64_t *rows;           /* [room x examples] wanted, one neuron after another */
    float *x;                /* [room x examples x D] */
    int *positives, *negatives;
    int64_t *first; /* [room] of the neuron's examples in x */
    float *cav;     /* [room x D] */
    struct cav_score *score;
    bool *found;
};

static int examples(const struct cav_spec *spec)
{
    return spec->positives + spec->negatives;
}

static struct fits *fits_create(struct task *t)
{
    struct arena *run = t->job->run;
    int64_t n = examples(&t->spec), dim = t->spec.dim;
    int64_t room = BUDGET_BYTES / (cav_work_bytes(&t->spec) + n * dim * (int64_t)sizeof(float));
    struct fits *f = arena_array(run, struct fits, 1);
    f->room = room < 1 ? 1 : room > MOST_NEURONS_PER_BLOCK ? MOST_NEURONS_PER_BLOCK : (int)room;
    float *directions = arena_array(run, float, t->spec.random *dim);
    cav_random_directions(directions, t->spec.random, t->spec.dim, t->spec.seed);
    f->directions = directions;
    f->work = arena_array(run, struct cav_work *, f->room);
    for (int b = 0; b < f->room; b++)
        f->work[b] = cav_work_create(run, &t->spec);
    f->rows = arena_array(run, int64_t, f->room * n);
    f->x = arena_take_raw(run, (size_t)(f->room * n * dim), sizeof(float));
    f->positives = arena_array(run, int, f->room);
    f->negatives = arena_array(run, int, f->room);
    f->first = arena_array(run, int64_t, f->room);
    f->cav = arena_array(run, float, f->room *dim);
    f->score = arena_array(run, struct cav_score, f->room);
    f->found = arena_array(run, bool, f->room);
    return f;
}

/* Examples of `count` neurons from slot `slot` on: chosen, then fetched. Collective. */
static void fetch_examples(struct task *t, struct fits *f, struct cav_collector *collector, int64_t slot, int count)
{
    int64_t total = 0;
    for (int b = 0; b < count; b++) {
        int64_t *rows = f->rows + total;
        f->first[b] = total;
        f->positives[b] = cav_positives(collector, slot + b, rows);
        f->negatives[b] = cav_negatives(collector, slot + b, rows + f->positives[b], t->spec.negatives, t->spec.seed);
        if (f->positives[b] < CAV_MIN_EXAMPLES || f->negatives[b] < CAV_MIN_EXAMPLES)
            f->positives[b] = f->negatives[b] = 0;
        total += f->positives[b] + f->negatives[b];
    }
    for (int64_t i = 0; i < total; i++)
        f->rows[i] = t->train[f->rows[i]];
    enum phase before = phase_enter(PHASE_COMM);
    world_fetch_rows(t->job->world, f->x, f->rows, total, t->features->x, t->features->mine.first,
                     t->features->mine.count, (size_t)t->spec.dim * sizeof(float));
    phase_enter(before);
}

static void fit_block(struct task *t, struct fits *f, const int32_t *neurons, int count)
{
    int dim = t->spec.dim;
#pragma omp parallel for schedule(dynamic)
    for (int b = 0; b < count; b++)
        if (f->positives[b] > 0)
            f->found[b] = cav_fit(f->cav + (int64_t)b * dim, &f->score[b], f->x + f->first[b] * dim, f->positives[b],
                                  f->negatives[b], f->directions, neurons[b], &t->spec, f->work[b]);
    for (int b = 0; b < count; b++) {
        t->few += f->positives[b] == 0;
        t->degenerate += f->positives[b] > 0 && !f->found[b];
        if (f->positives[b] == 0 || !f->found[b])
            continue;
        memcpy(t->cav + t->kept * dim, f->cav + (int64_t)b * dim, (size_t)dim * sizeof(float));
        t->bias[t->kept] = f->score[b].bias;
        t->accuracy[t->kept] = f->score[b].accuracy;
        t->pvalue[t->kept] = f->score[b].pvalue;
        t->neuron[t->kept++] = neurons[b];
    }
    t->done += count;
    /* Rank 0 speaks for all: every rank has as many neurons, within one. */
    double share = t->mine.count > 0 ? (double)t->done / (double)t->mine.count : 1;
    progress("cav", "vectors", share * (double)t->alive_count, (double)t->alive_count, "neuron");
}

/* The largest of a number over all ranks. */
static int64_t most(const struct world *world, int64_t value)
{
    double v = (double)value;
    world_max_f64(world, &v, 1);
    return (int64_t)v;
}

/* Neurons first..first+count-1 of this rank: their examples, then their fits. Collective, also with none. */
static void run_pass(struct task *t, struct fits *f, int64_t first, int64_t count)
{
    struct arena_mark mark = arena_mark(t->job->scratch);
    const int32_t *neurons = t->alive + t->mine.first + first;
    struct cav_collector *collector =
        cav_collector_create(t->job->scratch, neurons, count, t->neurons, t->train_rows, t->spec.positives);
    collect_codes(t, collector);
    int64_t longest = most(t->job->world, count);
    for (int64_t at = 0; at < longest; at += f->room) {
        int64_t left = count > at ? count - at : 0;
        int block = left < f->room ? (int)left : f->room;
        fetch_examples(t, f, collector, at, block);
        fit_block(t, f, neurons + at, block);
    }
    arena_release(t->job->scratch, mark);
}

static void fit_all(struct task *t)
{
    struct fits *f = fits_create(t);
    int64_t room = BUDGET_BYTES / cav_collector_bytes(t->train_rows, t->spec.positives);
    room = room < 1 ? 1 : room;
    int64_t longest = most(t->job->world, t->mine.count);
    for (int64_t first = 0; first < longest; first += room) {
        int64_t left = t->mine.count > first ? t->mine.count - first : 0;
        run_pass(t, f, first, left < room ? left : room);
    }
    progress_end();
}

static const struct layout LAYOUT[] = {
    { "/cav", STORE_F32, "A,D", "1", "concept activation vectors, unit rows", NULL, false },
    { "/bias", STORE_F32, "A", "1", "decision is <cav, x> + bias; > 0 on the activating side", NULL, false },
    { "/neuron", STORE_I32, "A", "index", "row of sae.h5:/decoder the vector stands for", NULL, false },
    { "/accuracy", STORE_F32, "A", "share", "right answers on held-out examples, mean of both classes", NULL, false },
    { "/pvalue", STORE_F32, "A", "probability", "of a random direction being as accurate", NULL, false },
};

/* Totals over all ranks, and where this rank's vectors go. */
struct totals {
    int64_t kept, few, degenerate, first;
};

static struct totals add_up(const struct task *t)
{
    struct world *world = t->job->world;
    int64_t sums[3] = { t->kept, t->few, t->degenerate };
    int64_t *kept = arena_array(t->job->run, int64_t, world->size);
    world_allgather_rows(world, kept, &t->kept, 1, sizeof *kept);
    world_sum_i64(world, sums, 3);
    struct totals totals = { sums[0], sums[1], sums[2], 0 };
    for (int r = 0; r < world->rank; r++)
        totals.first += kept[r];
    return totals;
}

static void write_vectors(struct task *t, const struct totals *totals)
{
    struct job *job = t->job;
    const struct extent sizes[] = { { "A", totals->kept }, { "D", t->spec.dim } };
    enum phase before = phase_enter(PHASE_WRITE);
    struct store *out = job_create(job, "cav.h5", LAYOUT, sizeof LAYOUT / sizeof *LAYOUT, sizes, 2);
    store_write_rows(out, "/cav", totals->first, t->kept, t->cav);
    store_write_rows(out, "/bias", totals->first, t->kept, t->bias);
    store_write_rows(out, "/neuron", totals->first, t->kept, t->neuron);
    store_write_rows(out, "/accuracy", totals->first, t->kept, t->accuracy);
    store_write_rows(out, "/pvalue", totals->first, t->kept, t->pvalue);
    store_set_i64(out, "/", "left_out_few_examples", totals->few);
    store_set_i64(out, "/", "left_out_no_direction", totals->degenerate);
    store_set_i64(out, "/", "min_examples", CAV_MIN_EXAMPLES);
    job_publish(job, out, "cav", (const char *const[]){ "embeddings.h5", "sae.h5" }, 2);
    phase_enter(before);
}

static void summarise(const struct task *t, const struct totals *totals)
{
    struct job *job = t->job;
    float *accuracy = arena_array(job->run, float, totals->kept), *pvalue = arena_array(job->run, float, totals->kept);
    world_allgather_rows(job->world, accuracy, t->accuracy, t->kept, sizeof *accuracy);
    world_allgather_rows(job->world, pvalue, t->pvalue, t->kept, sizeof *pvalue);
    double *sorted = arena_array(job->run, double, totals->kept);
    int64_t significant = 0;
    for (int64_t a = 0; a < totals->kept; a++) {
        sorted[a] = (double)accuracy[a];
        significant += pvalue[a] < 0.05f;
    }
    log_info("cav: %lld vectors from %lld alive neurons; held-out accuracy %.3f (median), %lld with p < 0.05",
             (long long)totals->kept, (long long)t->alive_count, vec_median(sorted, totals->kept),
             (long long)significant);
    if (totals->few > 0)
        log_info("cav: %lld neurons left out: fewer than %d activating or silent training images",
                 (long long)totals->few, CAV_MIN_EXAMPLES);
    if (totals->degenerate > 0)
        log_info("cav: %lld neurons left out: their examples have no separating direction",
                 (long long)totals->degenerate);
}

/* No more examples than there are training rows. */
static struct cav_spec spec_of(const struct job *job, int dim, int64_t train_rows)
{
    const struct cav_config *config = &job->config->cav;
    return (struct cav_spec){ .dim = dim,
                              .positives = config->positives < train_rows ? config->positives : (int)train_rows,
                              .negatives = config->negatives < train_rows ? config->negatives : (int)train_rows,
                              .c = config->c,
                              .tolerance = 1e-3, /* as scikit-learn's SVC */
                              .holdout = config->holdout,
                              .random = config->random,
                              .seed = job_seed(job) };
}

static void plan(const struct task *t)
{
    log_info("cav: %lld alive of %lld neurons, %lld training rows of %d, up to %d + %d examples each",
             (long long)t->alive_count, (long long)t->neurons, (long long)t->train_rows, t->spec.dim, t->spec.positives,
             t->spec.negatives);
}

int stage_cav(struct job *job)
{
    if (!job->dry_run && !job_may_write(job, "cav.h5"))
        return EXIT_DONE;
    phase_start("cav");
    struct task task = { .job = job };
    phase_enter(PHASE_READ);
    task.features = features_load(job);
    find_training_rows(&task);
    task.spec = spec_of(job, task.features->dim, task.train_rows);
    open_codes(&task);
    find_alive(&task);
    phase_enter(PHASE_COMPUTE);
    plan(&task);
    if (job->dry_run) {
        log_info("cav: would write %s", job_path(job, "cav.h5"));
        return EXIT_DONE;
    }

    svm_start();
    fit_all(&task);
    store_close(task.codes);
    struct totals totals = add_up(&task);
    agree(
        job->world, totals.kept > 0, EXIT_BAD_DATA,
        "cav: no neuron has %d activating and %d silent training images\ntrain the autoencoder longer, or with another "
        "sae.l1",
        CAV_MIN_EXAMPLES, CAV_MIN_EXAMPLES);
    phase_count("vectors", (double)task.kept);
    write_vectors(&task, &totals);
    summarise(&task, &totals);
    return job_done(job);
}
