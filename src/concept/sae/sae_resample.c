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
static void loss_distribution(struct sae_workspace *s, const struct sae *sae, double penalty)
{
    int64_t n = s->train.set.rows;
    for (int64_t start = 0; start < n; start += s->batch) {
        int64_t rows = n - start < s->batch ? n - start : s->batch, own = 0;
        sae_open_batch(&s->train, NULL, start, rows);
        sae_forward(s, &s->train, sae, penalty, s->row_loss);
        for (int leaf = 0; leaf < tree_leaves(s->tree).count; leaf++)
            own += sae_leaf(&s->train, leaf).count;
        world_allgather_rows(s->world, s->cumulative + start, s->row_loss, own, sizeof(double));
    }
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        s->cumulative[i] = sum += s->cumulative[i] * s->cumulative[i];
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

static double mean_alive_norm(const struct sae_model *m)
{
    double sum = 0;
    int alive = 0, D = m->sae.dim;
    for (int k = 0; k < m->sae.neurons; k++)
        if (m->fired_before[k] > 0) {
            sum += vec_norm(m->sae.encoder + (int64_t)k * D, D);
            alive++;
        }
    return alive > 0 ? sum / alive : 1;
}

/* Short enough that all planted neurons together add at most `resample_scale` of an input: a thousand at
 * once, each as long as a few would be, overshoot every input and the model never recovers. */
static double planted_norm(const struct sae_model *m, double scale, int64_t count)
{
    return scale * fmin(mean_alive_norm(m), 1.0 / (double)count);
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
static void draw_all(struct sae_workspace *s, const struct rng *rng)
{
    const int64_t n = s->train.set.rows;
    for (int64_t i = 0; i < n; i++) {
        const double weight = s->cumulative[i] - (i > 0 ? s->cumulative[i - 1] : 0);
        s->drawn[i].row = i;
        s->drawn[i].key = weight > 0 ? -log1p(-rng_uniform(rng, (uint64_t)i, 1)) / weight : INFINITY;
    }
    qsort(s->drawn, (size_t)n, sizeof *s->drawn, by_key);
}

/* Room above the threshold of a planted neuron on its input; most that the encoder may be longer for it than a unit
 * vector: other inputs see that length too. */
static const double ABOVE = 1.1, LONGEST = 2;

/* Neuron k starts along what the model leaves of input x: there p is the length of that, or just above the threshold
 * where LONGEST allows. False when nothing is left of it, or it points away from x - b. */
static bool plant_at_rest(struct sae *sae, int k, const float *centred, const float *error)
{
    const int D = sae->dim;
    float *decoder = sae->decoder + (int64_t)k * D, *encoder = sae->encoder + (int64_t)k * D;
    const double length = vec_norm(error, D), along = -vec_dot(error, centred, D) / length;
    if (!(length > 0) || !(along > 0))
        return false;
    const double scale = fmin(LONGEST, fmax(1, ABOVE * sae->rule.threshold / along));
    for (int d = 0; d < D; d++) {
        decoder[d] = (float)(-(double)error[d] / length);
        encoder[d] = (float)(scale * (double)decoder[d]);
    }
    sae->encoder_bias[k] = 0;
    return true;
}

/* A few neurons at a time, so that the next ones see what these explain: images may be alike. */
static int plant_family(struct sae_workspace *s, struct sae_model *m, const struct sae_options *options,
                        const struct rng *rng, int64_t count)
{
    const int64_t n = s->train.set.rows, few = (count + SAE_ROUNDS - 1) / SAE_ROUNDS;
    /* As many at any number of ranks, for which the workspace has room. */
    const int64_t most = sae_piece_rows(options, n, 1), piece = few < most ? few : most;
    int planted = 0;
    draw_all(s, rng);
    for (int64_t at = 0; at < count; at += piece) {
        const int64_t some = count - at < piece ? count - at : piece;
        for (int64_t i = 0; i < some; i++)
            s->picked[i] = s->drawn[(at + i) % n].row;
        sae_fetch(s->x, &s->train, s->picked, some);
        sae_encode(&s->work, &m->sae, s->x, some);
        sae_decode(&s->work, &m->sae, s->x, some);
        for (int64_t i = 0; i < some; i++) {
            const int k = (int)s->dead[at + i], D = m->sae.dim;
            if (!plant_at_rest(&m->sae, k, s->work.centred + i * D, s->work.error + i * D))
                continue;
            forget_moments(&m->moment1, k);
            forget_moments(&m->moment2, k);
            planted++;
        }
    }
    return planted;
}

/* ---- relu, jumprelu ---- */

/* New starts for dead[0..count-1], `piece` rows fetched at a time. */
static int plant(struct sae_workspace *s, struct sae_model *m, const struct sae_options *options, const struct rng *rng,
                 int64_t count)
{
    int64_t n = s->train.set.rows, piece = s->work.rows;
    double total = s->cumulative[n - 1];
    const double encoder_norm = planted_norm(m, options->resample_scale, count);
    int planted = 0;
    for (int64_t at = 0; at < count; at += piece) {
        int64_t some = count - at < piece ? count - at : piece;
        for (int64_t i = 0; i < some; i++)
            s->picked[i] = draw_row(s->cumulative, n, rng_uniform(rng, (uint64_t)s->dead[at + i], 0) * total);
        sae_fetch(s->x, &s->train, s->picked, some);
        for (int64_t i = 0; i < some; i++) {
            int k = (int)s->dead[at + i];
            if (!sae_replant(&m->sae, k, s->x + i * m->sae.dim, encoder_norm))
                continue;
            if (m->sae.rule.variant == SAE_JUMPRELU)
                m->sae.log_threshold[k] = (float)log(options->first_threshold);
            forget_moments(&m->moment1, k);
            forget_moments(&m->moment2, k);
            planted++;
        }
    }
    return planted;
}

int sae_resample(struct sae_workspace *s, struct sae_model *m, const struct sae_options *options)
{
    enum phase before = phase_enter(PHASE_EVALUATE);
    const struct rng rng = { options->seed, RNG_SAE_RESAMPLE, (uint32_t)m->at[SAE_EPOCH] };
    int64_t dead = 0;
    for (int k = 0; k < m->sae.neurons; k++)
        if (m->fired_before[k] == 0)
            s->dead[dead++] = k;
    int planted = 0;
    if (dead > 0) { /* the same on every rank: counts are global */
        loss_distribution(s, &m->sae, options->penalty);
        if (s->cumulative[s->train.set.rows - 1] > 0)
            planted = sae_by_count(&options->rule) ? plant_family(s, m, options, &rng, dead)
                                                   : plant(s, m, options, &rng, dead);
    }
    memset(m->fired_before, 0, (size_t)m->sae.neurons * sizeof(int64_t));
    phase_enter(before);
    return planted;
}
