/* What the parts of SAE training share: src/concept/sae_train.c and sae_resample.c only. */
#ifndef CONCEPT_SAE_STATE_H
#define CONCEPT_SAE_STATE_H

#include "concept/sae_rows.h"

enum { SAE_EPOCH, SAE_ROW, SAE_STEP, SAE_COUNTERS }; /* epochs done, rows taken in this one, Adam steps */

struct sae_trainer {
    struct world *world;
    struct tree *tree;
    struct sae_options options;
    struct sae_source train, eval;
    int64_t batch, eval_batch;        /* rows of a global batch */
    struct sae sae, moment1, moment2; /* weights and Adam's moments, the same on every rank */
    float *stack;                     /* [depth x stride] folding stack; row 0 ends as the gradient */
    int64_t stride;
    struct sae_work work;                /* one piece of a leaf */
    float *x;                            /* [piece x D] */
    double *leaf_sums;                   /* [own leaves x 2] */
    double *row_loss;                    /* [batch] losses of this rank's rows */
    double *cumulative;                  /* [train rows] for draws in proportion to loss^2 */
    int64_t *order;                      /* [train rows] of this epoch */
    int64_t *fired;                      /* [K] this rank, since the last sae_settle */
    int64_t *fired_epoch, *fired_before; /* [K] all ranks: in this epoch; from the last resampling to its start */
    int64_t *dead, *picked;              /* [K] neurons, [piece] rows: scratch of a resampling */
    int64_t at[SAE_COUNTERS];
    double loss_sum; /* of the rows taken in this epoch */
    double variance; /* sum ||x - mean||^2 of the evaluation set */
};

/* Forward passes over this rank's part of the open batch: leaf_sums [own leaves x 2] squared error and active
 * neurons; row_loss [own rows] or NULL. Local. */
void sae_forward(struct sae_trainer *trainer, struct sae_source *source, double *leaf_sums, double *row_loss);

/* Is a resampling due at the end of epoch `epoch` (from 1)? */
bool sae_resample_due(const struct sae_options *options, int epoch);
/* Plants neurons that never fired since the last resampling anew; returns how many. Collective. */
int sae_resample(struct sae_trainer *trainer);

#endif
