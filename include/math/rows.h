/* Products over a few rows that lie anywhere, in single precision or bfloat16:
 * what sparse codes need. Sums are single, in registers, in the order of the
 * list. Local, by one thread. */
#ifndef MATH_ROWS_H
#define MATH_ROWS_H

#include <stdint.h>

#include "math/values.h"

/* y [n] += sum of a[i] x[i] [n] over i = 0..count-1; y is read and written once. */
void rows_add(float *y, const float *a, const void *const *x, int64_t count, int64_t n, enum value_type type);
/* Sum of a [n] b [n]. */
float rows_dot(const void *a, const void *b, int64_t n, enum value_type type);

#endif
