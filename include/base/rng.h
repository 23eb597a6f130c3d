/* Counter-based random numbers: value = f(seed, purpose, epoch, row, draw).
 * Nothing depends on rank, thread or order. Philox4x32-10 (Salmon et al., SC11)
 * from Random123. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

/* What a draw is for: two purposes never share a stream. Append only: the
 * numbers are part of what makes a run repeatable. */
enum rng_purpose {
    RNG_SHUFFLE = 1, /* order of training rows in an epoch */
    RNG_AUGMENT,     /* rotation, flip, blur of one image */
    RNG_INIT,        /* weights; row = parameter number, draw = element */
    RNG_SAE_INIT,
    RNG_SAE_SHUFFLE,
    RNG_SAE_RESAMPLE,
    RNG_CAV_NEGATIVES, /* row = neuron */
    RNG_CAV_RANDOM,    /* random directions for significance */
    RNG_CONTROL,       /* random-concepts control */
    RNG_BOOTSTRAP,     /* row = replicate */
    RNG_SELECT,        /* sampling optimisers */
    RNG_TEST,
    RNG_DEPTH, /* stochastic depth; row = global row, draw = node */
    RNG_AUDIT  /* rows of the shortcut probe and permuted labels; row = permutation */
};

struct rng {
    uint64_t seed;
    enum rng_purpose purpose;
    uint32_t epoch;
};

/* One (row, draw) is one value, whichever function takes it: give every value a
 * draw of its own. Rows and draws are below 2^44; beyond, the job ends. */
uint32_t rng_u32(const struct rng *rng, uint64_t row, uint64_t draw);
double rng_uniform(const struct rng *rng, uint64_t row, uint64_t draw); /* [0, 1) */
double rng_range(const struct rng *rng, uint64_t row, uint64_t draw, double low, double high);
double rng_normal(const struct rng *rng, uint64_t row, uint64_t draw);                  /* mean 0, deviation 1 */
uint64_t rng_below(const struct rng *rng, uint64_t row, uint64_t draw, uint64_t bound); /* [0, bound), bound >= 1 */

/* order [n] out: a permutation of 0..n-1, the same on every rank. Takes draws 1..n-1 of `row`. */
void rng_permutation(const struct rng *rng, uint64_t row, int64_t *order, int64_t n);

#endif
