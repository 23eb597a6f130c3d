/* Deals neurons so that any block of them costs about as much as any other of
 * its length. What a neuron costs is left to the caller. */
#include "concept/cav_deal.h"

#include <stdlib.h>

#include "base/arena.h"

struct card {
    double cost;
    int32_t neuron;
};

/* Highest cost first, then the lower neuron. */
static int by_cost(const void *a, const void *b)
{
    const struct card *x = a, *y = b;
    if (x->cost != y->cost)
        return x->cost < y->cost ? 1 : -1;
    return (x->neuron > y->neuron) - (x->neuron < y->neuron);
}

static int64_t reversed_bits(int64_t value, int bits)
{
    int64_t out = 0;
    for (int b = 0; b < bits; b++)
        out |= (value >> b & 1) << (bits - 1 - b);
    return out;
}

void cav_deal(int32_t *neurons, const double *cost, int64_t count, struct arena *scratch)
{
    struct card *card = arena_array(scratch, struct card, count);
    for (int64_t i = 0; i < count; i++)
        card[i] = (struct card){ cost[i], neurons[i] };
    if (count > 1)
        qsort(card, (size_t)count, sizeof *card, by_cost);
    int bits = 0;
    while ((INT64_C(1) << bits) < count)
        bits++;
    for (int64_t i = 0, at = 0; at < count; i++) {
        int64_t from = reversed_bits(i, bits);
        if (from < count)
            neurons[at++] = card[from].neuron;
    }
}
