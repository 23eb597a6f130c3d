/* The graph of a network: nodes with inferred shapes, then parameters in
 * torchvision's order. What a kind of layer computes is in its row (op_kind.h),
 * where values lie is left to plan.c. */
#include "nn/graph.h"

#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "nn/op_kind.h"

enum { NODES_MAX = 512, PLACE_STEP = 2 };

struct graph *graph_create(struct arena *arena, const char *family)
{
    struct graph *graph = arena_array(arena, struct graph, 1);
    graph->arena = arena;
    graph->family = family;
    graph->room = NODES_MAX;
    graph->nodes = arena_array(arena, struct node, graph->room);
    return graph;
}

/* ---- nodes ---- */

int graph_append(struct graph *graph, const struct op_kind *kind, const char *name, int input)
{
    require(graph->count < graph->room, EXIT_INTERNAL, "%s: more than %d nodes", graph->family, graph->room);
    int number = graph->count++;
    struct node *node = &graph->nodes[number];
    *node = (struct node){ .kind = kind,
                           .input = input,
                           .residual = NONE,
                           .weight = NONE,
                           .bias = NONE,
                           .mean = NONE,
                           .variance = NONE,
                           .joint = '.',
                           .block = graph->block,
                           .place = PLACE_STEP * number };
    node->name = arena_strdup(graph->arena, name);
    if (input != NONE)
        node->in = node->out = graph->nodes[input].out;
    return number;
}

/* Pixels that a window of `kernel` gives, or an end that says the image is too small. */
static int windows(const struct graph *graph, const struct node *node, int pixels)
{
    int room = pixels + 2 * node->pad - node->kernel;
    require(room >= 0, EXIT_BAD_CONFIG,
            "image.size: too small for %s: %s has a window of %d pixels but %d to look at\nuse 64 or more",
            graph->family, node->name, node->kernel, pixels + 2 * node->pad);
    return room / node->stride + 1;
}

void graph_slide(const struct graph *graph, struct node *node, int kernel, int stride, int pad)
{
    node->kernel = kernel;
    node->stride = stride;
    node->pad = pad;
    node->out.height = windows(graph, node, node->in.height);
    node->out.width = windows(graph, node, node->in.width);
}

void graph_residual(const struct graph *graph, struct node *node, int residual)
{
    node->residual = residual;
    require(memcmp(&node->in, &graph->nodes[residual].out, sizeof node->in) == 0, EXIT_INTERNAL,
            "%s: %s adds %s, whose shape differs", graph->family, node->name, graph->nodes[residual].name);
}

void graph_block(struct graph *graph)
{
    graph->block++;
}

void graph_list_before(struct graph *graph, int node, int other)
{
    graph->nodes[node].place = graph->nodes[other].place - 1;
}

/* ---- parameters ---- */

static int declare(struct graph *graph, const char *name, bool is_buffer, int rank, const int64_t *dims)
{
    int number = graph->parameter_count++;
    struct parameter *p = &graph->parameters[number];
    *p = (struct parameter){ .rank = rank, .count = 1, .is_buffer = is_buffer };
    p->name = name;
    for (int d = 0; d < rank; d++) {
        p->dims[d] = dims[d];
        p->count *= dims[d];
    }
    int64_t *total = is_buffer ? &graph->buffers : &graph->weights;
    p->offset = *total;
    *total += p->count;
    return number;
}

static const char *name_of(const struct graph *graph, const struct node *node, const char *what)
{
    return arena_printf(graph->arena, "%s%c%s", node->name, node->joint, what);
}

int graph_declare(struct graph *graph, const struct node *node, const char *what, int rank, const int64_t *dims)
{
    return declare(graph, name_of(graph, node, what), false, rank, dims);
}

int graph_declare_as(struct graph *graph, const char *name, int rank, const int64_t *dims)
{
    return declare(graph, name, false, rank, dims);
}

int graph_declare_buffer(struct graph *graph, const struct node *node, const char *what, int64_t count)
{
    return declare(graph, name_of(graph, node, what), true, 1, &count);
}

void graph_finish(struct graph *graph, int features, int logits)
{
    graph->features = features;
    graph->logits = logits;
    graph->parameters = arena_array(graph->arena, struct parameter, 4 * graph->count);
    for (int i = 0; i < graph->count; i++)
        if (graph->nodes[i].kind->declare_first)
            graph->nodes[i].kind->declare_first(graph, &graph->nodes[i]);
    for (int place = -1; place <= PLACE_STEP * graph->count; place++)
        for (int i = 0; i < graph->count; i++)
            if (graph->nodes[i].place == place && graph->nodes[i].kind->declare)
                graph->nodes[i].kind->declare(graph, &graph->nodes[i]);
}

/* ---- costs ---- */

int64_t shape_floats(const struct shape *shape)
{
    return (int64_t)shape->channels * shape->height * shape->width;
}

double graph_product_flops(const struct graph *graph, const struct node *node, double depth, bool train)
{
    double forward = 2.0 * (double)shape_floats(&node->out) * depth;
    bool first = graph->nodes[node->input].kind->is_data;
    return !train ? forward : first ? 2.0 * forward : 3.0 * forward;
}

double node_flops(const struct graph *graph, int number, bool train)
{
    const struct node *node = &graph->nodes[number];
    return node->kind->flops ? node->kind->flops(graph, node, train) : 0.0;
}
