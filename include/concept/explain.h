/* What makes a logit of a concept bottleneck: contribution of concept k to class c = code_k * weight_ck
 * (docs/methods/explain.md). Kernels on arrays; local. */
#ifndef CONCEPT_EXPLAIN_H
#define CONCEPT_EXPLAIN_H

#include <stdint.h>

/* One row. The T strongest contributions to each class, by size, ties to the lowest concept; unused places -1 and 0.
 *   concept, value [C x T]  out
 *   rest           [C]      out: logit - sum of the values as stored, so that they add up to the logit
 *   atom, code     [S]      concepts of this row (-1 = none) and their codes
 *   weight         [C x M]  logit per unit of code
 *   logit          [C] */
void explain_row(int32_t *concept, float *value, float *rest, const int32_t *atom, const float *code,
                 const float *weight, const float *logit, int C, int M, int S, int T);

/* Contribution of every atom of a row to class c, out [S]; 0 for unused atoms. Returns their sum. */
double explain_class(double *out, const int32_t *atom, const float *code, const float *weight, int c, int M, int S);

#endif
