/* Depthwise 7x7 convolution, stride 1, zeros around the image, on channel-last values [images][height][width][channels]
 * in float or bfloat16. Arithmetic is in float; weight gradients are summed over an image in float and over images in
 * double, in an order that depends on the shape alone. All share the work among this rank's threads. */
#ifndef NN_DEPTHWISE_H
#define NN_DEPTHWISE_H

#include <stdbool.h>
#include <stdint.h>

#include "math/values.h"

enum { DEPTHWISE_WINDOW = 7, DEPTHWISE_TAPS = 49 };

struct depthwise_shape {
    int64_t images;
    int height, width, channels;
};

/* Sizes of what a caller provides, in floats: work space of all threads, weights as the kernels take them, and sums of
 * the weight gradient of each image. All aligned to 64 bytes. */
int64_t depthwise_work(const struct depthwise_shape *shape);
int64_t depthwise_taps(const struct depthwise_shape *shape);
int64_t depthwise_partial(const struct depthwise_shape *shape);

/* taps from weight [channels][7][7]; turned round for the data gradient. */
void depthwise_prepare(float *taps, const float *weight, int channels, bool turned);

void depthwise_forward(void *out, const void *x, const float *taps, const float *bias, float *work,
                       const struct depthwise_shape *shape, enum value_type type);

/* From g, the gradient of the output: diff of x (with `turned` taps; may be `g`), dweight [channels][7][7] and dbias
 * [channels]. */
void depthwise_backward(void *diff, float *dweight, float *dbias, float *partial, const void *g, const void *x,
                        const float *turned, float *work, const struct depthwise_shape *shape, enum value_type type);

#endif
