/* Layouts, calls, convolution and pooling over oneDNN's C API, version 2.6.
 * Only the files onednn*.c know the library: another API of it stands beside
 * them, behind the same header. What runs when is left to the ops. */
#include "nn/onednn_calls.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"

enum { MINIMAL_SCRATCH = 48 << 20 }; /* bytes */

struct dn_conv {
    struct dn *dn;
    struct call *forward, *data, *weights;
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

void dn_check(dnnl_status_t status, const char *what, const char *name)
{
    require(status == dnnl_success, EXIT_INTERNAL, "oneDNN: %s of %s failed with status %d", what, name, (int)status);
}

struct dn *dn_create(struct arena *arena)
{
    struct dn *dn = arena_array(arena, struct dn, 1);
    dn->arena = arena;
    dn_check(dnnl_engine_create(&dn->engine, dnnl_cpu, 0), "engine", "the processor");
    dn_check(dnnl_stream_create(&dn->stream, dn->engine, dnnl_stream_default_flags), "stream", "the processor");
    return dn;
}

void dn_finish(struct dn *dn)
{
    dn->scratch = arena_take_raw(dn->arena, dn->scratch_bytes + 64, 1);
    dn->staging = arena_take_raw(dn->arena, dn->staging_bytes + 64, 1);
    dn->prepared = arena_take_raw(dn->arena, dn->weights_bytes + 64, 1);
    dn->gradient = arena_take_raw(dn->arena, dn->gradient_bytes + 64, 1);
}

void dn_destroy(struct dn *dn)
{
    for (struct call *c = dn->calls; c; c = c->next) {
        for (int i = 0; i < c->count; i++)
            dnnl_memory_destroy(c->args[i].memory);
        dnnl_primitive_destroy(c->primitive);
        dnnl_primitive_desc_destroy(c->pd);
    }
    dn->calls = NULL;
    dnnl_stream_destroy(dn->stream);
    dnnl_engine_destroy(dn->engine);
}

int dn_reorders(const struct dn *dn)
{
    return dn->reorders;
}

int64_t dn_bytes(const struct dn *dn)
{
    return (int64_t)(dn->scratch_bytes + dn->staging_bytes + dn->weights_bytes + dn->gradient_bytes);
}

struct arena *dn_arena(const struct dn *dn)
{
    return dn->arena;
}

void dn_ask_staging(struct dn *dn, int64_t bytes)
{
    dn->staging_bytes = dn_largest(dn->staging_bytes, (size_t)bytes);
}

void *dn_staging(const struct dn *dn)
{
    return dn->staging;
}

const char *dn_library(void)
{
    static char text[48];
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}

const char *dn_isa(void)
{
    static const struct {
        int isa;
        const char *name;
    } names[] = { { dnnl_cpu_isa_sse41, "sse41" },
                  { dnnl_cpu_isa_avx, "avx" },
                  { dnnl_cpu_isa_avx2, "avx2" },
                  { dnnl_cpu_isa_avx2_vnni, "avx2_vnni" },
                  { dnnl_cpu_isa_avx512_core, "avx512_core" },
                  { dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni" },
                  { dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16" },
                  { dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx" } };
    int isa = (int)dnnl_get_effective_cpu_isa();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].isa == isa)
            return names[i].name;
    return "another";
}

bool dn_has_bf16(void)
{
    unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();
    return (isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
}

/* ---- layouts ---- */

const struct dn_layout *dn_layout_of(struct dn *dn, const dnnl_memory_desc_t *md)
{
    struct dn_layout *layout = arena_array(dn->arena, struct dn_layout, 1);
    layout->md = *md;
    return layout;
}

dnnl_data_type_t dn_type_of(enum value_type type)
{
    return type == VALUE_BF16 ? dnnl_bf16 : dnnl_f32;
}

dnnl_memory_desc_t dn_describe(int rank, const int64_t *dims, enum value_type type, dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t md;
    dnnl_dims_t all = { 0 }; /* the library reads them all */
    memcpy(all, dims, (size_t)rank * sizeof *dims);
    dn_check(dnnl_memory_desc_init_by_tag(&md, rank, all, dn_type_of(type), tag), "layout", "a tensor");
    return md;
}

const struct dn_layout *dn_plain(struct dn *dn, int rank, const int64_t *dims)
{
    static const dnnl_format_tag_t tags[] = { dnnl_a, dnnl_ab, dnnl_abc, dnnl_abcd };
    dnnl_memory_desc_t md = dn_describe(rank, dims, VALUE_F32, tags[rank - 1]);
    return dn_layout_of(dn, &md);
}

const struct dn_layout *dn_rows(struct dn *dn, enum value_type type, const int64_t dims[4])
{
    dnnl_memory_desc_t md = dn_describe(4, dims, type, dnnl_nhwc);
    return dn_layout_of(dn, &md);
}

void dn_prefer_rows(struct dn *dn)
{
    dn->rows = true;
}

void dn_never_rows(struct dn *dn)
{
    dn->blocked = true;
}

enum value_type dn_type(const struct dn_layout *layout)
{
    return layout->md.data_type == dnnl_bf16 ? VALUE_BF16 : VALUE_F32;
}

int64_t dn_values(const struct dn_layout *layout)
{
    return (int64_t)dnnl_memory_desc_get_size(&layout->md) / value_bytes(dn_type(layout));
}

bool dn_same(const struct dn_layout *a, const struct dn_layout *b)
{
    return dnnl_memory_desc_equal(&a->md, &b->md) != 0;
}

/* Whether `md` is [images][groups][pixels][lanes] without padding, and the numbers. */
static bool view_of(struct view *view, const dnnl_memory_desc_t *md)
{
    if (md->format_kind != dnnl_blocked)
        return false;
    const dnnl_blocking_desc_t *b = &md->format_desc.blocking;
    int64_t channels = md->dims[1], h = md->ndims == 4 ? md->dims[2] : 1, w = md->ndims == 4 ? md->dims[3] : 1;
    int64_t pixels = h * w, lanes = 1;
    if (md->padded_dims[1] != channels || md->padded_dims[0] != md->dims[0])
        return false;
    if (b->inner_nblks == 1 && b->inner_idxs[0] == 1)
        lanes = b->inner_blks[0];
    else if (b->inner_nblks != 0)
        return false;
    else if (b->strides[1] == 1)
        lanes = channels; /* without pixels too: a group of all channels */
    bool pixels_ok = md->ndims != 4 || ((w == 1 || b->strides[3] == lanes) && (h == 1 || b->strides[2] == w * lanes));
    bool groups_ok = lanes == channels || b->strides[1] == pixels * lanes;
    bool images_ok = md->dims[0] == 1 || b->strides[0] == channels * pixels;
    *view = (struct view){ md->dims[0], pixels, (int)(channels / lanes), (int)lanes };
    return pixels_ok && groups_ok && images_ok;
}

struct view dn_view(const struct dn_layout *layout)
{
    struct view view;
    bool ok = view_of(&view, &layout->md);
    require(ok, EXIT_INTERNAL, "oneDNN chose an activation layout that is not [images][groups][pixels][lanes]");
    return view;
}

/* The layout of `house` for other extents; plain when the channels do not fill its lanes. */
static dnnl_memory_desc_t house_layout(const struct dn *dn, const int64_t dims[4], enum value_type type)
{
    struct view v = { 0 };
    dnnl_format_tag_t tag = dnnl_nchw;
    if (!dn->rows)
        v = dn_view(dn->house);
    if (dn->rows)
        tag = dnnl_nhwc;
    else if (v.lanes == 16 && dims[1] % 16 == 0)
        tag = dnnl_nChw16c;
    else if (v.lanes == 8 && dims[1] % 8 == 0)
        tag = dnnl_nChw8c;
    else if (v.groups == 1 && v.lanes > 1)
        tag = dnnl_nhwc;
    return dn_describe(4, dims, type, tag);
}

const struct dn_layout *dn_house(struct dn *dn, enum value_type type, const int64_t dims[4])
{
    dnnl_memory_desc_t md = house_layout(dn, dims, type);
    return dn_layout_of(dn, &md);
}

/* ---- calls ---- */

size_t dn_largest(size_t a, size_t b)
{
    return a > b ? a : b;
}

static struct call *call_create(struct dn *dn, dnnl_primitive_desc_t pd, const char *name)
{
    struct call *call = arena_array(dn->arena, struct call, 1);
    call->pd = pd;
    dn_check(dnnl_primitive_create(&call->primitive, pd), "primitive", name);
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    dn->scratch_bytes = dn_largest(dn->scratch_bytes, dnnl_memory_desc_get_size(md));
    dn_check(dnnl_memory_create(&call->args[0].memory, md, dn->engine, DNNL_MEMORY_NONE), "scratchpad", name);
    call->args[0].arg = DNNL_ARG_SCRATCHPAD;
    call->count = 1;
    call->next = dn->calls;
    dn->calls = call;
    return call;
}

void dn_call_arg(struct dn *dn, struct call *call, int arg, const dnnl_memory_desc_t *md)
{
    dnnl_exec_arg_t *a = &call->args[call->count++];
    a->arg = arg;
    dn_check(dnnl_memory_create(&a->memory, md, dn->engine, DNNL_MEMORY_NONE), "memory", "a primitive");
}

void dn_call_run(struct dn *dn, struct call *call, const void *const *data)
{
    dnnl_memory_set_data_handle(call->args[0].memory, dn->scratch);
    for (int i = 1; i < call->count; i++)
        dnnl_memory_set_data_handle(call->args[i].memory, (void *)(uintptr_t)data[i - 1]);
    dnnl_status_t status = dnnl_primitive_execute(call->primitive, dn->stream, call->count, call->args);
    require(status == dnnl_success, EXIT_INTERNAL, "oneDNN: a primitive failed with status %d", (int)status);
    dnnl_stream_wait(dn->stream);
}

const dnnl_memory_desc_t *dn_query(const struct call *call, dnnl_query_t what)
{
    return dnnl_primitive_desc_query_md(call->pd, what, 0);
}

static dnnl_primitive_attr_t attributes(bool sum, dnnl_alg_kind_t function)
{
    dnnl_primitive_attr_t attr;
    dnnl_post_ops_t ops;
    dn_check(dnnl_primitive_attr_create(&attr), "attributes", "a primitive");
    dn_check(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user), "scratchpad", "a primitive");
    dn_check(dnnl_post_ops_create(&ops), "post-ops", "a primitive");
    if (sum)
        dn_check(dnnl_post_ops_append_sum(ops, 1.0f), "sum", "a primitive");
    if (function != dnnl_alg_kind_undef)
        dn_check(dnnl_post_ops_append_eltwise(ops, 1.0f, function, 0.0f, 0.0f), "function", "a primitive");
    dn_check(dnnl_primitive_attr_set_post_ops(attr, ops), "post-ops", "a primitive");
    dnnl_post_ops_destroy(ops);
    return attr;
}

struct call *dn_make(struct dn *dn, const_dnnl_op_desc_t op, const struct call *hint, bool sum,
                     dnnl_alg_kind_t function, const char *name)
{
    dnnl_primitive_attr_t attr = attributes(sum, function);
    dnnl_primitive_desc_t pd;
    dn_check(dnnl_primitive_desc_create(&pd, op, attr, dn->engine, hint ? hint->pd : NULL), "descriptor", name);
    dnnl_primitive_attr_destroy(attr);
    return call_create(dn, pd, name);
}

struct dn_reorder *dn_reorder_create(struct dn *dn, const struct dn_layout *to, const struct dn_layout *from)
{
    struct dn_reorder *r = arena_array(dn->arena, struct dn_reorder, 1);
    dnnl_primitive_attr_t attr = attributes(false, dnnl_alg_kind_undef);
    dnnl_primitive_desc_t pd;
    dn_check(dnnl_reorder_primitive_desc_create(&pd, &from->md, dn->engine, &to->md, dn->engine, attr), "descriptor",
             "a reorder");
    dnnl_primitive_attr_destroy(attr);
    r->dn = dn;
    r->call = call_create(dn, pd, "a reorder");
    dn_call_arg(dn, r->call, DNNL_ARG_FROM, &from->md);
    dn_call_arg(dn, r->call, DNNL_ARG_TO, &to->md);
    return r;
}

void dn_reorder(struct dn_reorder *reorder, void *out, const void *in)
{
    dn_call_run(reorder->dn, reorder->call, (const void *[]){ in, out });
}

/* A reorder through the staging buffer, or NULL where the layouts agree. */
static struct dn_reorder *staged(struct dn *dn, const struct dn_layout *to, const struct dn_layout *from)
{
    if (dn_same(to, from))
        return NULL;
    dn->staging_bytes = dn_largest(dn->staging_bytes, dnnl_memory_desc_get_size(&to->md));
    dn->staging_bytes = dn_largest(dn->staging_bytes, dnnl_memory_desc_get_size(&from->md));
    dn->reorders++;
    return dn_reorder_create(dn, to, from);
}

struct dn_reorder *dn_prepares(struct dn *dn, const struct dn_layout *to, const struct dn_layout *from)
{
    if (dn_same(to, from))
        return NULL;
    dn->weights_bytes = dn_largest(dn->weights_bytes, dnnl_memory_desc_get_size(&to->md));
    return dn_reorder_create(dn, to, from);
}

const void *dn_prepare(struct dn *dn, struct dn_reorder *reorder, const void *master)
{
    if (!reorder)
        return master;
    dn_reorder(reorder, dn->prepared, master);
    return dn->prepared;
}

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

/* Whether Winograd's minimal filtering of 4x4 pixels by 3x3 weights (Lavin & Gray, 2016) is worth its transforms: a
 * quarter of the multiplications, unless tiles reach far beyond the image or are few beside the weights to transform.
 */
static bool filters_minimally(const struct dn *dn, const struct dn_conv_spec *spec)
{
    const struct conv_shape *s = &spec->shape;
    const int64_t tiles = (int64_t)((s->oh + 3) / 4) * ((s->ow + 3) / 4), widest = s->in > s->out ? s->in : s->out;
    return !spec->direct && !dn->rows && spec->type == VALUE_F32 && s->kernel == 3 && s->stride == 1 && s->pad == 1 &&
           s->in % 16 == 0 && s->out % 16 == 0 && 16 * tiles <= 2 * (int64_t)s->oh * s->ow &&
           8 * s->images * tiles >= widest;
}

/* `op`, a direct convolution, or the same by minimal filtering where the library has it and its scratch is small. */
static struct call *conv_make(struct dn *dn, dnnl_convolution_desc_t *op, const struct dn_conv_spec *spec,
                              const struct call *hint)
{
    const dnnl_alg_kind_t function = spec->relu ? dnnl_eltwise_relu : dnnl_alg_kind_undef;
    dnnl_primitive_attr_t attr = attributes(spec->sum, function);
    dnnl_primitive_desc_t pd;
    op->alg_kind = dnnl_convolution_winograd;
    bool offered = filters_minimally(dn, spec) &&
                   dnnl_primitive_desc_create(&pd, op, attr, dn->engine, hint ? hint->pd : NULL) == dnnl_success;
    dnnl_primitive_attr_destroy(attr);
    if (offered) {
        const dnnl_memory_desc_t *scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
        if (dnnl_memory_desc_get_size(scratch) <= MINIMAL_SCRATCH)
            return call_create(dn, pd, spec->name);
        dnnl_primitive_desc_destroy(pd);
    }
    op->alg_kind = dnnl_convolution_direct;
    return dn_make(dn, op, hint, spec->sum, function, spec->name);
}

static struct call *conv_forward(struct dn *dn, const struct dn_conv_spec *spec, const dnnl_memory_desc_t *src,
                                 const dnnl_memory_desc_t *dst)
{
    struct conv_dims d = conv_dims(&spec->shape);
    dnnl_memory_desc_t weights = dn_describe(4, d.weights, spec->type, dnnl_format_tag_any);
    dnnl_memory_desc_t bias = dn_describe(1, d.bias, VALUE_F32, dnnl_a);
    dnnl_convolution_desc_t op;
    dn_check(dnnl_convolution_forward_desc_init(&op, spec->train ? dnnl_forward_training : dnnl_forward_inference,
                                                dnnl_convolution_direct, src, &weights, spec->bias ? &bias : NULL, dst,
                                                d.strides, d.pad, d.pad),
             "convolution", spec->name);
    return conv_make(dn, &op, spec, NULL);
}

/* Forward: the primitive's own choice of layouts, unless it breaks with the house. */
static void create_forward(struct dn_conv *conv, const struct dn_conv_spec *spec, const struct dn_layout *src)
{
    struct dn *dn = conv->dn;
    struct conv_dims d = conv_dims(&spec->shape);
    dnnl_memory_desc_t any_src = dn_describe(4, d.src, spec->type, dnnl_format_tag_any);
    dnnl_memory_desc_t any_dst = dn_describe(4, d.dst, spec->type, dnnl_format_tag_any);
    struct view view;
    if (dn->rows)
        any_src = house_layout(dn, d.src, spec->type);
    conv->forward = conv_forward(dn, spec, &any_src, &any_dst);
    bool expressible = view_of(&view, dn_query(conv->forward, dnnl_query_dst_md));
    if (!dn->house) {
        dnnl_memory_desc_t plain = dn_describe(4, d.dst, spec->type, dn->blocked ? dnnl_nChw16c : dnnl_nchw);
        expressible = expressible && !(dn->blocked && view.groups == 1 && view.lanes > 1);
        dn->house = dn_layout_of(dn, expressible ? dn_query(conv->forward, dnnl_query_dst_md) : &plain);
    }
    dnnl_memory_desc_t dst = house_layout(dn, d.dst, spec->type);
    if (!dnnl_memory_desc_equal(&dst, dn_query(conv->forward, dnnl_query_dst_md))) {
        dnnl_memory_desc_t from = dn_type(src) == spec->type ? src->md : house_layout(dn, d.src, spec->type);
        conv->forward = conv_forward(dn, spec, &from, &dst);
    }
    conv->src = dn_layout_of(dn, dn_query(conv->forward, dnnl_query_src_md));
    conv->dst = dn_layout_of(dn, dn_query(conv->forward, dnnl_query_dst_md));
    conv->master = dn_layout_of(dn, dn_query(conv->forward, dnnl_query_weights_md));
    dn_call_arg(dn, conv->forward, DNNL_ARG_DST, &conv->dst->md);
    dn_call_arg(dn, conv->forward, DNNL_ARG_SRC, &conv->src->md);
    dn_call_arg(dn, conv->forward, DNNL_ARG_WEIGHTS, &conv->master->md);
    if (spec->bias)
        dn_call_arg(dn, conv->forward, DNNL_ARG_BIAS,
                    dnnl_primitive_desc_query_md(conv->forward->pd, dnnl_query_weights_md, 1));
    conv->src_in = staged(dn, conv->src, src);
}

static void create_backward_data(struct dn_conv *conv, const struct dn_conv_spec *spec, const struct dn_layout *src)
{
    struct dn *dn = conv->dn;
    struct conv_dims d = conv_dims(&spec->shape);
    dnnl_memory_desc_t weights = dn_describe(4, d.weights, spec->type, dnnl_format_tag_any);
    dnnl_convolution_desc_t op;
    dn_check(dnnl_convolution_backward_data_desc_init(&op, dnnl_convolution_direct, &conv->src->md, &weights,
                                                      &conv->dst->md, d.strides, d.pad, d.pad),
             "data gradient", spec->name);
    conv->data = conv_make(dn, &op, spec, conv->forward);
    const struct dn_layout *chosen = dn_layout_of(dn, dn_query(conv->data, dnnl_query_weights_md));
    dn_call_arg(dn, conv->data, DNNL_ARG_DIFF_SRC, &conv->src->md);
    dn_call_arg(dn, conv->data, DNNL_ARG_DIFF_DST, &conv->dst->md);
    dn_call_arg(dn, conv->data, DNNL_ARG_WEIGHTS, &chosen->md);
    conv->src_out = staged(dn, src, conv->src);
    conv->backward_weights = dn_prepares(dn, chosen, conv->master);
}

/* The gradient is in single precision. So is the master copy of the weights: in the forward primitive's layout where
 * that is of the same type, otherwise in the gradient's. */
static void create_backward_weights(struct dn_conv *conv, const struct dn_conv_spec *spec)
{
    struct dn *dn = conv->dn;
    struct conv_dims d = conv_dims(&spec->shape);
    dnnl_memory_desc_t weights = dn_describe(4, d.weights, VALUE_F32, dnnl_format_tag_any);
    dnnl_convolution_desc_t op;
    dn_check(dnnl_convolution_backward_weights_desc_init(&op, dnnl_convolution_direct, &conv->src->md, &weights, NULL,
                                                         &conv->dst->md, d.strides, d.pad, d.pad),
             "weight gradient", spec->name);
    conv->weights = conv_make(dn, &op, spec, conv->forward);
    const struct dn_layout *chosen = dn_layout_of(dn, dn_query(conv->weights, dnnl_query_diff_weights_md));
    dn_call_arg(dn, conv->weights, DNNL_ARG_DIFF_WEIGHTS, &chosen->md);
    dn_call_arg(dn, conv->weights, DNNL_ARG_SRC, &conv->src->md);
    dn_call_arg(dn, conv->weights, DNNL_ARG_DIFF_DST, &conv->dst->md);
    if (spec->type != VALUE_F32) {
        conv->forward_weights = dn_prepares(dn, conv->master, chosen);
        conv->master = chosen;
    } else if (!dn_same(chosen, conv->master)) {
        conv->gradient_out = dn_reorder_create(dn, conv->master, chosen);
        dn->gradient_bytes = dn_largest(dn->gradient_bytes, dnnl_memory_desc_get_size(&chosen->md));
        dn->reorders++;
    }
}

struct dn_conv *dn_conv_create(struct dn *dn, const struct dn_conv_spec *spec, const struct dn_layout *src)
{
    struct dn_conv *conv = arena_array(dn->arena, struct dn_conv, 1);
    conv->dn = dn;
    create_forward(conv, spec, src);
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

const char *dn_conv_kernel(const struct dn_conv *conv)
{
    const char *text = "";
    dnnl_primitive_desc_query(conv->forward->pd, dnnl_query_impl_info_str, 0, &text);
    return text;
}

/* The input in the primitive's layout: itself, or a copy in the staging buffer. */
static const void *conv_source(struct dn_conv *conv, const void *src)
{
    if (!conv->src_in)
        return src;
    dn_reorder(conv->src_in, conv->dn->staging, src);
    return conv->dn->staging;
}

const void *dn_conv_prepare_forward(struct dn_conv *conv, const float *weights)
{
    return dn_prepare(conv->dn, conv->forward_weights, weights);
}

const void *dn_conv_prepare_backward(struct dn_conv *conv, const float *weights)
{
    return dn_prepare(conv->dn, conv->backward_weights, weights);
}

void dn_conv_forward(struct dn_conv *conv, void *dst, const void *src, const void *prepared, const float *bias)
{
    dn_call_run(conv->dn, conv->forward, (const void *[]){ dst, conv_source(conv, src), prepared, bias });
}

void dn_conv_backward_data(struct dn_conv *conv, void *diff_src, const void *diff_dst, const void *prepared)
{
    void *out = conv->src_out ? conv->dn->staging : diff_src;
    dn_call_run(conv->dn, conv->data, (const void *[]){ out, diff_dst, prepared });
    if (conv->src_out)
        dn_reorder(conv->src_out, diff_src, out);
}

void dn_conv_backward_weights(struct dn_conv *conv, float *diff_weights, const void *src, const void *diff_dst)
{
    float *out = conv->gradient_out ? conv->dn->gradient : diff_weights;
    dn_call_run(conv->dn, conv->weights, (const void *[]){ out, conv_source(conv, src), diff_dst });
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
    dnnl_memory_desc_t dst = dn_describe(4, d.dst, dn_type(src), dnnl_format_tag_any);
    dnnl_pooling_desc_t op;
    pool->dn = dn;
    dn_check(dnnl_pooling_forward_desc_init(&op, train ? dnnl_forward_training : dnnl_forward_inference,
                                            dnnl_pooling_max, &src->md, &dst, d.strides, kernel, d.pad, d.pad),
             "pooling", name);
    pool->forward = dn_make(dn, &op, NULL, false, dnnl_alg_kind_undef, name);
    pool->dst = dn_layout_of(dn, dn_query(pool->forward, dnnl_query_dst_md));
    dn_call_arg(dn, pool->forward, DNNL_ARG_DST, &pool->dst->md);
    dn_call_arg(dn, pool->forward, DNNL_ARG_SRC, &src->md);
    if (!train)
        return pool;
    const dnnl_memory_desc_t *index = dn_query(pool->forward, dnnl_query_workspace_md);
    pool->index_bytes = (int64_t)dnnl_memory_desc_get_size(index);
    dn_call_arg(dn, pool->forward, DNNL_ARG_WORKSPACE, index);
    dn_check(dnnl_pooling_backward_desc_init(&op, dnnl_pooling_max, &src->md, &pool->dst->md, d.strides, kernel, d.pad,
                                             d.pad),
             "pooling gradient", name);
    pool->backward = dn_make(dn, &op, pool->forward, false, dnnl_alg_kind_undef, name);
    dn_call_arg(dn, pool->backward, DNNL_ARG_DIFF_SRC, &src->md);
    dn_call_arg(dn, pool->backward, DNNL_ARG_DIFF_DST, &pool->dst->md);
    dn_call_arg(dn, pool->backward, DNNL_ARG_WORKSPACE, index);
    return pool;
}

const struct dn_layout *dn_pool_dst(const struct dn_pool *pool)
{
    return pool->dst;
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
