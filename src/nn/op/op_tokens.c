/* A vision transformer's own layers: patches of the image as rows, class token and positions, attention, and the class
 * token picked out at the end. */
#include <math.h>

#include "base/error.h"
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

static void patches_create(struct network *net, struct op *op)
{
    op->layout = rows_layout(net, op, net->spec.precision);
}

static void patches_forward(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    for (int s = 0; s < net->shards; s++)
        patches_gather(op_out(op, s), op_input(net, op, s), net->shard_rows, n->in.channels, n->in.width, n->kernel,
                       op->type);
}

static const struct op_kind patches_kind = {
    .name = "patches", .create = patches_create, .forward = patches_forward, .infer = patches_forward, .is_data = true
};

int graph_patches(struct graph *graph, const char *name, int input, int window)
{
    int number = graph_append(graph, &patches_kind, name, input);
    struct node *node = &graph->nodes[number];
    graph_slide(graph, node, window, window, 0);
    node->out.channels = node->in.channels * window * window;
    return number;
}

/* ---- tokens ---- */

static void tokens_create(struct network *net, struct op *op)
{
    op->layout = rows_layout(net, op, net->ops[op->node->input].type);
}

static void tokens_run(struct network *net, struct op *op)
{
    const float *token = plain_parameter(net, op->node->bias), *position = plain_parameter(net, op->node->weight);
    for (int s = 0; s < net->shards; s++)
        tokens_forward(op_out(op, s), op_input(net, op, s), token, position, net->shard_rows, pixels(&op->node->in),
                       op->node->in.channels, op->type);
}

static void tokens_run_back(struct network *net, struct op *op)
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

/* The class token is the bias. */
static void tokens_declare_first(struct graph *graph, struct node *n)
{
    n->bias = graph_declare_as(graph, "class_token", 3, (int64_t[]){ 1, 1, n->out.channels });
}

static void tokens_declare(struct graph *graph, struct node *n)
{
    n->weight = graph_declare_as(graph, n->name, 3, (int64_t[]){ 1, n->out.height, n->out.channels });
}

static void tokens_init(const struct network *net, const struct node *n)
{
    init_normal(net, n->weight, 0.02, HUGE_VAL);
    init_constant(net, n->bias, 0.0f);
}

static const struct op_kind tokens_kind = { .name = "tokens",
                                            .declare_first = tokens_declare_first,
                                            .declare = tokens_declare,
                                            .init = tokens_init,
                                            .create = tokens_create,
                                            .forward = tokens_run,
                                            .backward = tokens_run_back,
                                            .infer = tokens_run };

int graph_tokens(struct graph *graph, int input)
{
    int number = graph_append(graph, &tokens_kind, "encoder.pos_embedding", input);
    struct node *node = &graph->nodes[number];
    node->out.height = 1 + node->in.height * node->in.width;
    node->out.width = 1;
    return number;
}

/* ---- attention ---- */

static void attend_create(struct network *net, struct op *op)
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

static void attend_forward(struct network *net, struct op *op)
{
    for (int s = 0; s < net->shards; s++)
        attention_forward(op->attention, op_out(op, s), op_input(net, op, s));
}

static void attend_backward(struct network *net, struct op *op)
{
    for (int s = 0; s < net->shards && op->diff; s++)
        attention_backward(op->attention, op_diff(net, op, s), op_grad(op, s), op_input(net, op, s));
}

static const char *attend_kernel(const struct op *op, int pass)
{
    return attention_kernel(op->attention, (enum dn_pass)pass);
}

/* Q K^T and P V; backward four products and the first again. */
static double attend_flops(const struct graph *graph, const struct node *n, bool train)
{
    (void)graph;
    double forward = 4.0 * (double)shape_floats(&n->out) * (double)pixels(&n->out);
    return train ? 3.5 * forward : forward;
}

static const struct op_kind attention_kind = { .name = "attention",
                                               .flops = attend_flops,
                                               .create = attend_create,
                                               .forward = attend_forward,
                                               .backward = attend_backward,
                                               .infer = attend_forward,
                                               .kernel = attend_kernel,
                                               .reads_input = true };

int graph_attention(struct graph *graph, const char *name, int input, int heads)
{
    int number = graph_append(graph, &attention_kind, name, input);
    struct node *node = &graph->nodes[number];
    require(node->in.channels % (3 * heads) == 0, EXIT_INTERNAL, "%s: %s has %d heads for %d channels", graph->family,
            name, heads, node->in.channels);
    node->out.channels = node->in.channels / 3;
    node->heads = heads;
    return number;
}

/* ---- the class token ---- */

static void pick_create(struct network *net, struct op *op)
{
    op->layout = rows_layout(net, op, VALUE_F32); /* what becomes the representation is in single precision */
}

static void pick_forward(struct network *net, struct op *op)
{
    for (int s = 0; s < net->shards; s++)
        pick_first(op_out(op, s), op_input(net, op, s), net->shard_rows, pixels(&op->node->in), op->node->in.channels,
                   net->ops[op->node->input].type);
}

static void pick_backward(struct network *net, struct op *op)
{
    for (int s = 0; s < net->shards && op->diff; s++)
        pick_first_backward(op_diff(net, op, s), op_grad(op, s), net->shard_rows, pixels(&op->node->in),
                            op->node->in.channels, net->ops[op->node->input].type);
}

static const struct op_kind pick_kind = {
    .name = "pick", .create = pick_create, .forward = pick_forward, .backward = pick_backward, .infer = pick_forward
};

int graph_pick(struct graph *graph, const char *name, int input)
{
    int number = graph_append(graph, &pick_kind, name, input);
    graph->nodes[number].out.height = graph->nodes[number].out.width = 1;
    return number;
}
