/* Vision transformer (Dosovitskiy et al., 2021) as torchvision builds it: normalisation before each sublayer, class
 * token in front, exact GELU. The representation is the class token after the last normalisation. */
#include <stdio.h>

#include "base/error.h"
#include "nn/graph.h"

enum { PATCH = 16, WIDTH = 768, HIDDEN = 3072, HEADS = 12, LAYERS = 12 };
#define EPSILON 1e-6

struct names {
    char text[80];
};

static struct names within(int layer, const char *part)
{
    struct names n;
    snprintf(n.text, sizeof n.text, "encoder.layers.encoder_layer_%d.%s", layer, part);
    return n;
}

static int norm(struct graph *g, int layer, const char *part, int x)
{
    return graph_layernorm(g, within(layer, part).text, x, EPSILON);
}

static int linear(struct graph *g, int layer, const char *part, int x, int outputs, enum initial initial)
{
    int y = graph_linear(g, within(layer, part).text, x, outputs);
    g->nodes[y].initial = initial;
    return y;
}

/* x + attention(norm(x)), then x + mlp(norm(x)). Of the last layer only the class token is read, so everything that is
 * done to each token by itself is done to this one alone. */
static int layer(struct graph *g, int number, int x, bool last)
{
    graph_block(g);
    int y = norm(g, number, "ln_1", x);
    y = linear(g, number, "self_attention.in_proj", y, 3 * WIDTH, INITIAL_BALANCED);
    g->nodes[y].joint = '_';
    y = graph_attention(g, within(number, "self_attention").text, y, HEADS);
    if (last) {
        y = graph_pick(g, "encoder.class_token", y);
        x = graph_pick(g, "encoder.class_residual", x);
    }
    y = linear(g, number, "self_attention.out_proj", y, WIDTH, INITIAL_NO_BIAS);
    x = graph_add(g, within(number, "add_1").text, x, y);
    y = norm(g, number, "ln_2", x);
    y = linear(g, number, "mlp.0", y, HIDDEN, INITIAL_XAVIER);
    y = graph_gelu(g, within(number, "mlp.1").text, y);
    y = linear(g, number, "mlp.3", y, WIDTH, INITIAL_XAVIER);
    return graph_add(g, within(number, "add_2").text, x, y);
}

void build_vit_b_16(struct graph *g, int size, int classes)
{
    require(size % PATCH == 0, EXIT_BAD_CONFIG, "image.size: expected a multiple of %d for %s, found %d\nuse %d", PATCH,
            g->family, size, (size / PATCH + 1) * PATCH);
    g->rows = true;
    int x = graph_patches(g, "patches", graph_input(g, size), PATCH);
    x = graph_linear(g, "conv_proj", x, WIDTH);
    g->nodes[x].kernel = PATCH;
    g->nodes[x].initial = INITIAL_NORMAL;
    x = graph_tokens(g, x);
    for (int i = 0; i < LAYERS; i++)
        x = layer(g, i, x, i + 1 == LAYERS);
    graph_block(g);
    int features = graph_layernorm(g, "encoder.ln", x, EPSILON);
    int logits = graph_linear(g, "heads.head", features, classes);
    g->nodes[logits].initial = INITIAL_ZERO;
    graph_finish(g, features, logits);
}
