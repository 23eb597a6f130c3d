/* Controls a concept bottleneck is judged against. */
#ifndef CONCEPT_CONTROL_H
#define CONCEPT_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

/* Random unit vectors [count x D] in place of concepts, keyed by (seed, RNG_CONTROL, epoch `trial`, vector, element):
 * the same on every rank. */
void control_random_vectors(float *vectors, int count, int dim, uint64_t seed, int trial);

/* What says the same of every image: the logarithm of the share of each class among `rows` training rows (half a row
 * added), or of its odds when multi_label, where labels other than 0 and 1 do not count. logits [C] out. */
void control_majority(float *logits, const int32_t *label, const int8_t *labels, int64_t rows, int classes,
                      bool multi_label);

#endif
