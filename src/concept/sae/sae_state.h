/* What the parts of SAE training share (src/concept/sae/sae_*.c), by how long it lasts: the workspace of trainers that
 * go together, the model that one of them trains, and what a step of it works with. */
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

/* What trainers made together share, for as long as they live: the rows, what follows from these alone, and scratch
 * that any of them may overwrite once another one's step or evaluation is over. */
struct sae_workspace {
    struct world *world;
    struct tree *tree; /* over leaves of rows, spread over the ranks */
    struct sae_source train, eval;
    int64_t batch, eval_batch; /* rows of a global batch */
    int64_t *order;            /* [train rows] of this epoch */
    float *median;             /* [D] geometric median of the training rows; median[0] NaN until it was asked for */
    double variance;           /* sum ||x - mean||^2 of the evaluation set; NaN when it does not vary */
    /* Scratch: up to work.rows rows through all neurons, in single precision, or a piece of a step (sae_step.piece). */
    struct sae_work work;
    float *x;          /* [piece x D] */
    int64_t *picked;   /* [piece] rows to be fetched into x */
    float *stack;      /* [depth x stride] folding stack; row 0 ends as the gradient */
    double *leaf_sums; /* [own leaves x SAE_LEAF_SUMS] of an evaluation */
    double *row_sums;  /* [own leaves + 4, x D + 1] of rows */
    /* Scratch of a resampling (sae_resample.c). */
    double *row_loss;    /* [batch] losses of this rank's rows */
    double *cumulative;  /* [train rows] for draws in proportion to loss^2 */
    struct drawn *drawn; /* [train rows] */
    int64_t *dead;       /* [K] neurons */
};

/* What one training has learned and counted, from its first step to its last. A checkpoint keeps all that does not
 * follow from the rest. */
struct sae_model {
    struct sae sae, moment1, moment2; /* weights and Adam's moments, the same on every rank */
    int64_t at[SAE_COUNTERS];
    double sums[SAE_SUMS];
    double *history;                     /* [epochs x SAE_HISTORY] */
    int64_t *fired;                      /* [K] this rank, since the last sae_settle */
    int64_t *fired_epoch, *fired_before; /* [K] all ranks: in this epoch; from the last resampling to its start */
    int64_t *silent;                     /* [K] whole epochs since a neuron fired */
    double gemm_flops;                   /* of this rank's dense products in steps so far */
};

/* What one step works with: nothing but the choice of dead neurons, made at the start of an epoch, outlasts it. The
 * buffers are shared by trainers made together. */
struct sae_step {
    struct tree *tree;      /* over leaves of rows: the workspace's; of this rank alone when ranks share out neurons */
    struct sae_source rows; /* the training rows over these leaves */
    struct sae part;        /* the neurons this rank has in a step */
    int64_t stride;         /* floats between rows of the folding stack */
    int64_t piece;          /* most rows of a product */
    struct span *leaf;      /* [own leaves] rows of each, from this rank's first row */
    double *leaf_sums;      /* [own leaves x SAE_LEAF_SUMS] */
    double *neuron_sums;    /* [own blocks, or 1, x own leaves x SAE_NEURON_SUMS] */
    float *bias_part;       /* [own blocks, or 1, x D] of the gradient of b */
    double *norm_part;      /* [own blocks, or 1] of the gradient's norm */
    struct sae_sparse sparse; /* the whole of this rank's part of a batch */
    struct sae_half *half;    /* products in bf16, or NULL */
    int64_t *counts;          /* [ranks] */
    struct sae_offers offers; /* when the ranks share out neurons */
    int32_t *dead_list;       /* [dead_here] silent for dead_after epochs, at the start of this one; from part.first */
    int64_t dead_count, dead_here; /* of all neurons; of those here */
};

struct sae_trainer {
    struct sae_options options;
    struct sae_workspace *space;
    struct sae_model model;
    struct sae_step step;
};

/* Weights at the start, by the options. Collective. */
void sae_first_weights(struct sae_trainer *trainer);

/* Auxiliary neurons of a row: 0 when the rule has no auxiliary loss. Local. */
int sae_aux_k(const struct sae_options *options);
/* Most rows of one product of a step in single precision, the same on every rank. Local. */
int64_t sae_piece_rows(const struct sae_options *options, int64_t train_rows, int ranks);
enum { SAE_BAND = 32 }; /* rows whose activations stay in cache until codes are made of them */
/* Most entries of sparse codes on a rank with `own` of `batch` rows and `here` neurons; *kept: once those over the
 * batch are chosen. Local. */
int64_t sae_code_room(const struct sae_options *options, int neurons, int here, int64_t batch, int64_t own,
                      int64_t *kept);
/* Floats between rows of the folding stack for `count` of them: whole cache lines. */
static inline int64_t sae_stride(int64_t count)
{
    return (count + 15) / 16 * 16;
}
/* Adam steps of the whole training. Local. */
int64_t sae_total_steps(const struct sae_trainer *trainer);

/* Forward passes over this rank's part of the open batch: squared error and active
 * neurons of each leaf into the workspace's leaf_sums; row_loss [own rows], with `penalty`, or NULL. Local. */
void sae_forward(struct sae_workspace *space, struct sae_source *source, const struct sae *sae, double penalty,
                 double *row_loss);

enum { SAE_ROUNDS = 128 }; /* in which all neurons could be planted anew, by the topk family */
/* Is a resampling due at the end of epoch `epoch` (from 1)? */
bool sae_resample_due(const struct sae_options *options, int epoch);
/* Plants neurons that never fired since the last resampling anew; returns how many. Collective. */
int sae_resample(struct sae_workspace *space, struct sae_model *model, const struct sae_options *options);

#endif
