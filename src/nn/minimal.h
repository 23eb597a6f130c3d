/* 3x3 convolution with stride 1 and zeros around the image by Winograd's minimal filtering F(4x4, 3x3), in single
 * precision: 36 multiplications for 16 outputs where a direct convolution takes 144 (Lavin & Gray, 2016, in the
 * interpolation points 0, 1, -1, 2, -2). With g the weights, d a tile of 6x6 inputs and y one of 4x4 outputs,
 *
 *     y = A' [(G g G') . (B' d B)] A,     dg = G' [(B' d B) . (A dy A')] G   summed over tiles,
 *
 * where . is a product of places: 36 matrix products over channels. The data gradient is a forward pass with the
 * weights turned round.
 *
 * Activations lie in blocks, [images][channels / lanes][h][w][lanes]; weights and their gradient in
 * [out / lanes][in / lanes][3][3][lanes in][lanes out]. The work is shared among this rank's threads; every value is
 * summed in an order that depends on the shape alone. Buffers are borrowed, aligned to 64 bytes. */
#ifndef NN_MINIMAL_H
#define NN_MINIMAL_H

#include <stdbool.h>
#include <stdint.h>

struct minimal_shape {
    int images, in, out, h, w;
    int lanes; /* divides in and out; a multiple of 8 */
};

/* Whether the kernels can do the shape; and whether they are faster than a direct convolution, forward and for the data
 * gradient, or for the weight gradient: tiles must not reach far beyond the image, and not be few beside the weights
 * that are transformed. */
bool minimal_fits(const struct minimal_shape *shape);
bool minimal_pays(const struct minimal_shape *shape, bool gradient);

/* Sizes of what a caller provides, in floats: transformed weights, and work space of all threads. */
int64_t minimal_weights_size(const struct minimal_shape *shape);
int64_t minimal_work(const struct minimal_shape *shape, bool train);

/* u <- transformed weights, for minimal_forward from `in` to `out` channels; turned: for the data gradient, from `out`
 * to `in`. */
void minimal_prepare(float *u, const float *weights, const struct minimal_shape *shape, bool turned);

/* dst <- convolution of src [+ bias (NULL: none)] [+ dst where `sum`], then max(0, .) where `relu`. */
struct minimal_after {
    const float *bias; /* [out] */
    bool sum, relu;
};
void minimal_forward(float *dst, const float *src, const float *u, float *work, const struct minimal_shape *shape,
                     const struct minimal_after *after);

/* diff_src <- from diff_dst and weights prepared `turned`. */
void minimal_backward_data(float *diff_src, const float *diff_dst, const float *turned, float *work,
                           const struct minimal_shape *shape);

/* diff_weights <- from src and diff_dst; work for training. */
void minimal_backward_weights(float *diff_weights, const float *src, const float *diff_dst, float *work,
                              const struct minimal_shape *shape);

#endif
