/* The largest of many activations, exactly: by their bits, which rise with the
 * value for positive floats. Ties go to the lowest position. */
#ifndef CONCEPT_SAE_SAE_TOP_H
#define CONCEPT_SAE_SAE_TOP_H

#include <stdint.h>

struct world;

/* The k-th largest positive value of f [n], k >= 1, and how many values equal to it are among the first k; 0 and 0
 * when fewer than k are positive. No NaN among the k largest. Local; about two passes when k is far below n. */
float sae_kth_largest(const float *f, int64_t n, int64_t k, int64_t *ties);
/* The k largest positive values of f [n], fewer when fewer are positive, positions rising; returns how many. value,
 * index: room for k. Local. */
int64_t sae_largest(int32_t *index, float *value, const float *f, int64_t n, int64_t k);

/* The same over the values of all ranks, all positive: value [n] of this rank; `ties` out: how many of this rank's
 * equal values are among the first k, ranks in order; counts [ranks] scratch. Collective: three sums of at most 2048
 * integers. */
float sae_kth_largest_of_all(const struct world *world, int64_t *counts, const float *value, int64_t n, int64_t k,
                             int64_t *ties);
int64_t sae_kth_largest_bytes(int ranks); /* bytes a rank sends for it; local */
/* The same for this rank alone, in three passes: for long lists. Local. */
float sae_kth_largest_of_list(const float *value, int64_t n, int64_t k, int64_t *ties);

#endif
