/* Sparse autoencoder:
 *
 *   p = We (x - b) + be,   f = rule(p),   x^ = f Wd + b.
 *
 * The published rule is ReLU with an L1 penalty:
 *   loss = mean over rows of ( mean over D of (x^ - x)^2  +  l1 * sum over K of f ).
 * The other rules choose which neurons are active (docs/methods/sae.md).
 *
 * Rows of Wd are unit vectors: kept so after every step, and the part of their
 * gradient that is parallel to them is removed. Kernels on arrays, local, no
 * allocation. These are the dense products; concept/sae/sae_sparse.h has those that
 * touch active neurons only, concept/sae_train.h the training over ranks. */
#ifndef CONCEPT_SAE_H
#define CONCEPT_SAE_H

#include <stdbool.h>
#include <stdint.h>

#include "dist/shard.h"

struct arena;
struct sae_half;
struct tree;

enum sae_variant {
    SAE_RELU,      /* every p > 0 */
    SAE_TOPK,      /* the k largest p > 0 of a row (Gao et al. 2024) */
    SAE_BATCHTOPK, /* the k x rows largest p > 0 of a batch; later p > threshold (Bussmann et al. 2024) */
    SAE_JUMPRELU,  /* p above a threshold of its own for each neuron (Rajamanoharan et al. 2024) */
    SAE_MATRYOSHKA /* as batchtopk; prefixes of the neurons explain the row too (Bussmann et al. 2025) */
};
enum { SAE_PREFIXES = 12 }; /* most prefixes */

struct sae_rule {
    enum sae_variant variant;
    int k;            /* topk family: active neurons of a row, or their mean over a batch */
    int prefixes;     /* matryoshka: the first K / 2^(prefixes-1), ..., K/2, K neurons; others 1 (0 counts as 1) */
    double threshold; /* batchtopk, matryoshka outside training */
    double bandwidth; /* jumprelu: window of the straight-through estimator */
};
/* Is the number of active neurons given (topk, batchtopk, matryoshka)? */
bool sae_by_count(const struct sae_rule *rule);
/* Is the set of active neurons chosen over the whole batch? */
bool sae_by_batch(const struct sae_rule *rule);
int sae_prefixes(const struct sae_rule *rule);
/* Neurons of prefix g (from 0). */
int sae_prefix(const struct sae_rule *rule, int neurons, int g);

/* Parameters, or their gradients or moments: views of one flat buffer.
 *
 * Neurons are cut into blocks, and every sum over neurons - the reconstruction, the penalty, the gradient of b, norms -
 * is formed block by block and added along a fixed tree whose leaves are the blocks. So it has the same bits whether
 * one rank has all neurons or each some blocks of them (sae_part). */
struct sae {
    int dim, neurons;          /* D, K: those that are here */
    int64_t count;             /* floats of the buffer: 2 K D + 2 K + D */
    struct sae_rule rule;      /* sae_view: relu */
    int whole, first;          /* neurons of the whole model, and the number there of the first one here */
    const struct tree *blocks; /* borrowed; NULL (sae_view): all neurons are one block */
    float *flat;               /* [count] borrowed; the fields below, in this order; NULL for a part */
    float *encoder;            /* [K x D] We */
    float *encoder_bias;       /* [K] be */
    float *decoder;            /* [K x D] Wd */
    float *bias;               /* [D] b */
    float *log_threshold;      /* [K] jumprelu: log of each threshold; others 0 */
};
int64_t sae_count(int dim, int neurons);
struct sae sae_view(float *flat, int dim, int neurons);
/* The neurons of this rank's leaves of `blocks`, which becomes the tree of the view; b is shared. */
struct sae sae_part(const struct sae *whole, const struct tree *blocks);

/* Blocks of K neurons: the largest power of two up to `most` that leaves 32 neurons or more to each. */
int sae_block_count(int neurons, int most);
int sae_blocks(const struct sae *sae);                   /* those here */
struct span sae_block(const struct sae *sae, int block); /* neurons of one of them, counted from the first one here */

/* We uniform in +-sqrt(6 / (K D)), be uniform in +-1/sqrt(K), Wd rows unit and of random direction, b = 0. */
void sae_init(struct sae *sae, uint64_t seed);

/* Buffers of the passes below, for up to `rows` rows at once. */
struct sae_work {
    int64_t rows;
    float *centred;        /* [rows x D] x - b */
    float *error;          /* [rows x D] x^ - x; room for the folding stack over blocks */
    float *f, *df;         /* [rows x K] activations; gradient before the rule */
    float *cut;            /* [K] jumprelu: thresholds */
    double *squared;       /* [rows] ||x^ - x||^2 */
    double *sum;           /* [rows x blocks] sum of max(p, 0) */
    int64_t *active;       /* [rows] number of f > 0 */
    struct sae_half *half; /* products in bf16 (concept/sae/sae_half.h), or NULL */
};
/* blocks: the tree of the models it is for, NULL for a single block. */
struct sae_work sae_work(struct arena *arena, int dim, int neurons, int64_t rows, const struct tree *blocks);
/* Room for what is asked of it alone: of the larger arrays so many floats. sae_encode needs f [rows x K]; sae_decode
 * error [depth x rows x D] besides, over a tree of that depth; sae_backward df [rows x K]. */
struct sae_room {
    int64_t rows, f, df, error;
    int neurons, blocks;
};
struct sae_work sae_work_in(struct arena *arena, int dim, const struct sae_room *room);

/* centred [rows x D] = x - b; f [rows x K] = centred We'. With `half` (or NULL) f has room for the rows of a full
 * piece. 2 rows K D flops. */
void sae_project(float *f, float *centred, struct sae_half *half, const struct sae *sae, const float *x, int64_t rows);
/* After it, also row by row: f = max(f + be, 0), a NaN stays one; sum [rows x blocks]; active of each row. */
void sae_activate(float *f, double *sum, int64_t *active, const struct sae *sae, int64_t rows);
/* After sae_activate: f, active by the rule as it is outside training (topk: ties to the lowest neuron). cut [K]:
 * thresholds of jumprelu, which marks p that are below the threshold but in the window by -0.0: not active. */
void sae_apply(float *f, int64_t *active, const float *cut, const struct sae *sae, int64_t rows);
/* x [rows x D] -> work's centred, f, sum, active: all of the above. */
void sae_encode(struct sae_work *work, const struct sae *sae, const float *x, int64_t rows);
/* After sae_encode of the same x: work's error, squared. 2 rows K D flops. Collective when the blocks are spread over
 * ranks. */
void sae_decode(struct sae_work *work, const struct sae *sae, const float *x, int64_t rows);

/* After both, relu and jumprelu: gradient of `scale` * sum of row losses into `grad` (added when `add`, else stored),
 * and fired [K] += number of rows in which each neuron is active. grad->bias holds the decoder's part only:
 * sae_finish_gradient adds the encoder's. Overwrites work's error and df. 6 rows K D flops. */
void sae_backward(struct sae *grad, int64_t *fired, struct sae_work *work, const struct sae *sae, int64_t rows,
                  double penalty, double scale, bool add);

/* Once per step on the summed gradient: grad->bias -= We' grad->encoder_bias, and the part of the decoder's
 * gradient parallel to its unit rows is removed. part [blocks or 1, x D]: scratch. Collective when the blocks are
 * spread over ranks. */
void sae_finish_gradient(struct sae *grad, float *part, const struct sae *sae);
/* Norm of the whole gradient; part [blocks or 1]: scratch. Collective likewise. */
double sae_gradient_norm(const struct sae *grad, double *part, const struct sae *sae);
/* Rows of the decoder to unit norm. */
void sae_normalise(struct sae *sae);

/* What a row pays for its activations: relu penalty * sum of f, jumprelu penalty * number of f > 0, others 0. */
double sae_row_penalty(const struct sae_rule *rule, double penalty, double sum, int64_t active);
/* Loss of one row of the last encode + decode: without prefixes and auxiliary loss. */
double sae_row_loss(const struct sae_work *work, const struct sae *sae, int64_t row, double penalty);
/* Jumprelu: d loss / d log threshold of a neuron with threshold `cut` whose p is in the window, where `df` is the
 * gradient with respect to f and `slope` the weight of one active neuron. */
float sae_jump_gradient(float df, float slope, float cut, const struct sae_rule *rule);

/* Gives neuron k a new start at input x [D]: decoder = unit vector of x - b, encoder = that times
 * `encoder_norm`, encoder bias 0. False, and nothing changed, when x = b. */
bool sae_replant(struct sae *sae, int k, const float *x, double encoder_norm);

#endif
