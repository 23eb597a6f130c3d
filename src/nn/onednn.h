/* The primitives of a network, from oneDNN (only src/nn/onednn*.c know it).
 *
 * A primitive is made once for one shape of shard and run on any memory. It
 * chooses the layouts it likes; where neighbours disagree the primitive reorders
 * through a shared staging buffer, and the reorder is counted. Scratch memory is
 * shared too: dn_finish allocates it after the last primitive was made. */
#ifndef NN_ONEDNN_H
#define NN_ONEDNN_H

#include <stdbool.h>
#include <stdint.h>

#include "math/values.h"

struct arena;
struct dn;        /* engine, stream, shared buffers */
struct dn_layout; /* how a tensor lies in memory, and of what type; owned by the arena */
struct dn_conv;
struct dn_pool;
struct dn_linear;
struct dn_products;
struct dn_reorder;

/* What a primitive can be asked to do; the kernel of a pass that was not asked for is NULL. */
enum dn_pass { DN_FORWARD, DN_DATA, DN_WEIGHTS, DN_PASSES };

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
struct arena *dn_arena(const struct dn *dn);
int dn_reorders(const struct dn *dn);  /* reorders of activations or weight gradients a step runs, 0 when all agree */
int64_t dn_bytes(const struct dn *dn); /* of the shared buffers */
int dn_primitives(const struct dn *dn,
                  int *references); /* all of them, and those that are the library's reference code */
/* Memory for the time of one op's turn: ask for it before dn_finish; anybody's reorder overwrites it. */
void dn_ask_staging(struct dn *dn, int64_t bytes);
void *dn_staging(const struct dn *dn);
const char *dn_library(void); /* "oneDNN 2.6.3" */
const char *dn_isa(void);     /* "avx512_core_bf16" */

const struct dn_layout *dn_plain(struct dn *dn, int rank, const int64_t *dims); /* row-major, single precision */
/* images x channels x height x width with the channels last. */
const struct dn_layout *dn_rows(struct dn *dn, enum value_type type, const int64_t dims[4]);
/* images x channels x height x width in the layout that the first wide convolution chose for all. */
const struct dn_layout *dn_common_layout(struct dn *dn, enum value_type type, const int64_t dims[4]);
void dn_prefer_rows(struct dn *dn); /* convolutions keep to channel-last layouts; call first */
void dn_never_rows(struct dn *dn);  /* convolutions keep to blocked layouts, or plain ones; call first */
enum value_type dn_type(const struct dn_layout *layout);
int64_t dn_values(const struct dn_layout *layout); /* with padding, if any */
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
    enum value_type type; /* of source and destination */
    bool train, data_gradient;
    bool bias, sum, relu;
    bool direct; /* every product: 3x3 convolutions in single precision may be by minimal filtering otherwise */
};
struct dn_conv *dn_conv_create(struct dn *dn, const struct dn_conv_spec *spec, const struct dn_layout *src);
const struct dn_layout *dn_conv_dst(const struct dn_conv *conv);
/* Training: of weights and their gradient, single precision. Inference: of the forward primitive's weights. */
const struct dn_layout *dn_conv_weights(const struct dn_conv *conv);
/* Implementation, "jit:avx512_core"; "minimal" and "gemm:blis" are ours (nn/minimal.h, nn/gemm_conv.h). */
const char *dn_conv_kernel(const struct dn_conv *conv, enum dn_pass pass);
/* What the primitive takes as weights: themselves, or a copy in its own layout and type that serves all shards and is
 * valid until another primitive prepares one. */
const void *dn_conv_prepare_forward(struct dn_conv *conv, const float *weights);
const void *dn_conv_prepare_backward(struct dn_conv *conv, const float *weights);
/* Inference prepares its weights once, in memory of the caller's: dn_conv_ready_bytes, which begin with weights in the
 * layout of dn_conv_weights. */
int64_t dn_conv_ready_bytes(const struct dn_conv *conv);
void dn_conv_ready(struct dn_conv *conv, void *ready);
void dn_conv_forward(struct dn_conv *conv, void *dst, const void *src, const void *prepared, const float *bias);
void dn_conv_backward_data(struct dn_conv *conv, void *diff_src, const void *diff_dst, const void *prepared);
void dn_conv_backward_weights(struct dn_conv *conv, float *diff_weights, const void *src, const void *diff_dst);

/* Maximum over square windows; where padded, the padding never wins. `indices` remembers the winners. */
struct dn_pool *dn_pool_create(struct dn *dn, const char *name, const struct conv_shape *shape,
                               const struct dn_layout *src, bool train);
const struct dn_layout *dn_pool_dst(const struct dn_pool *pool);
int64_t dn_pool_index_bytes(const struct dn_pool *pool);
const char *dn_pool_kernel(const struct dn_pool *pool, enum dn_pass pass);
void dn_pool_forward(struct dn_pool *pool, void *dst, void *indices, const void *src);
void dn_pool_backward(struct dn_pool *pool, void *diff_src, const void *diff_dst, const void *indices);

/* dst [rows x out] = src [rows x in] weights^T + bias; src and dst row-major of type `type`, weights [out x in] and
 * their gradient row-major in single precision. Prepared weights as for convolutions. */
struct dn_linear_spec {
    const char *name;
    int rows, in, out;
    enum value_type type;
    bool train, data_gradient;
};
struct dn_linear *dn_linear_create(struct dn *dn, const struct dn_linear_spec *spec);
const char *dn_linear_kernel(const struct dn_linear *linear, enum dn_pass pass);
const void *dn_linear_prepare_forward(struct dn_linear *linear, const float *weights);
const void *dn_linear_prepare_backward(struct dn_linear *linear, const float *weights);
/* The same as dn_linear_prepare_forward, into memory of the caller's: [dn_linear_weight_bytes]. */
int64_t dn_linear_weight_bytes(const struct dn_linear *linear);
void dn_linear_pack(struct dn_linear *linear, void *packed, const float *weights);
void dn_linear_forward(struct dn_linear *linear, void *dst, const void *src, const void *prepared, const float *bias);
void dn_linear_backward_data(struct dn_linear *linear, void *diff_src, const void *diff_dst, const void *prepared);
void dn_linear_backward_weights(struct dn_linear *linear, float *diff_weights, float *diff_bias, const void *src,
                                const void *diff_dst);

/* C [m x n] = A [m x k] B [k x n] for every head of every image; an operand lies anywhere, by strides in values. */
struct dn_operand {
    enum value_type type;
    int64_t image, head, row, column;
};
struct dn_products_spec {
    const char *name;
    int images, heads, m, k, n;
    struct dn_operand c, a, b;
};
struct dn_products *dn_products_create(struct dn *dn, const struct dn_products_spec *spec);
const char *dn_products_kernel(const struct dn_products *products);
void dn_products(struct dn_products *products, void *c, const void *a, const void *b);

struct dn_reorder *dn_reorder_create(struct dn *dn, const struct dn_layout *to, const struct dn_layout *from);
void dn_reorder(struct dn_reorder *reorder, void *out, const void *in);

#endif
