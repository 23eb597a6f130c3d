/* The linear layer: a product over the rows of a shard, one row a pixel (or a pooled image). */
#include "base/arena.h"
#include "base/error.h"
#include "nn/engine.h"

void linear_create(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    const struct op *input = &net->ops[n->input];
    const struct dn_linear_spec spec = { .name = n->name,
                                         .rows = net->shard_rows * n->in.height * n->in.width,
                                         .in = n->in.channels,
                                         .out = n->out.channels,
                                         .type = input->type,
                                         .train = net->spec.train,
                                         .data_gradient = !input->kind->is_data };
    require(input->view.groups == 1 || input->view.pixels == 1, EXIT_INTERNAL, "%s: needs its input channel-last",
            n->name);
    op->linear = dn_linear_create(net->dn, &spec);
    op->layout =
        dn_rows(net->dn, input->type, (int64_t[]){ net->shard_rows, n->out.channels, n->out.height, n->out.width });
    if (!net->spec.train)
        op->ready[0] = arena_take(net->arena, (size_t)dn_linear_weight_bytes(op->linear), 1);
}

void linear_forward(struct network *net, struct op *op)
{
    const void *weights = dn_linear_prepare_forward(op->linear, engine_weight(net, op->node->weight));
    const float *bias = engine_weight(net, op->node->bias);
    for (int s = 0; s < net->shards; s++)
        dn_linear_forward(op->linear, op_out(op, s), op_input(net, op, s), weights, bias);
}

void linear_backward(struct network *net, struct op *op)
{
    if (op->diff) {
        const void *weights = dn_linear_prepare_backward(op->linear, engine_weight(net, op->node->weight));
        for (int s = 0; s < net->shards; s++)
            dn_linear_backward_data(op->linear, op_diff(net, op, s), op_grad(op, s), weights);
    }
    for (int s = 0; s < net->shards; s++) {
        dn_linear_backward_weights(op->linear, gradient_row(net, op->node->weight, s),
                                   gradient_row(net, op->node->bias, s), op_input(net, op, s), op_grad(op, s));
        gradient_fold(net, op->node->weight, s);
        gradient_fold(net, op->node->bias, s);
    }
}

void linear_infer(struct network *net, struct op *op)
{
    dn_linear_forward(op->linear, op->out, op_input(net, op, 0), op->ready[0], plain_parameter(net, op->node->bias));
}

void linear_ready(struct network *net, struct op *op)
{
    dn_linear_pack(op->linear, op->ready[0], plain_parameter(net, op->node->weight));
}
