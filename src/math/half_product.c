/* Products in bfloat16 over oneDNN: a matmul whose right
 * operand has the layout the library asks for, and the reorder that makes it. */
#include "math/half_product.h"

#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "dist/world.h"
#include "math/bf16.h"
#include "math/onednn_api.h"

enum { MEMORIES = 7 };

struct half_product {
    struct half_products *all;
    struct half_product *next;
    const char *name;
    dnnl_primitive_desc_t choice, packing;
    dnnl_primitive_t multiply, pack;
    dnnl_memory_t a, packed, c, scratch;         /* of multiply */
    dnnl_memory_t plain, laid_out, pack_scratch; /* of pack */
    const onednn_desc *packed_md;                /* the choice's */
};

struct half_products {
    struct arena *arena;
    struct onednn_shelf shelf;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct half_product *first;
    size_t scratch_bytes;
    void *scratch;
};

static void check(dnnl_status_t status, const char *what, const char *name)
{
    require(status == dnnl_success, EXIT_INTERNAL, "oneDNN: %s of %s failed with status %d", what, name, (int)status);
}

bool half_in_hardware(void)
{
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();
    return (isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
}

bool half_everywhere(struct world *world, bool wanted)
{
    double has = half_in_hardware();
    if (!wanted)
        return false;
    world_min_f64(world, &has, 1);
    if (has <= 0.0 && world->rank == 0)
        log_warn("precision bf16: a processor of this job has no AVX512-BF16 or AMX; using fp32");
    return has > 0.0;
}

struct half_products *half_products_create(struct arena *arena)
{
    struct half_products *all = arena_array(arena, struct half_products, 1);
    all->arena = all->shelf.arena = arena;
    check(dnnl_engine_create(&all->engine, dnnl_cpu, 0), "engine", "the processor");
    check(dnnl_stream_create(&all->stream, all->engine, dnnl_stream_default_flags), "stream", "the processor");
    return all;
}

static const onednn_desc *describe(struct half_product *p, int64_t rows, int64_t columns, dnnl_data_type_t type,
                                   dnnl_format_tag_t tag)
{
    return onednn_tagged(&p->all->shelf, 2, (int64_t[]){ rows, columns }, type, tag);
}

static dnnl_memory_t memory(const struct half_product *p, const onednn_desc *md)
{
    dnnl_memory_t memory;
    check(dnnl_memory_create(&memory, md, p->all->engine, DNNL_MEMORY_NONE), "memory", p->name);
    return memory;
}

/* The shared scratch memory, as large as the hungriest asks. */
static dnnl_memory_t scratch_of(struct half_product *p, dnnl_primitive_desc_t made)
{
    const onednn_desc *scratch = dnnl_primitive_desc_query_md(made, dnnl_query_scratchpad_md, 0);
    const size_t bytes = dnnl_memory_desc_get_size(scratch);
    p->all->scratch_bytes = bytes > p->all->scratch_bytes ? bytes : p->all->scratch_bytes;
    return memory(p, scratch);
}

static dnnl_primitive_t primitive(const struct half_product *p, dnnl_primitive_desc_t made)
{
    dnnl_primitive_t primitive;
    require(made, EXIT_INTERNAL, "%s: oneDNN has no kernel for bf16 on this processor (%s)", p->name, onednn_isa());
    check(dnnl_primitive_create(&primitive, made), "kernel", p->name);
    return primitive;
}

static void make_multiply(struct half_product *p, char transa, int64_t m, int64_t n, int64_t k, bool add)
{
    const onednn_desc *a = describe(p, m, k, dnnl_bf16, transa == 'T' ? dnnl_ba : dnnl_ab);
    const onednn_desc *b = describe(p, k, n, dnnl_bf16, onednn_packed(k, n));
    const onednn_desc *c = describe(p, m, n, dnnl_f32, dnnl_ab);
    const struct onednn_use use = { .engine = p->all->engine, .sum = add };
    p->choice = onednn_matmul(&use, a, b, NULL, c);
    p->multiply = primitive(p, p->choice);
    p->packed_md = dnnl_primitive_desc_query_md(p->choice, dnnl_query_weights_md, 0);
    p->a = memory(p, a);
    p->packed = memory(p, p->packed_md);
    p->c = memory(p, c);
    p->scratch = scratch_of(p, p->choice);
}

static void make_pack(struct half_product *p, char transb, int64_t n, int64_t k, enum half_source source)
{
    const dnnl_data_type_t type = source == HALF_OF_FLOATS ? dnnl_f32 : dnnl_bf16;
    const onednn_desc *b = describe(p, k, n, type, transb == 'T' ? dnnl_ba : dnnl_ab);
    const struct onednn_use use = { .engine = p->all->engine };
    p->packing = onednn_reorder(&use, p->packed_md, b);
    p->pack = primitive(p, p->packing);
    p->plain = memory(p, b);
    p->laid_out = memory(p, p->packed_md);
    p->pack_scratch = scratch_of(p, p->packing);
}

struct half_product *half_product(struct half_products *all, char transa, char transb, int64_t m, int64_t n, int64_t k,
                                  enum half_source source, bool add, const char *name)
{
    struct half_product *p = arena_array(all->arena, struct half_product, 1);
    *p = (struct half_product){ .all = all, .next = all->first, .name = name };
    all->first = p;
    make_multiply(p, transa, m, n, k, add);
    make_pack(p, transb, n, k, source);
    return p;
}

void half_products_ready(struct half_products *all)
{
    all->scratch = arena_take_raw(all->arena, all->scratch_bytes + 1, 1);
}

void half_products_destroy(struct half_products *all)
{
    if (!all)
        return;
    for (const struct half_product *p = all->first; p; p = p->next) {
        const dnnl_memory_t memories[MEMORIES] = { p->a,     p->packed,   p->c,           p->scratch,
                                                   p->plain, p->laid_out, p->pack_scratch };
        for (int i = 0; i < MEMORIES; i++)
            dnnl_memory_destroy(memories[i]);
        dnnl_primitive_destroy(p->multiply);
        dnnl_primitive_destroy(p->pack);
        dnnl_primitive_desc_destroy(p->choice);
        dnnl_primitive_desc_destroy(p->packing);
    }
    onednn_shelf_clear(&all->shelf);
    dnnl_stream_destroy(all->stream);
    dnnl_engine_destroy(all->engine);
}

int64_t half_packed_bytes(const struct half_product *product)
{
    return (int64_t)dnnl_memory_desc_get_size(product->packed_md);
}

/* The library's handles are not const, but inputs are only read. */
static dnnl_exec_arg_t argument(int arg, dnnl_memory_t memory, const void *data, const struct half_product *p)
{
    union {
        const void *in;
        void *out;
    } handle = { data };
    check(dnnl_memory_set_data_handle(memory, handle.out), "memory", p->name);
    return (dnnl_exec_arg_t){ arg, memory };
}

static void run(dnnl_primitive_t primitive, const struct half_product *p, int count, const dnnl_exec_arg_t *args)
{
    check(dnnl_primitive_execute(primitive, p->all->stream, count, args), "run", p->name);
    check(dnnl_stream_wait(p->all->stream), "run", p->name);
}

void half_pack(void *packed, struct half_product *p, const void *b)
{
    const dnnl_exec_arg_t args[] = { argument(DNNL_ARG_FROM, p->plain, b, p),
                                     argument(DNNL_ARG_TO, p->laid_out, packed, p),
                                     argument(DNNL_ARG_SCRATCHPAD, p->pack_scratch, p->all->scratch, p) };
    run(p->pack, p, 3, args);
}

void half_multiply(float *c, struct half_product *p, const uint16_t *a, const void *packed)
{
    const dnnl_exec_arg_t args[] = { argument(DNNL_ARG_SRC, p->a, a, p),
                                     argument(DNNL_ARG_WEIGHTS, p->packed, packed, p),
                                     argument(DNNL_ARG_DST, p->c, c, p),
                                     argument(DNNL_ARG_SCRATCHPAD, p->scratch, p->all->scratch, p) };
    run(p->multiply, p, 4, args);
}

void half_round(uint16_t *out, const float *x, int64_t n)
{
    enum { PIECE = 1 << 14 };
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < n; at += PIECE) {
        const int64_t end = at + PIECE < n ? at + PIECE : n;
#pragma omp simd
        for (int64_t i = at; i < end; i++)
            out[i] = bf16_from_float(x[i]);
    }
}
