/* The graph of a network: nodes with inferred shapes, then parameters in
 * torchvision's order. Where values lie is left to plan.c. */
#include "nn/graph.h"

#include <string.h>

#include "base/arena.h"
#include "base/error.h"

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

static int append(struct graph *graph, enum node_kind kind, const char *name, int input)
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

static void slide(const struct graph *graph, struct node *node, int kernel, int stride, int pad)
{
    node->kernel = kernel;
    node->stride = stride;
    node->pad = pad;
    node->out.height = windows(graph, node, node->in.height);
    node->out.width = windows(graph, node, node->in.width);
}

int graph_input(struct graph *graph, int size)
{
    int number = append(graph, NODE_INPUT, "input", NONE);
    graph->nodes[number].in = graph->nodes[number].out = (struct shape){ 3, size, size };
    return number;
}

void graph_block(struct graph *graph)
{
    graph->block++;
}

int graph_conv(struct graph *graph, const char *name, int input, int channels, int kernel, int stride, int pad)
{
    int number = append(graph, NODE_CONV, name, input);
    graph->nodes[number].out.channels = channels;
    slide(graph, &graph->nodes[number], kernel, stride, pad);
    return number;
}

int graph_norm(struct graph *graph, const char *name, int input, int residual, bool relu)
{
    int number = append(graph, NODE_NORM, name, input);
    struct node *node = &graph->nodes[number];
    node->residual = residual;
    node->relu = relu;
    if (residual != NONE)
        require(memcmp(&node->in, &graph->nodes[residual].out, sizeof node->in) == 0, EXIT_INTERNAL,
                "%s: %s adds %s, whose shape differs", graph->family, name, graph->nodes[residual].name);
    return number;
}

int graph_maxpool(struct graph *graph, const char *name, int input, int kernel, int stride, int pad)
{
    int number = append(graph, NODE_MAXPOOL, name, input);
    slide(graph, &graph->nodes[number], kernel, stride, pad);
    return number;
}

int graph_avgpool(struct graph *graph, const char *name, int input)
{
    int number = append(graph, NODE_AVGPOOL, name, input);
    graph->nodes[number].out.height = graph->nodes[number].out.width = 1;
    return number;
}

int graph_linear(struct graph *graph, const char *name, int input, int outputs)
{
    int number = append(graph, NODE_LINEAR, name, input);
    graph->nodes[number].out.channels = outputs;
    return number;
}

int graph_concat(struct graph *graph, const char *name, const int *parts, int count)
{
    int number = append(graph, NODE_CONCAT, name, parts[count - 1]);
    struct node *node = &graph->nodes[number];
    int *segments = arena_array(graph->arena, int, count);
    node->segments = segments;
    node->segment_count = count;
    node->out.channels = 0;
    for (int k = 0; k < count; k++) {
        const struct shape *part = &graph->nodes[parts[k]].out;
        require(part->height == node->out.height && part->width == node->out.width, EXIT_INTERNAL,
                "%s: %s joins %s, whose pixels differ", graph->family, name, graph->nodes[parts[k]].name);
        segments[k] = parts[k];
        node->out.channels += part->channels;
    }
    node->in = node->out;
    return number;
}

int graph_dense_norm(struct graph *graph, const char *name, int concat, bool halve)
{
    int number = append(graph, NODE_DENSE_NORM, name, concat);
    struct node *node = &graph->nodes[number];
    node->relu = true;
    node->halve = halve;
    require(graph->nodes[concat].kind == NODE_CONCAT, EXIT_INTERNAL, "%s: %s reads no concat", graph->family, name);
    if (halve)
        slide(graph, node, 2, 2, 0);
    return number;
}

int graph_patches(struct graph *graph, const char *name, int input, int window)
{
    int number = append(graph, NODE_PATCHES, name, input);
    struct node *node = &graph->nodes[number];
    slide(graph, node, window, window, 0);
    node->out.channels = node->in.channels * window * window;
    return number;
}

int graph_windows(struct graph *graph, const char *name, int input, int window)
{
    int number = append(graph, NODE_WINDOWS, name, input);
    struct node *node = &graph->nodes[number];
    slide(graph, node, window, window, 0);
    node->out.channels = node->in.channels * window * window;
    return number;
}

int graph_depthwise(struct graph *graph, const char *name, int input)
{
    int number = append(graph, NODE_DEPTHWISE, name, input);
    slide(graph, &graph->nodes[number], 7, 1, 3);
    return number;
}

int graph_tokens(struct graph *graph, int input)
{
    int number = append(graph, NODE_TOKENS, "encoder.pos_embedding", input);
    struct node *node = &graph->nodes[number];
    node->out.height = 1 + node->in.height * node->in.width;
    node->out.width = 1;
    return number;
}

int graph_attention(struct graph *graph, const char *name, int input, int heads)
{
    int number = append(graph, NODE_ATTENTION, name, input);
    struct node *node = &graph->nodes[number];
    require(node->in.channels % (3 * heads) == 0, EXIT_INTERNAL, "%s: %s has %d heads for %d channels", graph->family,
            name, heads, node->in.channels);
    node->out.channels = node->in.channels / 3;
    node->heads = heads;
    return number;
}

int graph_pick(struct graph *graph, const char *name, int input)
{
    int number = append(graph, NODE_PICK, name, input);
    graph->nodes[number].out.height = graph->nodes[number].out.width = 1;
    return number;
}

int graph_layernorm(struct graph *graph, const char *name, int input, double epsilon)
{
    int number = append(graph, NODE_LAYERNORM, name, input);
    graph->nodes[number].epsilon = epsilon;
    return number;
}

int graph_gelu(struct graph *graph, const char *name, int input)
{
    return append(graph, NODE_GELU, name, input);
}

static int append_add(struct graph *graph, enum node_kind kind, const char *name, int residual, int input)
{
    int number = append(graph, kind, name, input);
    struct node *node = &graph->nodes[number];
    node->residual = residual;
    require(memcmp(&node->in, &graph->nodes[residual].out, sizeof node->in) == 0, EXIT_INTERNAL,
            "%s: %s adds %s, whose shape differs", graph->family, name, graph->nodes[residual].name);
    return number;
}

int graph_add(struct graph *graph, const char *name, int residual, int input)
{
    return append_add(graph, NODE_ADD, name, residual, input);
}

int graph_scaled_add(struct graph *graph, const char *name, int residual, int input, double drop)
{
    int number = append_add(graph, NODE_SCALED_ADD, name, residual, input);
    graph->nodes[number].drop = drop;
    return number;
}

void graph_list_before(struct graph *graph, int node, int other)
{
    graph->nodes[node].place = graph->nodes[other].place - 1;
}

static int declare_as(struct graph *graph, const char *name, bool is_buffer, int rank, const int64_t *dims)
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

static int declare(struct graph *graph, const struct node *node, const char *what, bool is_buffer, int rank,
                   const int64_t *dims)
{
    const char *name = arena_printf(graph->arena, "%s%c%s", node->name, node->joint, what);
    return declare_as(graph, name, is_buffer, rank, dims);
}

static void declare_node(struct graph *graph, struct node *node)
{
    int64_t in = node->in.channels, out = node->out.channels;
    if (node->kind == NODE_CONV) {
        node->weight = declare(graph, node, "weight", false, 4, (int64_t[]){ out, in, node->kernel, node->kernel });
    } else if (node->kind == NODE_NORM || node->kind == NODE_DENSE_NORM) {
        node->weight = declare(graph, node, "weight", false, 1, &out);
        node->bias = declare(graph, node, "bias", false, 1, &out);
        node->mean = declare(graph, node, "running_mean", true, 1, &out);
        node->variance = declare(graph, node, "running_var", true, 1, &out);
    } else if (node->kind == NODE_LINEAR) {
        int64_t window = node->kernel, area = window * window;
        const int64_t product[] = { out, in }, like_conv[] = { out, area ? in / area : in, window, window };
        node->weight = declare(graph, node, "weight", false, window ? 4 : 2, window ? like_conv : product);
        node->bias = declare(graph, node, "bias", false, 1, &out);
    } else if (node->kind == NODE_DEPTHWISE) {
        node->weight = declare(graph, node, "weight", false, 4, (int64_t[]){ out, 1, node->kernel, node->kernel });
        node->bias = declare(graph, node, "bias", false, 1, &out);
    } else if (node->kind == NODE_TOKENS) {
        node->weight = declare_as(graph, node->name, false, 3, (int64_t[]){ 1, node->out.height, out });
    } else if (node->kind == NODE_LAYERNORM) {
        node->weight = declare(graph, node, "weight", false, 1, &out);
        node->bias = declare(graph, node, "bias", false, 1, &out);
    } else if (node->kind == NODE_SCALED_ADD) {
        node->weight = declare(graph, node, "layer_scale", false, 3, (int64_t[]){ out, 1, 1 });
    }
}

void graph_finish(struct graph *graph, int features, int logits)
{
    graph->features = features;
    graph->logits = logits;
    graph->parameters = arena_array(graph->arena, struct parameter, 4 * graph->count);
    for (int i = 0; i < graph->count; i++) /* torchvision lists the class token before all modules */
        if (graph->nodes[i].kind == NODE_TOKENS)
            graph->nodes[i].bias =
                declare_as(graph, "class_token", false, 3, (int64_t[]){ 1, 1, graph->nodes[i].out.channels });
    for (int place = -1; place <= PLACE_STEP * graph->count; place++)
        for (int i = 0; i < graph->count; i++)
            if (graph->nodes[i].place == place)
                declare_node(graph, &graph->nodes[i]);
}

int64_t shape_floats(const struct shape *shape)
{
    return (int64_t)shape->channels * shape->height * shape->width;
}

double node_flops(const struct graph *graph, int number, bool train)
{
    const struct node *node = &graph->nodes[number];
    double out = (double)shape_floats(&node->out), in = node->in.channels;
    bool first = node->input != NONE &&
                 (graph->nodes[node->input].kind == NODE_INPUT || graph->nodes[node->input].kind == NODE_PATCHES);
    if (node->kind == NODE_CONV || node->kind == NODE_LINEAR) {
        double window = node->kind == NODE_CONV ? (double)node->kernel * node->kernel : 1.0;
        double forward = 2.0 * out * in * window;
        return !train ? forward : first ? 2.0 * forward : 3.0 * forward;
    }
    if (node->kind == NODE_DEPTHWISE)
        return 2.0 * out * node->kernel * node->kernel * (train ? 3.0 : 1.0);
    if (node->kind == NODE_ATTENTION) { /* Q K^T and P V; backward four products and the first again */
        double forward = 4.0 * out * (double)node->out.height * node->out.width;
        return train ? 3.5 * forward : forward;
    }
    if (node->kind == NODE_NORM || node->kind == NODE_DENSE_NORM)
        return (double)shape_floats(&node->in) * (train ? 14.0 : 2.0);
    if (node->kind == NODE_LAYERNORM || node->kind == NODE_GELU)
        return out * (train ? 25.0 : 10.0);
    if (node->kind == NODE_ADD || node->kind == NODE_SCALED_ADD)
        return out * (node->kind == NODE_ADD ? 1.0 : train ? 6.0 : 2.0);
    if (node->kind == NODE_MAXPOOL)
        return out * node->kernel * node->kernel;
    return node->kind == NODE_AVGPOOL ? (double)shape_floats(&node->in) : 0.0;
}
