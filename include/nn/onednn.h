/* The primitives of a network, from oneDNN (v2.6 C API; only src/nn/onednn.c knows it).
 *
 * A primitive is made once for one shape of shard and run on any memory. It
 * chooses the layouts it likes; where neighbours disagree the primitive reorders
 * through a shared staging buffer, and the reorder is counted. Scratch memory is
 * shared too: dn_finish allocates it after the last primitive was made. */
#ifndef NN_ONEDNN_H
#define NN_ONEDNN_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct dn;        /* engine, stream, shared buffers */
struct dn_layout; /* how a tensor of floats lies in memory; owned by the arena */
struct dn_conv;
struct dn_pool;
struct dn_linear;
struct dn_reorder;

/* Any activation layout as our own kernels see it: [images][groups][pixels][lanes], channels = groups * lanes.
 * NCHW has one lane, blocked layouts 8 or 16, NHWC one group. */
struct view {
    int64_t images, pixels;
    int groups, lanes;
};

/* Owned by the arena; primitives themselves end with dn_destroy. `name`s given below show in messages. */
struct dn *dn_create(struct arena *arena);
void dn_finish(struct dn *dn);
void dn_destroy(struct dn *dn);
int dn_reorders(const struct dn *dn);  /* reorders of activations or weight gradients a step runs, 0 when all agree */
int64_t dn_bytes(const struct dn *dn); /* of the shared buffers */
const char *dn_library(void);          /* "oneDNN 2.6.3" */
const char *dn_isa(void);              /* "avx512_core_bf16" */

const struct dn_layout *dn_plain(struct dn *dn, int rank, const int64_t *dims); /* row-major */
int64_t dn_floats(const struct dn_layout *layout);                              /* with padding, if any */
bool dn_same(const struct dn_layout *a, const struct dn_layout *b);
struct view dn_view(const struct dn_layout *layout); /* of images x channels x height x width, or images x channels */

/* Square convolution without bias while training; for inference bias, relu and adding to what `dst` holds. */
struct conv_shape {
    int images, in, out; /* channels */
    int h, w, oh, ow;    /* pixels in and out */
    int kernel, stride, pad;
};
struct dn_conv_spec {
    const char *name;
    struct conv_shape shape;
    bool train, data_gradient;
    bool bias, sum, relu;
};
struct dn_conv *dn_conv_create(struct dn *dn, const struct dn_conv_spec *spec, const struct dn_layout *src);
const struct dn_layout *dn_conv_dst(const struct dn_conv *conv);
const struct dn_layout *dn_conv_weights(const struct dn_conv *conv); /* of weights and their gradient */
const char *dn_conv_kernel(const struct dn_conv *conv);              /* implementation, "jit:avx512_core" */
void dn_conv_forward(struct dn_conv *conv, float *dst, const float *src, const float *weights, const float *bias);
/* Weights of the data gradient, reordered once a step for all shards; valid until another convolution is prepared. */
void dn_conv_prepare_backward(struct dn_conv *conv, const float *weights);
void dn_conv_backward_data(struct dn_conv *conv, float *diff_src, const float *diff_dst);
void dn_conv_backward_weights(struct dn_conv *conv, float *diff_weights, const float *src, const float *diff_dst);

/* Maximum over square windows; where padded, the padding never wins. `indices` remembers the winners. */
struct dn_pool *dn_pool_create(struct dn *dn, const char *name, const struct conv_shape *shape,
                               const struct dn_layout *src, bool train);
const struct dn_layout *dn_pool_dst(const struct dn_pool *pool);
int64_t dn_pool_index_bytes(const struct dn_pool *pool);
void dn_pool_forward(struct dn_pool *pool, float *dst, void *indices, const float *src);
void dn_pool_backward(struct dn_pool *pool, float *diff_src, const float *diff_dst, const void *indices);

/* dst [rows x out] = src [rows x in] weights^T + bias; weights [out x in]; all row-major. */
struct dn_linear *dn_linear_create(struct dn *dn, const char *name, int rows, int in, int out, bool train);
void dn_linear_forward(struct dn_linear *linear, float *dst, const float *src, const float *weights, const float *bias);
void dn_linear_backward_data(struct dn_linear *linear, float *diff_src, const float *diff_dst, const float *weights);
void dn_linear_backward_weights(struct dn_linear *linear, float *diff_weights, float *diff_bias, const float *src,
                                const float *diff_dst);

struct dn_reorder *dn_reorder_create(struct dn *dn, const struct dn_layout *to, const struct dn_layout *from);
void dn_reorder(struct dn_reorder *reorder, float *out, const float *in);

#endif
