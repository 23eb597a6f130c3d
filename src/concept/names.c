/* Offline naming statistics: sums over rows of sparse activations against
 * ground truth, and correlations, lifts and rates read from them. Sums are
 * additive, so the caller forms them in fixed chunks and adds them up a fixed
 * tree; the words are in names_text.c. */
#include <math.h>

#include "concept/names.h"

/* Sums of one split: how many rows; per target n, sum t, sum t^2 over the rows that know it; per neuron the rows it
 * fires on and, per target, sum a, sum a^2, sum a t over the same rows. */
static int64_t block_length(int neurons, int targets)
{
    return 1 + 3 * (int64_t)targets + (int64_t)neurons * (1 + 3 * (int64_t)targets);
}
static int64_t target_at(int j)
{
    return 1 + 3 * (int64_t)j;
}
static int64_t neuron_at(int targets, int k)
{
    return (1 + 3 * (int64_t)targets) * (1 + (int64_t)k);
}

int64_t names_sums_length(int neurons, int targets)
{
    return NAMES_SPLITS * block_length(neurons, targets);
}

void names_add_rows(double *sums, int neurons, const struct names_targets *targets, const struct names_codes *codes,
                    const uint8_t *split, int64_t first)
{
    int J = targets->count;
    for (int64_t i = 0; i < codes->rows; i++) {
        const float *t = targets->value + (first + i) * J;
        double *block = sums + split[first + i] * block_length(neurons, J);
        block[0] += 1;
        for (int j = 0; j < J; j++) {
            if (isnan(t[j]))
                continue;
            double v = (double)t[j] - targets->centre[j], *s = block + target_at(j);
            s[0] += 1, s[1] += v, s[2] += v * v;
        }
        for (int64_t e = codes->indptr[i] - codes->indptr[0]; e < codes->indptr[i + 1] - codes->indptr[0]; e++) {
            double a = (double)codes->value[e], *s = block + neuron_at(J, codes->index[e]);
            *s++ += 1;
            for (int j = 0; j < J; j++, s += 3) {
                if (isnan(t[j]))
                    continue;
                s[0] += a, s[1] += a * a, s[2] += a * ((double)t[j] - targets->centre[j]);
            }
        }
    }
}

/* Sums of neuron k and target j over the splits of `mask`. */
struct pair {
    double n, t, tt, a, aa, at;
};
static struct pair pair_sums(const double *sums, int neurons, int targets, unsigned mask, int k, int j)
{
    struct pair p = { 0 };
    for (int s = 0; s < NAMES_SPLITS; s++) {
        if (!(mask >> s & 1))
            continue;
        const double *block = sums + s * block_length(neurons, targets);
        const double *t = block + target_at(j), *a = block + neuron_at(targets, k) + 1 + 3 * (int64_t)j;
        p.n += t[0], p.t += t[1], p.tt += t[2];
        p.a += a[0], p.aa += a[1], p.at += a[2];
    }
    return p;
}

double names_correlation(const double *sums, int neurons, int targets, unsigned mask, int k, int j)
{
    struct pair p = pair_sums(sums, neurons, targets, mask, k, j);
    if (p.n < 2)
        return NAN;
    double cov = p.at - p.a * p.t / p.n, va = p.aa - p.a * p.a / p.n, vt = p.tt - p.t * p.t / p.n;
    /* What rounding leaves of a constant is not variance. */
    if (va <= 1e-12 * p.aa || vt <= 1e-12 * p.tt)
        return NAN;
    return fmax(-1, fmin(1, cov / sqrt(va * vt)));
}

double names_lift(const double *sums, int neurons, const struct names_targets *targets, unsigned mask, int k, int j)
{
    struct pair p = pair_sums(sums, neurons, targets->count, mask, k, j);
    double c = targets->centre[j], positives = p.t + c * p.n, with = p.at + c * p.a;
    return positives > 0 && p.a > 0 ? with / positives / (p.a / p.n) : NAN;
}

double names_fire_rate(const double *sums, int neurons, int targets, unsigned mask, int k)
{
    double rows = 0, fired = 0;
    for (int s = 0; s < NAMES_SPLITS; s++)
        if (mask >> s & 1) {
            const double *block = sums + s * block_length(neurons, targets);
            rows += block[0];
            fired += block[neuron_at(targets, k)];
        }
    return rows > 0 ? fired / rows : NAN;
}

int names_best_neuron(const double *sums, int neurons, int targets, unsigned mask, int j)
{
    int best = -1;
    double most = -1;
    for (int k = 0; k < neurons; k++) {
        double r = fabs(names_correlation(sums, neurons, targets, mask, k, j));
        if (r > most)
            most = r, best = k;
    }
    return best;
}

int names_best_target(const double *sums, int neurons, int targets, unsigned mask, int k, int first, int count)
{
    int best = -1;
    double most = -1;
    for (int j = first; j < first + count; j++) {
        double r = fabs(names_correlation(sums, neurons, targets, mask, k, j));
        if (r > most)
            most = r, best = j;
    }
    return best;
}
