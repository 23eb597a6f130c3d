/* Convolution: one primitive call for each shard of this rank. Weights stay in
 * the layout of the forward primitive from step to step. */
#include <math.h>

#include "base/arena.h"
#include "nn/engine.h"

static void conv_declare(struct graph *graph, struct node *n)
{
    n->weight =
        graph_declare(graph, n, "weight", 4, (int64_t[]){ n->out.channels, n->in.channels, n->kernel, n->kernel });
}

/* Normal, deviation sqrt(2 / (outputs * window)) (He et al., 2015, fan-out), or by inputs. */
static void conv_init(const struct network *net, const struct node *n)
{
    int64_t fan = net->graph->by_inputs ? n->in.channels : n->out.channels;
    init_normal(net, n->weight, sqrt(2.0 / (double)(fan * n->kernel * n->kernel)), HUGE_VAL);
}

static double conv_flops(const struct graph *graph, const struct node *n, bool train)
{
    return graph_product_flops(graph, n, (double)n->in.channels * n->kernel * n->kernel, train);
}

static const char *conv_describe(const struct node *n, struct arena *arena)
{
    return arena_printf(arena, "%s %dx%d/%d", n->kind->name, n->kernel, n->kernel, n->stride);
}

static void conv_create(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    const struct op *input = &net->ops[n->input];
    const struct op *norm = op->folded;
    bool train = net->spec.train;
    struct dn_conv_spec spec = { .name = n->name,
                                 .shape = { net->shard_rows, n->in.channels, n->out.channels, n->in.height, n->in.width,
                                            n->out.height, n->out.width, n->kernel, n->stride, n->pad },
                                 .type = net->spec.precision,
                                 .train = train,
                                 .data_gradient = !input->node->kind->is_data,
                                 .bias = norm != NULL,
                                 .sum = norm && norm->node->residual != NONE,
                                 .relu = norm && norm->node->relu };
    op->conv = dn_conv_create(net->dn, &spec, input->layout);
    op->layout = dn_conv_dst(op->conv);
    op->weight_layout = dn_conv_weights(op->conv);
    if (train)
        return;
    op->ready[0] = arena_take(net->arena, (size_t)dn_conv_ready_bytes(op->conv), 1);
    op->ready[1] = arena_array(net->arena, float, n->out.channels);
}

static void conv_forward(struct network *net, struct op *op)
{
    const void *weights = dn_conv_prepare_forward(op->conv, engine_weight(net, op->node->weight));
    for (int s = 0; s < net->shards; s++)
        dn_conv_forward(op->conv, op_out(op, s), op_source(net, op, s), weights, NULL);
}

/* Weights first: the gradient of a streamed input takes the place of the input. */
static void conv_backward(struct network *net, struct op *op)
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
            input->node->kind->stream_back(net, input, s);
    }
}

/* A folded convolution runs when its normalisation's turn comes: what that adds is ready only then. */
static void conv_infer(struct network *net, struct op *op)
{
    if (!op->folded)
        dn_conv_forward(op->conv, op->out, op_input(net, op, 0), op->ready[0], NULL);
}

/* w <- w gamma / sqrt(var + eps), b <- beta - mean gamma / sqrt(var + eps), then the primitive's layout. */
static void conv_ready(struct network *net, struct op *op)
{
    const struct parameter *list = net->graph->parameters, *p = &list[op->node->weight];
    const float *weights = net->weights + p->offset;
    struct dn_reorder *reorder = net->slots[op->node->weight].in;
    if (!op->folded) {
        dn_reorder(reorder, op->ready[0], weights);
        dn_conv_ready(op->conv, op->ready[0]);
        return;
    }
    const struct node *norm = op->folded->node;
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

static const char *conv_kernel(const struct op *op, int pass)
{
    return dn_conv_kernel(op->conv, (enum dn_pass)pass);
}

const struct op_kind conv_kind = { .name = "convolution",
                                   .declare = conv_declare,
                                   .flops = conv_flops,
                                   .describe = conv_describe,
                                   .init = conv_init,
                                   .create = conv_create,
                                   .forward = conv_forward,
                                   .backward = conv_backward,
                                   .infer = conv_infer,
                                   .ready = conv_ready,
                                   .kernel = conv_kernel,
                                   .reads_input = true,
                                   .streams_input = true };

int graph_conv(struct graph *graph, const char *name, int input, int channels, int kernel, int stride, int pad)
{
    int number = graph_append(graph, &conv_kind, name, input);
    graph->nodes[number].out.channels = channels;
    graph_slide(graph, &graph->nodes[number], kernel, stride, pad);
    return number;
}
