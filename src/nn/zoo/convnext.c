/* ConvNeXt (Liu et al., A ConvNet for the 2020s, 2022) as torchvision builds it: 7x7 depthwise convolution, layer norm,
 * two products with a GELU between, layer scale, stochastic depth. Channel-last from end to end; strided convolutions
 * are products over windows. The representation is the pooled last stage after the head's layer norm. */
#include <stdio.h>

#include "nn/graph.h"

#define EPSILON 1e-6
enum { STAGES = 4 };

struct stage {
    int channels, blocks;
};

struct names {
    char text[64];
};

static struct names within(const char *block, const char *part)
{
    struct names n;
    snprintf(n.text, sizeof n.text, "%s.%s", block, part);
    return n;
}

static int linear(struct graph *g, const char *name, int x, int outputs)
{
    int y = graph_linear(g, name, x, outputs);
    g->nodes[y].initial = INITIAL_SMALL;
    return y;
}

static int block(struct graph *g, const char *name, int x, double drop)
{
    int channels = g->nodes[x].out.channels, first = g->count;
    graph_block(g);
    int y = graph_depthwise(g, within(name, "block.0").text, x);
    y = graph_layernorm(g, within(name, "block.2").text, y, EPSILON);
    y = linear(g, within(name, "block.3").text, y, 4 * channels);
    y = graph_gelu(g, within(name, "block.4").text, y);
    y = linear(g, within(name, "block.5").text, y, channels);
    y = graph_scaled_add(g, name, x, y, drop);
    graph_list_before(g, y, first); /* torchvision lists the scale before the layers */
    return y;
}

/* Layer norm, then a convolution of 2x2 windows. */
static int downsample(struct graph *g, const char *name, int x, int channels)
{
    int y = graph_layernorm(g, within(name, "0").text, x, EPSILON);
    y = graph_windows(g, within(name, "windows").text, y, 2);
    y = linear(g, within(name, "1").text, y, channels);
    g->nodes[y].kernel = 2;
    return y;
}

static void build(struct graph *g, const struct stage stages[STAGES], double depth, int size, int classes)
{
    char name[48];
    int blocks = 0, done = 0;
    for (int s = 0; s < STAGES; s++)
        blocks += stages[s].blocks;
    g->rows = true;
    int x = graph_patches(g, "patches", graph_input(g, size), 4);
    x = linear(g, "features.0.0", x, stages[0].channels);
    g->nodes[x].kernel = 4;
    x = graph_layernorm(g, "features.0.1", x, EPSILON);
    for (int s = 0; s < STAGES; s++) {
        if (s > 0) {
            snprintf(name, sizeof name, "features.%d", 2 * s);
            x = downsample(g, name, x, stages[s].channels);
        }
        for (int b = 0; b < stages[s].blocks; b++, done++) {
            snprintf(name, sizeof name, "features.%d.%d", 2 * s + 1, b);
            x = block(g, name, x, depth * done / (blocks - 1));
        }
    }
    graph_block(g);
    x = graph_avgpool(g, "avgpool", x);
    int features = graph_layernorm(g, "classifier.0", x, EPSILON);
    graph_finish(g, features, linear(g, "classifier.2", features, classes));
}

void build_convnext_tiny(struct graph *graph, int size, int classes)
{
    build(graph, (const struct stage[]){ { 96, 3 }, { 192, 3 }, { 384, 9 }, { 768, 3 } }, 0.1, size, classes);
}

void build_convnext_base(struct graph *graph, int size, int classes)
{
    build(graph, (const struct stage[]){ { 128, 3 }, { 256, 3 }, { 512, 27 }, { 1024, 3 } }, 0.5, size, classes);
}
