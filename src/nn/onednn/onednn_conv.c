/* Convolution and maximum pooling: which primitive of oneDNN, in which layouts, and
 * where its results go. Two kinds of convolution are ours: those that minimal
 * filtering computes faster, and, by products over BLIS, those that the library has
 * no kernel for. */
#include "nn/onednn/onednn_calls.h"

#include <string.h>

#include "base/arena.h"
#include "nn/gemm_conv.h"
#include "nn/minimal.h"

struct dn_conv {
    struct dn *dn;
    struct call *forward, *data, *weights; /* NULL: ours */
    struct gemm_conv ours;
    struct minimal_shape tiles;
    bool filters[DN_PASSES]; /* runs by minimal filtering */
    bool sum, relu;
    bool trains, data_gradient;
    const struct dn_layout *src, *dst, *master;
    struct dn_reorder *src_in, *src_out, *gradient_out;    /* NULL where layouts agree */
    struct dn_reorder *forward_weights, *backward_weights; /* from the master copy */
};

struct dn_pool {
    struct dn *dn;
    struct call *forward, *backward;
    const struct dn_layout *dst;
    int64_t index_bytes;
};

/* ---- convolution ---- */

struct conv_dims {
    dnnl_dims_t src, dst, weights, bias, strides, pad;
};

static struct conv_dims conv_dims(const struct conv_shape *s)
{
    return (struct conv_dims){ .src = { s->images, s->in, s->h, s->w },
                               .dst = { s->images, s->out, s->oh, s->ow },
                               .weights = { s->out, s->in, s->kernel, s->kernel },
                               .bias = { s->out },
                               .strides = { s->stride, s->stride },
                               .pad = { s->pad, s->pad } };
}

/* A direct convolution; NULL where the library has none. */
static struct call *conv_make(struct dn *dn, dnnl_prop_kind_t kind, const struct onednn_convolution *shape,
                              const struct dn_conv_spec *spec, const struct call *forward)
{
    struct onednn_use use = dn_use(dn, forward);
    use.sum = spec->sum;
    use.function = spec->relu ? dnnl_eltwise_relu : dnnl_alg_kind_undef;
    return dn_make_any(dn, onednn_convolution(&use, kind, dnnl_convolution_direct, shape), spec->name);
}

static struct call *forward_call(struct dn *dn, const struct dn_conv_spec *spec, const onednn_desc *src,
                                 const onednn_desc *dst)
{
    struct conv_dims d = conv_dims(&spec->shape);
    const struct onednn_convolution shape = { src,
                                              dn_describe(dn, 4, d.weights, spec->type, dnnl_format_tag_any),
                                              spec->bias ? dn_describe(dn, 1, d.bias, VALUE_F32, dnnl_a) : NULL,
                                              dst,
                                              d.strides,
                                              d.pad };
    return conv_make(dn, spec->train ? dnnl_forward_training : dnnl_forward_inference, &shape, spec, NULL);
}

/* The first convolution's output decides for all, where our kernels can read it. */
static void found_house(struct dn *dn, const struct dn_conv_spec *spec, const struct call *forward)
{
    struct conv_dims d = conv_dims(&spec->shape);
    const onednn_desc *chosen = forward ? dn_query(forward, dnnl_query_dst_md) : NULL;
    struct view view;
    const int lanes = onednn_lanes();
    const dnnl_format_tag_t groups = lanes == 16 ? dnnl_nChw16c : dnnl_nChw8c;
    bool blocked = dn->blocked && spec->shape.out % lanes == 0;
    bool expressible = chosen && dn_view_of(&view, chosen);
    if (expressible && !(dn->blocked && view.groups == 1 && view.lanes > 1))
        dn->common = dn_layout_of(dn, chosen);
    else
        dn->common = dn_layout_of(dn, dn_describe(dn, 4, d.dst, spec->type, blocked ? groups : dnnl_nchw));
}

/* Weights of our own convolution. */
static const struct dn_layout *own_weights(struct dn *dn, const struct dn_conv_spec *spec)
{
    struct conv_dims d = conv_dims(&spec->shape);
    return dn_layout_of(dn, dn_describe(dn, 4, d.weights, VALUE_F32, dnnl_hwio));
}

/* One of the passes is ours. */
static void ask_own(struct dn_conv *conv, const struct dn_conv_spec *spec)
{
    struct dn *dn = conv->dn;
    conv->ours =
        (struct gemm_conv){ spec->shape, dn_view(conv->src), dn_view(conv->dst), spec->type, spec->sum, spec->relu };
    dn->scratch_bytes = dn_largest(dn->scratch_bytes, (size_t)gemm_conv_work(&conv->ours) * sizeof(float));
}

static const struct dn_layout *blocked_weights(struct dn *dn, const struct dn_conv_spec *spec, int lanes)
{
    struct conv_dims d = conv_dims(&spec->shape);
    return dn_layout_of(dn, dn_describe(dn, 4, d.weights, VALUE_F32, lanes == 16 ? dnnl_OIhw16i16o : dnnl_OIhw8i8o));
}

/* Which passes run by minimal filtering: it reads and writes the layouts that the direct primitive chose, where these
 * are blocks of channels. */
static void find_filtering(struct dn_conv *conv, const struct dn_conv_spec *spec)
{
    struct dn *dn = conv->dn;
    const struct conv_shape *s = &spec->shape;
    const struct view src = dn_view(conv->src), dst = dn_view(conv->dst);
    conv->tiles = (struct minimal_shape){ s->images, s->in, s->out, s->h, s->w, src.lanes };
    if (spec->direct || spec->type != VALUE_F32 || s->kernel != 3 || s->stride != 1 || s->pad != 1 ||
        (src.lanes != 8 && src.lanes != 16) || dst.lanes != src.lanes || !minimal_fits(&conv->tiles) ||
        !dn_same(conv->master, blocked_weights(dn, spec, src.lanes)))
        return;
    conv->filters[DN_FORWARD] = minimal_pays(&conv->tiles, false);
    conv->filters[DN_DATA] = conv->filters[DN_FORWARD] && spec->train && spec->data_gradient;
    conv->filters[DN_WEIGHTS] = spec->train && minimal_pays(&conv->tiles, true);
    if (!conv->filters[DN_FORWARD] && !conv->filters[DN_WEIGHTS])
        return;
    dn->weights_bytes = dn_largest(dn->weights_bytes, (size_t)minimal_weights_size(&conv->tiles) * sizeof(float));
    dn->scratch_bytes = dn_largest(dn->scratch_bytes, (size_t)minimal_work(&conv->tiles, spec->train) * sizeof(float));
}

/* Forward: the primitive's own choice of layouts, unless it differs from the common one. */
static void create_forward(struct dn_conv *conv, const struct dn_conv_spec *spec, const struct dn_layout *src)
{
    struct dn *dn = conv->dn;
    struct conv_dims d = conv_dims(&spec->shape);
    const onednn_desc *any_src = dn_describe(dn, 4, d.src, spec->type, dnnl_format_tag_any);
    const onednn_desc *any_dst = dn_describe(dn, 4, d.dst, spec->type, dnnl_format_tag_any);
    if (dn->rows)
        any_src = dn_common_desc(dn, d.src, spec->type);
    const bool free = !dn->common || onednn_weighs_layouts();
    conv->forward = free ? forward_call(dn, spec, any_src, any_dst) : NULL;
    if (!dn->common)
        found_house(dn, spec, conv->forward);
    const onednn_desc *dst = dn_common_desc(dn, d.dst, spec->type);
    const onednn_desc *from = dn_type(src) == spec->type ? src->md : dn_common_desc(dn, d.src, spec->type);
    if (!free)
        conv->forward = forward_call(dn, spec, from, dst);
    if (conv->forward && !dnnl_memory_desc_equal(dst, dn_query(conv->forward, dnnl_query_dst_md)))
        conv->forward = forward_call(dn, spec, from, dst);
    conv->src = dn_layout_of(dn, conv->forward ? dn_query(conv->forward, dnnl_query_src_md) : from);
    conv->dst = dn_layout_of(dn, conv->forward ? dn_query(conv->forward, dnnl_query_dst_md) : dst);
    conv->master =
        conv->forward ? dn_layout_of(dn, dn_query(conv->forward, dnnl_query_weights_md)) : own_weights(dn, spec);
    conv->src_in = dn_staged(dn, conv->src, src);
    if (!conv->forward) {
        ask_own(conv, spec);
        return;
    }
    dn_call_arg(dn, conv->forward, DNNL_ARG_DST, conv->dst->md);
    dn_call_arg(dn, conv->forward, DNNL_ARG_SRC, conv->src->md);
    dn_call_arg(dn, conv->forward, DNNL_ARG_WEIGHTS, conv->master->md);
    if (spec->bias)
        dn_call_arg(dn, conv->forward, DNNL_ARG_BIAS,
                    dnnl_primitive_desc_query_md(conv->forward->pd, dnnl_query_weights_md, 1));
}

/* A gradient's primitive; the library asks for the forward one that belongs to it. NULL: ours. */
static struct call *gradient_make(struct dn_conv *conv, dnnl_prop_kind_t kind, const struct dn_conv_spec *spec,
                                  enum value_type weights)
{
    struct dn *dn = conv->dn;
    struct conv_dims d = conv_dims(&spec->shape);
    const struct onednn_convolution shape = { .src = conv->src->md,
                                              .weights = dn_describe(dn, 4, d.weights, weights, dnnl_format_tag_any),
                                              .dst = conv->dst->md,
                                              .strides = d.strides,
                                              .pad = d.pad };
    struct call *call = conv->forward ? conv_make(dn, kind, &shape, spec, conv->forward) : NULL;
    if (!call)
        ask_own(conv, spec);
    return call;
}

static void create_backward_data(struct dn_conv *conv, const struct dn_conv_spec *spec, const struct dn_layout *src)
{
    struct dn *dn = conv->dn;
    if (conv->filters[DN_DATA]) {
        conv->src_out = dn_staged(dn, src, conv->src);
        return;
    }
    const struct dn_layout *chosen = own_weights(dn, spec);
    conv->data = gradient_make(conv, dnnl_backward_data, spec, spec->type);
    if (conv->data) {
        chosen = dn_layout_of(dn, dn_query(conv->data, dnnl_query_weights_md));
        dn_call_arg(dn, conv->data, DNNL_ARG_DIFF_SRC, conv->src->md);
        dn_call_arg(dn, conv->data, DNNL_ARG_DIFF_DST, conv->dst->md);
        dn_call_arg(dn, conv->data, DNNL_ARG_WEIGHTS, chosen->md);
    }
    conv->src_out = dn_staged(dn, src, conv->src);
    conv->backward_weights = dn_prepares(dn, chosen, conv->master);
}

/* The gradient is in single precision. So is the master copy of the weights: in the forward primitive's layout where
 * that is of the same type, otherwise in the gradient's. */
static void create_backward_weights(struct dn_conv *conv, const struct dn_conv_spec *spec)
{
    struct dn *dn = conv->dn;
    if (conv->filters[DN_WEIGHTS])
        return;
    const struct dn_layout *chosen = own_weights(dn, spec);
    conv->weights = gradient_make(conv, dnnl_backward_weights, spec, VALUE_F32);
    if (conv->weights) {
        chosen = dn_layout_of(dn, dn_query(conv->weights, dnnl_query_diff_weights_md));
        dn_call_arg(dn, conv->weights, DNNL_ARG_DIFF_WEIGHTS, chosen->md);
        dn_call_arg(dn, conv->weights, DNNL_ARG_SRC, conv->src->md);
        dn_call_arg(dn, conv->weights, DNNL_ARG_DIFF_DST, conv->dst->md);
    }
    if (spec->type != VALUE_F32) {
        conv->forward_weights = dn_prepares(dn, conv->master, chosen);
        conv->master = chosen;
    } else if (!dn_same(chosen, conv->master)) {
        conv->gradient_out = dn_reorder_create(dn, conv->master, chosen);
        dn->gradient_bytes = dn_largest(dn->gradient_bytes, dnnl_memory_desc_get_size(chosen->md));
        dn->reorders++;
    }
}

struct dn_conv *dn_conv_create(struct dn *dn, const struct dn_conv_spec *spec, const struct dn_layout *src)
{
    struct dn_conv *conv = arena_array(dn->arena, struct dn_conv, 1);
    conv->dn = dn;
    conv->trains = spec->train;
    conv->data_gradient = spec->data_gradient;
    conv->sum = spec->sum;
    conv->relu = spec->relu;
    create_forward(conv, spec, src);
    find_filtering(conv, spec);
    if (spec->train)
        create_backward_weights(conv, spec);
    if (spec->train && spec->data_gradient)
        create_backward_data(conv, spec, src);
    return conv;
}

const struct dn_layout *dn_conv_dst(const struct dn_conv *conv)
{
    return conv->dst;
}

const struct dn_layout *dn_conv_weights(const struct dn_conv *conv)
{
    return conv->master;
}

const char *dn_conv_kernel(const struct dn_conv *conv, enum dn_pass pass)
{
    const struct call *calls[DN_PASSES] = { conv->forward, conv->data, conv->weights };
    const bool asked[DN_PASSES] = { true, conv->trains && conv->data_gradient, conv->trains };
    if (!asked[pass])
        return NULL;
    return conv->filters[pass] ? "minimal" : calls[pass] ? dn_kernel(calls[pass]) : "gemm:blis";
}

/* The input in the primitive's layout: itself, or a copy in the staging buffer. */
static const void *conv_source(struct dn_conv *conv, const void *src)
{
    if (!conv->src_in)
        return src;
    dn_reorder(conv->src_in, conv->dn->staging, src);
    return conv->dn->staging;
}

static const void *conv_filter(struct dn_conv *conv, const float *weights, bool turned)
{
    minimal_prepare(conv->dn->prepared, weights, &conv->tiles, turned);
    return conv->dn->prepared;
}

const void *dn_conv_prepare_forward(struct dn_conv *conv, const float *weights)
{
    if (conv->filters[DN_FORWARD])
        return conv_filter(conv, weights, false);
    return dn_prepare(conv->dn, conv->forward_weights, weights);
}

const void *dn_conv_prepare_backward(struct dn_conv *conv, const float *weights)
{
    if (conv->filters[DN_DATA])
        return conv_filter(conv, weights, true);
    return dn_prepare(conv->dn, conv->backward_weights, weights);
}

int64_t dn_conv_ready_bytes(const struct dn_conv *conv)
{
    const int64_t values = conv->filters[DN_FORWARD] ? minimal_weights_size(&conv->tiles) : dn_values(conv->master);
    return values * value_bytes(dn_type(conv->master));
}

void dn_conv_ready(struct dn_conv *conv, void *ready)
{
    if (!conv->filters[DN_FORWARD])
        return;
    memcpy(conv->dn->prepared, ready, (size_t)dn_values(conv->master) * sizeof(float));
    minimal_prepare(ready, conv->dn->prepared, &conv->tiles, false);
}

void dn_conv_forward(struct dn_conv *conv, void *dst, const void *src, const void *prepared, const float *bias)
{
    const void *in = conv_source(conv, src);
    if (conv->filters[DN_FORWARD])
        minimal_forward(dst, in, prepared, conv->dn->scratch, &conv->tiles,
                        &(struct minimal_after){ bias, conv->sum, conv->relu });
    else if (conv->forward)
        dn_call_run(conv->dn, conv->forward, (const void *[]){ dst, in, prepared, bias });
    else
        gemm_conv_forward(dst, &conv->ours, in, prepared, bias, conv->dn->scratch);
}

void dn_conv_backward_data(struct dn_conv *conv, void *diff_src, const void *diff_dst, const void *prepared)
{
    void *out = conv->src_out ? conv->dn->staging : diff_src;
    if (conv->filters[DN_DATA])
        minimal_backward_data(out, diff_dst, prepared, conv->dn->scratch, &conv->tiles);
    else if (conv->data)
        dn_call_run(conv->dn, conv->data, (const void *[]){ out, diff_dst, prepared });
    else
        gemm_conv_backward_data(out, &conv->ours, diff_dst, prepared, conv->dn->scratch);
    if (conv->src_out)
        dn_reorder(conv->src_out, diff_src, out);
}

void dn_conv_backward_weights(struct dn_conv *conv, float *diff_weights, const void *src, const void *diff_dst)
{
    float *out = conv->gradient_out ? conv->dn->gradient : diff_weights;
    const void *in = conv_source(conv, src);
    if (conv->filters[DN_WEIGHTS])
        minimal_backward_weights(out, in, diff_dst, conv->dn->scratch, &conv->tiles);
    else if (conv->weights)
        dn_call_run(conv->dn, conv->weights, (const void *[]){ out, in, diff_dst });
    else
        gemm_conv_backward_weights(out, &conv->ours, in, diff_dst, conv->dn->scratch);
    if (conv->gradient_out)
        dn_reorder(conv->gradient_out, diff_weights, out);
}

/* ---- pooling ---- */

struct dn_pool *dn_pool_create(struct dn *dn, const char *name, const struct conv_shape *s, const struct dn_layout *src,
                               bool train)
{
    struct dn_pool *pool = arena_array(dn->arena, struct dn_pool, 1);
    struct conv_dims d = conv_dims(s);
    dnnl_dims_t kernel = { s->kernel, s->kernel };
    const onednn_desc *dst = dn_describe(dn, 4, d.dst, dn_type(src), dnnl_format_tag_any);
    struct onednn_use use = dn_use(dn, NULL);
    pool->dn = dn;
    pool->forward = dn_make(dn,
                            onednn_max_pool(&use, train ? dnnl_forward_training : dnnl_forward_inference, src->md, dst,
                                            d.strides, kernel, d.pad),
                            name);
    pool->dst = dn_layout_of(dn, dn_query(pool->forward, dnnl_query_dst_md));
    dn_call_arg(dn, pool->forward, DNNL_ARG_DST, pool->dst->md);
    dn_call_arg(dn, pool->forward, DNNL_ARG_SRC, src->md);
    if (!train)
        return pool;
    const onednn_desc *index = dn_query(pool->forward, dnnl_query_workspace_md);
    pool->index_bytes = (int64_t)dnnl_memory_desc_get_size(index);
    dn_call_arg(dn, pool->forward, DNNL_ARG_WORKSPACE, index);
    use = dn_use(dn, pool->forward);
    pool->backward =
        dn_make(dn, onednn_max_pool(&use, dnnl_backward_data, src->md, pool->dst->md, d.strides, kernel, d.pad), name);
    dn_call_arg(dn, pool->backward, DNNL_ARG_DIFF_SRC, src->md);
    dn_call_arg(dn, pool->backward, DNNL_ARG_DIFF_DST, pool->dst->md);
    dn_call_arg(dn, pool->backward, DNNL_ARG_WORKSPACE, index);
    return pool;
}

const struct dn_layout *dn_pool_dst(const struct dn_pool *pool)
{
    return pool->dst;
}

const char *dn_pool_kernel(const struct dn_pool *pool, enum dn_pass pass)
{
    return pass == DN_FORWARD ? dn_kernel(pool->forward) : pass == DN_DATA ? dn_kernel(pool->backward) : NULL;
}

int64_t dn_pool_index_bytes(const struct dn_pool *pool)
{
    return pool->index_bytes;
}

void dn_pool_forward(struct dn_pool *pool, void *dst, void *indices, const void *src)
{
    dn_call_run(pool->dn, pool->forward, (const void *[]){ dst, src, indices });
}

void dn_pool_backward(struct dn_pool *pool, void *diff_src, const void *diff_dst, const void *indices)
{
    dn_call_run(pool->dn, pool->backward, (const void *[]){ diff_src, diff_dst, indices });
}
