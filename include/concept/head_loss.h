/* The loss of one row of a head: softmax or one sigmoid per label, with class weights. */
#ifndef CONCEPT_HEAD_LOSS_H
#define CONCEPT_HEAD_LOSS_H

#include <stdint.h>

struct arena;
struct head_rows;

/* Weighted loss of row i (of this rank) at logits z [C]; z becomes its derivative. probability and weight [C] (both may
 * be NULL) out: of each class or label; the weight of a label that is not known is 0. Local. */
double head_loss(double *z, double *probability, double *weight, const struct head_rows *rows, int64_t i);

/* Weights that make classes count alike, scikit-learn's "balanced": n / (C n_c) for each class [C]; for several labels
 * known / (2 n_state) for state 0 and 1 of each [C x 2], uncertain and blank ones not counted. A class or state that
 * does not occur has weight 0. Rows are all training rows, the same on every rank. Owned by the arena. Local. */
const double *head_balanced_weights(struct arena *arena, const int32_t *label, const int8_t *labels, int64_t rows,
                                    int classes);

#endif
