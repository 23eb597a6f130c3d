/* Choices of the largest activations when each rank holds some neurons. Rows: the
 * ranks deal them out, and send what may be among the k largest of a row to the
 * rank that decides it; thresholds and numbers of ties come back. Ranks hold
 * neurons in order, so the lowest neuron of equal ones is that of the lowest
 * rank. */
#include "concept/sae/sae_feature.h"

#include <string.h>

#include "base/arena.h"
#include "concept/sae/sae_top.h"
#include "dist/tree.h"
#include "dist/world.h"

bool sae_is_split(const struct sae_trainer *t)
{
    return t->options.way == SAE_BY_NEURONS && t->space->world->size > 1;
}

struct sae_offers sae_offers(struct arena *arena, const struct world *world, int64_t batch, int most)
{
    const int64_t ranks = world->size, slice = (batch + ranks - 1) / ranks;
    return (struct sae_offers){ .mine = arena_array(arena, float, batch *most + 1),
                                .all = arena_array(arena, float, slice *ranks *most + 1),
                                .out = arena_array(arena, struct sae_verdict, slice * ranks + 1),
                                .own = arena_array(arena, struct sae_verdict, batch + 1),
                                .wanted = arena_array(arena, int64_t, slice * ranks + 1) };
}

double sae_choose_rows_bytes(int64_t batch, int k, int ranks)
{
    return (double)batch * (ranks - 1) / ranks * (4.0 * k + sizeof(struct sae_verdict) + 2 * sizeof(int64_t));
}

/* One row: `all` [ranks x k] what each rank offers, 0 padded; out [ranks]. */
static void decide(struct sae_verdict *out, const float *all, int k, int ranks)
{
    int64_t ties;
    const float threshold = sae_kth_largest(all, (int64_t)ranks * k, k, &ties);
    for (int rank = 0; rank < ranks; rank++) {
        int64_t equal = 0;
        for (int i = 0; i < k; i++)
            equal += all[rank * k + i] >= threshold && !(all[rank * k + i] > threshold);
        equal = equal < ties ? equal : ties;
        out[rank] = (struct sae_verdict){ threshold, (int32_t)equal };
        ties -= equal;
    }
}

/* Entries of each row that its verdict lets stay. */
static void cut_rows(struct sae_codes *c, const struct sae_verdict *verdict)
{
    int64_t n = 0, at = 0;
    for (int64_t r = 0; r < c->rows; r++) {
        int32_t ties = verdict[r].ties;
        for (const int64_t end = c->start[r + 1]; at < end; at++) {
            const float threshold = verdict[r].threshold;
            if (!(c->value[at] > threshold || (c->value[at] >= threshold && ties-- > 0)))
                continue;
            c->index[n] = c->index[at];
            c->value[n++] = c->value[at];
        }
        c->start[r + 1] = n;
    }
}

void sae_choose_rows(struct sae_codes *c, struct sae_offers *o, const struct world *world, int k)
{
    const int ranks = world->size;
    const struct span mine = shard_rows(c->rows, ranks, world->rank);
    const size_t bytes = (size_t)k * sizeof(float);
    for (int64_t r = 0; r < c->rows; r++) {
        const int64_t n = c->start[r + 1] - c->start[r];
        memcpy(o->mine + r * k, c->value + c->start[r], (size_t)n * sizeof(float));
        memset(o->mine + r * k + n, 0, (size_t)(k - n) * sizeof(float));
    }
    /* Row r of rank p goes by the number p rows + r. */
    for (int64_t i = 0; i < mine.count * ranks; i++)
        o->wanted[i] = i % ranks * c->rows + mine.first + i / ranks;
    world_fetch_rows(world, o->all, o->wanted, mine.count * ranks, o->mine, world->rank * c->rows, c->rows, bytes);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < mine.count; i++)
        decide(o->out + i * ranks, o->all + i * ranks * k, k, ranks);
    /* The verdict on row r of rank p goes by the number r ranks + p. */
    for (int64_t r = 0; r < c->rows; r++)
        o->wanted[r] = r * ranks + world->rank;
    world_fetch_rows(world, o->own, o->wanted, c->rows, o->out, mine.first * ranks, mine.count * ranks,
                     sizeof(struct sae_verdict));
    cut_rows(c, o->own);
}

static bool equals(float a, float b)
{
    return a >= b && !(a > b);
}

void sae_cut_batch(struct sae_step *s, const struct world *world, float kth, int64_t ties)
{
    struct sae_codes *c = &s->sparse.codes;
    int64_t *tied = s->offers.wanted, sums[2] = { ties, 0 }, stay = 0;
    memset(tied, 0, (size_t)c->rows * sizeof *tied);
    for (int64_t r = 0; r < c->rows; r++)
        for (int64_t at = c->start[r]; at < c->start[r + 1]; at++)
            tied[r] += equals(c->value[at], kth);
    for (int64_t r = 0; r < c->rows; r++)
        sums[1] += tied[r];
    stay = sums[1];
    world_sum_i64(world, sums, 2);
    if (sums[0] < sums[1]) {
        int64_t rest = sums[0], row = 0, own = 0, before = 0;
        world_sum_i64(world, tied, (int)c->rows);
        while (row < c->rows && rest >= tied[row])
            rest -= tied[row++];
        /* All ties before `row` stay, and the first `rest` in it. */
        stay = 0;
        for (int64_t at = 0; row < c->rows && at < c->start[row + 1]; at++) {
            const bool here = at >= c->start[row];
            own += here && equals(c->value[at], kth);
            stay += !here && equals(c->value[at], kth);
        }
        world_allgather_rows(world, s->counts, &own, 1, sizeof own);
        for (int rank = 0; rank < world->rank; rank++)
            before += s->counts[rank];
        rest = rest > before ? rest - before : 0;
        stay += rest < own ? rest : own;
    }
    sae_codes_cut(c, kth, stay);
}

/* `all` [K x width]: every rank gets the rows of the neurons of all. */
static void gather(float *all, const struct sae_workspace *space, const struct sae *part, int64_t width)
{
    const size_t bytes = (size_t)width * sizeof(float);
    memcpy(space->stack, all + part->first * width, (size_t)part->neurons * bytes);
    world_allgather_rows(space->world, all, space->stack, part->neurons, bytes);
}

void sae_gather(struct sae_trainer *t, bool moments)
{
    struct sae *const all[] = { &t->model.sae, &t->model.moment1, &t->model.moment2 };
    for (int i = 0; sae_is_split(t) && i < (moments ? 3 : 1); i++) {
        gather(all[i]->encoder, t->space, &t->step.part, all[i]->dim);
        gather(all[i]->encoder_bias, t->space, &t->step.part, 1);
        gather(all[i]->decoder, t->space, &t->step.part, all[i]->dim);
        gather(all[i]->log_threshold, t->space, &t->step.part, 1);
    }
}
