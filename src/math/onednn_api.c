/* What differs between versions 2.6 and 3 of oneDNN's C API: descriptions are
 * structures there and objects here; operations are described first there and
 * made at once here; attributes take other arguments. */
#include "math/onednn_api.h"

#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "math/bf16.h"

struct onednn_kept {
    onednn_desc *desc;
    struct onednn_kept *next;
};

static void check(dnnl_status_t status, const char *what)
{
    require(status == dnnl_success, EXIT_INTERNAL, "oneDNN: %s failed with status %d", what, (int)status);
}

const char *onednn_kernel(const_dnnl_primitive_desc_t made)
{
    const char *text = "";
    dnnl_primitive_desc_query(made, dnnl_query_impl_info_str, 0, &text);
    return text;
}

static bool is_reference(const_dnnl_primitive_desc_t made)
{
    return strstr(onednn_kernel(made), "ref") != NULL;
}

const char *onednn_isa(void)
{
    static const struct {
        int isa;
        const char *name;
    } names[] = {
        { dnnl_cpu_isa_sse41, "sse41" },
        { dnnl_cpu_isa_avx, "avx" },
        { dnnl_cpu_isa_avx2, "avx2" },
        { dnnl_cpu_isa_avx2_vnni, "avx2_vnni" },
        { dnnl_cpu_isa_avx512_core, "avx512_core" },
        { dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni" },
        { dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16" },
#if DNNL_VERSION_MAJOR >= 3
        { dnnl_cpu_isa_avx2_vnni_2, "avx2_vnni_2" },
        { dnnl_cpu_isa_avx512_core_fp16, "avx512_core_fp16" },
        { dnnl_cpu_isa_avx512_core_amx_fp16, "avx512_core_amx_fp16" },
#endif
        { dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx" }
    };
    int isa = (int)dnnl_get_effective_cpu_isa();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].isa == isa)
            return names[i].name;
    return "another";
}

dnnl_format_tag_t onednn_packed(int64_t k, int64_t n)
{
    /* 3.7.2 with AVX-512: jit:uni mixes columns up when it fills up the last block, from a transposed matrix at most n,
     * from floats to pairs of bf16 at odd k. There is no other reorder, and 64 is the largest block. */
    return DNNL_VERSION_MAJOR < 3 || (k % 64 == 0 && n % 64 == 0) ? dnnl_format_tag_any : dnnl_ab;
}

bool onednn_reorder_is_right(const onednn_desc *to, const onednn_desc *from)
{
    /* The same fault of 3.7.2: weights of three input channels in pairs of bf16. */
    struct onednn_blocking b;
    if (DNNL_VERSION_MAJOR < 3 || onednn_type(to) != dnnl_bf16 || onednn_type(from) != dnnl_f32 ||
        !onednn_blocking(&b, to))
        return true;
    bool padded = false;
    for (int i = 0; i < b.rank; i++)
        padded = padded || b.padded[i] != b.dims[i];
    return !padded;
}

static int64_t offset_of(const struct onednn_blocking *b, const int64_t *at)
{
    int64_t outer[DNNL_MAX_NDIMS], offset = 0, step = 1;
    memcpy(outer, at, (size_t)b->rank * sizeof *at);
    for (int i = b->blocks - 1; i >= 0; i--) {
        int64_t *place = &outer[b->blocked[i]];
        offset += *place % b->block[i] * step;
        *place /= b->block[i];
        step *= b->block[i];
    }
    for (int i = 0; i < b->rank; i++)
        offset += outer[i] * b->strides[i];
    return offset;
}

void onednn_pack(const onednn_desc *to, uint16_t *out, const onednn_desc *from, const float *in)
{
    struct onednn_blocking target, source;
    require(onednn_blocking(&target, to) && onednn_blocking(&source, from), EXIT_INTERNAL,
            "oneDNN: a layout that is not one of blocks");
    int64_t at[DNNL_MAX_NDIMS] = { 0 }, count = 1;
    for (int i = 0; i < target.rank; i++)
        count *= target.dims[i];
    memset(out, 0, dnnl_memory_desc_get_size(to));
    for (int64_t n = 0; n < count; n++) {
        const float value = in[offset_of(&source, at)];
        out[offset_of(&target, at)] = bf16_from_float(value);
        for (int i = target.rank - 1; i >= 0 && ++at[i] == target.dims[i]; i--)
            at[i] = 0;
    }
}

bool onednn_weighs_layouts(void)
{
    /* 3.7.2 divides by zero over 1x1 convolutions (resnet50, densenet121) on some processors with AVX-512. */
    return DNNL_VERSION_MAJOR < 3;
}

int onednn_lanes(void)
{
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();
    return (isa & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core ? 16 : 8;
}

static dnnl_primitive_attr_t attributes(const struct onednn_use *use)
{
    dnnl_primitive_attr_t attr;
    dnnl_post_ops_t ops;
    check(dnnl_primitive_attr_create(&attr), "attributes");
    check(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user), "scratchpad");
    check(dnnl_post_ops_create(&ops), "post-ops");
#if DNNL_VERSION_MAJOR >= 3
    if (use->sum)
        check(dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef), "sum");
    if (use->function != dnnl_alg_kind_undef)
        check(dnnl_post_ops_append_eltwise(ops, use->function, 0.0f, 0.0f), "function");
#else
    if (use->sum)
        check(dnnl_post_ops_append_sum(ops, 1.0f), "sum");
    if (use->function != dnnl_alg_kind_undef)
        check(dnnl_post_ops_append_eltwise(ops, 1.0f, use->function, 0.0f, 0.0f), "function");
#endif
    check(dnnl_primitive_attr_set_post_ops(attr, ops), "post-ops");
    dnnl_post_ops_destroy(ops);
    return attr;
}

dnnl_primitive_desc_t onednn_reorder(const struct onednn_use *use, const onednn_desc *to, const onednn_desc *from)
{
    dnnl_primitive_attr_t attr = attributes(use);
    dnnl_primitive_desc_t made = NULL;
    dnnl_status_t status = dnnl_reorder_primitive_desc_create(&made, from, use->engine, to, use->engine, attr);
    dnnl_primitive_attr_destroy(attr);
    if (status != dnnl_success || !is_reference(made))
        return status == dnnl_success ? made : NULL;
    dnnl_primitive_desc_destroy(made); /* it has one a pair of layouts */
    return NULL;
}

static onednn_desc *keep(struct onednn_shelf *shelf, onednn_desc *desc)
{
    struct onednn_kept *kept = arena_array(shelf->arena, struct onednn_kept, 1);
    *kept = (struct onednn_kept){ desc, shelf->first };
    shelf->first = kept;
    return desc;
}

/* The library reads all dimensions, used or not. */
struct all_dims {
    dnnl_dims_t at;
};

static struct all_dims all_dims(int rank, const int64_t *dims)
{
    struct all_dims all = { { 0 } };
    memcpy(all.at, dims, (size_t)rank * sizeof *dims);
    return all;
}

#if DNNL_VERSION_MAJOR >= 3

static const dnnl_dims_t close_by; /* no dilation */

void onednn_shelf_clear(struct onednn_shelf *shelf)
{
    for (; shelf->first; shelf->first = shelf->first->next)
        dnnl_memory_desc_destroy(shelf->first->desc);
}

const onednn_desc *onednn_tagged(struct onednn_shelf *shelf, int rank, const int64_t *dims, dnnl_data_type_t type,
                                 dnnl_format_tag_t tag)
{
    const struct all_dims all = all_dims(rank, dims);
    onednn_desc *desc;
    check(dnnl_memory_desc_create_with_tag(&desc, rank, all.at, type, tag), "layout of a tensor");
    return keep(shelf, desc);
}

const onednn_desc *onednn_strided(struct onednn_shelf *shelf, int rank, const int64_t *dims, dnnl_data_type_t type,
                                  const int64_t *strides)
{
    const struct all_dims all = all_dims(rank, dims), apart = all_dims(rank, strides);
    onednn_desc *desc;
    check(dnnl_memory_desc_create_with_strides(&desc, rank, all.at, type, apart.at), "layout of a tensor");
    return keep(shelf, desc);
}

static void ask(void *result, const onednn_desc *desc, dnnl_query_t what)
{
    check(dnnl_memory_desc_query(desc, what, result), "a question about a layout");
}

dnnl_data_type_t onednn_type(const onednn_desc *desc)
{
    dnnl_data_type_t type;
    ask(&type, desc, dnnl_query_data_type);
    return type;
}

bool onednn_blocking(struct onednn_blocking *out, const onednn_desc *desc)
{
    dnnl_format_kind_t kind;
    const dnnl_dims_t *dims, *padded, *strides, *block, *blocked;
    ask(&kind, desc, dnnl_query_format_kind);
    if (kind != dnnl_blocked)
        return false;
    ask(&out->rank, desc, dnnl_query_ndims_s32);
    ask(&out->blocks, desc, dnnl_query_inner_nblks_s32);
    ask(&dims, desc, dnnl_query_dims);
    ask(&padded, desc, dnnl_query_padded_dims);
    ask(&strides, desc, dnnl_query_strides);
    ask(&block, desc, dnnl_query_inner_blks);
    ask(&blocked, desc, dnnl_query_inner_idxs);
    out->dims = *dims;
    out->padded = *padded;
    out->strides = *strides;
    out->block = *block;
    out->blocked = *blocked;
    return true;
}

/* Of what the library offers, the first that is no reference code. */
static dnnl_primitive_desc_t chosen(dnnl_status_t status, dnnl_primitive_desc_t made, dnnl_primitive_attr_t attr)
{
    dnnl_primitive_attr_destroy(attr);
    while (status == dnnl_success && is_reference(made))
        if (dnnl_primitive_desc_next_impl(made) != dnnl_success) {
            dnnl_primitive_desc_destroy(made);
            return NULL;
        }
    return status == dnnl_success ? made : NULL;
}

dnnl_primitive_desc_t onednn_convolution(const struct onednn_use *use, dnnl_prop_kind_t kind, dnnl_alg_kind_t algorithm,
                                         const struct onednn_convolution *s)
{
    dnnl_primitive_attr_t attr = attributes(use);
    dnnl_primitive_desc_t made = NULL;
    dnnl_status_t status;
    if (kind == dnnl_backward_data)
        status = dnnl_convolution_backward_data_primitive_desc_create(&made, use->engine, algorithm, s->src, s->weights,
                                                                      s->dst, s->strides, close_by, s->pad, s->pad,
                                                                      use->forward, attr);
    else if (kind == dnnl_backward_weights)
        status = dnnl_convolution_backward_weights_primitive_desc_create(&made, use->engine, algorithm, s->src,
                                                                         s->weights, s->bias, s->dst, s->strides,
                                                                         close_by, s->pad, s->pad, use->forward, attr);
    else
        status =
            dnnl_convolution_forward_primitive_desc_create(&made, use->engine, kind, algorithm, s->src, s->weights,
                                                           s->bias, s->dst, s->strides, close_by, s->pad, s->pad, attr);
    return chosen(status, made, attr);
}

dnnl_primitive_desc_t onednn_max_pool(const struct onednn_use *use, dnnl_prop_kind_t kind, const onednn_desc *src,
                                      const onednn_desc *dst, const dnnl_dim_t *strides, const dnnl_dim_t *window,
                                      const dnnl_dim_t *pad)
{
    dnnl_primitive_attr_t attr = attributes(use);
    dnnl_primitive_desc_t made = NULL;
    dnnl_status_t status;
    if (kind == dnnl_backward_data)
        status = dnnl_pooling_backward_primitive_desc_create(&made, use->engine, dnnl_pooling_max, src, dst, strides,
                                                             window, close_by, pad, pad, use->forward, attr);
    else
        status = dnnl_pooling_forward_primitive_desc_create(&made, use->engine, kind, dnnl_pooling_max, src, dst,
                                                            strides, window, close_by, pad, pad, attr);
    return chosen(status, made, attr);
}

dnnl_primitive_desc_t onednn_inner_product(const struct onednn_use *use, dnnl_prop_kind_t kind, const onednn_desc *src,
                                           const onednn_desc *weights, const onednn_desc *bias, const onednn_desc *dst)
{
    dnnl_primitive_attr_t attr = attributes(use);
    dnnl_primitive_desc_t made = NULL;
    dnnl_status_t status;
    if (kind == dnnl_backward_weights)
        status = dnnl_inner_product_backward_weights_primitive_desc_create(&made, use->engine, src, weights, bias, dst,
                                                                           use->forward, attr);
    else
        status =
            dnnl_inner_product_forward_primitive_desc_create(&made, use->engine, kind, src, weights, bias, dst, attr);
    return chosen(status, made, attr);
}

dnnl_primitive_desc_t onednn_matmul(const struct onednn_use *use, const onednn_desc *a, const onednn_desc *b,
                                    const onednn_desc *bias, const onednn_desc *c)
{
    dnnl_primitive_attr_t attr = attributes(use);
    dnnl_primitive_desc_t made = NULL;
    dnnl_status_t status = dnnl_matmul_primitive_desc_create(&made, use->engine, a, b, bias, c, attr);
    return chosen(status, made, attr);
}

#else

void onednn_shelf_clear(struct onednn_shelf *shelf)
{
    shelf->first = NULL;
}

const onednn_desc *onednn_tagged(struct onednn_shelf *shelf, int rank, const int64_t *dims, dnnl_data_type_t type,
                                 dnnl_format_tag_t tag)
{
    const struct all_dims all = all_dims(rank, dims);
    onednn_desc *desc = keep(shelf, arena_array(shelf->arena, onednn_desc, 1));
    check(dnnl_memory_desc_init_by_tag(desc, rank, all.at, type, tag), "layout of a tensor");
    return desc;
}

const onednn_desc *onednn_strided(struct onednn_shelf *shelf, int rank, const int64_t *dims, dnnl_data_type_t type,
                                  const int64_t *strides)
{
    const struct all_dims all = all_dims(rank, dims), apart = all_dims(rank, strides);
    onednn_desc *desc = keep(shelf, arena_array(shelf->arena, onednn_desc, 1));
    check(dnnl_memory_desc_init_by_strides(desc, rank, all.at, type, apart.at), "layout of a tensor");
    return desc;
}

dnnl_data_type_t onednn_type(const onednn_desc *desc)
{
    return desc->data_type;
}

bool onednn_blocking(struct onednn_blocking *out, const onednn_desc *desc)
{
    const dnnl_blocking_desc_t *b = &desc->format_desc.blocking;
    if (desc->format_kind != dnnl_blocked)
        return false;
    *out = (struct onednn_blocking){ .rank = desc->ndims,
                                     .blocks = b->inner_nblks,
                                     .dims = desc->dims,
                                     .padded = desc->padded_dims,
                                     .strides = b->strides,
                                     .block = b->inner_blks,
                                     .blocked = b->inner_idxs };
    return true;
}

/* Of what the library offers for a described operation, the first that is no reference code. */
static dnnl_primitive_desc_t chosen(dnnl_status_t status, const_dnnl_op_desc_t operation, const struct onednn_use *use)
{
    dnnl_primitive_desc_iterator_t list;
    dnnl_primitive_desc_t made = NULL;
    if (status != dnnl_success)
        return NULL;
    dnnl_primitive_attr_t attr = attributes(use);
    status = dnnl_primitive_desc_iterator_create(&list, operation, attr, use->engine, use->forward);
    dnnl_primitive_attr_destroy(attr);
    if (status != dnnl_success)
        return NULL;
    while (status == dnnl_success && !made) {
        made = dnnl_primitive_desc_iterator_fetch(list);
        if (is_reference(made)) {
            dnnl_primitive_desc_destroy(made);
            made = NULL;
            status = dnnl_primitive_desc_iterator_next(list);
        }
    }
    dnnl_primitive_desc_iterator_destroy(list);
    return made;
}

dnnl_primitive_desc_t onednn_convolution(const struct onednn_use *use, dnnl_prop_kind_t kind, dnnl_alg_kind_t algorithm,
                                         const struct onednn_convolution *s)
{
    dnnl_convolution_desc_t op;
    dnnl_status_t status;
    if (kind == dnnl_backward_data)
        status = dnnl_convolution_backward_data_desc_init(&op, algorithm, s->src, s->weights, s->dst, s->strides,
                                                          s->pad, s->pad);
    else if (kind == dnnl_backward_weights)
        status = dnnl_convolution_backward_weights_desc_init(&op, algorithm, s->src, s->weights, s->bias, s->dst,
                                                             s->strides, s->pad, s->pad);
    else
        status = dnnl_convolution_forward_desc_init(&op, kind, algorithm, s->src, s->weights, s->bias, s->dst,
                                                    s->strides, s->pad, s->pad);
    return chosen(status, &op, use);
}

dnnl_primitive_desc_t onednn_max_pool(const struct onednn_use *use, dnnl_prop_kind_t kind, const onednn_desc *src,
                                      const onednn_desc *dst, const dnnl_dim_t *strides, const dnnl_dim_t *window,
                                      const dnnl_dim_t *pad)
{
    dnnl_pooling_desc_t op;
    dnnl_status_t status;
    if (kind == dnnl_backward_data)
        status = dnnl_pooling_backward_desc_init(&op, dnnl_pooling_max, src, dst, strides, window, pad, pad);
    else
        status = dnnl_pooling_forward_desc_init(&op, kind, dnnl_pooling_max, src, dst, strides, window, pad, pad);
    return chosen(status, &op, use);
}

dnnl_primitive_desc_t onednn_inner_product(const struct onednn_use *use, dnnl_prop_kind_t kind, const onednn_desc *src,
                                           const onednn_desc *weights, const onednn_desc *bias, const onednn_desc *dst)
{
    dnnl_inner_product_desc_t op;
    dnnl_status_t status;
    if (kind == dnnl_backward_weights)
        status = dnnl_inner_product_backward_weights_desc_init(&op, src, weights, bias, dst);
    else
        status = dnnl_inner_product_forward_desc_init(&op, kind, src, weights, bias, dst);
    return chosen(status, &op, use);
}

dnnl_primitive_desc_t onednn_matmul(const struct onednn_use *use, const onednn_desc *a, const onednn_desc *b,
                                    const onednn_desc *bias, const onednn_desc *c)
{
    dnnl_matmul_desc_t op;
    return chosen(dnnl_matmul_desc_init(&op, a, b, bias, c), &op, use);
}

#endif
