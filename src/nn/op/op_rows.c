/* Layers on rows that are not products: layer norm, GELU, and the addition that ends a residual block, plain or with
 * layer scale and stochastic depth. A shard at a time goes through the kernels. */
#include "base/arena.h"
#include "base/error.h"
#include "base/rng.h"
#include "nn/engine.h"
#include "nn/kernels_rows.h"

static int64_t pixels_of(const struct op *op)
{
    return (int64_t)op->node->out.height * op->node->out.width;
}

static int64_t rows_of(const struct network *net, const struct op *op)
{
    return net->shard_rows * pixels_of(op);
}

/* Layout of the input, which lies in rows. */
static void follow_input(const struct network *net, struct op *op)
{
    const struct op *input = &net->ops[op->node->input];
    require(input->view.groups == 1 || input->view.pixels == 1, EXIT_INTERNAL, "%s: needs its input channel-last",
            op->node->name);
    op->layout = input->layout;
    op->type = input->type;
}

/* ---- layer norm; mean and deviation of each row stay for backward ---- */

static void layernorm_create(struct network *net, struct op *op)
{
    follow_input(net, op);
    if (!net->spec.train)
        return;
    op->index_stride = (2 * (int64_t)sizeof(float) * rows_of(net, op) + 63) / 64 * 64;
    op->partial = arena_array(net->arena, float, 2 * ROW_PIECES * (int64_t)op->node->out.channels);
}

static float *row_stats(const struct op *op, int shard)
{
    return op->indices ? (float *)(void *)(op->indices + shard * op->index_stride) : NULL;
}

static void layernorm_run(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    const float *weight = plain_parameter(net, n->weight), *bias = plain_parameter(net, n->bias);
    for (int s = 0; s < net->shards; s++)
        layernorm_forward(op_out(op, s), row_stats(op, s), op_input(net, op, s), weight, bias, n->epsilon,
                          rows_of(net, op), n->out.channels, op->type);
}

static void layernorm_run_back(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    for (int s = 0; s < net->shards; s++) {
        layernorm_backward(op->diff ? op_diff(net, op, s) : NULL, gradient_row(net, n->weight, s),
                           gradient_row(net, n->bias, s), op->partial, op_grad(op, s), op_input(net, op, s),
                           row_stats(op, s), engine_weight(net, n->weight), rows_of(net, op), n->out.channels,
                           op->type);
        gradient_fold(net, n->weight, s);
        gradient_fold(net, n->bias, s);
    }
}

static void layernorm_declare(struct graph *graph, struct node *n)
{
    n->weight = graph_declare(graph, n, "weight", 1, (int64_t[]){ n->out.channels });
    n->bias = graph_declare(graph, n, "bias", 1, (int64_t[]){ n->out.channels });
}

static void layernorm_init(const struct network *net, const struct node *n)
{
    init_constant(net, n->weight, 1.0f);
    init_constant(net, n->bias, 0.0f);
}

/* Of layer norm and GELU, a round number for both. */
static double rows_flops(const struct graph *graph, const struct node *n, bool train)
{
    (void)graph;
    return (double)shape_floats(&n->out) * (train ? 25.0 : 10.0);
}

static const struct op_kind layernorm_kind = { .name = "layer norm",
                                               .declare = layernorm_declare,
                                               .flops = rows_flops,
                                               .init = layernorm_init,
                                               .create = layernorm_create,
                                               .forward = layernorm_run,
                                               .backward = layernorm_run_back,
                                               .infer = layernorm_run,
                                               .reads_input = true,
                                               .gradient_in_place = true };

int graph_layernorm(struct graph *graph, const char *name, int input, double epsilon)
{
    int number = graph_append(graph, &layernorm_kind, name, input);
    graph->nodes[number].epsilon = epsilon;
    return number;
}

/* ---- GELU ---- */

static void gelu_create(struct network *net, struct op *op)
{
    follow_input(net, op);
}

static void gelu_run(struct network *net, struct op *op)
{
    for (int s = 0; s < net->shards; s++)
        gelu_forward(op_out(op, s), op_input(net, op, s), dn_values(op->layout), op->type);
}

static void gelu_run_back(struct network *net, struct op *op)
{
    for (int s = 0; s < net->shards && op->diff; s++)
        gelu_backward(op_diff(net, op, s), op_grad(op, s), op_input(net, op, s), dn_values(op->layout), op->type);
}

static const struct op_kind gelu_kind = { .name = "gelu",
                                          .flops = rows_flops,
                                          .create = gelu_create,
                                          .forward = gelu_run,
                                          .backward = gelu_run_back,
                                          .infer = gelu_run,
                                          .reads_input = true,
                                          .gradient_in_place = true };

int graph_gelu(struct graph *graph, const char *name, int input)
{
    return graph_append(graph, &gelu_kind, name, input);
}

/* ---- addition: plain, or with a weight, the layer scale ---- */

static bool is_scaled(const struct op *op)
{
    return op->node->weight != NONE;
}

static void add_create(struct network *net, struct op *op)
{
    follow_input(net, op);
    require(dn_same(op->layout, net->ops[op->node->residual].layout), EXIT_INTERNAL, "%s: adds %s, of another layout",
            op->node->name, net->ops[op->node->residual].node->name);
    if (!net->spec.train || !is_scaled(op))
        return;
    op->keep = arena_array(net->arena, float, net->shard_rows);
    op->partial = arena_array(net->arena, float, ROW_PIECES *(int64_t)op->node->out.channels);
}

/* Stochastic depth by images (Huang et al., 2016): the branch of an image is left out with the node's probability,
 * otherwise scaled up so that its mean stays. NULL: every image keeps its branch. */
static const float *draw_depth(const struct network *net, const struct op *op, int shard)
{
    double drop = op->node->drop;
    if (!net->spec.train || !(drop > 0.0) || net->spec.whole_depth)
        return NULL;
    require(net->batch->rows, EXIT_INTERNAL, "%s: stochastic depth needs the rows of the batch", op->node->name);
    struct rng rng = { net->spec.seed, RNG_DEPTH, (uint32_t)net->batch->epoch };
    const int64_t *rows = net->batch->rows + (int64_t)shard * net->shard_rows;
    for (int i = 0; i < net->shard_rows; i++)
        op->keep[i] = stochastic_depth(rng_uniform(&rng, (uint64_t)rows[i], (uint64_t)(op - net->ops)), drop);
    return op->keep;
}

static const void *residual_of(const struct network *net, const struct op *op, int shard)
{
    return op_out(&net->ops[op->node->residual], shard);
}

static void add_run(struct network *net, struct op *op)
{
    const float *scale = is_scaled(op) ? plain_parameter(net, op->node->weight) : NULL;
    for (int s = 0; s < net->shards; s++)
        residual_forward(op_out(op, s), op_input(net, op, s), residual_of(net, op, s), scale, draw_depth(net, op, s),
                         net->shard_rows, pixels_of(op), op->node->out.channels, op->type);
}

/* A plain sum hands its gradient on as it is: the plan gave both readers the same memory, or a copy is made here. */
static void add_run_back(struct network *net, struct op *op)
{
    const struct node *n = op->node;
    bool scaled = is_scaled(op);
    if (!scaled && op->diff == op->grad[0])
        return;
    for (int s = 0; s < net->shards && op->diff; s++) {
        residual_backward(op_diff(net, op, s), scaled ? gradient_row(net, n->weight, s) : NULL, op->partial,
                          op_grad(op, s), op_input(net, op, s), scaled ? engine_weight(net, n->weight) : NULL,
                          draw_depth(net, op, s), net->shard_rows, pixels_of(op), n->out.channels, op->type);
        if (scaled)
            gradient_fold(net, n->weight, s);
    }
}

static double add_flops(const struct graph *graph, const struct node *n, bool train)
{
    (void)graph, (void)train;
    return (double)shape_floats(&n->out);
}

static const struct op_kind add_kind = { .name = "add",
                                         .flops = add_flops,
                                         .create = add_create,
                                         .forward = add_run,
                                         .backward = add_run_back,
                                         .infer = add_run,
                                         .gradient_in_place = true,
                                         .passes_gradient = true };

int graph_add(struct graph *graph, const char *name, int residual, int input)
{
    int number = graph_append(graph, &add_kind, name, input);
    graph_residual(graph, &graph->nodes[number], residual);
    return number;
}

static void scaled_add_declare(struct graph *graph, struct node *n)
{
    n->weight = graph_declare(graph, n, "layer_scale", 3, (int64_t[]){ n->out.channels, 1, 1 });
}

static void scaled_add_init(const struct network *net, const struct node *n)
{
    init_constant(net, n->weight, 1e-6f);
}

static double scaled_add_flops(const struct graph *graph, const struct node *n, bool train)
{
    (void)graph;
    return (double)shape_floats(&n->out) * (train ? 6.0 : 2.0);
}

static const struct op_kind scaled_add_kind = { .name = "scale, depth, add",
                                                .declare = scaled_add_declare,
                                                .flops = scaled_add_flops,
                                                .init = scaled_add_init,
                                                .create = add_create,
                                                .forward = add_run,
                                                .backward = add_run_back,
                                                .infer = add_run,
                                                .reads_input = true };

int graph_scaled_add(struct graph *graph, const char *name, int residual, int input, double drop)
{
    int number = graph_append(graph, &scaled_add_kind, name, input);
    graph_residual(graph, &graph->nodes[number], residual);
    graph->nodes[number].drop = drop;
    return number;
}
