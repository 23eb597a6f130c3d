/* Newton steps of a head: the Hessian over the fixed tree, block by block of
 * two classes, solved by Cholesky on one rank. The descent is in head.c. */
#include "concept/head_newton.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/phase.h"
#include "concept/head.h"
#include "concept/head/head_scale.h"
#include "concept/head_loss.h"
#include "dist/tree.h"
#include "dist/world.h"
#include "math/blas.h"
#include "math/vec.h"

enum { MOST = 768, BLOCK = 64 };
static const double RIDGE = 1e-14; /* of the trace: above rounding */

static int64_t parameters(const struct head_rows *r)
{
    return (int64_t)r->classes * (r->dim + 1);
}

bool head_newton_fits(const struct head_rows *r)
{
    return parameters(r) <= MOST;
}

double head_newton_bytes(double count, double levels)
{
    return count <= MOST ? 8 * count * count * (levels + 1) : 0;
}

/* Buffers for one block of rows. */
struct block {
    double *x;           /* [BLOCK x (D + 1)] centred, then 1 */
    double *scaled;      /* [BLOCK x (D + 1)] times a second derivative */
    double *p, *weights; /* [BLOCK x C] */
    double *z;           /* [C] */
};

/* Rows from..from+count-1 of this rank: inputs, probabilities, weights of the losses. */
static void block_fill(struct block *b, const double *weight, const struct head_rows *r, int64_t from, int count)
{
    int C = r->classes, D = r->dim, W = D + 1;
    const double *bias = weight + (int64_t)C * D;
    for (int i = 0; i < count; i++) {
        double *x = b->x + (int64_t)i * W;
        for (int d = 0; d < D; d++)
            x[d] = (double)r->x[(from + i) * D + d] - r->mean[d];
        x[D] = 1;
        for (int c = 0; c < C; c++)
            b->z[c] = vec_ddot(weight + (int64_t)c * D, x, D) + bias[c] +
                      (r->offset ? (double)r->offset[(from + i) * C + c] : 0);
        head_loss(b->z, b->p + i * C, b->weights + i * C, r, from + i);
    }
}

/* sum [P x P] += Hessian of `count` rows; class by class (D + 1) parameters, blocks on and below the diagonal. */
static void block_add(double *sum, struct block *b, const struct head_rows *r, int count)
{
    int C = r->classes, W = r->dim + 1, P = C * W;
    for (int a = 0; a < C; a++)
        for (int c = r->multi_label ? a : 0; c <= a; c++) {
            for (int i = 0; i < count; i++) {
                const double *p = b->p + i * C;
                double h = b->weights[i * C + a] * p[a] * ((a == c) - (r->multi_label && a == c ? p[a] : p[c]));
                for (int d = 0; d < W; d++)
                    b->scaled[(int64_t)i * W + d] = h * b->x[(int64_t)i * W + d];
            }
            blas_dgemm_alone('T', 'N', W, W, count, 1, b->scaled, W, b->x, W, 1,
                             sum + (int64_t)a * W * P + (int64_t)c * W, P);
        }
}

/* Sum over the leaves of all ranks, into the first rows of the stack. */
static double *hessian(const double *weight, const struct head_rows *r, struct arena *scratch)
{
    int C = r->classes, W = r->dim + 1;
    int64_t P = parameters(r), n = P * P;
    double *stack = arena_take_raw(scratch, (size_t)tree_depth(r->tree) * (size_t)n, sizeof *stack);
    struct block b = { .x = arena_array(scratch, double, BLOCK *W),
                       .scaled = arena_array(scratch, double, BLOCK *W),
                       .p = arena_array(scratch, double, BLOCK *C),
                       .weights = arena_array(scratch, double, BLOCK *C),
                       .z = arena_array(scratch, double, C) };
    struct span own = tree_leaves(r->tree);
    for (int l = 0; l < own.count; l++) {
        double *sum = stack + tree_slot(r->tree, l) * n;
        memset(sum, 0, (size_t)n * sizeof *sum);
        for (int64_t at = 0; at < r->leaf[l].count; at += BLOCK) {
            int64_t left = r->leaf[l].count - at;
            int count = left < BLOCK ? (int)left : BLOCK;
            block_fill(&b, weight, r, r->leaf[l].first - r->mine.first + at, count);
            block_add(sum, &b, r, count);
        }
        tree_fold_f64(r->tree, l, stack, n, n);
    }
    enum phase before = phase_enter(PHASE_COMM);
    tree_sum_nodes_f64(r->tree, stack, stack, n, n);
    phase_enter(before);
    return stack;
}

/* x <- (L L')^-1 x. */
static void solve(double *x, const double *l, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (x[i] - vec_ddot(l + i * n, x, i)) / l[i * n + i];
    for (int64_t i = n; i-- > 0;) {
        x[i] /= l[i * n + i];
        vec_daxpy(x, -x[i], l + i * n, i);
    }
}

/* Penalty on the weights; adding a number to every bias changes nothing of a softmax: the sum of its biases is held. */
static void regularise(double *h, const struct head_rows *r, double penalty)
{
    int C = r->classes, W = r->dim + 1;
    int64_t P = parameters(r);
    double trace = 0;
    for (int64_t i = 0; i < P; i++)
        trace += h[i * P + i];
    for (int64_t i = 0; i < P; i++)
        h[i * P + i] += RIDGE * trace + (i % W < r->dim ? penalty : 0);
    double hold = (double)r->total / C;
    for (int64_t a = 0; a < C && !r->multi_label; a++)
        for (int64_t c = 0; c <= a; c++)
            h[(a * W + r->dim) * P + c * W + r->dim] += hold / C;
}

double head_newton_step(double *step, const double *weight, const double *gradient, const struct head_rows *r,
                        double penalty, struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    int C = r->classes, D = r->dim, W = D + 1;
    int64_t P = parameters(r), weights = (int64_t)C * D;
    double *h = hessian(weight, r, scratch), *x = arena_array(scratch, double, P);
    if (r->world->rank == 0) {
        regularise(h, r, penalty);
        for (int64_t c = 0; c < C; c++) {
            memcpy(x + c * W, gradient + c * D, (size_t)D * sizeof *x);
            x[c * W + D] = gradient[weights + c];
        }
        head_scale_factor(h, (int)P);
        solve(x, h, P);
        for (int64_t c = 0; c < C; c++) {
            memcpy(step + c * D, x + c * W, (size_t)D * sizeof *x);
            step[weights + c] = x[c * W + D];
        }
    }
    world_broadcast(r->world, step, (size_t)P * sizeof *step, 0);
    arena_release(scratch, mark);
    return vec_ddot(gradient, step, P);
}
