/* Residual networks (He et al., 2016) as torchvision builds them: the stride of
 * a bottleneck sits in its 3x3 convolution ("v1.5"). */
#include <stdio.h>

#include "nn/graph.h"

struct stages {
    int blocks[4];
    int expansion; /* 1: two 3x3 convolutions; 4: bottleneck */
};

static const char *within(char out[64], const char *block, const char *part)
{
    snprintf(out, 64, "%s.%s", block, part);
    return out;
}

static int conv_in(struct graph *g, const char *block, const char *part, int x, int channels, int kernel, int stride)
{
    char name[64];
    return graph_conv(g, within(name, block, part), x, channels, kernel, stride, kernel / 2);
}

static int norm_in(struct graph *g, const char *block, const char *part, int x, int residual, bool relu)
{
    char name[64];
    return graph_norm(g, within(name, block, part), x, residual, relu);
}

/* The way around a block: the input itself, or a projection where its shape changes. */
static int shortcut(struct graph *g, const char *block, int x, int channels, int stride)
{
    if (stride == 1 && g->nodes[x].out.channels == channels)
        return x;
    int y = conv_in(g, block, "downsample.0", x, channels, 1, stride);
    return norm_in(g, block, "downsample.1", y, NONE, false);
}

/* 3x3, 3x3; add; relu. */
static int basic_block(struct graph *g, const char *block, int x, int channels, int stride)
{
    int y = conv_in(g, block, "conv1", x, channels, 3, stride);
    y = norm_in(g, block, "bn1", y, NONE, true);
    y = conv_in(g, block, "conv2", y, channels, 3, 1);
    int first = g->count, around = shortcut(g, block, x, channels, stride);
    y = norm_in(g, block, "bn2", y, around, true);
    if (around != x)
        graph_list_before(g, y, first); /* torchvision lists the projection last */
    return y;
}

/* 1x1 down, 3x3, 1x1 up; add; relu. */
static int bottleneck(struct graph *g, const char *block, int x, int channels, int stride)
{
    int y = conv_in(g, block, "conv1", x, channels, 1, 1);
    y = norm_in(g, block, "bn1", y, NONE, true);
    y = conv_in(g, block, "conv2", y, channels, 3, stride);
    y = norm_in(g, block, "bn2", y, NONE, true);
    y = conv_in(g, block, "conv3", y, 4 * channels, 1, 1);
    int first = g->count, around = shortcut(g, block, x, 4 * channels, stride);
    y = norm_in(g, block, "bn3", y, around, true);
    if (around != x)
        graph_list_before(g, y, first);
    return y;
}

static void build(struct graph *g, const struct stages *stages, int size, int classes)
{
    int x = graph_conv(g, "conv1", graph_input(g, size), 64, 7, 2, 3);
    x = graph_norm(g, "bn1", x, NONE, true);
    x = graph_maxpool(g, "maxpool", x, 3, 2, 1);
    for (int stage = 0, channels = 64; stage < 4; stage++, channels *= 2) {
        for (int b = 0; b < stages->blocks[stage]; b++) {
            char block[48];
            graph_block(g);
            snprintf(block, sizeof block, "layer%d.%d", stage + 1, b);
            int stride = b == 0 && stage > 0 ? 2 : 1;
            x = (stages->expansion == 1 ? basic_block : bottleneck)(g, block, x, channels, stride);
        }
    }
    graph_block(g);
    int features = graph_avgpool(g, "avgpool", x);
    graph_finish(g, features, graph_linear(g, "fc", features, classes));
}

void build_resnet18(struct graph *graph, int size, int classes)
{
    build(graph, &(struct stages){ { 2, 2, 2, 2 }, 1 }, size, classes);
}

void build_resnet50(struct graph *graph, int size, int classes)
{
    build(graph, &(struct stages){ { 3, 4, 6, 3 }, 4 }, size, classes);
}
