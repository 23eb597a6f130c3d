/* First weights other than the published ones: encoder tied to the decoder (Gao
 * et al. 2024), decoder from inputs, bias at the geometric median of the inputs
 * (Bricken et al. 2023). Draws are keyed by neuron; sums go along the fixed tree. */
#include <math.h>
#include <string.h>

#include "base/phase.h"
#include "base/rng.h"
#include "concept/sae/sae_state.h"
#include "math/vec.h"

enum { ROUNDS = 100, DATA_ROWS = 3, DATA_NOISE = 4 }; /* rows of RNG_SAE_INIT beside those of sae_init */

static const double DATA_SHARE = 0.8, SETTLED = 1e-6;

/* sum [D + 1] <- weighted sum of the training rows and of the weights: 1 (mean), or 1 / distance to `from`. */
static void weighted_sum(struct sae_workspace *s, double *sum, double *part, const double *from)
{
    const int D = s->train.dim;
    const int64_t n = s->train.set.rows;
    double *total = sum, *batch = part + (tree_leaves(s->tree).count + 1) * (D + 1);
    memset(total, 0, (size_t)(D + 1) * sizeof *total);
    for (int64_t start = 0; start < n; start += s->batch) {
        sae_open_batch(&s->train, NULL, start, n - start < s->batch ? n - start : s->batch);
        for (int l = 0; l < tree_leaves(s->tree).count; l++) {
            struct span rows = sae_leaf(&s->train, l);
            double *out = part + l * (D + 1);
            memset(out, 0, (size_t)(D + 1) * sizeof *out);
            for (int64_t i = 0; i < rows.count; i++) {
                double squared = 0, weight = 1;
                sae_copy_rows(s->x, &s->train, rows.first + i, 1);
                for (int d = 0; from && d < D; d++)
                    squared += ((double)s->x[d] - from[d]) * ((double)s->x[d] - from[d]);
                if (from) /* a row at the very point pulls it no further */
                    weight = squared > 0 ? 1 / sqrt(squared) : 0;
                for (int d = 0; d < D; d++)
                    out[d] += weight * (double)s->x[d];
                out[D] += weight;
            }
        }
        tree_sum_f64(s->tree, batch, part, D + 1);
        for (int d = 0; d <= D; d++)
            total[d] += batch[d];
    }
}

/* s->median <- the point with the least sum of distances to the training rows (Weiszfeld 1937), from their mean. */
static void median_of_rows(struct sae_workspace *s)
{
    const int D = s->train.dim;
    double *sum = s->row_sums, *at = sum + D + 1, *part = at + D + 1;
    memset(at, 0, (size_t)D * sizeof *at);
    for (int round = 0; round < ROUNDS; round++) {
        double moved = 0, length = 0;
        weighted_sum(s, sum, part, round == 0 ? NULL : at);
        if (!(sum[D] > 0))
            break;
        for (int d = 0; d < D; d++) {
            const double next = sum[d] / sum[D];
            moved += (next - at[d]) * (next - at[d]);
            length += next * next;
            at[d] = next;
        }
        if (round > 0 && moved <= SETTLED * SETTLED * length)
            break;
    }
    for (int d = 0; d < D; d++)
        s->median[d] = (float)at[d];
}

/* Decoder rows from inputs, with some noise: there may be more neurons than inputs, and twins would never part. */
static void data_decoder(struct sae_workspace *s, struct sae *sae, uint64_t seed)
{
    struct rng rng = { seed, RNG_SAE_INIT, 0 };
    const int D = sae->dim;
    const int64_t n = s->train.set.rows, piece = s->work.rows;
    rng_permutation(&rng, DATA_ROWS, s->order, n);
    for (int64_t first = 0; first < sae->neurons; first += piece) {
        int64_t some = sae->neurons - first < piece ? sae->neurons - first : piece;
        for (int64_t i = 0; i < some; i++)
            s->picked[i] = s->order[(first + i) % n];
        sae_fetch(s->x, &s->train, s->picked, some);
        for (int64_t i = 0; i < some; i++) {
            float *row = sae->decoder + (first + i) * D, *x = s->x + i * D;
            for (int d = 0; d < D; d++) {
                x[d] -= sae->bias[d];
                row[d] = (float)rng_normal(&rng, DATA_NOISE, (uint64_t)((first + i) * D + d));
            }
            vec_normalise(row, D);
            if (vec_normalise(x, D) > 0) {
                vec_scale(row, (float)(1 - DATA_SHARE), D);
                vec_axpy(row, (float)DATA_SHARE, x, D);
            }
        }
    }
    sae_normalise(sae);
}

void sae_first_weights(struct sae_trainer *t)
{
    struct sae *sae = &t->model.sae;
    const int64_t matrix = (int64_t)sae->neurons * sae->dim;
    const bool chosen = sae_by_count(&sae->rule);
    enum phase before = phase_enter(PHASE_EVALUATE);
    sae_init(sae, t->options.seed);
    if (t->options.median && isnan(t->space->median[0]))
        median_of_rows(t->space);
    if (t->options.median)
        memcpy(sae->bias, t->space->median, (size_t)sae->dim * sizeof(float));
    if (t->options.start == SAE_START_DATA)
        data_decoder(t->space, sae, t->options.seed);
    if (t->options.start != SAE_START_PUBLISHED) {
        memcpy(sae->encoder, sae->decoder, (size_t)matrix * sizeof(float));
        memset(sae->encoder_bias, 0, (size_t)sae->neurons * sizeof(float));
    }
    /* Directions of inputs are alike: with full weight each of the active neurons would give the whole input. */
    if (t->options.start == SAE_START_DATA)
        vec_scale(sae->encoder, 1.0f / (float)(chosen ? sae->rule.k : (sae->neurons + 1) / 2), matrix);
    for (int k = 0; sae->rule.variant == SAE_JUMPRELU && k < sae->neurons; k++)
        sae->log_threshold[k] = (float)log(t->options.first_threshold);
    phase_enter(before);
}
