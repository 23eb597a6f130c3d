/* cfn cav: one concept activation vector per alive neuron of the sparse
 * autoencoder. Neurons are dealt to the ranks by cost; the codes pass by once
 * per pass of neurons that fits in memory, and examples are fetched from the
 * ranks that hold their rows, block by block. Method: docs/methods/cav.md. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/timer.h"
#include "concept/cav.h"
#include "concept/cav_deal.h"
#include "concept/cav_examples.h"
#include "concept/svm.h"
#include "dist/deadline.h"
#include "image/corpus.h"
#include "math/vec.h"
#include "stage/cav_codes.h"
#include "stage/features.h"
#include "stage/stage.h"
#include "store/checkpoint.h"

enum { MOST_NEURONS_PER_BLOCK = 64 };
static const int64_t BUDGET_BYTES = INT64_C(256) << 20; /* for a pass of neurons, and for a block of fits */

/* What became of a neuron. */
enum state { PENDING, KEPT, FEW_EXAMPLES, NO_DIRECTION };

struct task {
    struct job *job;
    struct features *features;
    struct cav_codes *codes;
    struct cav_spec spec;
    int64_t *train;    /* [train_rows] global rows */
    int64_t *position; /* [N] position in train, or -1 */
    int64_t train_rows;
    int32_t *alive; /* [alive_count] neurons that fire, dealt: any block of them costs about as much as any other */
    int64_t alive_count;
    struct span mine; /* of alive */
    bool decoder;     /* vectors are rows of the dictionary */
    /* Of this rank's neurons, in their order. */
    uint8_t *state; /* [mine.count] enum state */
    float *cav;     /* [mine.count x D] */
    struct cav_score *score;
    int64_t done;
    const char *identity; /* of a checkpoint */
    double block_seconds; /* of the slowest block so far */
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

/* What a fit costs grows with the square of its examples. */
static void deal(struct task *t, const float *rate)
{
    struct arena_mark mark = arena_mark(t->job->scratch);
    double *cost = arena_array(t->job->scratch, double, t->alive_count);
    for (int64_t i = 0; i < t->alive_count; i++) {
        double fires = round((double)rate[t->alive[i]] * (double)t->train_rows);
        double silent = (double)t->train_rows - fires;
        bool few = fires < CAV_MIN_EXAMPLES || silent < CAV_MIN_EXAMPLES;
        cost[i] = few ? 0 : pow(fmin(fires, t->spec.positives) + fmin(silent, t->spec.negatives), 2);
    }
    cav_deal(t->alive, cost, t->alive_count, t->job->scratch);
    arena_release(t->job->scratch, mark);
}

static void find_alive(struct task *t)
{
    struct job *job = t->job;
    float *rate = arena_array(job->run, float, t->codes->neurons);
    store_read_all(t->codes->store, "/fire_rate", rate);
    t->alive = arena_array(job->run, int32_t, t->codes->neurons);
    for (int64_t k = 0; k < t->codes->neurons; k++)
        if (rate[k] > 0)
            t->alive[t->alive_count++] = (int32_t)k;
    deal(t, rate);
    t->mine = shard_rows(t->alive_count, job->world->size, job->world->rank);
    t->state = arena_array(job->run, uint8_t, t->mine.count);
    t->cav = arena_array(job->run, float, t->mine.count * t->spec.dim);
    t->score = arena_array(job->run, struct cav_score, t->mine.count);
}

static const char *identity_of(struct job *job)
{
    static const char *const keys[] = { "seed",       "trial", "cav.source",  "cav.positives", "cav.negatives",
                                        "cav.method", "cav.c", "cav.holdout", "cav.random" };
    struct text id = text_new(job->run);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        text_add(&id, "%s=%s\n", keys[i], config_value(job->run, job->config, keys[i]));
    text_add(&id, "order=dealt\n");
    text_add(&id, "embeddings=%s\n", store_checksum(job->world, job->run, job_path(job, "embeddings.h5")));
    text_add(&id, "sae=%s\n", store_checksum(job->world, job->run, job_path(job, "sae.h5")));
    return id.data;
}

/* The state of all neurons, in checkpoints: the same on every rank, whatever the number of ranks. */
struct whole {
    uint8_t *state;
    float *cav;
    struct cav_score *score;
    struct checkpoint_field fields[3];
};

static struct whole whole_take(const struct task *t)
{
    struct arena *scratch = t->job->scratch;
    int64_t n = t->alive_count;
    struct whole w = { .state = arena_array(scratch, uint8_t, n), .score = arena_array(scratch, struct cav_score, n) };
    w.cav = arena_array(scratch, float, n * t->spec.dim);
    w.fields[0] = (struct checkpoint_field){ "state", STORE_U8, w.state, n };
    w.fields[1] = (struct checkpoint_field){ "cav", STORE_F32, w.cav, n * t->spec.dim };
    w.fields[2] = (struct checkpoint_field){ "score", STORE_F32, w.score, n * (int64_t)(sizeof *w.score / 4) };
    return w;
}

static void save(struct task *t)
{
    struct world *world = t->job->world;
    struct arena_mark mark = arena_mark(t->job->scratch);
    struct whole w = whole_take(t);
    int64_t done = t->done;
    world_allgather_rows(world, w.state, t->state, t->mine.count, sizeof *t->state);
    world_allgather_rows(world, w.cav, t->cav, t->mine.count, (size_t)t->spec.dim * sizeof *t->cav);
    world_allgather_rows(world, w.score, t->score, t->mine.count, sizeof *t->score);
    world_sum_i64(world, &done, 1);
    checkpoint_save(world, job_path(t->job, "checkpoints"), "cav", done, t->identity, w.fields, 3);
    arena_release(t->job->scratch, mark);
}

static void resume(struct task *t)
{
    struct job *job = t->job;
    struct arena_mark mark = arena_mark(job->scratch);
    const char *dir = job_path(job, "checkpoints");
    if (job->force)
        checkpoint_clear(job->world, dir, "cav");
    struct whole w = whole_take(t);
    int64_t done = checkpoint_load(job->world, dir, "cav", t->identity, w.fields, 3);
    if (done >= 0) {
        size_t first = (size_t)t->mine.first, count = (size_t)t->mine.count, dim = (size_t)t->spec.dim;
        memcpy(t->state, w.state + first, count * sizeof *t->state);
        memcpy(t->cav, w.cav + first * dim, count * dim * sizeof *t->cav);
        memcpy(t->score, w.score + first, count * sizeof *t->score);
        log_info("cav: going on after %lld of %lld neurons", (long long)done, (long long)t->alive_count);
    }
    for (int64_t i = 0; i < t->mine.count; i++)
        t->done += t->state[i] != PENDING;
    arena_release(job->scratch, mark);
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
    bool *found;
};

static int examples(const struct cav_spec *spec)
{
    return spec->positives + spec->negatives;
}

static int block_room(const struct cav_spec *spec)
{
    int64_t one = cav_work_bytes(spec) + examples(spec) * (int64_t)spec->dim * (int64_t)sizeof(float);
    int64_t room = BUDGET_BYTES / one;
    return room < 1 ? 1 : room > MOST_NEURONS_PER_BLOCK ? MOST_NEURONS_PER_BLOCK : (int)room;
}

static struct fits *fits_create(struct task *t)
{
    struct arena *run = t->job->run;
    int64_t n = examples(&t->spec), dim = t->spec.dim;
    struct fits *f = arena_array(run, struct fits, 1);
    f->room = block_room(&t->spec);
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

/* Fits of `count` neurons, given by their numbers among this rank's. */
static void fit_block(struct task *t, struct fits *f, const int64_t *slots, int count)
{
    int dim = t->spec.dim;
    bool (*make)(float *, struct cav_score *, const float *, int, int, const float *, int32_t, const struct cav_spec *,
                 struct cav_work *) = t->decoder ? cav_rate : cav_fit;
#pragma omp parallel for schedule(dynamic)
    for (int b = 0; b < count; b++)
        if (f->positives[b] > 0)
            f->found[b] =
                make(t->cav + slots[b] * dim, &t->score[slots[b]], f->x + f->first[b] * dim, f->positives[b],
                     f->negatives[b], f->directions, t->alive[t->mine.first + slots[b]], &t->spec, f->work[b]);
    for (int b = 0; b < count; b++)
        t->state[slots[b]] = f->positives[b] == 0 ? FEW_EXAMPLES : f->found[b] ? KEPT : NO_DIRECTION;
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

/* Neurons slots[0..count-1] of this rank: their examples, then their fits. Returns false when the job has to end, with
 * a checkpoint written. Collective, also with none. */
static bool run_pass(struct task *t, struct fits *f, const int64_t *slots, int64_t count)
{
    struct job *job = t->job;
    struct arena_mark mark = arena_mark(job->scratch);
    int32_t *neurons = arena_array(job->scratch, int32_t, count);
    for (int64_t i = 0; i < count; i++)
        neurons[i] = t->alive[t->mine.first + slots[i]];
    struct cav_collector *collector =
        cav_collector_create(job->scratch, neurons, count, t->codes->neurons, t->train_rows, t->spec.positives);
    cav_codes_collect(job, t->codes, collector);
    int64_t longest = most(job->world, count);
    bool go = true;
    for (int64_t at = 0; at < longest && go; at += f->room) {
        double begin = timer_seconds();
        int64_t left = count > at ? count - at : 0;
        int block = left < f->room ? (int)left : f->room;
        fetch_examples(t, f, collector, at, block);
        fit_block(t, f, slots + at, block);
        t->block_seconds = fmax(timer_seconds() - begin, 0.9 * t->block_seconds);
        go = !deadline_reached(job->world, t->block_seconds, 10);
    }
    if (!go)
        save(t);
    arena_release(job->scratch, mark);
    return go;
}

/* Rows of the dictionary, where the fits will leave or rate them. */
static void read_decoder(struct task *t)
{
    struct job *job = t->job;
    struct arena_mark mark = arena_mark(job->scratch);
    enum phase before = phase_enter(PHASE_READ);
    int64_t *rows = arena_array(job->scratch, int64_t, t->mine.count), n = t->mine.count * t->spec.dim;
    for (int64_t i = 0; i < t->mine.count; i++)
        rows[i] = t->alive[t->mine.first + i];
    store_read_list(t->codes->store, "/decoder", rows, t->mine.count, t->cav);
    agree(job->world, vec_all_finite(t->cav, n), EXIT_BAD_DATA,
          "%s: a row of /decoder holds a value that is not finite\nRun cfn sae again.", store_path(t->codes->store));
    phase_enter(before);
    arena_release(job->scratch, mark);
}

static bool fit_all(struct task *t)
{
    struct fits *f = fits_create(t);
    int64_t *todo = arena_array(t->job->run, int64_t, t->mine.count), count = 0;
    for (int64_t slot = 0; slot < t->mine.count; slot++)
        if (t->state[slot] == PENDING)
            todo[count++] = slot;
    int64_t room = BUDGET_BYTES / cav_collector_bytes(t->train_rows, t->spec.positives);
    room = room < 1 ? 1 : room;
    int64_t longest = most(t->job->world, count);
    bool go = true;
    for (int64_t first = 0; first < longest && go; first += room) {
        int64_t left = count > first ? count - first : 0;
        go = run_pass(t, f, todo + (left > 0 ? first : 0), left < room ? left : room);
    }
    progress_end();
    return go;
}

static const struct layout LAYOUT[] = {
    { "/cav", STORE_F32, "A,D", "1", "concept activation vectors, unit rows", NULL, false },
    { "/bias", STORE_F32, "A", "1", "decision is <cav, x> + bias; > 0 on the activating side", NULL, false },
    { "/neuron", STORE_I32, "A", "index", "row of sae.h5:/decoder the vector stands for", NULL, false },
    { "/accuracy", STORE_F32, "A", "share", "right answers on held-out examples, mean of both classes", NULL, false },
    { "/pvalue", STORE_F32, "A", "probability", "of a random direction being as accurate", NULL, false },
};

/* Vectors first..first+count-1 of the file, in the order of the neurons, and totals over all ranks. */
struct kept {
    int64_t count, first, total, few, degenerate;
    int32_t *neuron;
    float *cav, *bias, *accuracy, *pvalue;
};

struct place {
    int32_t neuron;
    int64_t position; /* in alive */
};

static int by_neuron(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return (x->neuron > y->neuron) - (x->neuron < y->neuron);
}

/* Where each vector of the file is to be had, on every rank; the states of all neurons decide. */
static struct place *find_kept(const struct task *t, struct kept *k)
{
    uint8_t *state = arena_array(t->job->run, uint8_t, t->alive_count);
    struct place *place = arena_array(t->job->run, struct place, t->alive_count);
    world_allgather_rows(t->job->world, state, t->state, t->mine.count, sizeof *state);
    for (int64_t i = 0; i < t->alive_count; i++) {
        k->few += state[i] == FEW_EXAMPLES;
        k->degenerate += state[i] == NO_DIRECTION;
        if (state[i] == KEPT)
            place[k->total++] = (struct place){ t->alive[i], i };
    }
    qsort(place, (size_t)k->total, sizeof *place, by_neuron);
    return place;
}

static struct kept gather_kept(const struct task *t)
{
    struct job *job = t->job;
    struct kept k = { 0 };
    struct place *place = find_kept(t, &k);
    struct span span = shard_rows(k.total, job->world->size, job->world->rank);
    int64_t *rows = arena_array(job->run, int64_t, span.count);
    struct cav_score *score = arena_array(job->run, struct cav_score, span.count);
    k.first = span.first;
    k.count = span.count;
    k.neuron = arena_array(job->run, int32_t, span.count);
    k.cav = arena_array(job->run, float, span.count * t->spec.dim);
    k.bias = arena_array(job->run, float, span.count);
    k.accuracy = arena_array(job->run, float, span.count);
    k.pvalue = arena_array(job->run, float, span.count);
    for (int64_t i = 0; i < span.count; i++)
        rows[i] = place[span.first + i].position;
    enum phase before = phase_enter(PHASE_COMM);
    world_fetch_rows(job->world, k.cav, rows, span.count, t->cav, t->mine.first, t->mine.count,
                     (size_t)t->spec.dim * sizeof *t->cav);
    world_fetch_rows(job->world, score, rows, span.count, t->score, t->mine.first, t->mine.count, sizeof *score);
    phase_enter(before);
    for (int64_t i = 0; i < span.count; i++) {
        k.neuron[i] = place[span.first + i].neuron;
        k.bias[i] = score[i].bias;
        k.accuracy[i] = score[i].accuracy;
        k.pvalue[i] = score[i].pvalue;
    }
    return k;
}

static void write_vectors(struct task *t, const struct kept *k)
{
    struct job *job = t->job;
    const struct extent sizes[] = { { "A", k->total }, { "D", t->spec.dim } };
    enum phase before = phase_enter(PHASE_WRITE);
    struct store *out = job_create(job, "cav.h5", LAYOUT, sizeof LAYOUT / sizeof *LAYOUT, sizes, 2);
    store_write_rows(out, "/cav", k->first, k->count, k->cav);
    store_write_rows(out, "/bias", k->first, k->count, k->bias);
    store_write_rows(out, "/neuron", k->first, k->count, k->neuron);
    store_write_rows(out, "/accuracy", k->first, k->count, k->accuracy);
    store_write_rows(out, "/pvalue", k->first, k->count, k->pvalue);
    store_set_i64(out, "/", "left_out_few_examples", k->few);
    store_set_i64(out, "/", "left_out_no_direction", k->degenerate);
    store_set_i64(out, "/", "min_examples", CAV_MIN_EXAMPLES);
    job_publish(job, out, "cav", (const char *const[]){ "embeddings.h5", "sae.h5" }, 2);
    checkpoint_clear(job->world, job_path(job, "checkpoints"), "cav");
    phase_enter(before);
}

static void summarise(const struct task *t, const struct kept *k)
{
    struct job *job = t->job;
    float *accuracy = arena_array(job->run, float, k->total), *pvalue = arena_array(job->run, float, k->total);
    world_allgather_rows(job->world, accuracy, k->accuracy, k->count, sizeof *accuracy);
    world_allgather_rows(job->world, pvalue, k->pvalue, k->count, sizeof *pvalue);
    double *sorted = arena_array(job->run, double, k->total);
    int64_t significant = 0;
    for (int64_t a = 0; a < k->total; a++) {
        sorted[a] = (double)accuracy[a];
        significant += pvalue[a] < 0.05f;
    }
    log_info("cav: %lld vectors from %lld alive neurons; held-out accuracy %.3f (median), %lld with p < 0.05",
             (long long)k->total, (long long)t->alive_count, vec_median(sorted, k->total), (long long)significant);
    if (k->few > 0)
        log_info("cav: %lld neurons left out: fewer than %d activating or silent training images", (long long)k->few,
                 CAV_MIN_EXAMPLES);
    if (k->degenerate > 0)
        log_info("cav: %lld neurons left out: their examples have no separating direction", (long long)k->degenerate);
}

static enum cav_method method_of(const char *name)
{
    static const char *const names[] = {
        [CAV_SVM] = "svm", [CAV_LOGISTIC] = "logistic", [CAV_MEAN] = "mean", [CAV_PATTERN] = "pattern"
    };
    int method = CAV_SVM;
    while (strcmp(names[method], name) != 0)
        method++;
    return (enum cav_method)method;
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
                              .seed = job_seed(job),
                              .method = method_of(config->method) };
}

/* What a run takes beyond what is there, at most: a pass of neurons, a block of codes, a block of fits with their
 * examples (over ranks also those sent), the vectors in the order of the file. */
static double run_bytes(const struct task *t)
{
    const double each = (double)cav_collector_bytes(t->train_rows, t->spec.positives), mine = (double)t->mine.count;
    const double pass = fmin(mine * each, fmax((double)BUDGET_BYTES, each)) + 4 * (double)t->codes->neurons;
    const double rows = 4.0 * examples(&t->spec) * t->spec.dim, copies = t->job->world->size > 1 ? 2 : 1;
    const double fits = fmin(block_room(&t->spec), mine) *
                        ((double)cav_touched_bytes(&t->spec, t->decoder) + copies * rows + 8 * examples(&t->spec));
    return pass + cav_codes_bytes(t->codes, t->job->world->size) + fits + 4.0 * t->spec.random * t->spec.dim +
           mine * (4.0 * t->spec.dim + 40);
}

static void plan(const struct task *t)
{
    log_info("cav: %lld alive of %lld neurons, %lld training rows of %d, up to %d + %d examples each",
             (long long)t->alive_count, (long long)t->codes->neurons, (long long)t->train_rows, t->spec.dim,
             t->spec.positives, t->spec.negatives);
}

int stage_cav(struct job *job)
{
    if (!job->dry_run && !job_may_write(job, "cav.h5"))
        return EXIT_DONE;
    phase_start("cav");
    struct task task = { .job = job, .decoder = strcmp(job->config->cav.source, "decoder") == 0 };
    phase_enter(PHASE_READ);
    task.features = features_load(job);
    find_training_rows(&task);
    task.spec = spec_of(job, task.features->dim, task.train_rows);
    task.codes = cav_codes_open(job, task.features, task.position);
    find_alive(&task);
    phase_enter(PHASE_COMPUTE);
    plan(&task);
    if (job->dry_run) {
        log_info("cav: %s per rank", text_bytes(job->run, job_memory(job, run_bytes(&task))));
        log_info("cav: would write %s", job_path(job, "cav.h5"));
        return EXIT_DONE;
    }

    task.identity = identity_of(job);
    if (task.decoder)
        read_decoder(&task);
    resume(&task);
    svm_start();
    if (!fit_all(&task)) {
        log_info("cav: stopped (%s) with a checkpoint; the same command goes on from it", deadline_reason());
        job_done(job);
        return EXIT_STOPPED;
    }
    store_close(task.codes->store);
    struct kept kept = gather_kept(&task);
    agree(job->world, kept.total > 0, EXIT_BAD_DATA,
          "cav: no neuron has %d activating and %d silent training images\n"
          "train the autoencoder longer, or with another sae.l1",
          CAV_MIN_EXAMPLES, CAV_MIN_EXAMPLES);
    phase_count("vectors", (double)kept.count);
    write_vectors(&task, &kept);
    summarise(&task, &kept);
    return job_done(job);
}
