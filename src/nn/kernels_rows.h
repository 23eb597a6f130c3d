/* Kernels on rows: values [rows][channels] in float or bfloat16, channel-last.
 * Arithmetic is in float. Gradients of parameters are sums over ROW_PIECES fixed
 * pieces of the rows, added in double, so their bits depend on the shape alone.
 * All share the work among this rank's threads. */
#ifndef NN_KERNELS_ROWS_H
#define NN_KERNELS_ROWS_H

#include <stdint.h>

#include "math/values.h"

enum { ROW_PIECES = 64 };

/* Layer normalisation (Ba et al., 2016) of each row: out = (x - mean) rstd weight + bias, rstd = 1 / sqrt(var + eps)
 * with the biased variance. `out` may be `x`.
 *   stats [rows][2] out: mean and rstd, for backward; NULL: not kept */
void layernorm_forward(void *out, float *stats, const void *x, const float *weight, const float *bias, double eps,
                       int64_t rows, int channels, enum value_type type);

/* diff [rows][channels] of x (may be `g`; NULL: not wanted), dweight and dbias [channels].
 *   partial [ROW_PIECES][2 channels] work space */
void layernorm_backward(void *diff, float *dweight, float *dbias, float *partial, const void *g, const void *x,
                        const float *stats, const float *weight, int64_t rows, int channels, enum value_type type);

/* out = x Phi(x), Phi the standard normal distribution function (Hendrycks & Gimpel, 2016), by erf, not by tanh. Phi
 * is Abramowitz & Stegun 7.1.26, off by less than 1e-7. `out` may be `x`. */
void gelu_forward(void *out, const void *x, int64_t count, enum value_type type);
/* diff = g (Phi(x) + x phi(x)); may be `g`. */
void gelu_backward(void *diff, const void *g, const void *x, int64_t count, enum value_type type);

/* out = residual + keep[image] scale[channel] x; either factor may be NULL: 1. `out` may be `residual`.
 *   rows of an image: pixels */
void residual_forward(void *out, const void *x, const void *residual, const float *scale, const float *keep,
                      int64_t images, int64_t pixels, int channels, enum value_type type);
/* diff = keep scale g (may be `g`; the gradient of `residual` is g itself), dscale [channels] = sum of keep g x.
 *   dscale, partial [ROW_PIECES][channels]  NULL when scale is */
void residual_backward(void *diff, float *dscale, float *partial, const void *g, const void *x, const float *scale,
                       const float *keep, int64_t images, int64_t pixels, int channels, enum value_type type);

/* Factor of a branch, for a uniform draw in [0, 1): 0 with probability `drop`, otherwise 1 / (1 - drop). */
static inline float stochastic_depth(double draw, double drop)
{
    return draw < drop ? 0.0f : (float)(1.0 / (1.0 - drop));
}

/* Rows of non-overlapping windows of x [images][height][width][channels], rows and columns left over dropped: a window
 * in the order of a convolution's weight (channel, row, column). And back, with 0 where nothing was taken. */
void windows_gather(void *out, const void *x, int64_t images, int height, int width, int channels, int window,
                    enum value_type type);
void windows_scatter(void *diff, const void *g, int64_t images, int height, int width, int channels, int window,
                     enum value_type type);

#endif
