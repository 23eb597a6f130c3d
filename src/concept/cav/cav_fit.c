/* The fits behind concept vectors. All work on inner products alone, n examples
 * at most a few hundred, in double. */
#include "concept/cav_fit.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "concept/svm.h"
#include "math/vec.h"

enum { NEWTON_STEPS = 100, HALVINGS = 30 };

/* The problem, with the picked examples in place. */
struct problem {
    const double *gram;
    int ld, n;
    const int *pick;
    const bool *positive;
};

static int row_of(const struct problem *p, int i)
{
    return p->pick ? p->pick[i] : i;
}

static bool is_positive(const struct problem *p, int i)
{
    return p->positive[row_of(p, i)];
}

/* f <- K coef */
static void decide(double *f, const struct problem *p, const double *coef)
{
    for (int i = 0; i < p->n; i++) {
        const double *k = p->gram + (int64_t)row_of(p, i) * p->ld;
        f[i] = 0;
        for (int j = 0; j < p->n; j++)
            f[i] += coef[j] * k[row_of(p, j)];
    }
}

/* The bias that puts the plane half way between the classes' mean projections. */
static double half_way(const struct problem *p, const double *f)
{
    double sum[2] = { 0 };
    int count[2] = { 0 };
    for (int i = 0; i < p->n; i++) {
        sum[is_positive(p, i)] += f[i];
        count[is_positive(p, i)]++;
    }
    return -0.5 * (sum[0] / count[0] + sum[1] / count[1]);
}

static double fit_mean(double *coef, const struct problem *p, double *f)
{
    int count[2] = { 0 };
    for (int i = 0; i < p->n; i++)
        count[is_positive(p, i)]++;
    for (int i = 0; i < p->n; i++)
        coef[i] = is_positive(p, i) ? 1.0 / count[1] : -1.0 / count[0];
    decide(f, p, coef);
    return half_way(p, f);
}

/* coef holds the filter, and then its pattern: the covariance of the examples with the filter's decision. */
static double fit_pattern(double *coef, const struct problem *p, double *f)
{
    double mean = 0;
    decide(f, p, coef);
    for (int i = 0; i < p->n; i++)
        mean += f[i] / p->n;
    for (int i = 0; i < p->n; i++)
        coef[i] = (f[i] - mean) / p->n;
    decide(f, p, coef);
    return half_way(p, f);
}

/* Lower factor of h [n x n] in place; h is positive definite: a Gram matrix and a positive diagonal. */
static void factor(double *h, int n)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j <= i; j++) {
            double rest = h[(int64_t)i * n + j] - vec_ddot(h + (int64_t)i * n, h + (int64_t)j * n, j);
            h[(int64_t)i * n + j] = i == j ? sqrt(rest) : rest / h[(int64_t)j * n + j];
        }
}

/* x <- solution of L L' x = x */
static void solve(double *x, const double *l, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = (x[i] - vec_ddot(l + (int64_t)i * n, x, i)) / l[(int64_t)i * n + i];
    for (int i = n - 1; i >= 0; i--) {
        x[i] /= l[(int64_t)i * n + i];
        vec_daxpy(x, -x[i], l + (int64_t)i * n, i);
    }
}

/* Sum of log losses + |w|^2 / (2 C); f <- K coef. */
static double objective(double *f, const struct problem *p, const double *coef, double bias, double c)
{
    double sum = 0;
    decide(f, p, coef);
    for (int i = 0; i < p->n; i++) {
        double margin = is_positive(p, i) ? f[i] + bias : -f[i] - bias;
        sum += (margin > 0 ? log1p(exp(-margin)) : log1p(exp(margin)) - margin) + coef[i] * f[i] / (2 * c);
    }
    return sum;
}

/* Newton's step: (K + 1 / (C h)) coef + bias = z, sum coef = 0, with h = p (1 - p) and z = f + bias + (t - p) / h. */
static double newton(double *to, const struct problem *p, const double *f, double bias, double c, double *h,
                     double *ones)
{
    int n = p->n;
    double sums[2] = { 0 };
    for (int i = 0; i < n; i++) {
        double decision = f[i] + bias, probability = 1 / (1 + exp(-decision));
        double curve = fmax(probability * (1 - probability), 1e-12);
        const double *k = p->gram + (int64_t)row_of(p, i) * p->ld;
        for (int j = 0; j <= i; j++)
            h[(int64_t)i * n + j] = k[row_of(p, j)];
        h[(int64_t)i * n + i] += 1 / (c * curve);
        to[i] = decision + ((is_positive(p, i) ? 1 : 0) - probability) / curve;
        ones[i] = 1;
    }
    factor(h, n);
    solve(to, h, n);
    solve(ones, h, n);
    for (int i = 0; i < n; i++) {
        sums[0] += to[i];
        sums[1] += ones[i];
    }
    double next = sums[0] / sums[1];
    for (int i = 0; i < n; i++)
        to[i] -= next * ones[i];
    return next;
}

/* parts: [n] f, [n] target, [n] ones, [n] old, [n x n] h */
static double fit_logistic(double *coef, const struct problem *p, double c, double *parts)
{
    int n = p->n;
    double *f = parts, *to = f + n, *ones = to + n, *old = ones + n, *h = old + n, bias = 0, now;
    memset(coef, 0, (size_t)n * sizeof *coef);
    now = objective(f, p, coef, bias, c);
    for (int step = 0; step < NEWTON_STEPS; step++) {
        double target = newton(to, p, f, bias, c, h, ones), from = bias, share = 1, next = now, most = 0;
        memcpy(old, coef, (size_t)n * sizeof *coef);
        for (int halving = 0; halving < HALVINGS; halving++, share *= 0.5) {
            for (int i = 0; i < n; i++)
                coef[i] = old[i] + share * (to[i] - old[i]);
            bias = from + share * (target - from);
            next = objective(f, p, coef, bias, c);
            if (next <= now + 1e-12 * fabs(now))
                break;
        }
        for (int i = 0; i < n; i++)
            most = fmax(most, fabs(coef[i] - old[i]));
        now = next;
        if (most <= 1e-10 * c)
            break;
    }
    return bias;
}

double cav_coefficients(double *coef, enum cav_method method, const double *gram, int ld, const int *pick,
                        const bool *positive, int n, double c, double tolerance, void *work)
{
    struct problem p = { gram, ld, n, pick, positive };
    if (method == CAV_MEAN)
        return fit_mean(coef, &p, work);
    if (method == CAV_LOGISTIC)
        return fit_logistic(coef, &p, c, work);
    double bias = svm_fit(coef, gram, ld, pick, positive, n, c, tolerance, work);
    return method == CAV_PATTERN ? fit_pattern(coef, &p, work) : bias;
}
