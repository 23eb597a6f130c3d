/* What a step of SAE training sends over the network, before it is run. */
#ifndef CONCEPT_SAE_COST_H
#define CONCEPT_SAE_COST_H

#include <stdint.h>

#include "concept/sae_train.h"

/* Bytes, mean over the ranks. */
struct sae_traffic {
    double gradients; /* their sum along the fixed tree, both ways */
    double rows;      /* of a batch, from the ranks that hold them; 0 when every rank keeps the set */
    double choice;    /* of the largest activations over the batch: batchtopk, matryoshka */
};

/* A whole batch on `ranks` ranks; loss and agreement, under a kilobyte, are left out. Local. */
struct sae_traffic sae_traffic(const struct sae_options *options, int dim, int neurons, int64_t train_rows, int ranks);
double sae_traffic_all(const struct sae_traffic *traffic);

#endif
