/* A backbone on this rank: graph (what) -> plan (where) -> exec (do), with
 * weights, gradients and running statistics in flat buffers.
 *
 * The global batch is cut into V shards (dist/tree.h). A rank runs its shards
 * through the network layer by layer together; primitives always see one shard
 * (batch / V images), batch-norm statistics and gradients are summed over the
 * fixed tree, so a step gives the same bits at any rank count. */
#ifndef NN_NETWORK_H
#define NN_NETWORK_H

#include <stdbool.h>
#include <stdint.h>

#include "math/values.h"

struct adam;
struct arena;
struct network;
struct tree;
struct world;

enum network_loss { LOSS_CROSS_ENTROPY, LOSS_BCE }; /* BCE on sigmoid, mean over labels and rows */

struct network_spec {
    const char *backbone; /* a row of the zoo: "resnet18" */
    int classes, image_size;
    int batch;  /* global training batch, or rows of one inference call */
    int shards; /* V; batch is a multiple of it (inference: 1) */
    enum network_loss loss;
    bool train;                /* plan gradients too; otherwise inference only */
    enum value_type precision; /* of activations and operands; weights, statistics and loss are in single or double */
    bool checkpoint;           /* training: outputs inside a block are recomputed for the backward pass, not kept */
    bool local_batchnorm;      /* statistics per shard instead of the global batch */
    bool whole_depth;          /* training leaves no block out, whatever the backbone's stochastic depth says */
    bool fast_reduction;       /* any-order sums over ranks */
    bool plan_only;            /* nothing is computed: parameters have no values, and large memory is not touched */
    uint64_t seed;             /* initial weights, as torchvision's from scratch */
};

/* Owned by the arena. Collective. Ends the job with EXIT_BAD_CONFIG on an unknown backbone (with a suggestion),
 * a batch that is not a multiple of shards, or more ranks than shards. */
struct network *network_create(struct world *world, struct arena *arena, const struct network_spec *spec);

/* Ends what the library keeps for this network, before its arena goes. Optional: a network usually lives as long as
 * its job. */
void network_close(struct network *net);

/* Flat state: trainable parameters, and buffers (running mean/variance), in torchvision's order and layout. The
 * engine may keep its own copy in other layouts: call network_changed after writing, network_sync before reading.
 * While training, what the engine has a copy of lies here between steps only: a step needs the memory. */
struct parameter {
    const char *name; /* "layer1.0.conv1.weight" */
    int rank;
    int64_t dims[4];
    int64_t offset, count; /* in floats, in network_weights or network_buffers */
    bool is_buffer;
};
int network_parameters(const struct network *net, const struct parameter **list); /* both kinds */
float *network_weights(struct network *net, int64_t *count);
float *network_buffers(struct network *net, int64_t *count);
float *network_gradients(struct network *net); /* layout of the weights */
float *network_moment1(struct network *net);   /* Adam's moments, for checkpoints: layout of the weights */
float *network_moment2(struct network *net);
void network_sync(struct network *net);
void network_changed(struct network *net);

int network_feature_dim(const struct network *net); /* D */
struct tree *network_tree(const struct network *net);
int network_shard_rows(const struct network *net); /* images of one shard */

/* This rank's part of the global batch; own rows = own shards x shard rows. Borrowed. */
struct network_batch {
    const float *images;         /* [own rows x 3 x S x S] */
    const int32_t *labels;       /* [own rows] class index (cross-entropy; NULL otherwise) */
    const float *targets, *mask; /* [own rows x C] 0/1 targets, mask 0 = label not used (BCE; NULL otherwise) */
    const int64_t *rows; /* [own rows] row of the corpus: with the epoch, keys what is drawn (stochastic depth) */
    int64_t epoch;
};

/* One forward and backward pass over the global batch. Returns the mean loss over the global batch; *correct counts
 * right predictions over all ranks (BCE: right labels). Gradients (mean over the batch) are the same on every rank.
 * Collective. A loss or gradient that is not finite ends the job on all ranks with EXIT_INTERNAL naming the layer. */
double network_gradient(struct network *net, const struct network_batch *batch, int64_t *correct);
/* Scores of the last network_gradient: [own shards x shard rows x C]; borrowed until the next step. */
const float *network_logits(struct network *net);
/* AdamW step `step` (from 1) on the flat buffers. Local, the same on every rank. */
void network_update(struct network *net, const struct adam *adam, int64_t step);

/* Inference with running statistics: images [batch x 3 x S x S] -> features [batch x D], logits [batch x C]
 * (either may be NULL). Always a full batch: pad with zeros. Local. */
void network_infer(struct network *net, float *features, float *logits, const float *images);

/* FLOPs of one image, forward or forward + backward, and bytes the plan holds. */
double network_flops(const struct network *net, bool train);
int64_t network_bytes(const struct network *net);
/* Table of nodes, shapes, parameters, FLOPs and bytes, for `cfn model`; text owned by the arena. */
char *network_describe(struct network *net, struct arena *arena);

/* A sentence about the node that took most time among those more than ten times slower per operation than the others of
 * its kind, as far as that is felt (2 % of the time of all nodes); NULL if there is none. Of this rank's steps so far;
 * owned by the arena. */
const char *network_slow_node(const struct network *net, struct arena *arena);

/* The precision of activations and operands: bfloat16 if `half`, but single where a rank's processor has no
 * instructions for bfloat16, with a note on rank 0. Collective. */
enum value_type network_precision(struct world *world, bool half);
const char *value_type_name(enum value_type type);

/* oneDNN version and the instruction set it chose. */
const char *network_library(void);
const char *network_isa(void);
/* Canonical name of a backbone ("resnet" of the published scripts -> "resnet18", mimic "resnet50"); NULL if it is not
 * in the zoo. */
const char *zoo_canonical(const char *name, const char *data);

#endif
