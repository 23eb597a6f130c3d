/* What a step of SAE training sends over the network, before it is run, and the way that sends less. */
#ifndef CONCEPT_SAE_COST_H
#define CONCEPT_SAE_COST_H

#include <stdint.h>

#include "concept/sae_train.h"

/* Bytes, mean over the ranks. */
struct sae_traffic {
    double gradients; /* by rows: their sum along the fixed tree, both ways */
    double sums;      /* by neurons: sums of reconstructions, of penalties and of the gradient of b over the neurons */
    double rows;      /* of a batch, from the ranks that hold them; 0 when every rank keeps the set */
    double choice;    /* of the largest activations of a row or the batch */
};

/* A whole batch on `ranks` ranks, the way the options say. While no neuron is dead: auxiliary neurons add one more
 * reconstruction and their choice. Loss and agreement, under a kilobyte, are left out. Local. */
struct sae_traffic sae_traffic(const struct sae_options *options, int dim, int neurons, int64_t train_rows, int ranks);
double sae_traffic_all(const struct sae_traffic *traffic);
/* Of several trainings on the same batches: rows go once. */
struct sae_traffic sae_traffic_of(const struct sae_options *options, enum sae_way way, int dim, const int *neurons,
                                  int count, int64_t train_rows, int ranks);

/* By neurons when that sends less and gives neurons to as many ranks as rows would be given to. Local. */
enum sae_way sae_cheaper_way(const struct sae_options *options, int dim, const int *neurons, int count,
                             int64_t train_rows, int ranks);

#endif
