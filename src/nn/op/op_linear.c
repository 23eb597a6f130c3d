/* The linear layer: a product over the rows of a shard, one row a pixel (or a pooled image). */
#include <math.h>

#include "base/arena.h"
#include "base/error.h"
#include "nn/engine.h"

/* A product over windows has the weight of the convolution that it is. */
static void linear_declare(struct graph *graph, struct node *n)
{
    int64_t in = n->in.channels, out = n->out.channels, window = n->kernel, area = window * window;
    const int64_t product[] = { out, in }, like_conv[] = { out, area ? in / area : in, window, window };
    n->weight = graph_declare(graph, n, "weight", window ? 4 : 2, window ? like_conv : product);
    n->bias = graph_declare(graph, n, "bias", 1, &out);
}

static void linear_init(const struct network *net, const struct node *n)
{
    double inputs = n->in.channels, outputs = n->out.channels, usual = 1.0 / sqrt(inputs);
    if (n->initial == INITIAL_XAVIER || n->initial == INITIAL_BALANCED)
        init_uniform(net, n->weight, sqrt(6.0 / (inputs + outputs)));
    else if (n->initial == INITIAL_NORMAL)
        init_normal(net, n->weight, usual, 2.0);
    else if (n->initial == INITIAL_SMALL)
        init_normal(net, n->weight, 0.02, 2.0);
    else if (n->initial == INITIAL_ZERO)
        init_constant(net, n->weight, 0.0f);
    else
        init_uniform(net, n->weight, usual);
    if (n->initial == INITIAL_USUAL && !net->graph->by_inputs)
        init_uniform(net, n->bias, usual);
    else if (n->initial == INITIAL_XAVIER)
        init_normal(net, n->bias, 1e-6, HUGE_VAL);
    else
        init_constant(net, n->bias, 0.0f);
}

static double linear_flops(const struct graph *graph, const struct node *n, bool train)
{
    return graph_product_flops(graph, n, n->in.channels, train);
}

static void linear_create(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    const struct op *input = &net->ops[n->input];
    const struct dn_linear_spec spec = { .name = n->name,
                                         .rows = net->shard_rows * n->in.height * n->in.width,
                                         .in = n->in.channels,
                                         .out = n->out.channels,
                                         .type = input->type,
                                         .train = net->spec.train,
                                         .data_gradient = !input->node->kind->is_data };
    require(input->view.groups == 1 || input->view.pixels == 1, EXIT_INTERNAL, "%s: needs its input channel-last",
            n->name);
    op->linear = dn_linear_create(net->dn, &spec);
    op->layout =
        dn_rows(net->dn, input->type, (int64_t[]){ net->shard_rows, n->out.channels, n->out.height, n->out.width });
    if (!net->spec.train)
        op->ready[0] = arena_take(net->arena, (size_t)dn_linear_weight_bytes(op->linear), 1);
}

static void linear_forward(struct network *net, struct op *op)
{
    const void *weights = dn_linear_prepare_forward(op->linear, engine_weight(net, op->node->weight));
    const float *bias = engine_weight(net, op->node->bias);
    for (int s = 0; s < net->shards; s++)
        dn_linear_forward(op->linear, op_out(op, s), op_input(net, op, s), weights, bias);
}

static void linear_backward(struct network *net, struct op *op)
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

static void linear_infer(struct network *net, struct op *op)
{
    dn_linear_forward(op->linear, op->out, op_input(net, op, 0), op->ready[0], plain_parameter(net, op->node->bias));
}

static void linear_ready(struct network *net, struct op *op)
{
    dn_linear_pack(op->linear, op->ready[0], plain_parameter(net, op->node->weight));
}

static const char *linear_kernel(const struct op *op, int pass)
{
    return dn_linear_kernel(op->linear, (enum dn_pass)pass);
}

static const struct op_kind linear_kind = { .name = "linear",
                                            .declare = linear_declare,
                                            .flops = linear_flops,
                                            .init = linear_init,
                                            .create = linear_create,
                                            .forward = linear_forward,
                                            .backward = linear_backward,
                                            .infer = linear_infer,
                                            .ready = linear_ready,
                                            .kernel = linear_kernel,
                                            .reads_input = true,
                                            .keeps_gradient = true };

int graph_linear(struct graph *graph, const char *name, int input, int outputs)
{
    int number = graph_append(graph, &linear_kind, name, input);
    graph->nodes[number].out.channels = outputs;
    return number;
}
