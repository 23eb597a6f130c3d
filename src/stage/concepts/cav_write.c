/* cav.h5: the vectors of all ranks in the order of their neurons. */
#include <stdlib.h>

#include "stage/concepts/cav.h"
#include "store/checkpoint.h"

static const struct layout LAYOUT[] = {
    { "/cav", STORE_F32, "A,D", "1", "concept activation vectors, unit rows", NULL, false },
    { "/bias", STORE_F32, "A", "1", "decision is <cav, x> + bias; > 0 on the activating side", NULL, false },
    { "/neuron", STORE_I32, "A", "index", "row of sae.h5:/decoder the vector stands for", NULL, false },
    { "/accuracy", STORE_F32, "A", "share", "right answers on held-out examples, mean of both classes", NULL, false },
    { "/pvalue", STORE_F32, "A", "probability", "of a random direction being as accurate", NULL, false },
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
static struct place *find_kept(const struct cav_task *t, struct cav_kept *k)
{
    uint8_t *state = arena_array(t->job->run, uint8_t, t->alive_count);
    struct place *place = arena_array(t->job->run, struct place, t->alive_count);
    world_allgather_rows(t->job->world, state, t->state, t->mine.count, sizeof *state);
    for (int64_t i = 0; i < t->alive_count; i++) {
        k->few += state[i] == CAV_FEW_EXAMPLES;
        k->degenerate += state[i] == CAV_NO_DIRECTION;
        if (state[i] == CAV_KEPT)
            place[k->total++] = (struct place){ t->alive[i], i };
    }
    qsort(place, (size_t)k->total, sizeof *place, by_neuron);
    return place;
}

struct cav_kept cav_gather(const struct cav_task *t)
{
    struct job *job = t->job;
    struct cav_kept k = { 0 };
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

void cav_write(struct cav_task *t, const struct cav_kept *k)
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
    job_publish(job, out);
    checkpoint_clear(job->world, job_path(job, "checkpoints"), "cav");
    phase_enter(before);
}
