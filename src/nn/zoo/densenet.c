/* Densely connected networks (Huang et al., 2017) as torchvision builds them:
 * each layer of a block reads all before it and adds 32 channels.
 *
 * A transition is norm, relu, 1x1 convolution, 2x2 mean in the paper. The last
 * two are linear, without bias, and act on channels and on pixels: they commute.
 * Here the mean comes first, which leaves the convolution a quarter of the pixels. */
#include <stdio.h>

#include "nn/graph.h"

enum { GROWTH = 32, BOTTLENECK = 4 * GROWTH, LAYERS_MAX = 48 };

struct block {
    int parts[LAYERS_MAX + 1]; /* nodes whose outputs the block has gathered */
    int count;
    int number; /* from 1 */
};

static const char *name_of(char out[64], const struct block *block, int layer, const char *part)
{
    snprintf(out, 64, "features.denseblock%d.denselayer%d.%s", block->number, layer, part);
    return out;
}

static int gather(struct graph *g, const struct block *block)
{
    char name[64];
    snprintf(name, sizeof name, "features.denseblock%d.concat%d", block->number, block->count);
    return graph_concat(g, name, block->parts, block->count);
}

/* All so far; norm, relu, 1x1 to 128; norm, relu, 3x3 to 32 more. */
static int layer(struct graph *g, const struct block *block, int number)
{
    char name[64];
    graph_block(g);
    int x = graph_dense_norm(g, name_of(name, block, number, "norm1"), gather(g, block), false);
    x = graph_conv(g, name_of(name, block, number, "conv1"), x, BOTTLENECK, 1, 1, 0);
    x = graph_norm(g, name_of(name, block, number, "norm2"), x, NONE, true);
    return graph_conv(g, name_of(name, block, number, "conv2"), x, GROWTH, 3, 1, 1);
}

static int transition(struct graph *g, const struct block *block)
{
    char name[64];
    graph_block(g);
    int x = gather(g, block), channels = g->nodes[x].out.channels;
    snprintf(name, sizeof name, "features.transition%d.norm", block->number);
    x = graph_dense_norm(g, name, x, true);
    snprintf(name, sizeof name, "features.transition%d.conv", block->number);
    return graph_conv(g, name, x, channels / 2, 1, 1, 0);
}

void build_densenet121(struct graph *graph, int size, int classes)
{
    static const int layers[4] = { 6, 12, 24, 16 };
    struct block block = { .count = 1 };
    graph->by_inputs = true;
    graph->blocked = true;
    int x = graph_conv(graph, "features.conv0", graph_input(graph, size), 2 * GROWTH, 7, 2, 3);
    x = graph_norm(graph, "features.norm0", x, NONE, true);
    block.parts[0] = graph_maxpool(graph, "features.pool0", x, 3, 2, 1);
    for (block.number = 1; block.number <= 4; block.number++) {
        for (int k = 1; k <= layers[block.number - 1]; k++) {
            int grown = layer(graph, &block, k);
            block.parts[block.count++] = grown;
        }
        if (block.number == 4)
            break;
        block.parts[0] = transition(graph, &block);
        block.count = 1;
    }
    graph_block(graph);
    x = graph_dense_norm(graph, "features.norm5", gather(graph, &block), false);
    int features = graph_avgpool(graph, "features.mean", x);
    graph_finish(graph, features, graph_linear(graph, "classifier", features, classes));
}
