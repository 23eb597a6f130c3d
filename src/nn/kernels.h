/* Kernels of our own: arrays and sizes. Tensors are [groups][pixels][lanes] of
 * one image (nn/onednn.h, struct view), of the given type; sums accumulate in
 * double, in an order that depends on the shape alone. */
#ifndef NN_KERNELS_H
#define NN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "math/values.h"

/* Coefficients of a group's channels, [lanes] each; a kernel reads those it names. */
struct norm_lanes {
    const float *scale, *mean, *bias, *slope, *shift;
};

/* The coefficients from lane `l` on; those not given stay so. */
static inline struct norm_lanes norm_lanes_from(struct norm_lanes c, int l)
{
    return (struct norm_lanes){ c.scale ? c.scale + l : NULL, c.mean ? c.mean + l : NULL, c.bias ? c.bias + l : NULL,
                                c.slope ? c.slope + l : NULL, c.shift ? c.shift + l : NULL };
}

/* Sums over the pixels of one group: sum [lanes] of x and square [lanes] of x^2. One pass: the square of a float is
 * exact in double, and what cancels in E[x^2] - E[x]^2 is 2^-53, not 2^-24, of the values. */
void norm_sums(double *sum, double *square, const void *x, int64_t pixels, int lanes, enum value_type type);

/* out = relu?(scale (x - mean) + bias + residual?); residual [pixels][lanes] or NULL, `out` or not. */
void norm_apply(void *out, const void *x, const void *residual, struct norm_lanes c, int64_t pixels, int lanes,
                int relu, enum value_type type);

/* First half of backward. to <- g + g2?, zero where the relu was closed; sum of it and its dot with (x - mean).
 *   to   may be g
 *   out  the forward output, tells where the relu was open; NULL: recomputed from x, scale, mean and bias
 *   g2   a second gradient of the same value, or NULL */
void norm_backward_sums(double *sum, double *dot, void *to, const void *g, const void *g2, const void *x,
                        const void *out, struct norm_lanes c, int64_t pixels, int lanes, int relu,
                        enum value_type type);

/* Second half: diff = scale g - (slope (x - mean) + shift); g as the first half left it. `diff` may be `g`. */
void norm_backward_apply(void *diff, const void *g, const void *x, struct norm_lanes c, int64_t pixels, int lanes,
                         enum value_type type);

/* out [lanes] = mean over pixels; and its gradient. */
void mean_pixels(float *out, const void *x, int64_t pixels, int lanes, enum value_type type);
void mean_pixels_backward(void *diff, const float *g, int64_t pixels, int lanes, enum value_type type);

/* sum [count] <- sum + more. */
void add_values(void *sum, const void *more, int64_t count, enum value_type type);

/* Softmax cross-entropy of one row: returns the loss, writes diff [classes] = softmax - one-hot. */
double cross_entropy_row(float *diff, const float *logits, int label, int classes);
/* Binary cross-entropy on sigmoid, summed over the labels that count: diff = sigmoid - target there, 0 elsewhere.
 * mask may be NULL. *used and *right count labels and those on the right side of 0.5. */
double bce_row(float *diff, const float *logits, const float *targets, const float *mask, int classes, int *used,
               int *right);

#endif
