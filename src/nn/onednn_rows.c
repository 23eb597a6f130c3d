/* Products of rows: linear layers, and the products of attention. Matrix
 * multiplication takes weights in blocks of its own for forward and data
 * gradient; the inner product's weight gradient writes the plain layout, with
 * the bias on the way. Each was the fastest of its kind at 788 rows. */
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "nn/onednn_calls.h"

struct dn_linear {
    struct dn *dn;
    struct call *forward, *data, *weights;
    const struct dn_layout *chosen;                        /* weights of the forward primitive */
    struct dn_reorder *forward_weights, *backward_weights; /* from the master copy */
};

struct dn_products {
    struct dn *dn;
    struct call *call;
};

/* ---- linear ---- */

/* C [m x n] = A [m x k] B [k x n] + bias [n], A and C row-major, B as the primitive likes it. */
static struct call *product(struct dn *dn, const struct dn_linear_spec *spec, int64_t m, int64_t k, int64_t n,
                            bool bias)
{
    dnnl_memory_desc_t a = dn_describe(2, (dnnl_dims_t){ m, k }, spec->type, dnnl_ab);
    dnnl_memory_desc_t b = dn_describe(2, (dnnl_dims_t){ k, n }, spec->type, dnnl_format_tag_any);
    dnnl_memory_desc_t c = dn_describe(2, (dnnl_dims_t){ m, n }, spec->type, dnnl_ab);
    dnnl_memory_desc_t added = dn_describe(2, (dnnl_dims_t){ 1, n }, VALUE_F32, dnnl_ab);
    dnnl_matmul_desc_t op;
    dn_check(dnnl_matmul_desc_init(&op, &a, &b, bias ? &added : NULL, &c), "product", spec->name);
    struct call *call = dn_make(dn, &op, NULL, false, dnnl_alg_kind_undef, spec->name);
    dn_call_arg(dn, call, DNNL_ARG_DST, &c);
    dn_call_arg(dn, call, DNNL_ARG_SRC, &a);
    dn_call_arg(dn, call, DNNL_ARG_WEIGHTS, dn_query(call, dnnl_query_weights_md));
    if (bias)
        dn_call_arg(dn, call, DNNL_ARG_BIAS, &added);
    return call;
}

static void weight_gradient(struct dn_linear *linear, const struct dn_linear_spec *s)
{
    struct dn *dn = linear->dn;
    dnnl_memory_desc_t src = dn_describe(2, (dnnl_dims_t){ s->rows, s->in }, s->type, dnnl_ab);
    dnnl_memory_desc_t dst = dn_describe(2, (dnnl_dims_t){ s->rows, s->out }, s->type, dnnl_ab);
    dnnl_memory_desc_t weights = dn_describe(2, (dnnl_dims_t){ s->out, s->in }, s->type, dnnl_ab);
    dnnl_memory_desc_t gradient = dn_describe(2, (dnnl_dims_t){ s->out, s->in }, VALUE_F32, dnnl_ab);
    dnnl_memory_desc_t bias = dn_describe(1, (dnnl_dims_t){ s->out }, VALUE_F32, dnnl_a);
    dnnl_inner_product_desc_t op;
    struct call hint = { 0 }; /* the library asks for the forward operation that belongs to it */
    dn_check(dnnl_inner_product_forward_desc_init(&op, dnnl_forward_training, &src, &weights, &bias, &dst), "linear",
             s->name);
    dn_check(dnnl_primitive_desc_create(&hint.pd, &op, NULL, dn->engine, NULL), "descriptor", s->name);
    dn_check(dnnl_inner_product_backward_weights_desc_init(&op, &src, &gradient, &bias, &dst), "weight gradient",
             s->name);
    linear->weights = dn_make(dn, &op, &hint, false, dnnl_alg_kind_undef, s->name);
    dnnl_primitive_desc_destroy(hint.pd);
    dn_call_arg(dn, linear->weights, DNNL_ARG_DIFF_WEIGHTS, &gradient);
    dn_call_arg(dn, linear->weights, DNNL_ARG_DIFF_BIAS, &bias);
    dn_call_arg(dn, linear->weights, DNNL_ARG_SRC, &src);
    dn_call_arg(dn, linear->weights, DNNL_ARG_DIFF_DST, &dst);
}

struct dn_linear *dn_linear_create(struct dn *dn, const struct dn_linear_spec *spec)
{
    struct dn_linear *linear = arena_array(dn->arena, struct dn_linear, 1);
    /* The master copy is [out x in] row-major: seen from the forward product, in x out with the columns apart. */
    dnnl_memory_desc_t master = dn_describe(2, (dnnl_dims_t){ spec->out, spec->in }, VALUE_F32, dnnl_ab);
    dnnl_memory_desc_t turned = dn_describe(2, (dnnl_dims_t){ spec->in, spec->out }, VALUE_F32, dnnl_ba);
    linear->dn = dn;
    linear->forward = product(dn, spec, spec->rows, spec->in, spec->out, true);
    linear->chosen = dn_layout_of(dn, dn_query(linear->forward, dnnl_query_weights_md));
    linear->forward_weights = dn_prepares(dn, linear->chosen, dn_layout_of(dn, &turned));
    if (!spec->train)
        return linear;
    weight_gradient(linear, spec);
    if (!spec->data_gradient)
        return linear;
    linear->data = product(dn, spec, spec->rows, spec->out, spec->in, false);
    const struct dn_layout *chosen = dn_layout_of(dn, dn_query(linear->data, dnnl_query_weights_md));
    linear->backward_weights = dn_prepares(dn, chosen, dn_layout_of(dn, &master));
    return linear;
}

int64_t dn_linear_weight_bytes(const struct dn_linear *linear)
{
    return (int64_t)dnnl_memory_desc_get_size(&linear->chosen->md);
}

void dn_linear_pack(struct dn_linear *linear, void *packed, const float *weights)
{
    if (linear->forward_weights)
        dn_reorder(linear->forward_weights, packed, weights);
    else
        memcpy(packed, weights, (size_t)dn_linear_weight_bytes(linear));
}

const void *dn_linear_prepare_forward(struct dn_linear *linear, const float *weights)
{
    return dn_prepare(linear->dn, linear->forward_weights, weights);
}

const void *dn_linear_prepare_backward(struct dn_linear *linear, const float *weights)
{
    return dn_prepare(linear->dn, linear->backward_weights, weights);
}

void dn_linear_forward(struct dn_linear *linear, void *dst, const void *src, const void *prepared, const float *bias)
{
    dn_call_run(linear->dn, linear->forward, (const void *[]){ dst, src, prepared, bias });
}

void dn_linear_backward_data(struct dn_linear *linear, void *diff_src, const void *diff_dst, const void *prepared)
{
    dn_call_run(linear->dn, linear->data, (const void *[]){ diff_src, diff_dst, prepared });
}

void dn_linear_backward_weights(struct dn_linear *linear, float *diff_weights, float *diff_bias, const void *src,
                                const void *diff_dst)
{
    dn_call_run(linear->dn, linear->weights, (const void *[]){ diff_weights, diff_bias, src, diff_dst });
}

/* ---- products of attention ---- */

static dnnl_memory_desc_t operand(const struct dn_products_spec *spec, const struct dn_operand *o, int64_t rows,
                                  int64_t columns)
{
    dnnl_memory_desc_t md;
    dnnl_dims_t dims = { spec->images, spec->heads, rows, columns };
    dnnl_dims_t strides = { o->image, o->head, o->row, o->column };
    dn_check(dnnl_memory_desc_init_by_strides(&md, 4, dims, dn_type_of(o->type), strides), "layout", spec->name);
    return md;
}

struct dn_products *dn_products_create(struct dn *dn, const struct dn_products_spec *spec)
{
    struct dn_products *products = arena_array(dn->arena, struct dn_products, 1);
    dnnl_memory_desc_t a = operand(spec, &spec->a, spec->m, spec->k), b = operand(spec, &spec->b, spec->k, spec->n),
                       c = operand(spec, &spec->c, spec->m, spec->n);
    dnnl_matmul_desc_t op;
    dn_check(dnnl_matmul_desc_init(&op, &a, &b, NULL, &c), "product", spec->name);
    products->dn = dn;
    products->call = dn_make(dn, &op, NULL, false, dnnl_alg_kind_undef, spec->name);
    dn_call_arg(dn, products->call, DNNL_ARG_DST, &c);
    dn_call_arg(dn, products->call, DNNL_ARG_SRC, &a);
    dn_call_arg(dn, products->call, DNNL_ARG_WEIGHTS, &b);
    return products;
}

void dn_products(struct dn_products *products, void *c, const void *a, const void *b)
{
    dn_call_run(products->dn, products->call, (const void *[]){ c, a, b });
}
