/* The fits of cfn cav: the codes pass by once per pass of neurons that fits in
 * memory, examples are fetched from the ranks that hold their rows, block by
 * block; checkpoints between. What a fit does is in concept/cav/cav_fit.c. */
#include <math.h>
#include <string.h>

#include "base/timer.h"
#include "concept/cav_examples.h"
#include "dist/deadline.h"
#include "math/vec.h"
#include "stage/concepts/cav.h"
#include "store/checkpoint.h"

enum { MOST_NEURONS_PER_BLOCK = 64 };
static const int64_t BUDGET_BYTES = INT64_C(256) << 20; /* for a pass of neurons, and for a block of fits */

/* The state of all neurons, in checkpoints: the same on every rank, whatever the number of ranks. */
struct whole {
    uint8_t *state;
    float *cav;
    struct cav_score *score;
    struct checkpoint_field fields[3];
};

static struct whole whole_take(const struct cav_task *t)
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

static void save(struct cav_task *t)
{
    struct world *world = t->job->world;
    struct arena_mark mark = arena_mark(t->job->scratch);
    enum phase before = phase_enter(PHASE_CHECKPOINT);
    struct whole w = whole_take(t);
    int64_t done = t->done;
    world_allgather_rows(world, w.state, t->state, t->mine.count, sizeof *t->state);
    world_allgather_rows(world, w.cav, t->cav, t->mine.count, (size_t)t->spec.dim * sizeof *t->cav);
    world_allgather_rows(world, w.score, t->score, t->mine.count, sizeof *t->score);
    world_sum_i64(world, &done, 1);
    checkpoint_save(world, job_path(t->job, "checkpoints"), "cav", done, t->identity, w.fields, 3);
    t->last_save = timer_seconds();
    phase_enter(before);
    arena_release(t->job->scratch, mark);
}

void cav_resume(struct cav_task *t)
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
        t->done += t->state[i] != CAV_PENDING;
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

static struct fits *fits_create(struct cav_task *t)
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
static void fetch_examples(struct cav_task *t, struct fits *f, struct cav_collector *collector, int64_t slot, int count)
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
static void fit_block(struct cav_task *t, struct fits *f, const int64_t *slots, int count)
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
        t->state[slots[b]] = f->positives[b] == 0 ? CAV_FEW_EXAMPLES : f->found[b] ? CAV_KEPT : CAV_NO_DIRECTION;
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
 * a checkpoint written; also saves by time. Collective, also with none. */
static bool run_pass(struct cav_task *t, struct fits *f, const int64_t *slots, int64_t count)
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
        bool due = job_checkpoint_due(job, t->last_save);
        go = !deadline_reached(job->world, t->block_seconds, 10);
        if (due || !go)
            save(t);
    }
    arena_release(job->scratch, mark);
    return go;
}

/* Rows of the dictionary, where the fits will leave or rate them. */
void cav_read_decoder(struct cav_task *t)
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

bool cav_fit_all(struct cav_task *t)
{
    struct fits *f = fits_create(t);
    t->last_save = timer_seconds();
    int64_t *todo = arena_array(t->job->run, int64_t, t->mine.count), count = 0;
    for (int64_t slot = 0; slot < t->mine.count; slot++)
        if (t->state[slot] == CAV_PENDING)
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

double cav_fit_bytes(const struct cav_task *t)
{
    const double each = (double)cav_collector_bytes(t->train_rows, t->spec.positives), mine = (double)t->mine.count;
    const double pass = fmin(mine * each, fmax((double)BUDGET_BYTES, each)) + 4 * (double)t->codes->neurons;
    const double rows = 4.0 * examples(&t->spec) * t->spec.dim, copies = t->job->world->size > 1 ? 2 : 1;
    const double fits = fmin(block_room(&t->spec), mine) *
                        ((double)cav_touched_bytes(&t->spec, t->decoder) + copies * rows + 8 * examples(&t->spec));
    return pass + cav_codes_bytes(t->codes, t->job->world->size) + fits + 4.0 * t->spec.random * t->spec.dim;
}
