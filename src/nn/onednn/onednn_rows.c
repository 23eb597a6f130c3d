/* Products of rows: linear layers, and the products of attention. Matrix
 * multiplication takes weights in blocks of its own for forward and data
 * gradient; the inner product's weight gradient writes the plain layout, with
 * the bias on the way. Each was the fastest of its kind at 788 rows. */
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "nn/onednn/onednn_calls.h"

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
    const onednn_desc *a = dn_describe(dn, 2, (int64_t[]){ m, k }, spec->type, dnnl_ab);
    const onednn_desc *b = dn_describe(dn, 2, (int64_t[]){ k, n }, spec->type, onednn_packed(k, n));
    const onednn_desc *c = dn_describe(dn, 2, (int64_t[]){ m, n }, spec->type, dnnl_ab);
    const onednn_desc *added = bias ? dn_describe(dn, 2, (int64_t[]){ 1, n }, VALUE_F32, dnnl_ab) : NULL;
    const struct onednn_use use = dn_use(dn, NULL);
    struct call *call = dn_make(dn, onednn_matmul(&use, a, b, added, c), spec->name);
    dn_call_arg(dn, call, DNNL_ARG_DST, c);
    dn_call_arg(dn, call, DNNL_ARG_SRC, a);
    dn_call_arg(dn, call, DNNL_ARG_WEIGHTS, dn_query(call, dnnl_query_weights_md));
    if (bias)
        dn_call_arg(dn, call, DNNL_ARG_BIAS, added);
    return call;
}

static void weight_gradient(struct dn_linear *linear, const struct dn_linear_spec *s)
{
    struct dn *dn = linear->dn;
    const onednn_desc *src = dn_describe(dn, 2, (int64_t[]){ s->rows, s->in }, s->type, dnnl_ab);
    const onednn_desc *dst = dn_describe(dn, 2, (int64_t[]){ s->rows, s->out }, s->type, dnnl_ab);
    const onednn_desc *weights = dn_describe(dn, 2, (int64_t[]){ s->out, s->in }, s->type, dnnl_ab);
    const onednn_desc *gradient = dn_describe(dn, 2, (int64_t[]){ s->out, s->in }, VALUE_F32, dnnl_ab);
    const onednn_desc *bias = dn_describe(dn, 1, (int64_t[]){ s->out }, VALUE_F32, dnnl_a);
    struct onednn_use use = dn_use(dn, NULL);
    /* The library asks for the forward operation that belongs to it. */
    dnnl_primitive_desc_t forward = onednn_inner_product(&use, dnnl_forward_training, src, weights, bias, dst);
    use.forward = forward;
    linear->weights = dn_make(dn, onednn_inner_product(&use, dnnl_backward_weights, src, gradient, bias, dst), s->name);
    dnnl_primitive_desc_destroy(forward);
    dn_call_arg(dn, linear->weights, DNNL_ARG_DIFF_WEIGHTS, gradient);
    dn_call_arg(dn, linear->weights, DNNL_ARG_DIFF_BIAS, bias);
    dn_call_arg(dn, linear->weights, DNNL_ARG_SRC, src);
    dn_call_arg(dn, linear->weights, DNNL_ARG_DIFF_DST, dst);
}

struct dn_linear *dn_linear_create(struct dn *dn, const struct dn_linear_spec *spec)
{
    struct dn_linear *linear = arena_array(dn->arena, struct dn_linear, 1);
    /* The master copy is [out x in] row-major: seen from the forward product, in x out with the columns apart. */
    const onednn_desc *master = dn_describe(dn, 2, (int64_t[]){ spec->out, spec->in }, VALUE_F32, dnnl_ab);
    const onednn_desc *turned = dn_describe(dn, 2, (int64_t[]){ spec->in, spec->out }, VALUE_F32, dnnl_ba);
    linear->dn = dn;
    linear->forward = product(dn, spec, spec->rows, spec->in, spec->out, true);
    linear->chosen = dn_layout_of(dn, dn_query(linear->forward, dnnl_query_weights_md));
    linear->forward_weights = dn_prepares(dn, linear->chosen, dn_layout_of(dn, turned));
    if (!spec->train)
        return linear;
    weight_gradient(linear, spec);
    if (!spec->data_gradient)
        return linear;
    linear->data = product(dn, spec, spec->rows, spec->out, spec->in, false);
    const struct dn_layout *chosen = dn_layout_of(dn, dn_query(linear->data, dnnl_query_weights_md));
    linear->backward_weights = dn_prepares(dn, chosen, dn_layout_of(dn, master));
    return linear;
}

const char *dn_linear_kernel(const struct dn_linear *linear, enum dn_pass pass)
{
    const struct call *calls[DN_PASSES] = { linear->forward, linear->data, linear->weights };
    return dn_kernel(calls[pass]);
}

int64_t dn_linear_weight_bytes(const struct dn_linear *linear)
{
    return (int64_t)dnnl_memory_desc_get_size(linear->chosen->md);
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

static const onednn_desc *operand(struct dn *dn, const struct dn_products_spec *spec, const struct dn_operand *o,
                                  int64_t rows, int64_t columns)
{
    const int64_t dims[] = { spec->images, spec->heads, rows, columns };
    const int64_t strides[] = { o->image, o->head, o->row, o->column };
    return onednn_strided(&dn->shelf, 4, dims, dn_type_of(o->type), strides);
}

struct dn_products *dn_products_create(struct dn *dn, const struct dn_products_spec *spec)
{
    struct dn_products *products = arena_array(dn->arena, struct dn_products, 1);
    const onednn_desc *a = operand(dn, spec, &spec->a, spec->m, spec->k);
    const onednn_desc *b = operand(dn, spec, &spec->b, spec->k, spec->n);
    const onednn_desc *c = operand(dn, spec, &spec->c, spec->m, spec->n);
    const struct onednn_use use = dn_use(dn, NULL);
    products->dn = dn;
    products->call = dn_make(dn, onednn_matmul(&use, a, b, NULL, c), spec->name);
    dn_call_arg(dn, products->call, DNNL_ARG_DST, c);
    dn_call_arg(dn, products->call, DNNL_ARG_SRC, a);
    dn_call_arg(dn, products->call, DNNL_ARG_WEIGHTS, b);
    return products;
}

const char *dn_products_kernel(const struct dn_products *products)
{
    return dn_kernel(products->call);
}

void dn_products(struct dn_products *products, void *c, const void *a, const void *b)
{
    dn_call_run(products->dn, products->call, (const void *[]){ c, a, b });
}
