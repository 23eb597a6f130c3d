/* Maximum over windows (a primitive) and mean over all pixels (a kernel of ours). */
#include "nn/engine.h"
#include "nn/kernels.h"

void maxpool_create(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    struct conv_shape shape = { net->shard_rows, n->in.channels, n->out.channels, n->in.height, n->in.width,
                                n->out.height,   n->out.width,   n->kernel,       n->stride,    n->pad };
    op->pool = dn_pool_create(net->dn, n->name, &shape, net->ops[n->input].layout, net->spec.train);
    op->layout = dn_pool_dst(op->pool);
    op->index_stride = (dn_pool_index_bytes(op->pool) + 63) / 64 * 64;
}

void maxpool_forward(struct network *net, struct op *op)
{
    for (int s = 0; s < net->shards; s++)
        dn_pool_forward(op->pool, op_out(op, s), op->indices + s * op->index_stride, op_input(net, op, s));
}

void maxpool_backward(struct network *net, struct op *op)
{
    int64_t stride = net->ops[op->node->input].stride;
    for (int s = 0; s < net->shards && op->diff; s++)
        dn_pool_backward(op->pool, op->diff + s * stride, op->grad[0] + s * op->stride,
                         op->indices + s * op->index_stride);
}

void avgpool_create(struct network *net, struct op *op)
{
    op->layout = dn_plain(net->dn, 2, (int64_t[]){ net->shard_rows, op->node->out.channels });
}

/* Image `image` of all shards: its offset in a value of `op`, with `pixels` a channel. */
static int64_t image_offset(const struct network *net, const struct op *op, int64_t image, int64_t pixels)
{
    return image / net->shard_rows * op->stride + image % net->shard_rows * op->node->out.channels * pixels;
}

void avgpool_forward(struct network *net, struct op *op)
{
    const struct op *input = &net->ops[op->node->input];
    const struct view *v = &input->view;
    int64_t images = (int64_t)net->shards * net->shard_rows;
#pragma omp parallel for schedule(static)
    for (int64_t image = 0; image < images; image++) {
        const float *x = input->out + image_offset(net, input, image, v->pixels);
        float *out = op->out + image_offset(net, op, image, 1);
        for (int g = 0; g < v->groups; g++)
            mean_pixels(out + g * v->lanes, x + g * v->pixels * v->lanes, v->pixels, v->lanes);
    }
}

void avgpool_backward(struct network *net, struct op *op)
{
    const struct op *input = &net->ops[op->node->input];
    const struct view *v = &input->view;
    int64_t images = (int64_t)net->shards * net->shard_rows;
    if (!op->diff)
        return;
#pragma omp parallel for schedule(static)
    for (int64_t image = 0; image < images; image++) {
        float *diff = op->diff + image_offset(net, input, image, v->pixels);
        const float *grad = op->grad[0] + image_offset(net, op, image, 1);
        for (int g = 0; g < v->groups; g++)
            mean_pixels_backward(diff + g * v->pixels * v->lanes, grad + g * v->lanes, v->pixels, v->lanes);
    }
}
