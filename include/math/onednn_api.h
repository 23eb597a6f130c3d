/* oneDNN's C API, versions 2.6 and 3, behind one set of calls: what differs between them is
 * in src/math/onednn_api.c. For the files that call the library (src/nn/onednn*.c,
 * src/math/half_product.c) and nobody else.
 *
 * The library's reference code, hundreds of times slower than its kernels, is never
 * chosen: where it has nothing else for a shape, there is no primitive. */
#ifndef MATH_ONEDNN_API_H
#define MATH_ONEDNN_API_H

#include <dnnl.h>
#include <stdbool.h>
#include <stdint.h>

struct arena;

/* Shape, type and layout of a tensor: a plain structure in version 2, the library's own in version 3. */
#if DNNL_VERSION_MAJOR >= 3
typedef struct dnnl_memory_desc onednn_desc;
#else
typedef dnnl_memory_desc_t onednn_desc;
#endif

/* Owns descriptions; zero but for the arena at first. */
struct onednn_shelf {
    struct arena *arena;
    struct onednn_kept *first;
};
void onednn_shelf_clear(struct onednn_shelf *shelf);

/* Owned by the shelf. Those that dnnl_primitive_desc_query_md returns belong to the primitive. */
const onednn_desc *onednn_tagged(struct onednn_shelf *shelf, int rank, const int64_t *dims, dnnl_data_type_t type,
                                 dnnl_format_tag_t tag);
const onednn_desc *onednn_strided(struct onednn_shelf *shelf, int rank, const int64_t *dims, dnnl_data_type_t type,
                                  const int64_t *strides);
/* The layout to ask for with the weights [k x n] of a product: the library's own; plain where its reorder would get
 * that wrong (version 3.7, blocks that are padded). */
dnnl_format_tag_t onednn_packed(int64_t k, int64_t n);
dnnl_data_type_t onednn_type(const onednn_desc *desc);

/* Where values lie: by strides of the outer dimensions, with blocks of some dimensions inside. Borrowed. */
struct onednn_blocking {
    int rank, blocks;
    const dnnl_dim_t *dims, *padded, *strides, *block, *blocked; /* blocked[i]: the dimension that block[i] is of */
};
bool onednn_blocking(struct onednn_blocking *out, const onednn_desc *desc); /* false: lies in another way */

/* Whether the library's reorder between these layouts gives the right values. Where not, they are floats that become
 * bf16, and onednn_pack does it in plain loops: to nearest, zero where blocks are padded. */
bool onednn_reorder_is_right(const onednn_desc *to, const onednn_desc *from);
void onednn_pack(const onednn_desc *to, uint16_t *out, const onednn_desc *from, const float *in);

/* What every primitive is made for. */
struct onednn_use {
    dnnl_engine_t engine;
    const_dnnl_primitive_desc_t forward; /* of a gradient: the forward primitive it belongs to */
    bool sum;                            /* adds to what the output holds */
    dnnl_alg_kind_t function;            /* then applies this; 0: nothing */
};
struct onednn_convolution {
    const onednn_desc *src, *weights, *bias, *dst; /* or their gradients; bias: or NULL */
    const dnnl_dim_t *strides, *pad;
};
/* The first implementation that is no reference code, its scratch memory the caller's; NULL where there is none. The
 * caller ends it with dnnl_primitive_desc_destroy. */
dnnl_primitive_desc_t onednn_convolution(const struct onednn_use *use, dnnl_prop_kind_t kind, dnnl_alg_kind_t algorithm,
                                         const struct onednn_convolution *shape);
dnnl_primitive_desc_t onednn_max_pool(const struct onednn_use *use, dnnl_prop_kind_t kind, const onednn_desc *src,
                                      const onednn_desc *dst, const dnnl_dim_t *strides, const dnnl_dim_t *window,
                                      const dnnl_dim_t *pad);
dnnl_primitive_desc_t onednn_inner_product(const struct onednn_use *use, dnnl_prop_kind_t kind, const onednn_desc *src,
                                           const onednn_desc *weights, const onednn_desc *bias, const onednn_desc *dst);
dnnl_primitive_desc_t onednn_matmul(const struct onednn_use *use, const onednn_desc *a, const onednn_desc *b,
                                    const onednn_desc *bias, const onednn_desc *c);
dnnl_primitive_desc_t onednn_reorder(const struct onednn_use *use, const onednn_desc *to, const onednn_desc *from);

/* Whether the library may be asked which layouts a convolution likes best; otherwise it is told. */
bool onednn_weighs_layouts(void);
const char *onednn_kernel(const_dnnl_primitive_desc_t made); /* "jit:avx512_core"; the library's */
const char *onednn_isa(void);                                /* "avx512_core_bf16" */
int onednn_lanes(void); /* channels of a block that its kernels like: 16 with AVX-512, 8 without */

#endif
