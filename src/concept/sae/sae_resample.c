/* Dead neurons get a new start at inputs the model explains badly (Bricken et
 * al. 2023, "Towards monosemanticity"): inputs drawn in proportion to loss^2,
 * Adam's moments forgotten. relu and jumprelu: decoder along the input, encoder
 * short. topk family: along what the model leaves of the input, and long enough
 * to be active there. Draws are keyed by (seed, epoch, neuron or row), so every
 * rank makes the same choice. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/phase.h"
#include "base/rng.h"
#include "concept/sae/sae_state.h"
#include "dist/world.h"
#include "math/vec.h"

bool sae_resample_due(const struct sae_options *options, int epoch)
{
    /* None in the last fifth: a planted neuron needs time to settle. */
    return options->resample_every > 0 && epoch % options->resample_every == 0 && 5 * epoch <= 4 * options->epochs;
}

/* cumulative [rows] <- running sum of loss^2 over the training rows, on every rank. */
static void loss_distribution(struct sae_trainer *t)
{
    int64_t n = t->train.set.rows;
    for (int64_t start = 0; start < n; start += t->batch) {
        int64_t rows = n - start < t->batch ? n - start : t->batch, own = 0;
        sae_open_batch(&t->train, NULL, start, rows);
        sae_forward(t, &t->train, t->leaf_sums, t->row_loss);
        for (int leaf = 0; leaf < tree_leaves(t->tree).count; leaf++)
            own += sae_leaf(&t->train, leaf).count;
        world_allgather_rows(t->world, t->cumulative + start, t->row_loss, own, sizeof(double));
    }
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        t->cumulative[i] = sum += t->cumulative[i] * t->cumulative[i];
}

/* First row whose running sum exceeds `target`. */
static int64_t draw_row(const double *cumulative, int64_t n, double target)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (cumulative[middle] > target)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static double mean_alive_norm(const struct sae_trainer *t)
{
    double sum = 0;
    int alive = 0, D = t->sae.dim;
    for (int k = 0; k < t->sae.neurons; k++)
        if (t->fired_before[k] > 0) {
            sum += vec_norm(t->sae.encoder + (int64_t)k * D, D);
            alive++;
        }
    return alive > 0 ? sum / alive : 1;
}

/* Short enough that all planted neurons together add at most `resample_scale` of an input: a thousand at
 * once, each as long as a few would be, overshoot every input and the model never recovers. */
static double planted_norm(const struct sae_trainer *t, int64_t count)
{
    return t->options.resample_scale * fmin(mean_alive_norm(t), 1.0 / (double)count);
}

static void forget_moments(struct sae *moment, int k)
{
    size_t row = (size_t)moment->dim * sizeof(float);
    memset(moment->encoder + (int64_t)k * moment->dim, 0, row);
    memset(moment->decoder + (int64_t)k * moment->dim, 0, row);
    moment->encoder_bias[k] = 0;
    moment->log_threshold[k] = 0;
}

/* ---- topk family ---- */

static int by_key(const void *a, const void *b)
{
    const struct drawn *x = a, *y = b;
    return x->key != y->key ? (x->key > y->key) - (x->key < y->key) : (x->row > y->row) - (x->row < y->row);
}

/* order [rows] <- all training rows, drawn one after another without putting back, each in proportion to its loss^2
 * (Efraimidis and Spirakis 2006): by rising -log(u) / weight. */
static void draw_all(struct sae_trainer *t, const struct rng *rng)
{
    const int64_t n = t->train.set.rows;
    for (int64_t i = 0; i < n; i++) {
        const double weight = t->cumulative[i] - (i > 0 ? t->cumulative[i - 1] : 0);
        t->drawn[i].row = i;
        t->drawn[i].key = weight > 0 ? -log1p(-rng_uniform(rng, (uint64_t)i, 1)) / weight : INFINITY;
    }
    qsort(t->drawn, (size_t)n, sizeof *t->drawn, by_key);
}

enum { ROUNDS = 128 };

/* Room above the threshold of a planted neuron on its input; most that the encoder may be longer for it than a unit
 * vector: other inputs see that length too. */
static const double ABOVE = 1.1, LONGEST = 2;

/* Neuron k starts along what the model leaves of input x: there p is the length of that, or just above the threshold
 * where LONGEST allows. False when nothing is left of it, or it points away from x - b. */
static bool plant_at_rest(struct sae_trainer *t, int k, const float *centred, const float *error)
{
    const int D = t->sae.dim;
    float *decoder = t->sae.decoder + (int64_t)k * D, *encoder = t->sae.encoder + (int64_t)k * D;
    const double length = vec_norm(error, D), along = -vec_dot(error, centred, D) / length;
    if (!(length > 0) || !(along > 0))
        return false;
    const double scale = fmin(LONGEST, fmax(1, ABOVE * t->sae.rule.threshold / along));
    for (int d = 0; d < D; d++) {
        decoder[d] = (float)(-(double)error[d] / length);
        encoder[d] = (float)(scale * (double)decoder[d]);
    }
    t->sae.encoder_bias[k] = 0;
    return true;
}

/* A few neurons at a time, so that the next ones see what these explain: images may be alike. */
static int plant_family(struct sae_trainer *t, const struct rng *rng, int64_t count)
{
    const int64_t n = t->train.set.rows, few = (count + ROUNDS - 1) / ROUNDS;
    const int64_t piece = few < t->work.rows ? few : t->work.rows;
    int planted = 0;
    draw_all(t, rng);
    for (int64_t at = 0; at < count; at += piece) {
        const int64_t some = count - at < piece ? count - at : piece;
        for (int64_t i = 0; i < some; i++)
            t->picked[i] = t->drawn[(at + i) % n].row;
        sae_fetch(t->x, &t->train, t->picked, some);
        sae_encode(&t->work, &t->sae, t->x, some);
        sae_decode(&t->work, &t->sae, t->x, some);
        for (int64_t i = 0; i < some; i++) {
            const int k = (int)t->dead[at + i], D = t->sae.dim;
            if (!plant_at_rest(t, k, t->work.centred + i * D, t->work.error + i * D))
                continue;
            forget_moments(&t->moment1, k);
            forget_moments(&t->moment2, k);
            planted++;
        }
    }
    return planted;
}

/* ---- relu, jumprelu ---- */

/* New starts for dead[0..count-1], `piece` rows fetched at a time. */
static int plant(struct sae_trainer *t, const struct rng *rng, int64_t count, double encoder_norm)
{
    int64_t n = t->train.set.rows, piece = t->work.rows;
    double total = t->cumulative[n - 1];
    int planted = 0;
    for (int64_t at = 0; at < count; at += piece) {
        int64_t some = count - at < piece ? count - at : piece;
        for (int64_t i = 0; i < some; i++)
            t->picked[i] = draw_row(t->cumulative, n, rng_uniform(rng, (uint64_t)t->dead[at + i], 0) * total);
        sae_fetch(t->x, &t->train, t->picked, some);
        for (int64_t i = 0; i < some; i++) {
            int k = (int)t->dead[at + i];
            if (!sae_replant(&t->sae, k, t->x + i * t->sae.dim, encoder_norm))
                continue;
            if (t->sae.rule.variant == SAE_JUMPRELU)
                t->sae.log_threshold[k] = (float)log(t->options.first_threshold);
            forget_moments(&t->moment1, k);
            forget_moments(&t->moment2, k);
            planted++;
        }
    }
    return planted;
}

int sae_resample(struct sae_trainer *t)
{
    enum phase before = phase_enter(PHASE_EVALUATE);
    const struct rng rng = { t->options.seed, RNG_SAE_RESAMPLE, (uint32_t)t->at[SAE_EPOCH] };
    int64_t dead = 0;
    for (int k = 0; k < t->sae.neurons; k++)
        if (t->fired_before[k] == 0)
            t->dead[dead++] = k;
    int planted = 0;
    if (dead > 0) { /* the same on every rank: counts are global */
        loss_distribution(t);
        if (t->cumulative[t->train.set.rows - 1] > 0)
            planted = sae_by_count(&t->options.rule) ? plant_family(t, &rng, dead)
                                                     : plant(t, &rng, dead, planted_norm(t, dead));
    }
    memset(t->fired_before, 0, (size_t)t->sae.neurons * sizeof(int64_t));
    phase_enter(before);
    return planted;
}
