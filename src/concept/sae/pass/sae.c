/* Sparse autoencoder kernels: forward, backward, constraint, as dense products.
 * Five of them a step carry the cost; the passes between touch each activation
 * once. Model and update as in the published scripts (docs/methods/sae.md). */
#include "concept/sae.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "concept/sae/sae_half.h"
#include "concept/sae/sae_top.h"
#include "dist/tree.h"
#include "math/blas.h"
#include "math/vec.h"

/* Neurons a thread sweeps down all rows at a time, one kilobyte of each row; activations passed over twice in cache. */
enum { COLUMNS = 256, PIECE = 1024 };

bool sae_by_batch(const struct sae_rule *rule)
{
    return rule->variant == SAE_BATCHTOPK || rule->variant == SAE_MATRYOSHKA;
}

bool sae_by_count(const struct sae_rule *rule)
{
    return rule->variant == SAE_TOPK || sae_by_batch(rule);
}

int sae_prefixes(const struct sae_rule *rule)
{
    return rule->variant == SAE_MATRYOSHKA && rule->prefixes > 1 ? rule->prefixes : 1;
}

int sae_prefix(const struct sae_rule *rule, int neurons, int g)
{
    int some = neurons >> (sae_prefixes(rule) - 1 - g);
    return some > 1 ? some : 1;
}

int64_t sae_count(int dim, int neurons)
{
    return 2 * (int64_t)neurons * dim + 2 * (int64_t)neurons + dim;
}

struct sae sae_view(float *flat, int dim, int neurons)
{
    int64_t matrix = (int64_t)neurons * dim;
    return (struct sae){ .dim = dim,
                         .neurons = neurons,
                         .whole = neurons,
                         .count = sae_count(dim, neurons),
                         .flat = flat,
                         .encoder = flat,
                         .encoder_bias = flat + matrix,
                         .decoder = flat + matrix + neurons,
                         .bias = flat + 2 * matrix + neurons,
                         .log_threshold = flat + 2 * matrix + neurons + dim };
}

void sae_init(struct sae *sae, uint64_t seed)
{
    enum { ENCODER, ENCODER_BIAS, DECODER };
    struct rng rng = { seed, RNG_SAE_INIT, 0 };
    int64_t matrix = (int64_t)sae->neurons * sae->dim;
    /* The published tensors have a leading axis of 1, which makes PyTorch's fan-in K D for the encoder. */
    double weight = sqrt(6.0 / (double)matrix), bias = 1 / sqrt((double)sae->neurons);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < matrix; i++) {
        sae->encoder[i] = (float)rng_range(&rng, ENCODER, (uint64_t)i, -weight, weight);
        sae->decoder[i] = (float)rng_range(&rng, DECODER, (uint64_t)i, -1, 1);
    }
    for (int k = 0; k < sae->neurons; k++)
        sae->encoder_bias[k] = (float)rng_range(&rng, ENCODER_BIAS, (uint64_t)k, -bias, bias);
    memset(sae->bias, 0, (size_t)sae->dim * sizeof(float));
    memset(sae->log_threshold, 0, (size_t)sae->neurons * sizeof(float));
    sae_normalise(sae);
}

struct sae_work sae_work(struct arena *arena, int dim, int neurons, int64_t rows, const struct tree *blocks)
{
    const int depth = blocks ? tree_depth(blocks) : 1;
    const struct sae_room room = { .rows = rows,
                                   .f = rows * neurons,
                                   .df = rows * neurons,
                                   .error = depth * rows * dim,
                                   .neurons = neurons,
                                   .blocks = blocks ? tree_leaf_count(blocks) : 1 };
    return sae_work_in(arena, dim, &room);
}

struct sae_work sae_work_in(struct arena *arena, int dim, const struct sae_room *room)
{
    return (struct sae_work){ .rows = room->rows,
                              .centred = arena_array(arena, float, room->rows *dim),
                              .error = arena_array(arena, float, room->error),
                              .f = arena_array(arena, float, room->f),
                              .df = arena_take_raw(arena, (size_t)room->df, sizeof(float)),
                              .cut = arena_array(arena, float, room->neurons),
                              .squared = arena_array(arena, double, room->rows),
                              .sum = arena_array(arena, double, room->rows * room->blocks),
                              .active = arena_array(arena, int64_t, room->rows) };
}

/* f <- relu(f + bias); its sum, and how many are positive. In pieces: once for the floats, once for the sum. */
static double activate(float *restrict f, int64_t *active, const float *restrict bias, int64_t K)
{
    double total = 0;
    int positive = 0;
    for (int64_t at = 0; at < K; at += PIECE) {
        const int64_t end = at + PIECE < K ? at + PIECE : K;
#pragma omp simd reduction(+ : positive)
        for (int64_t k = at; k < end; k++) {
            float p = f[k] + bias[k];
            f[k] = p <= 0 ? 0 : p; /* a NaN stays one */
            positive += p > 0;
        }
#pragma omp simd reduction(+ : total)
        for (int64_t k = at; k < end; k++)
            total += (double)f[k];
    }
    *active += positive;
    return total;
}

void sae_project(float *f, float *centred, struct sae_half *half, const struct sae *sae, const float *x, int64_t rows)
{
    const int D = sae->dim, K = sae->neurons;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++)
        for (int d = 0; d < D; d++)
            centred[r * D + d] = x[r * D + d] - sae->bias[d];
    if (half)
        sae_half_encode(f, half, centred, rows);
    for (int b = 0; !half && b < sae_blocks(sae); b++) {
        const struct span k = sae_block(sae, b);
        blas_sgemm('N', 'T', rows, k.count, D, 1, centred, D, sae->encoder + k.first * D, D, 0, f + k.first, K);
    }
}

void sae_activate(float *f, double *sum, int64_t *active, const struct sae *sae, int64_t rows)
{
    const int K = sae->neurons, blocks = sae_blocks(sae);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        active[r] = 0;
        for (int b = 0; b < blocks; b++) {
            const struct span k = sae_block(sae, b);
            sum[r * blocks + b] = activate(f + r * K + k.first, &active[r], sae->encoder_bias + k.first, k.count);
        }
    }
}

/* f >= 0: what the neuron's own threshold leaves; p just below it is marked by -0.0. */
static void jump(float *restrict f, int64_t *active, const float *restrict cut, float half, int K)
{
    int positive = 0;
#pragma omp simd reduction(+ : positive)
    for (int k = 0; k < K; k++) {
        float p = f[k], below = p > 0 && p > cut[k] - half ? -0.0f : 0.0f;
        f[k] = p <= cut[k] ? below : p; /* a NaN stays one */
        positive += f[k] > 0;
    }
    *active = positive;
}

/* One threshold for all neurons. */
static void cut_below(float *restrict f, int64_t *active, float threshold, int K)
{
    int positive = 0;
#pragma omp simd reduction(+ : positive)
    for (int k = 0; k < K; k++) {
        f[k] = f[k] <= threshold ? 0 : f[k];
        positive += f[k] > 0;
    }
    *active = positive;
}

/* The k largest; `active` holds how many are positive. */
static void keep_largest(float *f, int64_t *active, int k, int K)
{
    if (*active <= k)
        return;
    int64_t ties, kept = 0;
    const float threshold = sae_kth_largest(f, K, k, &ties);
    for (int i = 0; i < K; i++) {
        bool keep = f[i] > threshold || (f[i] >= threshold && ties-- > 0) || f[i] != f[i];
        f[i] = keep ? f[i] : 0;
        kept += keep;
    }
    *active = kept;
}

void sae_apply(float *f, int64_t *active, const float *cut, const struct sae *sae, int64_t rows)
{
    const int K = sae->neurons;
    const struct sae_rule *rule = &sae->rule;
    if (rule->variant == SAE_RELU)
        return;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        if (rule->variant == SAE_JUMPRELU)
            jump(f + r * K, &active[r], cut, (float)(rule->bandwidth / 2), K);
        else if (rule->variant == SAE_TOPK)
            keep_largest(f + r * K, &active[r], rule->k, K);
        else
            cut_below(f + r * K, &active[r], (float)rule->threshold, K);
    }
}

void sae_encode(struct sae_work *work, const struct sae *sae, const float *x, int64_t rows)
{
    for (int k = 0; sae->rule.variant == SAE_JUMPRELU && k < sae->neurons; k++)
        work->cut[k] = expf(sae->log_threshold[k]);
    sae_project(work->f, work->centred, work->half, sae, x, rows);
    sae_activate(work->f, work->sum, work->active, sae, rows);
    sae_apply(work->f, work->active, work->cut, sae, rows);
}

/* work's error = f Wd: of each block, then along their tree. */
static void sum_over_neurons(struct sae_work *work, const struct sae *sae, int64_t rows)
{
    const int D = sae->dim, K = sae->neurons;
    const int64_t stride = rows * D;
    for (int b = 0; b < sae_blocks(sae); b++) {
        const struct span k = sae_block(sae, b);
        float *part = work->error + (sae->blocks ? tree_slot(sae->blocks, b) : 0) * stride;
        blas_sgemm('N', 'N', rows, D, k.count, 1, work->f + k.first, K, sae->decoder + k.first * D, D, 0, part, D);
        if (sae->blocks)
            tree_fold_f32(sae->blocks, b, work->error, stride, stride);
    }
    if (sae->blocks)
        tree_sum_nodes_f32(sae->blocks, work->error, work->error, stride, stride);
}

void sae_decode(struct sae_work *work, const struct sae *sae, const float *x, int64_t rows)
{
    const int D = sae->dim;
    if (work->half)
        sae_half_decode(work->error, work->half, work->f, rows);
    else
        sum_over_neurons(work, sae, rows);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        float *restrict error = work->error + r * D;
        double squared = 0;
#pragma omp simd reduction(+ : squared)
        for (int d = 0; d < D; d++) {
            error[d] += sae->bias[d] - x[r * D + d];
            squared += (double)error[d] * (double)error[d];
        }
        work->squared[r] = squared;
    }
}

double sae_row_penalty(const struct sae_rule *rule, double penalty, double sum, int64_t active)
{
    return rule->variant == SAE_RELU ? penalty * sum : rule->variant == SAE_JUMPRELU ? penalty * (double)active : 0;
}

double sae_row_loss(const struct sae_work *work, const struct sae *sae, int64_t row, double penalty)
{
    double sum = 0;
    for (int b = 0; b < sae_blocks(sae); b++)
        sum += work->sum[row * sae_blocks(sae) + b];
    return work->squared[row] / sae->dim + sae_row_penalty(&sae->rule, penalty, sum, work->active[row]);
}

float sae_jump_gradient(float df, float slope, float cut, const struct sae_rule *rule)
{
    return -cut * (cut * df + slope) / (float)rule->bandwidth;
}

/* Neurons first..end-1: gradient of their thresholds from the rows whose p is in the window; df is not masked yet. */
static void jump_columns(float *restrict gradient, const struct sae_work *work, const struct sae_rule *rule,
                         int64_t rows, int K, int first, int end, float slope)
{
    const float half = (float)(rule->bandwidth / 2);
    for (int64_t r = 0; r < rows; r++)
        for (int k = first; k < end; k++) {
            const float f = work->f[r * K + k];
            const bool inside = f > 0 ? f < work->cut[k] + half : signbit(f) != 0;
            if (inside)
                gradient[k] += sae_jump_gradient(work->df[r * K + k], slope, work->cut[k], rule);
        }
}

/* Neurons first..end-1: df <- f > 0 ? df + slope : 0, its sum down the rows, and firing counts. */
static void mask_columns(float *restrict bias_gradient, int64_t *fired, struct sae_work *work, int64_t rows, int K,
                         int first, int end, float slope)
{
    int32_t count[COLUMNS] = { 0 };
    float total[COLUMNS] = { 0 };
    for (int64_t r = 0; r < rows; r++) {
        const float *restrict f = work->f + r * K + first;
        float *restrict df = work->df + r * K + first;
#pragma omp simd
        for (int k = 0; k < end - first; k++) {
            df[k] = f[k] > 0 ? df[k] + slope : 0;
            count[k] += f[k] > 0;
            total[k] += df[k];
        }
    }
    for (int k = 0; k < end - first; k++) {
        bias_gradient[first + k] += total[k];
        fired[first + k] += count[k];
    }
}

/* Gradient with respect to x^, and its sum down the rows. */
static void output_gradient(float *restrict bias_gradient, struct sae_work *work, int64_t rows, int D, double scale)
{
    float factor = (float)(2 * scale / D);
    for (int64_t r = 0; r < rows; r++)
        for (int d = 0; d < D; d++) {
            work->error[r * D + d] *= factor;
            bias_gradient[d] += work->error[r * D + d];
        }
}

void sae_backward(struct sae *grad, int64_t *fired, struct sae_work *work, const struct sae *sae, int64_t rows,
                  double penalty, double scale, bool add)
{
    int D = sae->dim, K = sae->neurons;
    const bool has_thresholds = sae->rule.variant == SAE_JUMPRELU;
    float keep = add ? 1 : 0, slope = (float)(scale * penalty);
    if (!add) {
        memset(grad->bias, 0, (size_t)D * sizeof(float));
        memset(grad->encoder_bias, 0, (size_t)K * sizeof(float));
        memset(grad->log_threshold, 0, (size_t)K * sizeof(float));
    }
    output_gradient(grad->bias, work, rows, D, scale);
    if (work->half)
        sae_half_backward(grad->decoder, work->df, work->half, work->error, rows, add);
    for (int b = 0; !work->half && b < sae_blocks(sae); b++) {
        const struct span k = sae_block(sae, b);
        const int64_t at = k.first * D;
        blas_sgemm('T', 'N', k.count, D, rows, 1, work->f + k.first, K, work->error, D, keep, grad->decoder + at, D);
        blas_sgemm('N', 'T', rows, k.count, D, 1, work->error, D, sae->decoder + at, D, 0, work->df + k.first, K);
    }
#pragma omp parallel for schedule(static)
    for (int first = 0; first < K; first += COLUMNS) {
        int end = first + COLUMNS < K ? first + COLUMNS : K;
        if (has_thresholds)
            jump_columns(grad->log_threshold, work, &sae->rule, rows, K, first, end, slope);
        mask_columns(grad->encoder_bias, fired, work, rows, K, first, end, has_thresholds ? 0 : slope);
    }
    if (work->half)
        sae_half_encoder_gradient(grad->encoder, work->half, work->df, rows, add);
    for (int b = 0; !work->half && b < sae_blocks(sae); b++) {
        const struct span k = sae_block(sae, b);
        blas_sgemm('T', 'N', k.count, D, rows, 1, work->df + k.first, K, work->centred, D, keep,
                   grad->encoder + k.first * D, D);
    }
}

void sae_finish_gradient(struct sae *grad, float *part, const struct sae *sae)
{
    const int D = sae->dim, K = sae->neurons;
    for (int b = 0; b < sae_blocks(sae); b++) {
        const struct span k = sae_block(sae, b);
        blas_sgemv('T', k.count, D, 1, sae->encoder + k.first * D, D, grad->encoder_bias + k.first, 0, part + b * D);
    }
    if (sae->blocks)
        tree_sum_f32(sae->blocks, part, part, D);
    vec_axpy(grad->bias, -1, part, D);
#pragma omp parallel for schedule(static)
    for (int k = 0; k < K; k++) { /* g <- g - (g . w) w */
        float *g = grad->decoder + (int64_t)k * D;
        const float *w = sae->decoder + (int64_t)k * D;
        vec_axpy(g, -(float)vec_dot(g, w, D), w, D);
    }
}

void sae_normalise(struct sae *sae)
{
#pragma omp parallel for schedule(static)
    for (int k = 0; k < sae->neurons; k++)
        vec_normalise(sae->decoder + (int64_t)k * sae->dim, sae->dim);
}

bool sae_replant(struct sae *sae, int k, const float *x, double encoder_norm)
{
    int D = sae->dim;
    float *encoder = sae->encoder + (int64_t)k * D, *decoder = sae->decoder + (int64_t)k * D;
    double squared = 0;
    for (int d = 0; d < D; d++)
        squared += pow((double)x[d] - (double)sae->bias[d], 2);
    if (!(squared > 0))
        return false;
    for (int d = 0; d < D; d++) {
        double unit = ((double)x[d] - (double)sae->bias[d]) / sqrt(squared);
        decoder[d] = (float)unit;
        encoder[d] = (float)(unit * encoder_norm);
    }
    sae->encoder_bias[k] = 0;
    return true;
}
