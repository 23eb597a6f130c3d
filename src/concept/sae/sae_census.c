/* Statistics of codes. Counts are integers and sums are in fixed point, so no
 * order of ranks or rows can change a bit. Lists of the most exciting images
 * are short and sorted: most activations are turned away by one comparison. */
#include "concept/sae_census.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "dist/world.h"

enum { MERGE_NEURONS = 1024 }; /* neurons whose lists are exchanged at once: bounds memory on many ranks */

struct entry {
    int64_t row; /* -1: none */
    double value;
};

struct sae_census *sae_census_create(struct arena *arena, int neurons, int top)
{
    struct sae_census *c = arena_array(arena, struct sae_census, 1);
    *c = (struct sae_census){ .neurons = neurons, .top = top, .scale = 1 };
    c->fired = arena_array(arena, int64_t, neurons);
    c->total = arena_array(arena, int64_t, neurons);
    c->top_index = arena_array(arena, int64_t, (int64_t)neurons * top);
    c->top_value = arena_array(arena, float, (int64_t)neurons *top);
    for (int64_t i = 0; !arena_is_plan(arena) && i < (int64_t)neurons * top; i++)
        c->top_index[i] = -1;
    return c;
}

/* Puts (row, value) into a list of T; rows come in rising order, so an equal value stays behind. */
static void offer(int64_t *index, float *list, int T, int64_t row, float value)
{
    if (!(value > list[T - 1]))
        return;
    int at = T - 1;
    for (; at > 0 && value > list[at - 1]; at--) {
        list[at] = list[at - 1];
        index[at] = index[at - 1];
    }
    list[at] = value;
    index[at] = row;
}

void sae_census_add(struct sae_census *c, int64_t *active, const float *f, const bool *train, int64_t first,
                    int64_t rows)
{
    for (int64_t r = 0; r < rows; r++) {
        active[r] = 0;
        for (int k = 0; k < c->neurons; k++) {
            float value = f[r * c->neurons + k];
            if (!(value > 0))
                continue;
            active[r]++;
            c->fired[k] += train[r];
            c->largest = fmax(c->largest, (double)value);
            offer(c->top_index + (int64_t)k * c->top, c->top_value + (int64_t)k * c->top, c->top, first + r, value);
        }
    }
}

/* Lists of neurons first..first+count-1 of all ranks become one list each; mine [count x T], all [ranks x count x T].
 */
static void merge_lists(struct sae_census *c, const struct world *world, struct entry *mine, struct entry *all,
                        int first, int count)
{
    int64_t n = (int64_t)count * c->top;
    int64_t *index = c->top_index + (int64_t)first * c->top;
    float *value = c->top_value + (int64_t)first * c->top;
    for (int64_t i = 0; i < n; i++) {
        mine[i] = (struct entry){ index[i], (double)value[i] };
        index[i] = -1;
        value[i] = 0;
    }
    world_allgather_rows(world, all, mine, n, sizeof(struct entry));
    for (int rank = 0; rank < world->size; rank++) /* rising rows: an equal value of a later rank stays behind */
        for (int64_t i = 0; i < n; i++) {
            const struct entry *e = &all[rank * n + i];
            int64_t list = i / c->top * c->top;
            if (e->row >= 0)
                offer(index + list, value + list, c->top, e->row, (float)e->value);
        }
}

static void merge(struct sae_census *c, const struct world *world, struct entry *mine, struct entry *all)
{
    world_sum_i64(world, c->fired, c->neurons);
    world_max_f64(world, &c->largest, 1);
    for (int first = 0; first < c->neurons; first += MERGE_NEURONS)
        merge_lists(c, world, mine, all, first,
                    c->neurons - first < MERGE_NEURONS ? c->neurons - first : MERGE_NEURONS);
}

void sae_census_merge(struct sae_census *c, const struct world *world, struct arena *scratch, int64_t train_rows)
{
    struct arena_mark mark = arena_mark(scratch);
    const int64_t most = (int64_t)(c->neurons < MERGE_NEURONS ? c->neurons : MERGE_NEURONS) * c->top;
    struct entry *mine = arena_array(scratch, struct entry, most),
                 *all = arena_array(scratch, struct entry, most * world->size);
    if (!arena_is_plan(scratch))
        merge(c, world, mine, all);
    arena_release(scratch, mark);
    /* No sum of train_rows values up to `largest` may pass 2^61. */
    c->scale = c->largest > 0 ? ldexp(1, 61 - ilogb(c->largest * (double)(train_rows + 1)) - 1) : 1;
}

void sae_census_total(struct sae_census *c, const float *f, const bool *train, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++)
        for (int k = 0; train[r] && k < c->neurons; k++)
            c->total[k] += llrint((double)f[r * c->neurons + k] * c->scale);
}

int64_t sae_compress(int32_t *index, float *value, const float *f, int64_t rows, int neurons)
{
    int64_t n = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int k = 0; k < neurons; k++)
            if (f[r * neurons + k] > 0) {
                index[n] = k;
                value[n++] = f[r * neurons + k];
            }
    return n;
}
