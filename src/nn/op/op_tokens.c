/* A vision transformer's own layers: patches of the image as rows, class token and positions, attention, and the class
 * token picked out at the end. */
#include "nn/attention.h"
#include "nn/engine.h"
#include "nn/kernels_tokens.h"

static const struct dn_layout *rows_layout(struct network *net, const struct op *op, enum value_type type)
{
    const struct shape *s = &op->node->out;
    return dn_rows(net->dn, type, (int64_t[]){ net->shard_rows, s->channels, s->height, s->width });
}

static int64_t pixels(const struct shape *shape)
{
    return (int64_t)shape->height * shape->width;
}

/* ---- patches ---- */

void patches_create(struct network *net, struct op *op)
{
    op->layout = rows_layout(net, op, net->spec.precision);
}

void patches_forward(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    for (int s = 0; s < net->shards; s++)
        patches_gather(op_out(op, s), op_input(net, op, s), net->shard_rows, n->in.channels, n->in.width, n->kernel,
                       op->type);
}

/* ---- tokens ---- */

void tokens_create(struct network *net, struct op *op)
{
    op->layout = rows_layout(net, op, net->ops[op->node->input].type);
}

void tokens_run(struct network *net, struct op *op)
{
    const float *token = plain_parameter(net, op->node->bias), *position = plain_parameter(net, op->node->weight);
    for (int s = 0; s < net->shards; s++)
        tokens_forward(op_out(op, s), op_input(net, op, s), token, position, net->shard_rows, pixels(&op->node->in),
                       op->node->in.channels, op->type);
}

void tokens_run_back(struct network *net, struct op *op)
{
    int token = op->node->bias, position = op->node->weight;
    for (int s = 0; s < net->shards; s++) {
        tokens_backward(op->diff ? op_diff(net, op, s) : NULL, gradient_row(net, token, s),
                        gradient_row(net, position, s), op_grad(op, s), net->shard_rows, pixels(&op->node->in),
                        op->node->in.channels, op->type);
        gradient_fold(net, token, s);
        gradient_fold(net, position, s);
    }
}

/* ---- attention ---- */

void attend_create(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    enum value_type type = net->ops[n->input].type;
    op->attention = attention_create(net->dn, &(struct attention_spec){ .name = n->name,
                                                                        .images = net->shard_rows,
                                                                        .tokens = n->in.height * n->in.width,
                                                                        .heads = n->heads,
                                                                        .width = n->out.channels / n->heads,
                                                                        .type = type,
                                                                        .train = net->spec.train });
    op->layout = rows_layout(net, op, type);
}

void attend_forward(struct network *net, struct op *op)
{
    for (int s = 0; s < net->shards; s++)
        attention_forward(op->attention, op_out(op, s), op_input(net, op, s));
}

void attend_backward(struct network *net, struct op *op)
{
    for (int s = 0; s < net->shards && op->diff; s++)
        attention_backward(op->attention, op_diff(net, op, s), op_grad(op, s), op_input(net, op, s));
}

/* ---- the class token ---- */

void pick_create(struct network *net, struct op *op)
{
    op->layout = rows_layout(net, op, VALUE_F32); /* what becomes the representation is in single precision */
}

void pick_forward(struct network *net, struct op *op)
{
    for (int s = 0; s < net->shards; s++)
        pick_first(op_out(op, s), op_input(net, op, s), net->shard_rows, pixels(&op->node->in), op->node->in.channels,
                   net->ops[op->node->input].type);
}

void pick_backward(struct network *net, struct op *op)
{
    for (int s = 0; s < net->shards && op->diff; s++)
        pick_first_backward(op_diff(net, op, s), op_grad(op, s), net->shard_rows, pixels(&op->node->in),
                            op->node->in.channels, net->ops[op->node->input].type);
}
