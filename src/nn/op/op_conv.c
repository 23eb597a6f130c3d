/* Convolution: one primitive call for each shard of this rank. Weights stay in
 * the layout of the forward primitive from step to step. */
#include <math.h>

#include "nn/engine.h"

void conv_create(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    const struct op *input = &net->ops[n->input];
    const struct op *norm = op->folded == NONE ? NULL : &net->ops[op->folded];
    bool train = net->spec.train;
    struct dn_conv_spec spec = { .name = n->name,
                                 .shape = { net->shard_rows, n->in.channels, n->out.channels, n->in.height, n->in.width,
                                            n->out.height, n->out.width, n->kernel, n->stride, n->pad },
                                 .type = net->spec.precision,
                                 .train = train,
                                 .data_gradient = input->node->kind != NODE_INPUT,
                                 .bias = norm != NULL,
                                 .sum = norm && norm->node->residual != NONE,
                                 .relu = norm && norm->node->relu };
    op->conv = dn_conv_create(net->dn, &spec, input->layout);
    op->layout = dn_conv_dst(op->conv);
}

void conv_forward(struct network *net, struct op *op)
{
    const void *weights = dn_conv_prepare_forward(op->conv, engine_weight(net, op->node->weight));
    for (int s = 0; s < net->shards; s++)
        dn_conv_forward(op->conv, op_out(op, s), op_source(net, op, s), weights, NULL);
}

/* Weights first: the gradient of a streamed input takes the place of the input. */
void conv_backward(struct network *net, struct op *op)
{
    int weight = op->node->weight;
    struct op *input = &net->ops[op->node->input];
    const void *weights = op->diff ? dn_conv_prepare_backward(op->conv, engine_weight(net, weight)) : NULL;
    for (int s = 0; s < net->shards; s++) {
        dn_conv_backward_weights(op->conv, gradient_row(net, weight, s), op_source(net, op, s), op_grad(op, s));
        gradient_fold(net, weight, s);
        if (op->diff)
            dn_conv_backward_data(op->conv, op_diff(net, op, s), op_grad(op, s), weights);
        if (input->streamed)
            input->kind->stream_back(net, input, s);
    }
}

/* A folded convolution runs when its normalisation's turn comes: what that adds is ready only then. */
void conv_infer(struct network *net, struct op *op)
{
    if (op->folded == NONE)
        dn_conv_forward(op->conv, op->out, op_input(net, op, 0), op->ready[0], NULL);
}

/* w <- w gamma / sqrt(var + eps), b <- beta - mean gamma / sqrt(var + eps), then the primitive's layout. */
void conv_ready(struct network *net, struct op *op)
{
    const struct parameter *list = net->graph->parameters, *p = &list[op->node->weight];
    const float *weights = net->weights + p->offset;
    struct dn_reorder *reorder = net->slots[op->node->weight].in;
    if (op->folded == NONE) {
        dn_reorder(reorder, op->ready[0], weights);
        dn_conv_ready(op->conv, op->ready[0]);
        return;
    }
    const struct node *norm = net->ops[op->folded].node;
    const float *gamma = net->weights + list[norm->weight].offset, *beta = net->weights + list[norm->bias].offset;
    const float *mean = net->buffers + list[norm->mean].offset, *var = net->buffers + list[norm->variance].offset;
    int64_t window = p->count / p->dims[0];
    for (int64_t c = 0; c < p->dims[0]; c++) {
        double factor = (double)gamma[c] / sqrt((double)var[c] + NORM_EPSILON);
        ((float *)op->ready[1])[c] = (float)((double)beta[c] - (double)mean[c] * factor);
        for (int64_t i = c * window; i < (c + 1) * window; i++)
            net->stack[i] = (float)((double)weights[i] * factor);
    }
    dn_reorder(reorder, op->ready[0], net->stack);
    dn_conv_ready(op->conv, op->ready[0]);
}
