/* What a network computes: nodes in the order they run, with inferred shapes.
 *
 * Builders append nodes and read like the table of the paper:
 *     int x = graph_conv(g, "conv1", graph_input(g, size), 64, 7, 2, 3);
 *     x = graph_norm(g, "bn1", x, NONE, true);
 * Each call returns the number of its node and checks the shape it makes. */
#ifndef NN_GRAPH_H
#define NN_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "nn/network.h"

struct arena;
struct op_kind; /* what a node does: a row of src/nn/op */

enum { NONE = -1 };

/* Initial values of a linear layer: torchvision's builders set them each in their own way. */
enum initial {
    INITIAL_USUAL,    /* weight and bias uniform in +-1 / sqrt(inputs) */
    INITIAL_XAVIER,   /* weight uniform in +-sqrt(6 / (inputs + outputs)), bias normal with deviation 1e-6 */
    INITIAL_BALANCED, /* as XAVIER, bias 0 */
    INITIAL_NO_BIAS,  /* as USUAL, bias 0 */
    INITIAL_NORMAL,   /* weight normal with deviation 1 / sqrt(inputs), cut at +-2; bias 0 */
    INITIAL_SMALL,    /* weight normal with deviation 0.02, bias 0 */
    INITIAL_ZERO
};

struct shape {
    int channels, height, width;
};

struct node {
    const struct op_kind *kind;
    const char *name; /* torchvision's module, "layer1.0.conv1" */
    int input;        /* node, or NONE */
    int residual;     /* node added (of a normalisation: before the relu), or NONE */
    bool relu;
    struct shape in, out;
    int kernel, stride, pad; /* of a linear layer, kernel > 0: the inputs are a window, of a convolution's weight */
    int heads;               /* of attention */
    char joint;              /* between the node's name and its parameters' */
    enum initial initial;    /* of a linear layer */
    double epsilon;          /* of a layer norm */
    double drop;             /* probability that training leaves the branch of an image out */
    int weight, bias;        /* parameter numbers, or NONE */
    int mean, variance;      /* running statistics: parameter numbers, or NONE */
    int place;               /* key of the parameter order; creation order unless a builder says otherwise */
    const int *segments;     /* of a concat: nodes whose outputs follow one another in channels */
    int segment_count;
    bool halve; /* of a dense norm: means over 2x2 pixels are handed on, odd rows and columns dropped */
    int block;  /* see graph_block */
};

struct graph {
    struct arena *arena;
    const char *family; /* shows in messages */
    struct node *nodes;
    int count, room;
    int block;            /* of the nodes to come */
    bool by_inputs;       /* initial convolutions by their fan-in, biases of linear layers at zero */
    bool blocked;         /* groups of channels lie together, so that parts of a value can stand for it */
    bool rows;            /* channel-last values from end to end; set before the first node */
    int features, logits; /* nodes whose outputs are the representation and the scores */
    struct parameter *parameters;
    int parameter_count;
    int64_t weights, buffers; /* floats, torchvision's layout */
};

struct graph *graph_create(struct arena *arena, const char *family);
int graph_input(struct graph *graph, int size); /* 3 x size x size */
int graph_conv(struct graph *graph, const char *name, int input, int channels, int kernel, int stride, int pad);
int graph_norm(struct graph *graph, const char *name, int input, int residual, bool relu);
int graph_maxpool(struct graph *graph, const char *name, int input, int kernel, int stride, int pad);
int graph_avgpool(struct graph *graph, const char *name, int input);             /* over all pixels */
int graph_linear(struct graph *graph, const char *name, int input, int outputs); /* at every pixel */
/* A value that owns no memory: the channels of `parts`, one after another. Only graph_dense_norm reads it. */
int graph_concat(struct graph *graph, const char *name, const int *parts, int count);
/* Normalisation and relu of a concat, then means over 2x2 pixels if `halve`. */
int graph_dense_norm(struct graph *graph, const char *name, int concat, bool halve);
/* Vision transformers: patches of window x window pixels as rows; a class token in front and positions added to all;
 * multi-head self-attention, from queries, keys and values side by side; the class token alone, in single precision. */
int graph_patches(struct graph *graph, const char *name, int input, int window);
int graph_tokens(struct graph *graph, int input);
int graph_attention(struct graph *graph, const char *name, int input, int heads);
int graph_pick(struct graph *graph, const char *name, int input);
/* On rows: over the channels of a pixel; exact, by erf; residual + x, and residual + scale x with layer scale (Touvron
 * et al., 2021; a factor for each channel, initially 1e-6) and stochastic depth. */
int graph_layernorm(struct graph *graph, const char *name, int input, double epsilon);
int graph_gelu(struct graph *graph, const char *name, int input);
int graph_add(struct graph *graph, const char *name, int residual, int input);
int graph_scaled_add(struct graph *graph, const char *name, int residual, int input, double drop);
/* The nodes to come make a new block: what checkpointed activations make again in one go. */
void graph_block(struct graph *graph);
/* On rows: 7x7 depthwise convolution with bias; windows of window x window pixels, each as one row (what is left over
 * at the right and below is dropped). */
int graph_depthwise(struct graph *graph, const char *name, int input);
int graph_windows(struct graph *graph, const char *name, int input, int window);
/* Parameters of `node` are listed before those of `other`, which was made earlier. */
void graph_list_before(struct graph *graph, int node, int other);
/* Numbers and names the parameters, in torchvision's order. Call last. */
void graph_finish(struct graph *graph, int features, int logits);

/* Floats of one image at this shape. */
int64_t shape_floats(const struct shape *shape);
/* Multiply-adds count two. */
double node_flops(const struct graph *graph, int node, bool train);

/* A backbone: its name, and the function that builds it. */
struct zoo_row {
    const char *name;
    void (*build)(struct graph *graph, int size, int classes);
};
const struct zoo_row *zoo_find(const char *name); /* NULL when there is no such row */
enum { ZOO_ROWS = 6 };
int zoo_names(const char *names[ZOO_ROWS]); /* all names; returns their number */
/* All names, joined by ", ". */
const char *zoo_built(struct arena *arena);

/* He et al., Deep residual learning for image recognition, 2016. */
void build_resnet18(struct graph *graph, int size, int classes);
void build_resnet50(struct graph *graph, int size, int classes);
/* Huang et al., Densely connected convolutional networks, 2017. */
void build_densenet121(struct graph *graph, int size, int classes);
/* Liu et al., A ConvNet for the 2020s, 2022. */
void build_convnext_tiny(struct graph *graph, int size, int classes);
void build_convnext_base(struct graph *graph, int size, int classes);
/* Dosovitskiy et al., An image is worth 16x16 words, 2021. */
void build_vit_b_16(struct graph *graph, int size, int classes);

#endif
