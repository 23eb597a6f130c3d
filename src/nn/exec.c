/* Runs the nodes: forward in order, backward in reverse, all shards of this rank
 * at each node before the next. No allocation. */
#include "nn/engine.h"

static void nothing(struct network *net, struct op *op)
{
    (void)net;
    (void)op;
}

const struct op_kind op_kinds[NODE_KINDS] = {
    [NODE_INPUT] = { "input", input_create, nothing, nothing, nothing, false },
    [NODE_CONV] = { "convolution", conv_create, conv_forward, conv_backward, conv_infer, true },
    [NODE_NORM] = { "batch norm", norm_create, norm_forward, norm_backward, norm_infer, true },
    [NODE_MAXPOOL] = { "max pool", maxpool_create, maxpool_forward, maxpool_backward, maxpool_forward, false },
    [NODE_AVGPOOL] = { "average pool", avgpool_create, avgpool_forward, avgpool_backward, avgpool_forward, false },
    [NODE_LINEAR] = { "linear", linear_create, linear_forward, linear_backward, linear_forward, true },
};

void input_create(struct network *net, struct op *op)
{
    const struct shape *s = &op->node->out;
    op->layout = dn_plain(net->dn, 4, (int64_t[]){ net->shard_rows, s->channels, s->height, s->width });
}

/* Images are borrowed and only read. */
static void set_images(struct network *net, const float *images)
{
    net->ops[0].out = (float *)(uintptr_t)images;
}

void exec_forward(struct network *net, const float *images)
{
    set_images(net, images);
    for (int i = 1; i < net->graph->count; i++)
        net->ops[i].kind->forward(net, &net->ops[i]);
}

/* grad[into] <- grad[into] + the later ones. */
static void add_gradients(const struct network *net, struct op *op, int into)
{
    int64_t floats = net->shards * op->stride;
    for (int k = into + 1; k < op->grads; k++) {
        float *restrict sum = op->grad[into];
        const float *restrict more = op->grad[k];
#pragma omp parallel for simd schedule(static)
        for (int64_t i = 0; i < floats; i++)
            sum[i] += more[i];
    }
}

void exec_backward(struct network *net)
{
    for (int i = net->graph->count - 1; i > 0; i--) {
        struct op *op = &net->ops[i];
        if (op->grads == 0)
            continue;
        add_gradients(net, op, op->node->kind == NODE_NORM ? 1 : 0); /* a normalisation adds two by itself */
        op->kind->backward(net, op);
    }
}

void exec_infer(struct network *net, const float *images)
{
    set_images(net, images);
    for (int i = 1; i < net->graph->count; i++)
        net->ops[i].kind->infer(net, &net->ops[i]);
}
