/* Training steps and evaluation of a backbone against torchvision's, from a fixture of scripts/parity_network.py. */
#ifndef PARITY_NETWORK_H
#define PARITY_NETWORK_H

#include <stdbool.h>

struct world;

/* What is allowed at one case of a fixture, relative. Scores, running statistics and weights have one tolerance for
 * all. A list of these ends with a NULL name. */
struct parity_rule {
    const char *backbone;
    int size;
    double norm, whole;     /* of gradients: norm, and norm of the difference */
    double losses;          /* of the steps after the first */
    double half, half_step; /* scores in bfloat16: evaluated, and of a training step (0: not compared) */
    double half_gradient;   /* norm of the difference of all gradients of that step (0: not compared) */
    bool once;              /* with 2 shards alone: a slow one */
};

/* All cases of `fixture` with the batch cut into `shards`. Fails the running test. */
void parity_network(struct world *world, const char *fixture, const struct parity_rule *rules, int shards);

#endif
