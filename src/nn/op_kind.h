/* A kind of layer is one row, in the file of its kind (src/nn/op): all that graph and engine know of it. The graph and
 * its description ask for the first part, which needs neither network nor library. */
#ifndef NN_OP_KIND_H
#define NN_OP_KIND_H

#include "nn/graph.h"

struct op;

struct op_kind {
    const char *name;

    /* What it computes. NULL: it has nothing of it. */
    void (*declare)(struct graph *graph, struct node *node);       /* its parameters, in torchvision's order */
    void (*declare_first)(struct graph *graph, struct node *node); /* those that come before all others */
    double (*flops)(const struct graph *graph, const struct node *node, bool train); /* of an image; see node_flops */
    const char *(*describe)(const struct node *node, struct arena *arena);           /* more than its name */
    void (*init)(const struct network *net, const struct node *node); /* first values of its parameters */

    /* How. A pass runs all shards of this rank. NULL: there is nothing to do. */
    void (*create)(struct network *net, struct op *op); /* primitives and op->layout */
    void (*forward)(struct network *net, struct op *op);
    void (*backward)(struct network *net, struct op *op); /* op->grad -> op->diff and parameter gradients */
    void (*infer)(struct network *net, struct op *op);
    void (*ready)(struct network *net, struct op *op);    /* inference: weights have changed */
    const char *(*kernel)(const struct op *op, int pass); /* of its primitive in an enum dn_pass */
    /* A streamed op (engine.h): makes the output of one shard; takes the gradient of one shard. */
    void (*stream)(struct network *net, struct op *op, int shard);
    void (*stream_back)(struct network *net, struct op *op, int shard);
    /* Forward a second time in a step. NULL: forward itself. */
    void (*recompute)(struct network *net, struct op *op);
    /* The same for several ops of one shape, each of which may read the one before. A kind that has this is recomputed
     * rather than kept: it is cheap, and made from what is kept anyway. */
    void (*recompute_all)(struct network *net, struct op **list, int count);

    /* Its output. */
    bool is_data;       /* depends on the images alone: nobody wants its gradient */
    bool is_borrowed;   /* lies with the caller */
    bool is_view;       /* owns no memory: lists other outputs (node->segments), and looks at them in both passes */
    bool adds_in_place; /* may be the memory of what it adds (node->residual) */
    /* Its input. */
    bool reads_input;   /* backward looks at it again */
    bool streams_input; /* asks for it, and hands its gradient back, shard by shard */
    /* Its gradients. */
    bool gradient_in_place; /* diff may be the memory of grad[0] */
    bool passes_gradient;   /* diff is grad[0] as it is */
    bool keeps_gradient;    /* backward leaves grad[0] as it is */
    bool adds_gradients;    /* backward takes grad[1] too */
    bool adds_to_segments;  /* no diff: backward adds to the gradients of what its input, a view, lists */
};

/* What builders and rows are made of. (src/nn/engine/graph.c) */
/* A new node, with the shape of `input`, which may be NONE; returns its number. */
int graph_append(struct graph *graph, const struct op_kind *kind, const char *name, int input);
/* A square window slides over the pixels: sets kernel, stride, pad and the pixels of the output. Ends the job when
 * the image is too small. */
void graph_slide(const struct graph *graph, struct node *node, int kernel, int stride, int pad);
/* `residual` is added: ends the job when its shape is not the input's. */
void graph_residual(const struct graph *graph, struct node *node, int residual);
/* A parameter, "NODE.WHAT"; returns its number. */
int graph_declare(struct graph *graph, const struct node *node, const char *what, int rank, const int64_t *dims);
int graph_declare_as(struct graph *graph, const char *name, int rank, const int64_t *dims);
int graph_declare_buffer(struct graph *graph, const struct node *node, const char *what, int64_t count);
/* A product with `depth` multiply-adds a value; training: with the gradients of weights and, where wanted, input. */
double graph_product_flops(const struct graph *graph, const struct node *node, double depth, bool train);

#endif
