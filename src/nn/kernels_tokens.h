/* Kernels of a vision transformer around its products: values [rows][width] in float or bfloat16. Arithmetic is in
 * float. Those on a whole image or batch share the work among this rank's threads. */
#ifndef NN_KERNELS_TOKENS_H
#define NN_KERNELS_TOKENS_H

#include <stdint.h>

#include "math/values.h"

/* out [images][(size / window)^2][channels * window^2] = the patches of images [images][channels][size][size], left to
 * right, then down; a patch in the order of a convolution's weight (channel, row, column). */
void patches_gather(void *out, const float *images, int64_t count, int channels, int size, int window,
                    enum value_type type);

/* out [images][1 + patches][width] = the class token, then x [images][patches][width]; each plus its position. */
void tokens_forward(void *out, const void *x, const float *token, const float *position, int64_t images,
                    int64_t patches, int width, enum value_type type);
/* diff [images][patches][width] (NULL: not wanted), dposition [1 + patches][width] = sums over the images of
 * g [images][1 + patches][width], in double; dtoken [width] = the first row of these. */
void tokens_backward(void *diff, float *dtoken, float *dposition, const void *g, int64_t images, int64_t patches,
                     int width, enum value_type type);

/* out [images][width], single precision = the first of the `rows` rows of each image; and its gradient, 0 in the other
 * rows. */
void pick_first(float *out, const void *x, int64_t images, int64_t rows, int width, enum value_type type);
void pick_first_backward(void *diff, const float *g, int64_t images, int64_t rows, int width, enum value_type type);

/* p [count][n] = softmax(scale s) of each row of s. exp is off by 2e-7 at most. `p` may not be `s`. */
void softmax_rows(void *p, const float *s, float scale, int64_t count, int n, enum value_type type);
/* From dp, the gradient of p = softmax(scale s), that of s, written over p: p <- scale p (dp - sum p dp). */
void softmax_rows_backward(void *p, const float *dp, float scale, int64_t count, int n, enum value_type type);

#endif
