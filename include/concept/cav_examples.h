/* Which images teach a neuron's direction: those that activate it most, and as
 * many that do not activate it at all, drawn at random.
 *
 * A collector takes the sparse codes row by row, in any order, and keeps for
 * each of its neurons the highest activations and one bit per training row. */
#ifndef CONCEPT_CAV_EXAMPLES_H
#define CONCEPT_CAV_EXAMPLES_H

#include <stdint.h>

struct arena;
struct cav_collector;

/* For neurons[0..count-1] (ascending, below `total`) over `rows` training rows. Owned by the arena: about
 * count * (rows / 8 + 16 * positives) + 4 * total bytes. Local. */
struct cav_collector *cav_collector_create(struct arena *arena, const int32_t *neurons, int64_t count, int64_t total,
                                           int64_t rows, int positives);
int64_t cav_collector_bytes(int64_t rows, int positives); /* of one neuron */

/* The code of training row `row` (0..rows-1): neurons index[0..count-1] with value[]; values <= 0 do not count. */
void cav_collect(struct cav_collector *collector, int64_t row, const int32_t *index, const float *value, int64_t count);

/* rows [positives] out: training rows with the highest activation of neuron number `slot`, highest first, ties to
 * the lowest row. Returns how many. Call when all codes are in. */
int cav_positives(struct cav_collector *collector, int64_t slot, int64_t *rows);

/* rows [wanted] out: training rows where neuron number `slot` is silent, ascending, drawn without replacement
 * (Floyd's method, Bentley & Floyd 1987) with draws keyed by (seed, RNG_CAV_NEGATIVES, neuron); all of them when
 * there are no more than wanted. Returns how many. */
int cav_negatives(const struct cav_collector *collector, int64_t slot, int64_t *rows, int wanted, uint64_t seed);

#endif
