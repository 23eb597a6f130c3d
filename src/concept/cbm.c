/* Logistic regression over ranks: objective and gradient leaf by leaf, and the
 * fit. The search for C is in cbm_search.c, metrics in score.c. */
#include "concept/cbm.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "concept/cbm_scale.h"
#include "concept/head_loss.h"
#include "dist/progress.h"
#include "dist/tree.h"
#include "dist/world.h"
#include "math/blas.h"
#include "math/lbfgs.h"
#include "math/skinny.h"
#include "math/vec.h"

/* Rows multiplied together, which keeps them in cache; leaves formed by the threads between two folds. */
enum { BLOCK = 128, AT_ONCE = 32 };

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

/* sum [C (D + 1) + 1] = gradient, then loss, of rows from..from+count-1 of this rank; z [BLOCK x C]. */
static void leaf_sums(double *sum, const double *weight, const double *mean, const struct head_rows *r, double *z,
                      int64_t from, int64_t count)
{
    int C = r->classes, D = r->dim;
    const double *bias = weight + (int64_t)C * D;
    double *bias_gradient = sum + (int64_t)C * D, *loss = sum + parameters(C, D);
    memset(sum, 0, (size_t)(parameters(C, D) + 1) * sizeof *sum);
    for (int64_t first = from; first < from + count; first += BLOCK) {
        int rows = block_rows(from + count - first);
        skinny_forward(z, r->x + first * D, mean, weight, rows, C, D);
        for (int i = 0; i < rows; i++) {
            double *row = z + (int64_t)i * C;
            for (int c = 0; c < C; c++)
                row[c] += bias[c] + (r->offset ? (double)r->offset[(first + i) * C + c] : 0);
            *loss += head_loss(row, NULL, NULL, r, first + i);
            for (int c = 0; c < C; c++)
                bias_gradient[c] += row[c];
        }
        skinny_backward(sum, z, r->x + first * D, mean, rows, C, D);
    }
}

/* What an evaluation needs, taken once per fit. */
struct problem {
    const struct head_rows *rows;
    const struct head_scale *scale; /* NULL: in the weights themselves, inputs not centred */
    double penalty;                 /* factor of |w|^2 / 2 */
    int threads;
    double *z;                 /* [AT_ONCE x BLOCK x C] */
    double *leaves;            /* [AT_ONCE x (C (D + 1) + 1)] leaves formed at once */
    double *stack;             /* [depth x (C (D + 1) + 1)] */
    double *zeros;             /* [D] */
    double *weight, *gradient; /* [C (D + 1)] of a scaled problem */
};

static struct problem problem_take(const struct head_rows *rows, double c, struct arena *scratch)
{
    int64_t n = parameters(rows->classes, rows->dim);
    int threads = rows->world->threads > 0 ? rows->world->threads : 1;
    return (struct problem){
        .rows = rows,
        .threads = threads,
        .zeros = arena_array(scratch, double, rows->dim),
        .z = arena_take_raw(scratch, (size_t)(AT_ONCE * BLOCK) * (size_t)rows->classes, sizeof(double)),
        .leaves = arena_take_raw(scratch, (size_t)AT_ONCE * (size_t)(n + 1), sizeof(double)),
        .penalty = (!rows->multi_label && rows->classes == 2 ? 2 : 1) / c,
        .stack = arena_take_raw(scratch, (size_t)tree_depth(rows->tree) * (size_t)(n + 1), sizeof(double)),
        .weight = arena_array(scratch, double, n),
        .gradient = arena_array(scratch, double, n)
    };
}

/* Loss and gradient summed over leaves and ranks, then the penalty. */
static double objective(struct problem *p, const double *weight, double *gradient)
{
    const struct head_rows *r = p->rows;
    int64_t n = parameters(r->classes, r->dim), weights = (int64_t)r->classes * r->dim, stride = n + 1;
    const double *mean = p->scale ? p->scale->mean : p->zeros;
    struct span own = tree_leaves(r->tree);
    int leaves = (int)own.count;
    for (int first = 0; first < leaves; first += AT_ONCE) { /* formed by the threads, folded in their order */
        int count = leaves - first < AT_ONCE ? leaves - first : AT_ONCE;
#pragma omp parallel for num_threads(p->threads) schedule(static)
        for (int k = 0; k < count; k++)
            leaf_sums(p->leaves + k * stride, weight, mean, r, p->z + (int64_t)k * BLOCK * r->classes,
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

/* The same in scaled coordinates, for L-BFGS. */
static double scaled_objective(void *data, const double *u, double *gradient, int64_t n)
{
    (void)n;
    struct problem *p = data;
    head_scale_weight(p->weight, u, p->scale);
    double value = objective(p, p->weight, p->gradient);
    head_scale_gradient(gradient, p->gradient, p->scale);
    return value;
}

double head_objective(double *gradient, const struct head *head, const struct head_rows *rows, double c,
                      struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    struct problem problem = problem_take(rows, c, scratch);
    double value = objective(&problem, head->weight, gradient ? gradient : problem.gradient);
    arena_release(scratch, mark);
    return value;
}

/* bias +- <weight, mean> of each class: to centred inputs and back. */
static void shift_bias(struct head *head, const double *mean, double sign)
{
    for (int c = 0; c < head->classes; c++)
        head->bias[c] += sign * vec_ddot(head->weight + (int64_t)c * head->dim, mean, head->dim);
}

int head_fit(struct head *head, const struct head_rows *rows, double c, double tolerance, int max_iter,
             struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    int64_t n = parameters(rows->classes, rows->dim);
    struct problem problem = problem_take(rows, c, scratch);
    problem.scale = head_scale_create(scratch, rows, problem.penalty);
    double *u = arena_array(scratch, double, n);
    shift_bias(head, rows->mean, 1);
    head_scale_start(u, head->weight, problem.scale, rows);
    int iterations = lbfgs_minimise(u, n, scaled_objective, &problem, tolerance, max_iter, NULL);
    head_scale_weight(head->weight, u, problem.scale);
    shift_bias(head, rows->mean, -1);
    arena_release(scratch, mark);
    return iterations;
}
