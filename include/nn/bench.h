/* Measuring: what the convolutions reach alone, what a network reaches, and where its time goes.
 * Used by `cfn bench-model` and `make bench`. */
#ifndef NN_BENCH_H
#define NN_BENCH_H

#include <stdbool.h>

#include "nn/network.h"

struct arena;
struct world;

enum { BENCH_SHAPES = 4 };

/* GFLOP/s of 3x3 convolutions alone: resnet18's main shapes, forward and the two gradients, each the best of its
 * calls; and their means over the shapes, each stage of that network costing about the same. */
struct bench_rates {
    struct bench_shape {
        const char *name;
        double forward, data, weights;
    } shapes[BENCH_SHAPES];
    double forward, train;
};
/* For `batch` images at once; takes about `seconds` in all. The arena is given back as it was. Local. */
struct bench_rates bench_convolutions(struct arena *arena, enum value_type type, int batch, double seconds);

/* Seconds a step spends at one node, and its arithmetic. */
struct bench_node {
    const char *name, *kind;
    double forward, backward; /* seconds; embedding: all of it is forward */
    double flops;             /* of the batch, in the passes that were run */
    const char *kernels[3];   /* forward, data gradient, weight gradient; NULL: none, or loops of ours */
};
struct bench_result {
    int steps;           /* measured ones, after two to warm up */
    double best, median; /* seconds of a step over the global batch */
    double other;        /* seconds of a step outside the nodes: loss, sums over ranks, optimiser */
    double image_flops;  /* of one image */
    double peak_bytes;   /* largest resident set of this process while it ran */
    double page_faults;  /* of a step, after the warm-up */
    int64_t network_bytes;
    int reorders;               /* of activations or weight gradients in a step */
    int primitives, references; /* of the library, and how many of them are its reference code */
    struct bench_node *nodes;   /* [count], arena; a folded normalisation counts as its convolution */
    int count;
};

/* Random images in memory; training is forward, backward and AdamW, embedding one inference call. `spec` says
 * whether to train. Results are owned by `arena`; the network is gone afterwards. Collective. */
struct bench_result bench_network(struct world *world, struct arena *arena, const struct network_spec *spec,
                                  double seconds);
/* The same network without running it: kernels and counts alone. Collective. */
struct bench_result bench_kernels(struct world *world, struct arena *arena, const struct network_spec *spec);

#endif
