/* Examples of a neuron: a bounded heap of its highest activations, a bit per
 * training row for where it fires, and keyed draws among the rows where it does not. */
#include "concept/cav_examples.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"

struct activation {
    int64_t row;
    float value;
};

struct cav_collector {
    const int32_t *neurons; /* [count] */
    int32_t *slot_of;       /* [total] position in neurons, -1 when not ours */
    int64_t count, total, rows, words;
    int positives;
    uint64_t *active;       /* [count x words] bit r: fires on training row r */
    struct activation *top; /* [count x positives] heap, the weakest first */
    int *kept;              /* [count] entries of the heap */
};

struct cav_collector *cav_collector_create(struct arena *arena, const int32_t *neurons, int64_t count, int64_t total,
                                           int64_t rows, int positives)
{
    struct cav_collector *c = arena_array(arena, struct cav_collector, 1);
    *c = (struct cav_collector){ .neurons = neurons,
                                 .count = count,
                                 .total = total,
                                 .rows = rows,
                                 .words = (rows + 63) / 64,
                                 .positives = positives };
    c->slot_of = arena_array(arena, int32_t, total);
    memset(c->slot_of, 0xff, (size_t)total * sizeof *c->slot_of);
    for (int64_t s = 0; s < count; s++)
        c->slot_of[neurons[s]] = (int32_t)s;
    c->active = arena_array(arena, uint64_t, count * c->words);
    c->top = arena_array(arena, struct activation, count * positives);
    c->kept = arena_array(arena, int, count);
    return c;
}

int64_t cav_collector_bytes(int64_t rows, int positives)
{
    return (rows + 63) / 64 * 8 + positives * (int64_t)sizeof(struct activation) + (int64_t)sizeof(int);
}

/* Lower activation first; among equals the higher row is the weaker. */
static bool weaker(struct activation a, struct activation b)
{
    return a.value < b.value || (a.value == b.value && a.row > b.row);
}

static void sift_down(struct activation *heap, int n, int at)
{
    struct activation moved = heap[at];
    for (int child = 2 * at + 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && weaker(heap[child + 1], heap[child]))
            child++;
        if (!weaker(heap[child], moved))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

static void sift_up(struct activation *heap, int at)
{
    struct activation moved = heap[at];
    for (int parent = (at - 1) / 2; at > 0 && weaker(moved, heap[parent]); parent = (at - 1) / 2) {
        heap[at] = heap[parent];
        at = parent;
    }
    heap[at] = moved;
}

static void keep(struct activation *heap, int *kept, int room, struct activation a)
{
    if (*kept < room) {
        heap[*kept] = a;
        sift_up(heap, (*kept)++);
    } else if (weaker(heap[0], a)) {
        heap[0] = a;
        sift_down(heap, room, 0);
    }
}

void cav_collect(struct cav_collector *c, int64_t row, const int32_t *index, const float *value, int64_t count)
{
    assert(row >= 0 && row < c->rows);
    for (int64_t i = 0; i < count; i++) {
        int32_t slot = c->slot_of[index[i]];
        if (slot < 0 || !(value[i] > 0))
            continue;
        c->active[slot * c->words + row / 64] |= UINT64_C(1) << (row % 64);
        keep(c->top + (int64_t)slot * c->positives, &c->kept[slot], c->positives, (struct activation){ row, value[i] });
    }
}

int cav_positives(struct cav_collector *c, int64_t slot, int64_t *rows)
{
    /* Taking the weakest off a heap n times sorts it: strongest first. */
    struct activation *heap = c->top + slot * c->positives;
    int n = c->kept[slot];
    for (int end = n - 1; end > 0; end--) {
        struct activation weakest = heap[0];
        heap[0] = heap[end];
        sift_down(heap, end, 0);
        heap[end] = weakest;
    }
    for (int i = 0; i < n; i++)
        rows[i] = heap[i].row;
    return n;
}

/* Inserts v into the ascending list of n; false when it is there already. */
static bool insert(int64_t *list, int n, int64_t v)
{
    int at = n;
    while (at > 0 && list[at - 1] > v)
        at--;
    if (at > 0 && list[at - 1] == v)
        return false;
    memmove(list + at + 1, list + at, (size_t)(n - at) * sizeof *list);
    list[at] = v;
    return true;
}

int cav_negatives(const struct cav_collector *c, int64_t slot, int64_t *rows, int wanted, uint64_t seed)
{
    const uint64_t *active = c->active + slot * c->words;
    int64_t silent = c->rows;
    for (int64_t w = 0; w < c->words; w++)
        silent -= __builtin_popcountll(active[w]);

    /* Floyd: a uniform subset of 0..silent-1 in exactly `n` draws. */
    int n = silent < wanted ? (int)silent : wanted;
    struct rng rng = { .seed = seed, .purpose = RNG_CAV_NEGATIVES };
    for (int i = 0; i < n; i++) {
        int64_t last = silent - n + i;
        int64_t pick = (int64_t)rng_below(&rng, (uint64_t)c->neurons[slot], (uint64_t)i, (uint64_t)last + 1);
        if (!insert(rows, i, pick))
            insert(rows, i, last);
    }

    /* From "the r-th silent row" to the row. */
    int64_t seen = 0;
    int done = 0;
    for (int64_t row = 0; row < c->rows && done < n; row++)
        if (!(active[row / 64] >> (row % 64) & 1) && seen++ == rows[done])
            rows[done++] = row;
    return n;
}
