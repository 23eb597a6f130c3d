/* Logistic regression over ranks: objective and gradient leaf by leaf, and the
 * fit. The search for C is in head_search.c, metrics in score.c. */
#include "concept/head.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/phase.h"
#include "concept/head/head_scale.h"
#include "concept/head_loss.h"
#include "concept/head_newton.h"
#include "dist/tree.h"
#include "dist/world.h"
#include "math/blas.h"
#include "math/lbfgs.h"
#include "math/skinny.h"
#include "math/vec.h"

/* Rows multiplied together, which keeps them in cache; leaves formed by the threads between two folds. */
enum { BLOCK = 128, AT_ONCE = 32 };
/* Coordinates serve where the mean curvature is within NEAR of theirs, and are a start within FAR. */
static const double NEAR = 2, FAR = 4;

static int64_t parameters(int classes, int dim)
{
    return (int64_t)classes * (dim + 1);
}

struct head head_create(struct arena *arena, int classes, int dim)
{
    struct head head = { .classes = classes,
                         .dim = dim,
                         .weight = arena_array(arena, double, parameters(classes, dim)) };
    head.bias = head.weight + (int64_t)classes * dim;
    return head;
}

/* Buffers for one block of rows. */
struct block {
    double *x; /* [BLOCK x D] */
    double *z; /* [BLOCK x C] logits, then derivatives of the loss */
};

static struct block block_take(struct arena *scratch, int classes, int dim)
{
    return (struct block){ .x = arena_take_raw(scratch, (size_t)BLOCK * (size_t)dim, sizeof(double)),
                           .z = arena_take_raw(scratch, (size_t)BLOCK * (size_t)classes, sizeof(double)) };
}

/* z = x weight' + bias for `rows` rows of floats. */
static void block_logits(struct block *b, const double *weight, const float *x, int rows, int classes, int dim)
{
    const double *bias = weight + (int64_t)classes * dim;
    for (int i = 0; i < rows; i++)
        for (int d = 0; d < dim; d++)
            b->x[i * dim + d] = (double)x[i * dim + d];
    blas_dgemm('N', 'T', rows, classes, dim, 1, b->x, dim, weight, dim, 0, b->z, classes);
    for (int i = 0; i < rows; i++)
        for (int c = 0; c < classes; c++)
            b->z[i * classes + c] += bias[c];
}

static int block_rows(int64_t left)
{
    return left < BLOCK ? (int)left : BLOCK;
}

void head_logits(float *logits, const struct head *head, const float *x, int64_t rows, struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    struct block b = block_take(scratch, head->classes, head->dim);
    for (int64_t first = 0; first < rows; first += BLOCK) {
        int count = block_rows(rows - first);
        block_logits(&b, head->weight, x + first * head->dim, count, head->classes, head->dim);
        for (int64_t i = 0; i < (int64_t)count * head->classes; i++)
            logits[first * head->classes + i] = (float)b.z[i];
    }
    arena_release(scratch, mark);
}

/* V: leaves of 64 rows or more, 16 to 1024 of them. */
static int leaf_count(int64_t rows)
{
    int leaves = 16;
    while (leaves < 1024 && rows / (2 * leaves) >= 64)
        leaves *= 2;
    return leaves;
}

struct head_rows *head_rows_create(struct arena *arena, struct world *world, int64_t rows, int classes, int dim,
                                   bool multi_label)
{
    struct head_rows *r = arena_array(arena, struct head_rows, 1);
    *r =
        (struct head_rows){ .world = world, .classes = classes, .dim = dim, .multi_label = multi_label, .total = rows };
    r->mean = arena_array(arena, double, dim);
    r->gram = arena_array(arena, double, (int64_t)dim *dim);
    r->curved_mean = arena_array(arena, double, dim);
    r->curved_gram = arena_array(arena, double, (int64_t)dim *dim);
    int leaves = leaf_count(rows);
    r->tree = tree_create(arena, world, leaves);
    struct span own = tree_leaves(r->tree);
    r->leaf = arena_array(arena, struct span, own.count);
    for (int l = 0; l < own.count; l++) {
        r->leaf[l] = shard_rows(rows, leaves, (int)own.first + l);
        r->mine.first = l == 0 ? r->leaf[l].first : r->mine.first;
        r->mine.count += r->leaf[l].count;
    }
    return r;
}

/* What a row adds to the curvature along a direction: weight p (1 - p), of the class where it is most; of several
 * labels the mean. */
static double row_curvature(const double *p, const double *weight, int C, bool multi_label)
{
    double most = 0, sum = 0;
    for (int c = 0; c < C; c++) {
        double h = weight[c] * p[c] * (1 - p[c]);
        most = fmax(most, h);
        sum += h;
    }
    return multi_label ? sum / C : most;
}

enum { TOTALS = 2 }; /* after the gradient: loss, curvature */

/* sum [C (D + 1) + TOTALS] = gradient, loss and curvature of rows from..from+count-1 of this rank; z [(BLOCK + 2) x C];
 * h [mine.count] curvature of each row, or NULL. */
static void leaf_sums(double *sum, double *h, const double *weight, const double *mean, const struct head_rows *r,
                      double *z, int64_t from, int64_t count)
{
    int C = r->classes, D = r->dim;
    const double *bias = weight + (int64_t)C * D;
    double *bias_gradient = sum + (int64_t)C * D, *loss = sum + parameters(C, D), *curvature = loss + 1;
    double *p = z + (int64_t)BLOCK * C, *weights = p + C;
    memset(sum, 0, (size_t)(parameters(C, D) + TOTALS) * sizeof *sum);
    for (int64_t first = from; first < from + count; first += BLOCK) {
        int rows = block_rows(from + count - first);
        skinny_forward(z, r->x + first * D, mean, weight, rows, C, D);
        for (int i = 0; i < rows; i++) {
            double *row = z + (int64_t)i * C;
            for (int c = 0; c < C; c++)
                row[c] += bias[c] + (r->offset ? (double)r->offset[(first + i) * C + c] : 0);
            *loss += head_loss(row, p, weights, r, first + i);
            double own = row_curvature(p, weights, C, r->multi_label);
            *curvature += own;
            if (h)
                h[first + i] = own;
            for (int c = 0; c < C; c++)
                bias_gradient[c] += row[c];
        }
        skinny_backward(sum, z, r->x + first * D, mean, rows, C, D);
    }
}

/* What an evaluation needs, taken once per fit. */
struct problem {
    const struct head_rows *rows;
    const struct head_scale *scale; /* of L-BFGS */
    const double *mean;             /* [D] taken off the inputs */
    double penalty;                 /* factor of |w|^2 / 2 */
    int threads;
    double tolerance;
    double *origin,
        unit; /* [C (D + 1)] scaled weights at the start of a stretch, and the length of one; 0 = not known */
    bool converged;
    double *z;                 /* [AT_ONCE x (BLOCK + 2) x C] */
    double *leaves;            /* [AT_ONCE x (C (D + 1) + TOTALS)] leaves formed at once */
    double *stack;             /* [depth x (C (D + 1) + TOTALS)] */
    double *weight, *gradient; /* [C (D + 1)] of a scaled problem */
};

static struct problem problem_take(const struct head_rows *rows, double c, struct arena *scratch)
{
    int64_t n = parameters(rows->classes, rows->dim);
    int threads = rows->world->threads > 0 ? rows->world->threads : 1;
    return (struct problem){
        .rows = rows,
        .threads = threads,
        .mean = arena_array(scratch, double, rows->dim),
        .z = arena_take_raw(scratch, (size_t)(AT_ONCE * (BLOCK + 2)) * (size_t)rows->classes, sizeof(double)),
        .leaves = arena_take_raw(scratch, (size_t)AT_ONCE * (size_t)(n + TOTALS), sizeof(double)),
        .penalty = (!rows->multi_label && rows->classes == 2 ? 2 : 1) / c,
        .stack = arena_take_raw(scratch, (size_t)tree_depth(rows->tree) * (size_t)(n + TOTALS), sizeof(double)),
        .weight = arena_array(scratch, double, n),
        .gradient = arena_array(scratch, double, n)
    };
}

/* Loss and gradient summed over leaves and ranks, then the penalty; h [mine.count] as in leaf_sums. */
static double objective(struct problem *p, const double *weight, double *gradient, double *h)
{
    const struct head_rows *r = p->rows;
    int64_t n = parameters(r->classes, r->dim), weights = (int64_t)r->classes * r->dim, stride = n + TOTALS;
    struct span own = tree_leaves(r->tree);
    int leaves = (int)own.count;
    for (int first = 0; first < leaves; first += AT_ONCE) { /* formed by the threads, folded in their order */
        int count = leaves - first < AT_ONCE ? leaves - first : AT_ONCE;
#pragma omp parallel for num_threads(p->threads) schedule(static)
        for (int k = 0; k < count; k++)
            leaf_sums(p->leaves + k * stride, h, weight, p->mean, r, p->z + (int64_t)k * (BLOCK + 2) * r->classes,
                      r->leaf[first + k].first - r->mine.first, r->leaf[first + k].count);
        for (int k = 0; k < count; k++) {
            memcpy(p->stack + tree_slot(r->tree, first + k) * stride, p->leaves + k * stride,
                   (size_t)stride * sizeof *p->stack);
            tree_fold_f64(r->tree, first + k, p->stack, stride, stride);
        }
    }
    enum phase before = phase_enter(PHASE_COMM);
    tree_sum_nodes_f64(r->tree, p->stack, p->stack, stride, stride);
    phase_enter(before);
    memcpy(gradient, p->stack, (size_t)n * sizeof *gradient);
    vec_daxpy(gradient, p->penalty, weight, weights);
    return p->stack[n] + 0.5 * p->penalty * vec_ddot(weight, weight, weights);
}

/* The same in scaled coordinates, for L-BFGS, which first tries a step of length 1: with |gradient| as the unit that is
 * the right one where curvature is 1. Steps are counted from the origin. */
static double scaled_objective(void *data, const double *v, double *gradient, int64_t n)
{
    struct problem *p = data;
    memcpy(gradient, p->origin, (size_t)n * sizeof *gradient);
    vec_daxpy(gradient, p->unit, v, n);
    head_scale_weight(p->weight, gradient, p->scale);
    double value = objective(p, p->weight, p->gradient, NULL);
    head_scale_gradient(gradient, p->gradient, p->scale);
    if (p->unit <= 0)
        p->unit = fmax(sqrt(vec_ddot(gradient, gradient, n)), 1e-300);
    for (int64_t i = 0; i < n; i++)
        gradient[i] *= p->unit;
    return value;
}

double head_objective(double *gradient, const struct head *head, const struct head_rows *rows, double c,
                      struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    struct problem problem = problem_take(rows, c, scratch);
    double value = objective(&problem, head->weight, gradient ? gradient : problem.gradient, NULL);
    arena_release(scratch, mark);
    return value;
}

/* bias +- <weight, mean> of each class: to centred inputs and back. */
static void shift_bias(struct head *head, const double *mean, double sign)
{
    for (int c = 0; c < head->classes; c++)
        head->bias[c] += sign * vec_ddot(head->weight + (int64_t)c * head->dim, mean, head->dim);
}

static double mean_curvature(const struct problem *p)
{
    return p->stack[parameters(p->rows->classes, p->rows->dim) + 1] / (double)p->rows->total;
}

/* In coordinates of unit curvature the minimum is about |gradient|^2 / 2 below. */
static bool near_enough(void *data, const double *gradient, double value, int64_t n)
{
    struct problem *p = data;
    double length = sqrt(vec_ddot(gradient, gradient, n)) / p->unit;
    p->converged = 0.5 * length * length <= p->tolerance * p->tolerance * value;
    return p->converged;
}

/* Mean curvature of a row at the head, and that of each row of this rank in h. One evaluation. */
static double curvature_at(double *h, struct problem *p, struct head *head)
{
    p->mean = p->rows->mean;
    shift_bias(head, p->mean, 1);
    objective(p, head->weight, p->gradient, h);
    shift_bias(head, p->mean, -1);
    return mean_curvature(p);
}

/* One stretch of L-BFGS in the coordinates at hand. Returns iterations; converged: the stopping rule holds there. */
static int stretch(struct head *head, struct problem *p, bool curved, int max_iter, struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    const struct head_rows *r = p->rows;
    int64_t n = parameters(head->classes, head->dim);
    struct head_scale *scale = head_scale_create(scratch, r, p->penalty, curved);
    double *v = arena_array(scratch, double, n);
    p->scale = scale;
    p->mean = scale->mean;
    p->origin = arena_array(scratch, double, n);
    p->unit = 0;
    p->converged = false;
    shift_bias(head, scale->mean, 1);
    head_scale_start(p->origin, head->weight, scale, r);
    int iterations = lbfgs_minimise(v, n, scaled_objective, p,
                                    &(struct lbfgs_stop){ .done = near_enough, .max_iter = max_iter }, NULL, NULL);
    vec_daxpy(p->origin, p->unit, v, n);
    head_scale_weight(head->weight, p->origin, scale);
    shift_bias(head, scale->mean, -1);
    arena_release(scratch, mark);
    return iterations;
}

/* Newton's method with steps halved until they fall. Returns iterations. */
static int newton(struct head *head, struct problem *p, int max_iter, struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    int64_t n = parameters(head->classes, head->dim);
    double *step = arena_array(scratch, double, n), *gradient = arena_array(scratch, double, n);
    p->mean = p->rows->mean;
    shift_bias(head, p->mean, 1);
    double value = objective(p, head->weight, gradient, NULL);
    int iterations = 0;
    for (bool falls = true; iterations < max_iter && falls; iterations++) {
        double promise = head_newton_step(step, head->weight, gradient, p->rows, p->penalty, scratch);
        if (!(0.5 * promise > p->tolerance * p->tolerance * value))
            break;
        falls = false;
        for (double t = 1; t > 1e-9 && !falls; t /= 2) {
            memcpy(p->weight, head->weight, (size_t)n * sizeof *step);
            vec_daxpy(p->weight, -t, step, n);
            double next = objective(p, p->weight, p->gradient, NULL);
            falls = next < value - 1e-4 * t * promise;
            value = falls ? next : value;
        }
        if (falls) {
            memcpy(head->weight, p->weight, (size_t)n * sizeof *step);
            memcpy(gradient, p->gradient, (size_t)n * sizeof *step);
        }
    }
    shift_bias(head, p->mean, -1);
    arena_release(scratch, mark);
    return iterations;
}

static double ratio(double a, double b)
{
    return a > b ? a / b : b / a;
}

/* Iterations after which new coordinates, or a Hessian, cost less than going on: products of all rows take 2 n D^2
 * flops, a Hessian n C^2 D^2, fast ones; an iteration 4 n C D. */
static int patience(const struct head_rows *r)
{
    return 15 + (head_newton_fits(r) ? r->classes * r->dim / 16 : 2 * r->dim / (3 * r->classes));
}

int head_fit(struct head *head, struct head_rows *rows, double c, double tolerance, int max_iter, struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    struct problem problem = problem_take(rows, c, scratch);
    problem.tolerance = tolerance;
    double *h = arena_take_raw(scratch, (size_t)rows->mine.count, sizeof *h), n = (double)rows->total;
    const bool small = head_newton_fits(rows);
    int iterations = 0, stretches = 0, took = 0;
    while (iterations < max_iter) {
        /* The coordinates whose curvature is nearest to what it is here. */
        double here = curvature_at(h, &problem, head);
        double plain = ratio(here, HEAD_CURVATURE),
               curved = rows->curved > 0 ? ratio(here, rows->curved / n) : INFINITY;
        bool fresh = stretches > 0 || fmin(plain, curved) > FAR;
        if (stretches > 0 && problem.converged && fmin(plain, curved) <= NEAR)
            break;
        if (stretches > 0 && small && took >= patience(rows)) {
            iterations += newton(head, &problem, max_iter - iterations, scratch);
            break;
        }
        if (fresh) {
            head_rows_curve(rows, h, scratch);
            curved = 1;
        }
        bool use = curved <= plain;
        int left = max_iter - iterations, most = patience(rows);
        took = stretch(head, &problem, use, most < left ? most : left, scratch);
        iterations += took;
        stretches++;
        if (took == 0 && fresh)
            break;
    }
    arena_release(scratch, mark);
    return iterations;
}
