/* Counter-based random numbers: Philox4x32-10 (Salmon et al., SC11) from
 * Random123. The layout below is part of what makes a run repeatable.
 *
 *   key      seed, low word first
 *   counter  [0] row, low 32 bits      [2] epoch
 *            [1] draw, low 32 bits     [3] purpose << 24 | row bits 32..43 << 12 | draw bits 32..43
 *
 * It is one to one, so two streams never share a block. */
#include "base/rng.h"

#include <math.h>

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wshadow"
#endif
#include <Random123/philox.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include "base/error.h"

enum { ROW_BITS = 44, HIGH_BITS = ROW_BITS - 32 };

static philox4x32_ctr_t block(const struct rng *rng, uint64_t row, uint64_t draw)
{
    if ((row | draw) >> ROW_BITS)
        fatal(EXIT_INTERNAL, "random numbers: row %llu, draw %llu: expected both below 2^%d", (unsigned long long)row,
              (unsigned long long)draw, ROW_BITS);
    uint32_t high = (uint32_t)(row >> 32) << HIGH_BITS | (uint32_t)(draw >> 32);
    philox4x32_ctr_t counter = { { (uint32_t)row, (uint32_t)draw, rng->epoch, (uint32_t)rng->purpose << 24 | high } };
    philox4x32_key_t key = { { (uint32_t)rng->seed, (uint32_t)(rng->seed >> 32) } };
    return philox4x32_R(10, counter, key);
}

static uint64_t join(uint32_t high, uint32_t low)
{
    return (uint64_t)high << 32 | low;
}

/* 53 random bits in [0, 1). */
static double unit(uint64_t bits)
{
    return (double)(bits >> 11) * 0x1p-53;
}

uint32_t rng_u32(const struct rng *rng, uint64_t row, uint64_t draw)
{
    return block(rng, row, draw).v[0];
}

double rng_uniform(const struct rng *rng, uint64_t row, uint64_t draw)
{
    philox4x32_ctr_t r = block(rng, row, draw);
    return unit(join(r.v[0], r.v[1]));
}

double rng_range(const struct rng *rng, uint64_t row, uint64_t draw, double low, double high)
{
    return low + (high - low) * rng_uniform(rng, row, draw);
}

/* Box and Muller (1958); 1 - u is in (0, 1], so the logarithm is finite. */
double rng_normal(const struct rng *rng, uint64_t row, uint64_t draw)
{
    philox4x32_ctr_t r = block(rng, row, draw);
    double radius = sqrt(-2.0 * log(1.0 - unit(join(r.v[0], r.v[1]))));
    return radius * cos(2.0 * 3.14159265358979323846 * unit(join(r.v[2], r.v[3])));
}

/* Multiply and take the high word (Lemire 2019): the bias is below bound / 2^64. */
uint64_t rng_below(const struct rng *rng, uint64_t row, uint64_t draw, uint64_t bound)
{
    philox4x32_ctr_t r = block(rng, row, draw);
    return (uint64_t)(((unsigned __int128)join(r.v[0], r.v[1]) * bound) >> 64);
}

/* Fisher and Yates' shuffle. */
void rng_permutation(const struct rng *rng, uint64_t row, int64_t *order, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)rng_below(rng, row, (uint64_t)i, (uint64_t)i + 1);
        int64_t kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}
