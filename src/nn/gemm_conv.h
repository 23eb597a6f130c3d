/* Convolution as matrix products over BLIS: windows of the source as rows (im2col), times the weights. For shapes that
 * oneDNN has only reference code for. Any layout of activations; sums run in a fixed order and bits do not depend on
 * the threads. Arrays and sizes only; local. */
#ifndef NN_GEMM_CONV_H
#define NN_GEMM_CONV_H

#include <stdbool.h>
#include <stdint.h>

#include "math/values.h"
#include "nn/onednn.h"

/* Activations are of `type`, weights and their gradient in single precision, [kernel][kernel][in][out]. */
struct gemm_conv {
    struct conv_shape shape;
    struct view src, dst;
    enum value_type type;
    bool sum, relu; /* forward: adds to what dst holds, then max(0, .) */
};

/* Floats of work space for each of the calls below. */
int64_t gemm_conv_work(const struct gemm_conv *conv);
/* bias [out], or NULL. */
void gemm_conv_forward(void *dst, const struct gemm_conv *conv, const void *src, const float *weights,
                       const float *bias, float *work);
void gemm_conv_backward_data(void *diff_src, const struct gemm_conv *conv, const void *diff_dst, const float *weights,
                             float *work);
void gemm_conv_backward_weights(float *diff_weights, const struct gemm_conv *conv, const void *src,
                                const void *diff_dst, float *work);

#endif
