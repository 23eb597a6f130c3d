/* Maximum over windows (a primitive) and mean over all pixels (a kernel of ours). */
#include "nn/engine.h"
#include "nn/kernels.h"

/* ---- maximum ---- */

static void maxpool_create(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    struct conv_shape shape = { net->shard_rows, n->in.channels, n->out.channels, n->in.height, n->in.width,
                                n->out.height,   n->out.width,   n->kernel,       n->stride,    n->pad };
    op->pool = dn_pool_create(net->dn, n->name, &shape, net->ops[n->input].layout, net->spec.train);
    op->layout = dn_pool_dst(op->pool);
    op->index_stride = (dn_pool_index_bytes(op->pool) + 63) / 64 * 64;
}

static void maxpool_forward(struct network *net, struct op *op)
{
    for (int s = 0; s < net->shards; s++)
        dn_pool_forward(op->pool, op_out(op, s), op->indices + s * op->index_stride, op_input(net, op, s));
}

static void maxpool_backward(struct network *net, struct op *op)
{
    for (int s = 0; s < net->shards && op->diff; s++)
        dn_pool_backward(op->pool, op_diff(net, op, s), op_grad(op, s), op->indices + s * op->index_stride);
}

static const char *maxpool_kernel(const struct op *op, int pass)
{
    return dn_pool_kernel(op->pool, (enum dn_pass)pass);
}

/* A look at every pixel of a window. */
static double maxpool_flops(const struct graph *graph, const struct node *n, bool train)
{
    (void)graph, (void)train;
    return (double)shape_floats(&n->out) * n->kernel * n->kernel;
}

static const struct op_kind maxpool_kind = { .name = "max pool",
                                             .flops = maxpool_flops,
                                             .create = maxpool_create,
                                             .forward = maxpool_forward,
                                             .backward = maxpool_backward,
                                             .infer = maxpool_forward,
                                             .kernel = maxpool_kernel };

int graph_maxpool(struct graph *graph, const char *name, int input, int kernel, int stride, int pad)
{
    int number = graph_append(graph, &maxpool_kind, name, input);
    graph_slide(graph, &graph->nodes[number], kernel, stride, pad);
    return number;
}

/* ---- mean ---- */

static void avgpool_create(struct network *net, struct op *op)
{
    /* Representations are in single precision. */
    op->layout = dn_rows(net->dn, VALUE_F32, (int64_t[]){ net->shard_rows, op->node->out.channels, 1, 1 });
}

/* Image `image` of all shards: its offset in bytes in a value of `op`, with `pixels` a channel. */
static int64_t image_offset(const struct network *net, const struct op *op, int64_t image, int64_t pixels)
{
    int64_t values = image % net->shard_rows * op->node->out.channels * pixels;
    return image / net->shard_rows * op->stride + values * value_bytes(op->type);
}

static void avgpool_forward(struct network *net, struct op *op)
{
    const struct op *input = &net->ops[op->node->input];
    const struct view *v = &input->view;
    int64_t images = (int64_t)net->shards * net->shard_rows;
#pragma omp parallel for schedule(static)
    for (int64_t image = 0; image < images; image++) {
        const char *x = input->out + image_offset(net, input, image, v->pixels);
        float *out = (float *)(void *)(op->out + image_offset(net, op, image, 1));
        for (int g = 0; g < v->groups; g++)
            mean_pixels(out + g * v->lanes, value_at_const(x, g * v->pixels * v->lanes, input->type), v->pixels,
                        v->lanes, input->type);
    }
}

static void avgpool_backward(struct network *net, struct op *op)
{
    const struct op *input = &net->ops[op->node->input];
    const struct view *v = &input->view;
    int64_t images = (int64_t)net->shards * net->shard_rows;
    if (!op->diff)
        return;
#pragma omp parallel for schedule(static)
    for (int64_t image = 0; image < images; image++) {
        char *diff = op->diff + image_offset(net, input, image, v->pixels);
        const float *grad = (const float *)(void *)(op->grad[0] + image_offset(net, op, image, 1));
        for (int g = 0; g < v->groups; g++)
            mean_pixels_backward(value_at(diff, g * v->pixels * v->lanes, input->type), grad + g * v->lanes, v->pixels,
                                 v->lanes, input->type);
    }
}

static double avgpool_flops(const struct graph *graph, const struct node *n, bool train)
{
    (void)graph, (void)train;
    return (double)shape_floats(&n->in);
}

static const struct op_kind avgpool_kind = { .name = "average pool",
                                             .flops = avgpool_flops,
                                             .create = avgpool_create,
                                             .forward = avgpool_forward,
                                             .backward = avgpool_backward,
                                             .infer = avgpool_forward };

int graph_avgpool(struct graph *graph, const char *name, int input)
{
    int number = graph_append(graph, &avgpool_kind, name, input);
    graph->nodes[number].out.height = graph->nodes[number].out.width = 1;
    return number;
}
