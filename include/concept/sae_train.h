/* Training of a sparse autoencoder over all ranks: Adam on gradients of global
 * batches. A batch is cut by position into V leaves of the fixed tree
 * (dist/tree.h) and each leaf into pieces of SAE_ROWS rows, so the weights are
 * the same bits at any rank count up to V.
 *
 * Or the ranks share out the neurons (enum sae_way): each takes all rows of a
 * batch and the neurons of some leaves of the tree over blocks (concept/sae.h),
 * forms and updates their parameters only, and no gradient crosses the network.
 * All gather the weights at the end of an epoch. The same bits again.
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

enum { SAE_ROWS = 512, SAE_FIELDS = 9 }; /* rows of one product; fields of a checkpoint */
enum { SAE_TRAINERS = 64 };              /* most trainings on the same batches */
/* An active neuron in sparse products costs as much as so many in dense ones, of single precision and of bf16. */
enum { SAE_SPARSE_COST = 8, SAE_SPARSE_COST_HALF = 14 };

enum sae_start {
    SAE_START_PUBLISHED, /* as sae_init leaves them */
    SAE_START_TIED,      /* encoder = decoder, of random directions; encoder bias 0 */
    SAE_START_DATA       /* the same with directions of training rows, 0.8, and random ones, 0.2 */
};

/* What the ranks share out in a step; the results are the same bits. */
enum sae_way {
    SAE_BY_ROWS,   /* data-parallel: each takes some rows of the batch; gradients cross the network */
    SAE_BY_NEURONS /* feature-parallel: each takes some blocks of neurons; reconstructions cross the network */
};

struct sae_options {
    struct sae_rule rule; /* how neurons become active */
    enum sae_way way;
    double penalty, lr;     /* of activations: relu L1, jumprelu L0 */
    double warmup, decay;   /* shares of all steps: the rate rises at the start, falls to 0 at the end */
    double penalty_warmup;  /* share of all steps in which the penalty rises */
    double clip;            /* largest norm of a gradient; 0 = any */
    int aux_k, dead_after;  /* topk family: dead neurons that explain what is left of a row; epochs without firing */
    double aux_weight;      /* of their loss; 0 = none */
    double threshold_decay; /* moving average of the batch threshold */
    enum sae_start start;
    bool median;            /* b starts at the geometric median of the training rows, else at 0 */
    double first_threshold; /* jumprelu */
    int batch, epochs;
    int resample_every; /* epochs between resamplings, none in the last fifth; 0 = never */
    double resample_scale;
    int leaves; /* V, a power of two */
    uint64_t seed;
    int64_t resident_bytes;
    bool half;        /* dense products of the training in bf16 */
    bool may_be_lost; /* loss or gradient not finite: this training is given up, not the job */
};

/* Rows 0..rows-1 of a set, spread over the ranks in blocks, in rank order. */
struct sae_set {
    const float *x;            /* [mine x D] borrowed while the trainer lives */
    int64_t first, mine, rows; /* this rank's block; rows is global */
};

struct sae_metrics {
    int epoch;         /* from 1 */
    double train_loss; /* mean over the rows of the epoch, before each step */
    double fvu, l0;    /* on the evaluation set, after the epoch; fvu NaN when the set does not vary */
    double dead;       /* share of neurons that never fired in the epoch */
    double dense;      /* share that fired in more than 10 % of its rows */
    int resampled;     /* neurons planted anew after the epoch */
};

/* Columns of the history, one row an epoch. */
enum { SAE_HISTORY_LOSS, SAE_HISTORY_FVU, SAE_HISTORY_L0, SAE_HISTORY_DEAD, SAE_HISTORY_DENSE, SAE_HISTORY };

/* Initial weights, zero moments, epoch 0. `eval` may be the training set itself. train.rows >= 1,
 * eval.rows >= 1. All memory is taken here, from the arena. Collective. */
struct sae_trainer *sae_trainer_create(struct arena *arena, struct world *world, const struct sae_options *options,
                                       int dim, int neurons, struct sae_set train, struct sae_set eval);
/* Several trainings on the same batches: out [count], options [count] that agree in batch, epochs, leaves, seed and
 * resident_bytes, neurons [count]. Each gives the bits it gives alone. They share the rows, and whatever does not
 * outlast a step; when they step in turn, the rows of a batch are fetched once. In a plan (base/arena.h) they
 * have their memory and nothing in it: for sae_trainers_end alone, and for functions that plan. Collective. */
void sae_trainers_create(struct sae_trainer **out, struct arena *arena, struct world *world,
                         const struct sae_options *options, int dim, const int *neurons, int count,
                         struct sae_set train, struct sae_set eval);
/* After the last step: ends what a library holds for them; memory goes with the arena. Local. */
void sae_trainers_end(struct sae_trainer *const *trainers, int count);

/* Cost of the sparse products beside the dense ones' when l0 of K neurons are active: sparse below 1. Local. */
double sae_sparse_share(const struct sae_options *options, double l0, int neurons);

/* One step on the next batch of the epoch; returns its mean loss. Loss or gradient not finite: all ranks end with
 * EXIT_INTERNAL, or with may_be_lost the training only passes over its rows from then on and all its metrics are NaN.
 * Collective: one gradient sum, or those of the reconstructions; rows fetched when not resident. */
double sae_step(struct sae_trainer *trainer);
bool sae_epoch_done(const struct sae_trainer *trainer); /* all batches of the epoch taken */
/* Compares the weights of all ranks (a difference ends the job with EXIT_INTERNAL), evaluates, resamples when due,
 * begins the next epoch. Collective. */
struct sae_metrics sae_end_epoch(struct sae_trainer *trainer);
/* The same for trainers made together; metrics [count]. */
void sae_end_epochs(struct sae_metrics *metrics, struct sae_trainer *const *trainers, int count);
bool sae_lost(const struct sae_trainer *trainer); /* given up, see sae_step */

int sae_epoch(const struct sae_trainer *trainer);         /* epochs done */
int64_t sae_rows_done(const struct sae_trainer *trainer); /* rows taken in this epoch */
/* Of this rank's dense products in the steps of this process: a sparse step has the encoder's alone. Local. */
double sae_gemm_flops(const struct sae_trainer *trainer);
const struct sae *sae_model(const struct sae_trainer *trainer);
/* [epochs done x SAE_HISTORY], the same on every rank; part of a checkpoint. */
const double *sae_history(const struct sae_trainer *trainer);
/* FVU and mean number of active neurons on the evaluation set. Collective. */
void sae_evaluate(struct sae_trainer *trainer, double *fvu, double *l0);

/* The whole state as checkpoint fields, borrowed: for saving (call order: settle, save) and loading. */
int sae_fields(struct sae_trainer *trainer, struct checkpoint_field fields[SAE_FIELDS]);
/* Makes the state the same on every rank, at any step. Collective. */
void sae_settle(struct sae_trainer *trainer);
/* After the fields were filled from a checkpoint. Local. */
void sae_loaded(struct sae_trainer *trainer);

#endif
