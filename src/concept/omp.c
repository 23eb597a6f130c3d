/* Batch orthogonal matching pursuit (Rubinstein, Zibulevsky & Elad 2008, "Efficient
 * implementation of the K-SVD algorithm using batch orthogonal matching pursuit").
 * One product gives all correlations; after that a signal never touches its D
 * coordinates until the residual. Centring and stopping as scikit-learn 1.2. */
#include "concept/omp.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "math/blas.h"
#include "math/vec.h"

/* Scratch of one thread. Letters as in the paper: L L' = G_I, alpha = A' r. */
struct pursuit {
    double *L;     /* [S (S + 1) / 2] Cholesky factor of the chosen Gram matrix, rows packed */
    double *y;     /* [S] L y = alpha0_I */
    double *gamma; /* [S] L' gamma = y: the coefficients */
    double *alpha; /* [M] correlation of each atom with the residual; 0 where chosen */
    double *left;  /* [D] residual */
    int64_t exact, dependent;
};

struct omp {
    int atoms, dim, nonzeros, threads;
    bool intercept;
    int64_t rows;          /* most signals of one call */
    double *atom, *mean;   /* [M x D] centred, [M] */
    double *gram;          /* [M x M] */
    double *x, *x_mean;    /* [rows x D] centred, [rows] */
    double *alpha;         /* [rows x M] */
    struct pursuit *slots; /* [threads] */
};

/* out <- in - mean(in) when `centre`; returns the mean taken off. */
static double centre_row(double *out, const float *in, int n, bool centre)
{
    double mean = centre ? vec_sum(in, n) / n : 0;
    for (int i = 0; i < n; i++)
        out[i] = (double)in[i] - mean;
    return mean;
}

struct omp *omp_create(struct arena *arena, const float *atoms, int M, int D, int nonzeros, bool intercept,
                       int64_t rows, int threads)
{
    struct omp *o = arena_array(arena, struct omp, 1);
    *o = (struct omp){ .atoms = M, .dim = D, .nonzeros = nonzeros, .threads = threads, .rows = rows };
    o->intercept = intercept;
    o->atom = arena_array(arena, double, (size_t)M *(size_t)D);
    o->mean = arena_array(arena, double, M);
    o->gram = arena_array(arena, double, (size_t)M *(size_t)M);
    o->x = arena_array(arena, double, rows *D);
    o->x_mean = arena_array(arena, double, rows);
    o->alpha = arena_array(arena, double, rows *M);
    o->slots = arena_array(arena, struct pursuit, threads);
    for (int t = 0; t < threads; t++)
        o->slots[t] = (struct pursuit){ .L = arena_array(arena, double, (size_t)nonzeros *((size_t)nonzeros + 1) / 2),
                                        .y = arena_array(arena, double, nonzeros),
                                        .gamma = arena_array(arena, double, nonzeros),
                                        .alpha = arena_array(arena, double, M),
                                        .left = arena_array(arena, double, D) };
    for (int k = 0; k < M; k++)
        o->mean[k] = centre_row(o->atom + (int64_t)k * D, atoms + (int64_t)k * D, D, intercept);
    blas_dgemm('N', 'T', M, M, D, 1, o->atom, D, o->atom, D, 0, o->gram, M);
    return o;
}

/* Index of the largest |alpha|, the lowest among equals. */
static int strongest(const double *alpha, int M)
{
    enum { LANES = 8 };
    double lane[LANES] = { 0 }, most = 0;
    int k = 0;
    for (; k + LANES <= M; k += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] = fabs(alpha[k + l]) > lane[l] ? fabs(alpha[k + l]) : lane[l];
    for (; k < M; k++)
        lane[0] = fabs(alpha[k]) > lane[0] ? fabs(alpha[k]) : lane[0];
    for (int l = 0; l < LANES; l++)
        most = fmax(most, lane[l]);
    for (k = 0; k < M - 1 && !(fabs(alpha[k]) >= most);)
        k++;
    return k;
}

static double *factor_row(const struct pursuit *p, int row)
{
    return p->L + (int64_t)row * (row + 1) / 2;
}

/* Appends atom k to the factor of the n chosen ones; false when it depends on them. */
static bool extend_factor(const struct omp *o, struct pursuit *p, const int32_t *chosen, int n, int k)
{
    const double *gram = o->gram + (int64_t)k * o->atoms;
    double *row = factor_row(p, n), rest = gram[k];
    for (int j = 0; j < n; j++) { /* L w = G_Ik, row by row */
        const double *lj = factor_row(p, j);
        row[j] = (gram[chosen[j]] - vec_ddot(lj, row, j)) / lj[j];
    }
    rest -= vec_ddot(row, row, n);
    if (n > 0 && rest <= DBL_EPSILON)
        return false;
    row[n] = sqrt(rest);
    return true;
}

/* gamma <- solution of L' gamma = y, for n atoms. */
static void back_substitute(struct pursuit *p, int n)
{
    memcpy(p->gamma, p->y, (size_t)n * sizeof(double));
    for (int j = n - 1; j >= 0; j--) {
        const double *lj = factor_row(p, j);
        p->gamma[j] /= lj[j];
        vec_daxpy(p->gamma, -p->gamma[j], lj, j);
    }
}

/* alpha <- alpha0 - G_I gamma. Four atoms at a time: alpha is read and written once for four rows of the Gram
 * matrix, which come from the second-level cache and set the pace. */
static void correlate(const struct omp *o, struct pursuit *p, const double *restrict alpha0, const int32_t *chosen,
                      int n)
{
    int M = o->atoms, j = 0;
    double *restrict alpha = p->alpha;
    const double *restrict gram = o->gram, *g = p->gamma;
    memcpy(alpha, alpha0, (size_t)M * sizeof(double));
    for (; j + 4 <= n; j += 4) {
        const double *restrict a = gram + (int64_t)chosen[j] * M, *restrict b = gram + (int64_t)chosen[j + 1] * M;
        const double *restrict c = gram + (int64_t)chosen[j + 2] * M, *restrict d = gram + (int64_t)chosen[j + 3] * M;
        double ga = g[j], gb = g[j + 1], gc = g[j + 2], gd = g[j + 3];
#pragma omp simd
        for (int k = 0; k < M; k++)
            alpha[k] -= (ga * a[k] + gb * b[k]) + (gc * c[k] + gd * d[k]);
    }
    for (; j < n; j++)
        vec_daxpy(alpha, -g[j], gram + (int64_t)chosen[j] * M, M);
    for (j = 0; j < n; j++)
        alpha[chosen[j]] = 0;
}

/* Chooses atoms for one signal; returns how many. */
static int pursue(const struct omp *o, struct pursuit *p, int32_t *chosen, const double *alpha0)
{
    int n = 0;
    memcpy(p->alpha, alpha0, (size_t)o->atoms * sizeof(double));
    while (n < o->nonzeros) {
        int k = strongest(p->alpha, o->atoms);
        if (!(p->alpha[k] * p->alpha[k] >= DBL_EPSILON)) {
            p->exact++;
            break;
        }
        if (!extend_factor(o, p, chosen, n, k)) {
            p->dependent++;
            break;
        }
        const double *row = factor_row(p, n);
        p->y[n] = (alpha0[k] - vec_ddot(row, p->y, n)) / row[n];
        chosen[n++] = k;
        back_substitute(p, n);
        if (n < o->nonzeros)
            correlate(o, p, alpha0, chosen, n);
    }
    return n;
}

/* Codes of signal i of the chunk. */
static void solve_one(const struct omp *o, struct pursuit *p, struct omp_codes *codes, int64_t i)
{
    int S = o->nonzeros;
    int32_t *atom = codes->atom + i * S;
    double *value = codes->value + i * S, constant = o->x_mean[i];
    int n = pursue(o, p, atom, o->alpha + i * o->atoms);
    memcpy(p->left, o->x + i * o->dim, (size_t)o->dim * sizeof(double));
    for (int j = 0; j < S; j++) {
        value[j] = j < n ? p->gamma[j] : 0;
        if (j >= n) {
            atom[j] = -1;
            continue;
        }
        constant -= value[j] * o->mean[atom[j]];
        vec_daxpy(p->left, -value[j], o->atom + (int64_t)atom[j] * o->dim, o->dim);
    }
    codes->constant[i] = constant;
    codes->residual[i] = sqrt(vec_ddot(p->left, p->left, o->dim));
}

void omp_solve(struct omp *o, struct omp_codes *codes, const float *x, int64_t rows, struct omp_counts *counts)
{
    for (int64_t i = 0; i < rows; i++)
        o->x_mean[i] = centre_row(o->x + i * o->dim, x + i * o->dim, o->dim, o->intercept);
    blas_dgemm('N', 'T', rows, o->atoms, o->dim, 1, o->x, o->dim, o->atom, o->dim, 0, o->alpha, o->atoms);
#pragma omp parallel for schedule(dynamic, 1) num_threads(o->threads)
    for (int t = 0; t < o->threads; t++)
        for (int64_t i = t; i < rows; i += o->threads)
            solve_one(o, &o->slots[t], codes, i);
    for (int t = 0; t < o->threads; t++) {
        counts->exact += o->slots[t].exact;
        counts->dependent += o->slots[t].dependent;
        o->slots[t].exact = o->slots[t].dependent = 0;
    }
}

void omp_reconstruct(double *out, const int32_t *atom, const double *value, double constant, int S, const float *atoms,
                     int D)
{
    for (int d = 0; d < D; d++)
        out[d] = constant;
    for (int j = 0; j < S && atom[j] >= 0; j++)
        for (int d = 0; d < D; d++)
            out[d] += value[j] * (double)atoms[(int64_t)atom[j] * D + d];
}
