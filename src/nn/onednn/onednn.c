/* Layouts, calls and reorders over oneDNN. Only the files onednn*.c know the
 * library; what its versions differ in is in math/onednn_api.h. What runs when is
 * left to the ops. */
#include "nn/onednn/onednn_calls.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"

void dn_check(dnnl_status_t status, const char *what, const char *name)
{
    require(status == dnnl_success, EXIT_INTERNAL, "oneDNN: %s of %s failed with status %d", what, name, (int)status);
}

struct dn *dn_create(struct arena *arena)
{
    struct dn *dn = arena_array(arena, struct dn, 1);
    dn->arena = arena;
    dn->shelf.arena = arena;
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
    onednn_shelf_clear(&dn->shelf);
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

int dn_primitives(const struct dn *dn, int *references)
{
    int count = 0;
    *references = 0;
    for (const struct call *c = dn->calls; c; c = c->next, count++)
        *references += strstr(dn_kernel(c), "ref") != NULL;
    return count;
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
    return onednn_isa();
}

/* ---- layouts ---- */

const struct dn_layout *dn_layout_of(struct dn *dn, const onednn_desc *md)
{
    struct dn_layout *layout = arena_array(dn->arena, struct dn_layout, 1);
    layout->md = md;
    return layout;
}

dnnl_data_type_t dn_type_of(enum value_type type)
{
    return type == VALUE_BF16 ? dnnl_bf16 : dnnl_f32;
}

const onednn_desc *dn_describe(struct dn *dn, int rank, const int64_t *dims, enum value_type type,
                               dnnl_format_tag_t tag)
{
    return onednn_tagged(&dn->shelf, rank, dims, dn_type_of(type), tag);
}

const struct dn_layout *dn_plain(struct dn *dn, int rank, const int64_t *dims)
{
    static const dnnl_format_tag_t tags[] = { dnnl_a, dnnl_ab, dnnl_abc, dnnl_abcd };
    return dn_layout_of(dn, dn_describe(dn, rank, dims, VALUE_F32, tags[rank - 1]));
}

const struct dn_layout *dn_rows(struct dn *dn, enum value_type type, const int64_t dims[4])
{
    return dn_layout_of(dn, dn_describe(dn, 4, dims, type, dnnl_nhwc));
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
    return onednn_type(layout->md) == dnnl_bf16 ? VALUE_BF16 : VALUE_F32;
}

int64_t dn_values(const struct dn_layout *layout)
{
    return (int64_t)dnnl_memory_desc_get_size(layout->md) / value_bytes(dn_type(layout));
}

bool dn_same(const struct dn_layout *a, const struct dn_layout *b)
{
    return dnnl_memory_desc_equal(a->md, b->md) != 0;
}

bool dn_view_of(struct view *view, const onednn_desc *md)
{
    struct onednn_blocking b;
    if (!onednn_blocking(&b, md))
        return false;
    int64_t channels = b.dims[1], h = b.rank == 4 ? b.dims[2] : 1, w = b.rank == 4 ? b.dims[3] : 1;
    int64_t pixels = h * w, lanes = 1;
    if (b.padded[1] != channels || b.padded[0] != b.dims[0])
        return false;
    if (b.blocks == 1 && b.blocked[0] == 1)
        lanes = b.block[0];
    else if (b.blocks != 0)
        return false;
    else if (b.strides[1] == 1)
        lanes = channels; /* without pixels too: a group of all channels */
    bool pixels_ok = b.rank != 4 || ((w == 1 || b.strides[3] == lanes) && (h == 1 || b.strides[2] == w * lanes));
    bool groups_ok = lanes == channels || b.strides[1] == pixels * lanes;
    bool images_ok = b.dims[0] == 1 || b.strides[0] == channels * pixels;
    *view = (struct view){ b.dims[0], pixels, (int)(channels / lanes), (int)lanes };
    return pixels_ok && groups_ok && images_ok;
}

struct view dn_view(const struct dn_layout *layout)
{
    struct view view;
    bool ok = dn_view_of(&view, layout->md);
    require(ok, EXIT_INTERNAL, "oneDNN chose an activation layout that is not [images][groups][pixels][lanes]");
    return view;
}

const onednn_desc *dn_common_desc(struct dn *dn, const int64_t dims[4], enum value_type type)
{
    struct view v = { 0 };
    dnnl_format_tag_t tag = dnnl_nchw;
    if (!dn->rows)
        v = dn_view(dn->common);
    if (dn->rows)
        tag = dnnl_nhwc;
    else if (v.lanes == 16 && dims[1] % 16 == 0)
        tag = dnnl_nChw16c;
    else if (v.lanes == 8 && dims[1] % 8 == 0)
        tag = dnnl_nChw8c;
    else if (v.groups == 1 && v.lanes > 1)
        tag = dnnl_nhwc;
    return dn_describe(dn, 4, dims, type, tag);
}

const struct dn_layout *dn_common_layout(struct dn *dn, enum value_type type, const int64_t dims[4])
{
    return dn_layout_of(dn, dn_common_desc(dn, dims, type));
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
    const onednn_desc *md = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    dn->scratch_bytes = dn_largest(dn->scratch_bytes, dnnl_memory_desc_get_size(md));
    dn_check(dnnl_memory_create(&call->args[0].memory, md, dn->engine, DNNL_MEMORY_NONE), "scratchpad", name);
    call->args[0].arg = DNNL_ARG_SCRATCHPAD;
    call->count = 1;
    call->next = dn->calls;
    dn->calls = call;
    return call;
}

void dn_call_arg(struct dn *dn, struct call *call, int arg, const onednn_desc *md)
{
    dnnl_exec_arg_t *a = &call->args[call->count++];
    a->arg = arg;
    dn_check(dnnl_memory_create(&a->memory, md, dn->engine, DNNL_MEMORY_NONE), "memory", "a primitive");
}

void dn_call_run(struct dn *dn, struct call *call, const void *const *data)
{
    assert(call->count > 0);
    dnnl_memory_set_data_handle(call->args[0].memory, dn->scratch);
    for (int i = 1; i < call->count; i++)
        dnnl_memory_set_data_handle(call->args[i].memory, (void *)(uintptr_t)data[i - 1]);
    dnnl_status_t status = dnnl_primitive_execute(call->primitive, dn->stream, call->count, call->args);
    require(status == dnnl_success, EXIT_INTERNAL, "oneDNN: a primitive failed with status %d", (int)status);
    dnnl_stream_wait(dn->stream);
}

const char *dn_kernel(const struct call *call)
{
    return call ? onednn_kernel(call->pd) : NULL;
}

const onednn_desc *dn_query(const struct call *call, dnnl_query_t what)
{
    return dnnl_primitive_desc_query_md(call->pd, what, 0);
}

struct onednn_use dn_use(const struct dn *dn, const struct call *forward)
{
    return (struct onednn_use){ .engine = dn->engine, .forward = forward ? forward->pd : NULL };
}

struct call *dn_make(struct dn *dn, dnnl_primitive_desc_t pd, const char *name)
{
    require(pd, EXIT_INTERNAL, "%s: %s has no kernel for it on this processor (%s)", name, dn_library(), dn_isa());
    return call_create(dn, pd, name);
}

struct call *dn_make_any(struct dn *dn, dnnl_primitive_desc_t pd, const char *name)
{
    return pd ? call_create(dn, pd, name) : NULL;
}

struct dn_reorder *dn_reorder_create(struct dn *dn, const struct dn_layout *to, const struct dn_layout *from)
{
    struct dn_reorder *r = arena_array(dn->arena, struct dn_reorder, 1);
    const struct onednn_use use = dn_use(dn, NULL);
    *r = (struct dn_reorder){ .dn = dn, .to = to->md, .from = from->md };
    if (!onednn_reorder_is_right(to->md, from->md))
        return r;
    r->call = dn_make(dn, onednn_reorder(&use, to->md, from->md), "a reorder");
    dn_call_arg(dn, r->call, DNNL_ARG_FROM, from->md);
    dn_call_arg(dn, r->call, DNNL_ARG_TO, to->md);
    return r;
}

void dn_reorder(struct dn_reorder *reorder, void *out, const void *in)
{
    if (reorder->call)
        dn_call_run(reorder->dn, reorder->call, (const void *[]){ in, out });
    else
        onednn_pack(reorder->to, out, reorder->from, in);
}

struct dn_reorder *dn_staged(struct dn *dn, const struct dn_layout *to, const struct dn_layout *from)
{
    if (dn_same(to, from))
        return NULL;
    dn->staging_bytes = dn_largest(dn->staging_bytes, dnnl_memory_desc_get_size(to->md));
    dn->staging_bytes = dn_largest(dn->staging_bytes, dnnl_memory_desc_get_size(from->md));
    dn->reorders++;
    return dn_reorder_create(dn, to, from);
}

struct dn_reorder *dn_prepares(struct dn *dn, const struct dn_layout *to, const struct dn_layout *from)
{
    if (dn_same(to, from))
        return NULL;
    dn->weights_bytes = dn_largest(dn->weights_bytes, dnnl_memory_desc_get_size(to->md));
    return dn_reorder_create(dn, to, from);
}

const void *dn_prepare(struct dn *dn, struct dn_reorder *reorder, const void *master)
{
    if (!reorder)
        return master;
    dn_reorder(reorder, dn->prepared, master);
    return dn->prepared;
}
