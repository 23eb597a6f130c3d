/* Training of a sparse autoencoder over all ranks: Adam on gradients of global
 * batches. A batch is cut by position into V leaves of the fixed tree
 * (dist/tree.h) and each leaf into pieces of SAE_ROWS rows, so the weights are
 * the same bits at any rank count up to V.
 *
 * Rows of a batch live anywhere. When a set takes no more than `resident_bytes`
 * every rank keeps all of it; otherwise the rows of each batch are fetched from
 * their owners (world_fetch_rows). Both give the same bits. */
#ifndef CONCEPT_SAE_TRAIN_H
#define CONCEPT_SAE_TRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "concept/sae.h"
#include "store/checkpoint.h"

struct arena;
struct world;
struct sae_trainer;

enum { SAE_ROWS = 512, SAE_FIELDS = 8 }; /* rows of one product; fields of a checkpoint */

struct sae_options {
    double l1, lr;
    int batch, epochs;
    int resample_every; /* epochs between resamplings, none in the last fifth; 0 = never */
    double resample_scale;
    int leaves; /* V, a power of two */
    uint64_t seed;
    int64_t resident_bytes;
};

/* Rows 0..rows-1 of a set, spread over the ranks in blocks, in rank order. */
struct sae_set {
    const float *x;            /* [mine x D] borrowed while the trainer lives */
    int64_t first, mine, rows; /* this rank's block; rows is global */
};

struct sae_metrics {
    int epoch;         /* from 1 */
    double train_loss; /* mean over the rows of the epoch, before each step */
    double fvu, l0;    /* on the evaluation set, after the epoch */
    double dead;       /* share of neurons that never fired in the epoch */
    double dense;      /* share that fired in more than 10 % of its rows */
    int resampled;     /* neurons planted anew after the epoch */
};

/* Initial weights, zero moments, epoch 0. `eval` may be the training set itself. train.rows >= 1,
 * eval.rows >= 1. All memory is taken here, from the arena. Collective. */
struct sae_trainer *sae_trainer_create(struct arena *arena, struct world *world, const struct sae_options *options,
                                       int dim, int neurons, struct sae_set train, struct sae_set eval);
/* Bytes a rank of `ranks` takes, and bytes of one gradient, for --dry-run. Local. */
int64_t sae_trainer_bytes(const struct sae_options *options, int dim, int neurons, int64_t train_rows,
                          int64_t eval_rows, int ranks);

/* One step on the next batch of the epoch; returns its mean loss. Loss or gradient not finite: all ranks end with
 * EXIT_INTERNAL. Collective: one gradient sum, rows fetched when not resident. */
double sae_step(struct sae_trainer *trainer);
bool sae_epoch_done(const struct sae_trainer *trainer); /* all batches of the epoch taken */
/* Compares the weights of all ranks (a difference ends the job with EXIT_INTERNAL), evaluates, resamples when due,
 * begins the next epoch. Collective. */
struct sae_metrics sae_end_epoch(struct sae_trainer *trainer);

int sae_epoch(const struct sae_trainer *trainer);         /* epochs done */
int64_t sae_rows_done(const struct sae_trainer *trainer); /* rows taken in this epoch */
const struct sae *sae_model(const struct sae_trainer *trainer);
/* FVU and mean number of active neurons on the evaluation set. Collective. */
void sae_evaluate(struct sae_trainer *trainer, double *fvu, double *l0);

/* The whole state as checkpoint fields, borrowed: for saving (call order: settle, save) and loading. */
int sae_fields(struct sae_trainer *trainer, struct checkpoint_field fields[SAE_FIELDS]);
/* Makes the state the same on every rank, at any step. Collective. */
void sae_settle(struct sae_trainer *trainer);
/* After the fields were filled from a checkpoint. Local. */
void sae_loaded(struct sae_trainer *trainer);

#endif
