/* Kernels of normalisations that read parts of a concatenation: arrays and sizes
 * as in nn/kernels.h, at most 16 lanes. */
#ifndef NN_KERNELS_DENSE_H
#define NN_KERNELS_DENSE_H

#include <stdbool.h>
#include <stdint.h>

#include "nn/kernels.h"

/* out [height / 2][width / 2][lanes] = means over 2x2 pixels of relu(scale (x - mean) + bias), x
 * [height][width][lanes]. An odd last row or column is left out. */
void norm_halve(void *out, const void *x, struct norm_lanes c, int height, int width, int lanes, enum value_type type);

/* The part of backward that is not linear in x: with v = g where scale (x - mean) + bias > 0 and 0 elsewhere,
 *   diff <- diff + scale v   (or scale v, if `fresh`)
 *   sum, dot [lanes]         of v, and of v (x - mean)
 * What is missing of the gradient, -(slope (x - mean) + shift), is the caller's to add. */
void norm_add_gradient(double *sum, double *dot, void *diff, const void *g, const void *x, struct norm_lanes c,
                       int64_t pixels, int lanes, bool fresh, enum value_type type);

/* The same behind norm_halve: g [height / 2][width / 2][lanes] is of the means. */
void norm_add_gradient_halved(double *sum, double *dot, void *diff, const void *g, const void *x, struct norm_lanes c,
                              int height, int width, int lanes, bool fresh, enum value_type type);

#endif
