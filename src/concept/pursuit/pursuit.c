/* Sparse codes of many signals: preparing the dictionary, one product for all
 * correlations, then each signal on its own; after that product a signal does
 * not touch its D coordinates until the residual. How atoms are chosen is left
 * to pursuit_search.c, pursuit_positive.c and pursuit_lasso.c. */
#include "concept/pursuit.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "concept/pursuit/pursuit_parts.h"
#include "math/blas.h"
#include "math/vec.h"

/* out <- in - mean(in) when `centre`; returns the mean taken off. */
static double centre_row(double *out, const float *in, int n, bool centre)
{
    double mean = centre ? vec_sum(in, n) / n : 0;
    for (int i = 0; i < n; i++)
        out[i] = (double)in[i] - mean;
    return mean;
}

static void round_all(float *out, const double *in, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)in[i];
}

/* The lasso keeps its coefficients where the search keeps its basis. */
static size_t basis_bytes(const struct pursuit *o)
{
    size_t each = o->spec.single ? sizeof(float) : sizeof(double);
    size_t rows = o->spec.lasso || o->spec.positive ? 1 : (size_t)o->spec.nonzeros;
    return rows * (size_t)o->padded * each;
}

static void take_slots(struct pursuit *o, struct arena *arena)
{
    int S = o->spec.nonzeros;
    o->slots = arena_array(arena, struct pursuit_slot, o->threads);
    for (int t = 0; t < o->threads; t++)
        o->slots[t] = (struct pursuit_slot){ .L = arena_array(arena, double, (size_t)S *((size_t)S + 1) / 2),
                                             .y = arena_array(arena, double, S),
                                             .gamma = arena_array(arena, double, S),
                                             .work = arena_array(arena, double, S),
                                             .alpha = arena_array(arena, double, o->padded),
                                             .basis = arena_take(arena, basis_bytes(o), 1),
                                             .factor = arena_array(arena, double, S),
                                             .kept = arena_array(arena, double, PURSUIT_KEPT * o->padded),
                                             .ahead_row = arena_array(arena, double, PURSUIT_AHEAD *S),
                                             .left = arena_array(arena, double, o->dim) };
}

static void take_single(struct pursuit *o, struct arena *arena)
{
    int64_t M = o->atoms, D = o->dim;
    o->gram32 = arena_array(arena, float, M * o->padded);
    o->atom32 = arena_array(arena, float, M *D);
    o->x32 = arena_array(arena, float, o->rows *D);
    o->alpha32 = arena_array(arena, float, o->rows * o->padded);
    round_all(o->gram32, o->gram, M * o->padded);
    round_all(o->atom32, o->atom, M * D);
}

struct pursuit *pursuit_create(struct arena *arena, const float *atoms, int M, int D, const struct pursuit_spec *spec,
                               int64_t rows, int threads)
{
    struct pursuit *o = arena_array(arena, struct pursuit, 1);
    *o = (struct pursuit){ .atoms = M, .dim = D, .spec = *spec, .threads = threads, .rows = rows };
    if (spec->lasso || spec->positive)
        o->spec.single = false;
    int64_t tile = PURSUIT_TILE_BYTES / (o->spec.single ? 4 : 8);
    o->padded = (M + tile - 1) / tile * tile;
    o->raw = arena_take_raw(arena, (size_t)M * (size_t)D, sizeof(float));
    memcpy(o->raw, atoms, (size_t)M * (size_t)D * sizeof(float));
    o->atom = arena_array(arena, double, (size_t)M *(size_t)D);
    o->mean = arena_array(arena, double, M);
    o->gram = arena_array(arena, double, M * o->padded);
    o->x = arena_array(arena, double, rows *D);
    o->x_mean = arena_array(arena, double, rows);
    o->alpha = arena_array(arena, double, o->spec.single ? 1 : rows * o->padded);
    for (int k = 0; k < M; k++)
        o->mean[k] = centre_row(o->atom + (int64_t)k * D, atoms + (int64_t)k * D, D, spec->intercept);
    blas_dgemm('N', 'T', M, M, D, 1, o->atom, D, o->atom, D, 0, o->gram, o->padded);
    if (o->spec.single)
        take_single(o, arena);
    take_slots(o, arena);
    return o;
}

void pursuit_back_substitute(double *gamma, const struct pursuit_slot *p, const double *y, int n)
{
    memmove(gamma, y, (size_t)n * sizeof(double));
    for (int j = n - 1; j >= 0; j--) {
        const double *lj = pursuit_factor_row(p, j);
        gamma[j] /= lj[j];
        vec_daxpy(gamma, -gamma[j], lj, j);
    }
}

/* left <- left - sum of gamma_j (atom_j - mean_j), from the atoms as given: exact in single precision. Four at a time,
 * as they come from the outer caches. */
static void take_off(double *restrict left, const struct pursuit *o, const int32_t *chosen, const double *gamma, int n)
{
    int D = o->dim, j = 0;
    double shift = 0;
    for (; j + 4 <= n; j += 4) {
        const float *restrict a = o->raw + (int64_t)chosen[j] * D, *restrict b = o->raw + (int64_t)chosen[j + 1] * D;
        const float *restrict c = o->raw + (int64_t)chosen[j + 2] * D, *restrict e =
                                                                           o->raw + (int64_t)chosen[j + 3] * D;
        double ga = gamma[j], gb = gamma[j + 1], gc = gamma[j + 2], ge = gamma[j + 3];
#pragma omp simd
        for (int d = 0; d < D; d++)
            left[d] -= (ga * (double)a[d] + gb * (double)b[d]) + (gc * (double)c[d] + ge * (double)e[d]);
    }
    for (; j < n; j++)
        for (int d = 0; d < D; d++)
            left[d] -= gamma[j] * (double)o->raw[(int64_t)chosen[j] * D + d];
    for (j = 0; j < n; j++)
        shift += gamma[j] * o->mean[chosen[j]];
    for (int d = 0; d < D; d++)
        left[d] += shift;
}

/* <atom - mean, left>, with the sum of left. */
static double against(const struct pursuit *o, int k, const double *left, double sum)
{
    const float *a = o->raw + (int64_t)k * o->dim;
    double dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int d = 0; d < o->dim; d++)
        dot += (double)a[d] * left[d];
    return dot - o->mean[k] * sum;
}

/* One step of iterative refinement in double: the coefficients of what is left, by the factor at hand. */
static void refine(const struct pursuit *o, struct pursuit_slot *p, const int32_t *chosen, int n)
{
    double sum = 0;
    for (int d = 0; d < o->dim; d++)
        sum += p->left[d];
    for (int j = 0; j < n; j++) { /* L y = A_I' left */
        const double *lj = pursuit_factor_row(p, j);
        p->y[j] = (against(o, chosen[j], p->left, sum) - vec_ddot(lj, p->y, j)) / lj[j];
    }
    pursuit_back_substitute(p->work, p, p->y, n);
    for (int j = 0; j < n; j++)
        p->gamma[j] += p->work[j];
    take_off(p->left, o, chosen, p->work, n);
}

static int choose(const struct pursuit *o, struct pursuit_slot *p, int32_t *chosen, int64_t i, double *drop)
{
    const double *x = o->x + i * o->dim;
    double energy = vec_ddot(x, x, o->dim);
    if (o->spec.lasso)
        return pursuit_lasso(o, p, chosen, i, energy);
    if (o->spec.positive)
        return pursuit_positive(o, p, chosen, i, energy);
    return o->spec.single ? pursuit_search_f32(o, p, chosen, i, energy, drop)
                          : pursuit_search_f64(o, p, chosen, i, energy, drop);
}

/* Codes of signal i of the chunk. */
static void solve_one(const struct pursuit *o, struct pursuit_slot *p, struct pursuit_codes *codes, int64_t i)
{
    int S = o->spec.nonzeros;
    int32_t *atom = codes->atom + i * S;
    double *value = codes->value + i * S, constant = o->x_mean[i];
    double *drop = codes->drop ? codes->drop + i * S : NULL;
    int n = choose(o, p, atom, i, drop);
    memcpy(p->left, o->x + i * o->dim, (size_t)o->dim * sizeof(double));
    take_off(p->left, o, atom, p->gamma, n);
    if (o->spec.single)
        refine(o, p, atom, n);
    for (int j = 0; j < S; j++) {
        value[j] = j < n ? p->gamma[j] : 0;
        if (j >= n)
            atom[j] = -1;
        else
            constant -= value[j] * o->mean[atom[j]];
        if (drop && j >= n)
            drop[j] = 0;
    }
    codes->constant[i] = constant;
    codes->residual[i] = sqrt(vec_ddot(p->left, p->left, o->dim));
}

static void add_counts(struct pursuit_counts *to, struct pursuit_counts *from)
{
    to->exact += from->exact;
    to->dependent += from->dependent;
    to->reached += from->reached;
    to->cut += from->cut;
    to->unsettled += from->unsettled;
    *from = (struct pursuit_counts){ 0 };
}

void pursuit_solve(struct pursuit *o, struct pursuit_codes *codes, const float *x, int64_t rows,
                   struct pursuit_counts *counts)
{
    int D = o->dim;
    for (int64_t i = 0; i < rows; i++)
        o->x_mean[i] = centre_row(o->x + i * D, x + i * D, D, o->spec.intercept);
    if (o->spec.single) {
        round_all(o->x32, o->x, rows * D);
        blas_sgemm('N', 'T', rows, o->atoms, D, 1, o->x32, D, o->atom32, D, 0, o->alpha32, o->padded);
    } else {
        blas_dgemm('N', 'T', rows, o->atoms, D, 1, o->x, D, o->atom, D, 0, o->alpha, o->padded);
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads(o->threads)
    for (int t = 0; t < o->threads; t++)
        for (int64_t i = t; i < rows; i += o->threads)
            solve_one(o, &o->slots[t], codes, i);
    for (int t = 0; t < o->threads; t++)
        add_counts(counts, &o->slots[t].counts);
}

void pursuit_reconstruct(double *out, const int32_t *atom, const double *value, double constant, int S,
                         const float *atoms, int D)
{
    for (int d = 0; d < D; d++)
        out[d] = constant;
    for (int j = 0; j < S && atom[j] >= 0; j++)
        for (int d = 0; d < D; d++)
            out[d] += value[j] * (double)atoms[(int64_t)atom[j] * D + d];
}
