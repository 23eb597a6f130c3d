/* What the parts of SAE training share: src/concept/sae_*.c only. */
#ifndef CONCEPT_SAE_SAE_STATE_H
#define CONCEPT_SAE_SAE_STATE_H

#include "concept/sae/sae_half.h"
#include "concept/sae/sae_rows.h"
#include "concept/sae/sae_sparse.h"

/* Epochs done, rows taken in this one, Adam steps; active neurons in the last batch, and its rows; given up? */
enum { SAE_EPOCH, SAE_ROW, SAE_STEP, SAE_ACTIVE, SAE_ACTIVE_ROWS, SAE_LOST, SAE_COUNTERS };
/* Loss of the rows taken in this epoch; moving average of the batch threshold and its weight. */
enum { SAE_LOSS, SAE_THRESHOLD, SAE_THRESHOLD_WEIGHT, SAE_SUMS };
enum { SAE_LEAF_SUMS = 2 }; /* of a leaf: loss, active neurons */
/* Of a leaf and a block of neurons: sum of max(p, 0); 0, or NaN where it is not finite; active ones. */
enum { SAE_SUM, SAE_CHECK, SAE_ON, SAE_NEURON_SUMS };

/* What one rank may keep of a row when all choose its largest activations together: those above the threshold, and so
 * many that equal it. */
struct sae_verdict {
    float threshold;
    int32_t ties;
};
/* Scratch of that choice, for batches of B rows and up to `most` activations a row on P ranks. */
struct sae_offers {
    float *mine, *all;             /* [B x most] of this rank; [B / P rows x P x most] of all, of the rows it decides */
    struct sae_verdict *out, *own; /* [B / P rows x P] on those rows; [B] on its own activations */
    int64_t *wanted;               /* [the larger of B and B / P rows x P] */
};

/* A training row and its place in a weighted draw. */
struct drawn {
    double key;
    int64_t row;
};

/* Trainers made together share all buffers but weights, moments, counts and history: nothing else may outlast a step.
 */
struct sae_trainer {
    struct world *world;
    struct tree *tree; /* over leaves of rows, spread over the ranks */
    struct sae_options options;
    struct sae_source train, eval;
    /* A step: leaves of rows and their batch as the ranks share them out; = tree, train unless they share neurons. */
    struct tree *step_tree;
    struct sae_source step;
    struct sae_offers offers;
    int64_t batch, eval_batch;           /* rows of a global batch */
    struct sae sae, moment1, moment2;    /* weights and Adam's moments, the same on every rank */
    struct sae part;                     /* the neurons this rank has in a step */
    float *stack;                        /* [depth x stride] folding stack; row 0 ends as the gradient */
    int64_t stride, step_stride;         /* of all parameters; of those here in a step */
    struct sae_work work;                /* one piece of a leaf, in single precision */
    struct sae_half *half;               /* products of a step in bf16, or NULL */
    float *x;                            /* [piece x D] */
    struct sae_sparse sparse;            /* the whole of this rank's part of a batch */
    struct span *leaf;                   /* [own leaves] rows of each, from this rank's first row */
    int64_t *counts;                     /* [ranks] */
    double *leaf_sums;                   /* [own leaves x SAE_LEAF_SUMS] */
    double *neuron_sums;                 /* [own blocks, or 1, x own leaves x SAE_NEURON_SUMS] */
    float *bias_part;                    /* [own blocks, or 1, x D] of the gradient of b */
    double *norm_part;                   /* [own blocks, or 1] of the gradient's norm */
    double *row_loss;                    /* [batch] losses of this rank's rows */
    double *cumulative;                  /* [train rows] for draws in proportion to loss^2 */
    struct drawn *drawn;                 /* [train rows] scratch of a resampling (sae_resample.c) */
    int64_t *order;                      /* [train rows] of this epoch */
    int64_t *fired;                      /* [K] this rank, since the last sae_settle */
    int64_t *fired_epoch, *fired_before; /* [K] all ranks: in this epoch; from the last resampling to its start */
    int64_t *silent;                     /* [K] whole epochs since a neuron fired */
    int32_t *dead_list;                  /* [dead_here] silent for dead_after epochs, at the start of this one; from
                                            part.first on */
    int64_t dead_count, dead_here;       /* of all neurons; of those here */
    int64_t *dead, *picked;              /* [K] neurons, [piece] rows: scratch of a resampling */
    int64_t at[SAE_COUNTERS];
    double sums[SAE_SUMS];
    double *history;   /* [epochs x SAE_HISTORY] */
    float *median;     /* [D] geometric median of the training rows; median[0] NaN until it was asked for */
    double variance;   /* sum ||x - mean||^2 of the evaluation set */
    double gemm_flops; /* of this rank's dense products in steps so far */
};

/* Weights at the start, by the options. Collective. */
void sae_first_weights(struct sae_trainer *trainer, struct arena *arena);

/* Auxiliary neurons of a row: 0 when the rule has no auxiliary loss. Local. */
int sae_aux_k(const struct sae_options *options);
/* Most rows of one product in single precision, the same on every rank. Local. */
int64_t sae_piece_rows(const struct sae_options *options, int64_t train_rows, int ranks);
enum { SAE_BAND = 32 }; /* rows whose activations stay in cache until codes are made of them */
/* Most entries of sparse codes on a rank with `own` of `batch` rows and `here` neurons. Local. */
int64_t sae_code_room(const struct sae_options *options, int neurons, int here, int64_t batch, int64_t own);
/* Adam steps of the whole training. Local. */
int64_t sae_total_steps(const struct sae_trainer *trainer);

/* Forward passes over this rank's part of the open batch: leaf_sums [own leaves x 2] squared error and active
 * neurons; row_loss [own rows] or NULL. Local. */
void sae_forward(struct sae_trainer *trainer, struct sae_source *source, double *leaf_sums, double *row_loss);

/* Is a resampling due at the end of epoch `epoch` (from 1)? */
bool sae_resample_due(const struct sae_options *options, int epoch);
/* Plants neurons that never fired since the last resampling anew; returns how many. Collective. */
int sae_resample(struct sae_trainer *trainer);

#endif
