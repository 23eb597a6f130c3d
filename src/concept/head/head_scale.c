/* The coordinates a head is fitted in: mean and Gram matrix of the training
 * rows, as they are or weighted by their curvature, over the fixed tree; a
 * blocked Cholesky factor and its inverse. */
#include "concept/head/head_scale.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "concept/head.h"
#include "dist/tree.h"
#include "dist/world.h"
#include "math/blas.h"
#include "math/vec.h"

enum { ROWS = 128, COLUMNS = 256, BLOCK = 64, SHARED = 192 }; /* columns from which threads share a product */
static const double RIDGE = 1e-12;                            /* of the trace: above rounding */

/* Rows of this rank as they are, or minus a mean and each counted h times. */
struct weighted {
    const double *mean, *h; /* [D], [mine.count]; or both NULL */
};

/* Rows from..from+count-1 of this rank in double, times the root of their weight; their sum is added to out [D], that
 * of their weights to out[D]. */
static void widen(double *x, double *out, const struct head_rows *r, const struct weighted *w, int64_t from, int count)
{
    int D = r->dim;
    for (int i = 0; i < count; i++) {
        const float *row = r->x + (from + i) * D;
        double *to = x + (int64_t)i * D, h = w->h ? w->h[from + i] : 1, root = w->h ? sqrt(h) : 1;
        for (int d = 0; d < D; d++)
            to[d] = w->h ? root * ((double)row[d] - w->mean[d]) : (double)row[d];
        if (out)
            vec_daxpy(out, root, to, D);
        if (out)
            out[D] += h;
    }
}

/* Rows first..first+count-1 of the sum of x x', up to the diagonal, into gram; with first = 0 the sum of x and of the
 * weights goes into mean [D + 1]. The Gram matrix is formed a few rows at a time, so that the stack of the tree stays
 * small. */
static void sum_rows(double *gram, double *mean, const struct head_rows *r, const struct weighted *w, int first,
                     int count, struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    int64_t width = first + count, n = count * width, stride = n + r->dim + 1;
    double *stack = arena_take_raw(scratch, (size_t)tree_depth(r->tree) * (size_t)stride, sizeof *stack);
    double *x = arena_take_raw(scratch, (size_t)ROWS * (size_t)r->dim, sizeof *x);
    struct span own = tree_leaves(r->tree);
    for (int l = 0; l < own.count; l++) {
        double *sum = stack + tree_slot(r->tree, l) * stride;
        memset(sum, 0, (size_t)stride * sizeof *sum);
        for (int64_t at = 0; at < r->leaf[l].count; at += ROWS) {
            int64_t left = r->leaf[l].count - at;
            int rows = left < ROWS ? (int)left : ROWS;
            widen(x, first == 0 ? sum + n : NULL, r, w, r->leaf[l].first - r->mine.first + at, rows);
            (width < SHARED ? blas_dgemm_alone : blas_dgemm)('T', 'N', count, (int)width, rows, 1, x + first, r->dim, x,
                                                             r->dim, 1, sum, (int)width);
        }
        tree_fold_f64(r->tree, l, stack, stride, stride);
    }
    tree_sum_nodes_f64(r->tree, stack, stack, stride, stride);
    for (int i = 0; i < count; i++)
        memcpy(gram + (int64_t)(first + i) * r->dim, stack + i * width, (size_t)width * sizeof *stack);
    if (first == 0)
        memcpy(mean, stack + n, (size_t)(r->dim + 1) * sizeof *stack);
    arena_release(scratch, mark);
}

/* Gram matrix about the mean of the rows; returns the sum of their weights. */
static double products(double *gram, double *mean, const struct head_rows *r, const struct weighted *w,
                       struct arena *scratch)
{
    int D = r->dim;
    struct arena_mark mark = arena_mark(scratch);
    double *sum = arena_array(scratch, double, D + 1);
    for (int first = 0; first < D; first += COLUMNS)
        sum_rows(gram, sum, r, w, first, D - first < COLUMNS ? D - first : COLUMNS, scratch);
    double total = sum[D];
    for (int d = 0; d < D; d++)
        mean[d] = sum[d] / total;
    for (int64_t d = 0; d < D; d++) {
        vec_daxpy(gram + d * D, -total * mean[d], mean, d + 1);
        for (int64_t e = 0; e < d; e++)
            gram[e * D + d] = gram[d * D + e];
    }
    arena_release(scratch, mark);
    return total;
}

void head_rows_prepare(struct head_rows *r, struct arena *scratch)
{
    products(r->gram, r->mean, r, &(struct weighted){ NULL, NULL }, scratch);
    r->prepared = true;
    r->curved = 0;
}

void head_rows_curve(struct head_rows *r, const double *h, struct arena *scratch)
{
    assert(r->prepared);
    r->curved = products(r->curved_gram, r->curved_mean, r, &(struct weighted){ r->mean, h }, scratch);
    vec_daxpy(r->curved_mean, 1, r->mean, r->dim);
}

/* Cholesky factor of one diagonal block, in place. */
static void factor_block(double *a, int n, int ld)
{
    for (int j = 0; j < n; j++) {
        double *row = a + (int64_t)j * ld;
        for (int k = 0; k <= j; k++) {
            const double *above = a + (int64_t)k * ld;
            double left = row[k] - vec_ddot(row, above, k);
            /* Pivots are above the ridge but for rounding, which the ridge covers. */
            row[k] = k < j ? left / above[k] : sqrt(fmax(left, 1e-300));
        }
    }
}

void head_scale_factor(double *a, int n)
{
    for (int k = 0; k < n; k += BLOCK) {
        int b = n - k < BLOCK ? n - k : BLOCK;
        double *block = a + (int64_t)k * n + k;
        if (k > 0) /* take off what the columns to the left explain */
            (n < SHARED ? blas_dgemm_alone : blas_dgemm)('N', 'T', n - k, b, k, -1, a + (int64_t)k * n, n,
                                                         a + (int64_t)k * n, n, 1, block, n);
        factor_block(block, b, n);
        for (int i = b; i < n - k; i++) {
            double *row = block + (int64_t)i * n;
            for (int j = 0; j < b; j++)
                row[j] = (row[j] - vec_ddot(row, block + (int64_t)j * n, j)) / block[(int64_t)j * n + j];
        }
    }
}

/* out <- inverse of the lower triangle l, by blocks of rows: row block i is L_ii^-1 (I - L_i,<i out_<i). */
static void invert(double *out, const double *l, int n)
{
    memset(out, 0, (size_t)n * (size_t)n * sizeof *out);
    for (int k = 0; k < n; k += BLOCK) {
        int b = n - k < BLOCK ? n - k : BLOCK;
        double *rows = out + (int64_t)k * n;
        if (k > 0)
            (n < SHARED ? blas_dgemm_alone : blas_dgemm)('N', 'N', b, k, k, -1, l + (int64_t)k * n, n, out, n, 0, rows,
                                                         n);
        for (int i = 0; i < b; i++) {
            const double *coef = l + (int64_t)(k + i) * n + k;
            double *row = rows + (int64_t)i * n;
            row[k + i] = 1;
            for (int j = 0; j < i; j++)
                vec_daxpy(row, -coef[j], rows + (int64_t)j * n, k + j + 1);
            for (int d = 0; d <= k + i; d++)
                row[d] /= coef[i];
        }
    }
}

struct head_scale *head_scale_create(struct arena *arena, const struct head_rows *r, double penalty, bool curved)
{
    assert(r->prepared && (!curved || r->curved > 0));
    const double *gram = curved ? r->curved_gram : r->gram, share = curved ? 1 : HEAD_CURVATURE;
    int D = r->dim;
    struct head_scale *s = arena_array(arena, struct head_scale, 1);
    *s = (struct head_scale){ .classes = r->classes,
                              .dim = D,
                              .threads = r->world->threads > 0 ? r->world->threads : 1,
                              .mean = curved ? r->curved_mean : r->mean,
                              .bias = sqrt(curved ? r->curved : HEAD_CURVATURE * (double)r->total) };
    size_t size = (size_t)D * (size_t)D;
    s->inverse = arena_take_raw(arena, size, sizeof(double));
    if (r->world->rank == 0) {
        s->factor = arena_take_raw(arena, size, sizeof(double));
        double trace = 0;
        for (int d = 0; d < D; d++)
            trace += share * gram[(int64_t)d * D + d];
        /* Inputs may fill few directions: the ridge keeps the factor well above rounding. */
        double ridge = fmax(penalty, RIDGE * trace);
        for (size_t i = 0; i < size; i++)
            s->factor[i] = share * gram[i];
        for (int d = 0; d < D; d++)
            s->factor[(int64_t)d * D + d] += ridge;
        head_scale_factor(s->factor, D);
        invert(s->inverse, s->factor, D);
    }
    world_broadcast(r->world, s->inverse, size * sizeof(double), 0);
    return s;
}

/* w = L^-T u. Plain loops: ranks with other product kernels must not drift apart. */
void head_scale_weight(double *w, const double *u, const struct head_scale *s)
{
    int64_t D = s->dim, weights = s->classes * D;
    memset(w, 0, (size_t)weights * sizeof *w);
#pragma omp parallel for num_threads(s->threads) schedule(static, 1)
    for (int64_t first = 0; first < D; first += BLOCK) /* columns of one block: the same order whoever takes it */
        for (int64_t i = first; i < D; i++)
            for (int c = 0; c < s->classes; c++)
                vec_daxpy(w + c * D + first, u[c * D + i], s->inverse + i * D + first,
                          i - first < BLOCK ? i - first + 1 : BLOCK);
    for (int c = 0; c < s->classes; c++)
        w[weights + c] = u[weights + c] / s->bias;
}

void head_scale_gradient(double *gradient_u, const double *gradient_w, const struct head_scale *s)
{
    int64_t D = s->dim, weights = s->classes * D;
#pragma omp parallel for num_threads(s->threads) schedule(static, 16)
    for (int64_t i = 0; i < D; i++)
        for (int c = 0; c < s->classes; c++)
            gradient_u[c * D + i] = vec_ddot(s->inverse + i * D, gradient_w + c * D, i + 1);
    for (int c = 0; c < s->classes; c++)
        gradient_u[weights + c] = gradient_w[weights + c] / s->bias;
}

void head_scale_start(double *u, const double *w, const struct head_scale *s, const struct head_rows *r)
{
    int64_t D = s->dim, weights = s->classes * D;
    memset(u, 0, (size_t)weights * sizeof *u);
    for (int64_t i = 0; i < D && s->factor; i++)
        for (int c = 0; c < s->classes; c++)
            vec_daxpy(u + c * D, w[c * D + i], s->factor + i * D, i + 1);
    for (int c = 0; c < s->classes; c++)
        u[weights + c] = w[weights + c] * s->bias;
    world_broadcast(r->world, u, (size_t)(weights + s->classes) * sizeof *u, 0);
}
