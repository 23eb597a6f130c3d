/* Inside the engine: a network's nodes made ready to run. Only src/nn includes this.
 *
 * An op is a node prepared for one shape of shard: its primitives, the layout of
 * its output, and where output and gradients lie. What it does is in the row of
 * its node's kind (op_kind.h). */
#ifndef NN_ENGINE_H
#define NN_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nn/attention.h"
#include "nn/graph.h"
#include "nn/network.h"
#include "nn/onednn.h"
#include "nn/op_kind.h"

enum { GRADS_MAX = 4 };
enum op_pass { PASS_FORWARD, PASS_BACKWARD, PASS_INFER, PASSES };

struct op {
    const struct node *node;
    const struct dn_layout *layout;        /* of one shard's output */
    const struct dn_layout *weight_layout; /* where the primitive wants the weights in a layout of its own; or NULL */
    struct view view;                      /* the same for our kernels */
    enum value_type type;                  /* of the output, and of its gradients */
    int64_t stride;                        /* bytes from one shard to the next */
    char *out;                             /* [shards of this rank x stride]; placed by the plan */
    bool streamed;                         /* training: stride 0, see below */
    bool kept;                             /* training: the output outlives the forward pass */

    /* An output that is given up after the forward pass and recomputed, at another place, in the backward pass. */
    bool recompute;
    int recompute_before; /* the backward pass of this node */
    char *lives[2];       /* the two places */

    /* Backward. A value with several readers gets a gradient from each; they are added here. */
    char *grad[GRADS_MAX];
    int grads;
    char *diff; /* gradient of the input, out, of its type and stride; NULL when nobody needs it */

    struct dn_conv *conv;
    struct dn_pool *pool;
    struct dn_linear *linear;
    struct attention *attention;
    char *indices; /* winners of a maximum, [shards x index_stride bytes] */
    int64_t index_stride;

    float *partial; /* sums of pieces of the rows, on their way to a gradient */
    float *keep;    /* [shard rows] stochastic depth of one shard */

    struct norm *norm;
    struct segment *segment;     /* of an output that concats list */
    struct concat_group *groups; /* of a concat: [view.groups] */
    bool *fresh;                 /* of a dense norm: [segments] its gradient is the first to arrive there */
    struct op *worker;           /* inference: whose primitive does this op's work: its own, or see norms_fold */
    struct op *folded;           /* inference: the normalisation that this convolution does, or NULL */
    void *ready[2];              /* inference: weights in the primitive's layout, and bias */

    double seconds[PASSES]; /* spent here so far */
};

#define NORM_EPSILON 1e-5

/* Streaming. The output of a normalisation is quickly recomputed from its input. Where a convolution alone reads it, it
 * is made shard by shard, when that convolution asks, into one piece of memory that all streamed ops share (the stride
 * is 0); so is its gradient, which is taken from there at once. What a shard needs then stays in the caches, and the
 * outputs need no memory of their own. */

/* What a normalisation carries from forward to backward, and its work space. A set of coefficients serves the global
 * batch, or one shard with local_batchnorm. */
struct norm {
    int sets;
    double count;                        /* values that a channel's statistics are over */
    float *scale, *mean, *slope, *shift; /* [sets][C]: see nn/kernels.h */
    double *inverse;                     /* [sets][C]: 1 / deviation */
    double *partial;                     /* [shards x images][2 C]: sums of one image */
    double *leaves, *total;              /* [shards][2 C] */
};

/* The output of an op that concats list. Its batch statistics are those of its channels in every normalisation that
 * reads it: formed once, by the first concat that lists it. The part of their gradients that is linear
 * in the values, the correction, is summed and added once, when all have run. */
struct segment {
    const struct op *owner; /* that concat */
    struct norm *norm;      /* statistics; slope and shift of the correction, scale 1 */
    double *slope, *shift;  /* [sets][C] the correction so far */
};
/* Where a group of a concat lies. */
struct concat_group {
    int segment;   /* in the node's list */
    int64_t value; /* of the first value in an image of it */
};

/* A parameter in the engine's layout. */
struct slot {
    int64_t offset, floats;         /* in the engine's flat buffers */
    int64_t fold_offset;            /* in a row of the folding stack: a bias lies behind its weight */
    const struct dn_layout *layout; /* NULL: plain */
    struct dn_reorder *in, *out;    /* plain -> engine, engine -> plain */
};

struct network {
    struct world *world;
    struct arena *arena;
    struct network_spec spec;
    struct graph *graph;
    struct dn *dn;
    struct tree *tree;                 /* NULL for inference */
    const struct network_batch *batch; /* during a step */
    int shards;                        /* of this rank */
    int shard_rows;
    struct op *ops; /* [graph->count] */

    /* Torchvision's layout; moments and gradients appear when first asked for. While training all but the buffers lie
     * in the memory of the activations, if that is large enough, and are good between steps. */
    float *weights, *buffers, *gradients, *moment1, *moment2;

    /* The engine's layout: flat, each parameter where its primitive wants it. */
    struct slot *slots;   /* [parameter_count]; buffers keep their plain place */
    int64_t flat;         /* floats */
    float *w, *g, *m, *v; /* g: [nodes x flat], row 0 is the sum afterwards */
    int nodes;            /* rows of g */
    float *stack;         /* [depth x stack_stride] folding of one parameter's gradients */
    int64_t stack_stride;

    struct op **turn;     /* [nodes] ops recomputed now */
    int64_t stream_bytes; /* the largest shard of a streamed op */
    char *values;         /* activations and gradients, placed by the plan */
    int64_t value_bytes;  /* of these */
    int64_t room_bytes;   /* of their memory, where the plain weights find room too */
    float *logits;        /* [shards x rows x C]: of the last step, for network_logits */
    float *tiles;         /* work space of depthwise convolutions, shared by all */
    int64_t tile_floats;
    double *loss_leaves; /* [shards x 3] */
};

static inline void *op_out(const struct op *op, int shard)
{
    return op->out + shard * op->stride;
}
static inline const void *op_input(const struct network *net, const struct op *op, int shard)
{
    return op_out(&net->ops[op->node->input], shard);
}
static inline void *op_grad(const struct op *op, int shard)
{
    return op->grad[0] + shard * op->stride;
}
static inline void *op_diff(const struct network *net, const struct op *op, int shard)
{
    return op->diff + shard * net->ops[op->node->input].stride;
}
/* The input of one shard, made now if it is streamed. */
static inline const void *op_source(struct network *net, const struct op *op, int shard)
{
    struct op *input = &net->ops[op->node->input];
    if (input->streamed)
        input->node->kind->stream(net, input, shard);
    return op_out(input, shard);
}
/* While training, weights live in the engine's layout; for inference plain ones are read where they are. */
static inline const float *engine_weight(const struct network *net, int parameter)
{
    return net->w + net->slots[parameter].offset;
}
static inline const float *plain_parameter(const struct network *net, int parameter)
{
    return net->spec.train ? engine_weight(net, parameter) : net->weights + net->graph->parameters[parameter].offset;
}

/* src/nn/engine/params.c */
void params_create(struct network *net); /* slots from the ops' layouts, flat buffers */
void params_init(struct network *net);   /* initial weights, as torchvision from scratch; collective */
/* What rows fill their parameters with; a draw is keyed by its parameter and element. Values of deviation `deviation`
 * that are `cut` or more from 0 are drawn again; HUGE_VAL: none. */
void init_constant(const struct network *net, int parameter, float value);
void init_uniform(const struct network *net, int parameter, double bound); /* in +-bound */
void init_normal(const struct network *net, int parameter, double deviation, double cut);
void params_to_engine(struct network *net); /* network_changed for training */
void params_to_plain(struct network *net);
/* Gradient of one parameter of this rank's shard: where to write it, and folding it once written. */
float *gradient_row(struct network *net, int parameter, int shard);
void gradient_fold(struct network *net, int parameter, int shard);
void gradient_sum(struct network *net); /* over all ranks; collective */
/* total [n] = sum of leaves [shards x n] over all shards of all ranks; collective; the leaves are overwritten. */
void statistics_sum(struct network *net, double *total, double *leaves, int64_t n);

/* What node `i` looks at: a node's output, in its forward pass, its backward pass or both. */
struct read {
    int value;
    bool forward, backward;
};
enum { READS_MAX = 64 };
int op_reads(const struct network *net, int i, struct read list[READS_MAX]);
/* src/nn/engine/recompute.c: which outputs are recomputed, and when. */
void recompute_mark(struct network *net);
void recompute_run(struct network *net, int before);

/* src/nn/engine/plan.c: places outputs, gradients and indices by lifetime. */
void plan_training(struct network *net);
void plan_inference(struct network *net);

/* src/nn/engine/exec.c */
/* Runs one pass of an op, between two looks at the clock: what each costs is known after any run. */
void exec_timed(void (*run)(struct network *, struct op *), struct network *net, struct op *op, enum op_pass pass);
void exec_forward(struct network *net, const float *images);
void exec_backward(struct network *net);
void exec_infer(struct network *net, const float *images);

/* The one fusion of two kinds: in inference a normalisation of what only a convolution makes, and only it reads, is
 * folded into the convolution's weights (conv_ready), and done when its own turn comes (norm_infer). */
extern const struct op_kind conv_kind;
void norms_fold(struct network *net);
/* Gradients of weights and biases of all normalisations, after gradient_sum: they are sums over the global batch. */
void norm_gradients(struct network *net);

/* What normalisations share. (src/nn/op/op_norm.c) */
void norm_declare(struct graph *graph, struct node *node);
void norm_init(const struct network *net, const struct node *node);
double norm_flops(const struct graph *graph, const struct node *node, bool train);
void norm_ready(struct network *net, struct op *op);               /* inference: coefficients from running statistics */
bool norm_streams(const struct network *net, const struct op *op); /* training, and its one reader can stream */
struct norm *norm_new(struct network *net, int64_t channels, int64_t pixels);
/* Group `group` of image `image` (of all shards): where it lies and whose coefficients it takes. */
struct norm_place {
    int64_t values;  /* offset in bytes in [shards x stride] */
    int64_t channel; /* first of the group */
    int64_t set;     /* offset of the group's coefficients */
    double *sums;    /* partial sums of the group; the second ones follow C later */
};
struct norm_place norm_place(const struct network *net, const struct op *op, const struct norm *norm, int64_t image,
                             int64_t group);
/* total [sets][2 C] from the images' partial sums: over the global batch, or of each shard. Collective. */
void norm_sum_images(struct network *net, struct norm *norm, int64_t channels);
/* Mean and 1 / deviation of every channel from the sums in `total`, where mean and unbiased variance take their place.
 */
void norm_moments(struct norm *norm, int64_t channels);
void norm_scales(struct network *net, const struct op *op);         /* gamma / deviation */
void norm_update_running(struct network *net, const struct op *op); /* from `total`; collective */
void norm_correction(const struct norm *norm, int64_t i, int64_t channels, double *slope, double *shift);
void norm_shard_gradients(struct network *net, const struct op *op);

/* Loss of logits over the global batch; writes their gradient. Collective. (src/nn/op/op_loss.c) */
double loss_forward(struct network *net, const struct network_batch *batch, int64_t *correct);

#endif
