/* The linear layer: a primitive on row-major shards. */
#include "nn/engine.h"

void linear_create(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    op->linear = dn_linear_create(net->dn, n->name, net->shard_rows, n->in.channels, n->out.channels, net->spec.train);
    op->layout = dn_plain(net->dn, 2, (int64_t[]){ net->shard_rows, n->out.channels });
}

void linear_forward(struct network *net, struct op *op)
{
    const float *weights = plain_parameter(net, op->node->weight), *bias = plain_parameter(net, op->node->bias);
    for (int s = 0; s < net->shards; s++)
        dn_linear_forward(op->linear, op_out(op, s), op_input(net, op, s), weights, bias);
}

void linear_backward(struct network *net, struct op *op)
{
    const struct op *input = &net->ops[op->node->input];
    for (int s = 0; s < net->shards; s++) {
        const float *grad = op->grad[0] + s * op->stride;
        if (op->diff)
            dn_linear_backward_data(op->linear, op->diff + s * input->stride, grad,
                                    engine_weight(net, op->node->weight));
        dn_linear_backward_weights(op->linear, gradient_row(net, op->node->weight, s),
                                   gradient_row(net, op->node->bias, s), op_out(input, s), grad);
        gradient_fold(net, op->node->weight, s);
        gradient_fold(net, op->node->bias, s);
    }
}
