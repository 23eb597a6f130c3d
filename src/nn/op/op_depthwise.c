/* Depthwise convolution on rows, and windows of pixels as rows (a strided convolution is a product over them). */
#include "nn/depthwise.h"

#include "base/arena.h"
#include "base/error.h"
#include "nn/engine.h"
#include "nn/kernels_rows.h"

static const struct dn_layout *rows_like_input(struct network *net, const struct op *op)
{
    const struct op *input = &net->ops[op->node->input];
    const struct shape *s = &op->node->out;
    require(input->view.groups == 1, EXIT_INTERNAL, "%s: needs its input channel-last", op->node->name);
    return dn_rows(net->dn, input->type, (int64_t[]){ net->shard_rows, s->channels, s->height, s->width });
}

static struct depthwise_shape shape_of(const struct network *net, const struct op *op)
{
    const struct shape *s = &op->node->out;
    return (struct depthwise_shape){ net->shard_rows, s->height, s->width, s->channels };
}

static float *aligned(struct network *net, int64_t floats)
{
    float *data = arena_array(net->arena, float, floats + 16);
    return data + (64 - (uintptr_t)data % 64) % 64 / sizeof(float);
}

static void depthwise_create(struct network *net, struct op *op)
{
    struct depthwise_shape shape = shape_of(net, op);
    op->layout = rows_like_input(net, op);
    op->ready[0] = aligned(net, depthwise_taps(&shape));
    if (net->spec.train)
        op->partial = aligned(net, depthwise_partial(&shape));
    if (depthwise_work(&shape) > net->tile_floats) {
        net->tile_floats = depthwise_work(&shape);
        net->tiles = aligned(net, net->tile_floats);
    }
}

static void depthwise_run(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    struct depthwise_shape shape = shape_of(net, op);
    depthwise_prepare(op->ready[0], plain_parameter(net, n->weight), shape.channels, false);
    for (int s = 0; s < net->shards; s++)
        depthwise_forward(op_out(op, s), op_input(net, op, s), op->ready[0], plain_parameter(net, n->bias), net->tiles,
                          &shape, op->type);
}

static void depthwise_run_back(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    struct depthwise_shape shape = shape_of(net, op);
    depthwise_prepare(op->ready[0], engine_weight(net, n->weight), shape.channels, true);
    for (int s = 0; s < net->shards; s++) {
        depthwise_backward(op->diff ? op_diff(net, op, s) : NULL, gradient_row(net, n->weight, s),
                           gradient_row(net, n->bias, s), op->partial, op_grad(op, s), op_input(net, op, s),
                           op->ready[0], net->tiles, &shape, op->type);
        gradient_fold(net, n->weight, s);
        gradient_fold(net, n->bias, s);
    }
}

static void depthwise_declare(struct graph *graph, struct node *n)
{
    n->weight = graph_declare(graph, n, "weight", 4, (int64_t[]){ n->out.channels, 1, n->kernel, n->kernel });
    n->bias = graph_declare(graph, n, "bias", 1, (int64_t[]){ n->out.channels });
}

static void depthwise_init(const struct network *net, const struct node *n)
{
    init_normal(net, n->weight, 0.02, 2.0);
    init_constant(net, n->bias, 0.0f);
}

static double depthwise_flops(const struct graph *graph, const struct node *n, bool train)
{
    (void)graph;
    return 2.0 * (double)shape_floats(&n->out) * n->kernel * n->kernel * (train ? 3.0 : 1.0);
}

static const struct op_kind depthwise_kind = { .name = "depthwise",
                                               .declare = depthwise_declare,
                                               .flops = depthwise_flops,
                                               .init = depthwise_init,
                                               .create = depthwise_create,
                                               .forward = depthwise_run,
                                               .backward = depthwise_run_back,
                                               .infer = depthwise_run,
                                               .reads_input = true };

int graph_depthwise(struct graph *graph, const char *name, int input)
{
    int number = graph_append(graph, &depthwise_kind, name, input);
    graph_slide(graph, &graph->nodes[number], 7, 1, 3);
    return number;
}

/* ---- windows ---- */

static void windows_create(struct network *net, struct op *op)
{
    op->layout = rows_like_input(net, op);
}

static void windows_run(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    for (int s = 0; s < net->shards; s++)
        windows_gather(op_out(op, s), op_input(net, op, s), net->shard_rows, n->in.height, n->in.width, n->in.channels,
                       n->kernel, op->type);
}

static void windows_run_back(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    for (int s = 0; s < net->shards && op->diff; s++)
        windows_scatter(op_diff(net, op, s), op_grad(op, s), net->shard_rows, n->in.height, n->in.width, n->in.channels,
                        n->kernel, op->type);
}

static const struct op_kind windows_kind = { .name = "windows",
                                             .create = windows_create,
                                             .forward = windows_run,
                                             .backward = windows_run_back,
                                             .infer = windows_run };

int graph_windows(struct graph *graph, const char *name, int input, int window)
{
    int number = graph_append(graph, &windows_kind, name, input);
    struct node *node = &graph->nodes[number];
    graph_slide(graph, node, window, window, 0);
    node->out.channels = node->in.channels * window * window;
    return number;
}
