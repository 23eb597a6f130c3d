/* Layouts, calls and reorders over oneDNN's C API, version 2.6. Only the files
 * onednn*.c know the library: another API of it stands beside them, behind the
 * same header. What runs when is left to the ops. */
#include "nn/onednn_calls.h"

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

bool dn_view_of(struct view *view, const dnnl_memory_desc_t *md)
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
    bool ok = dn_view_of(&view, &layout->md);
    require(ok, EXIT_INTERNAL, "oneDNN chose an activation layout that is not [images][groups][pixels][lanes]");
    return view;
}

dnnl_memory_desc_t dn_house_layout(const struct dn *dn, const int64_t dims[4], enum value_type type)
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
    dnnl_memory_desc_t md = dn_house_layout(dn, dims, type);
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

struct call *dn_make_small(struct dn *dn, const_dnnl_op_desc_t op, const struct call *hint, bool sum,
                           dnnl_alg_kind_t function, size_t scratch, const char *name)
{
    dnnl_primitive_attr_t attr = attributes(sum, function);
    dnnl_primitive_desc_t pd;
    dnnl_status_t status = dnnl_primitive_desc_create(&pd, op, attr, dn->engine, hint ? hint->pd : NULL);
    dnnl_primitive_attr_destroy(attr);
    if (status != dnnl_success)
        return NULL;
    if (dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0)) <= scratch)
        return call_create(dn, pd, name);
    dnnl_primitive_desc_destroy(pd);
    return NULL;
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

struct dn_reorder *dn_staged(struct dn *dn, const struct dn_layout *to, const struct dn_layout *from)
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
