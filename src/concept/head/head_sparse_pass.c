/* One pass over the training rows for the sparse head: loss, derivatives and
 * weighted Gram matrices of the columns at work, leaf by leaf along the fixed
 * tree. What is done with them is in head_sparse.c. */
#include "concept/head/head_sparse_pass.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/phase.h"
#include "concept/head_loss.h"
#include "dist/tree.h"
#include "math/blas.h"
#include "math/vec.h"

enum { BLOCK = 128, MOST_TOGETHER = 1200 };
/* Least curvature of a row: a row the model is sure of must not make steps endless. */
static const double LEAST_CURVATURE = 1e-5;

struct sparse_pass {
    const struct head_rows *rows;
    const double *inverse;
    double *x, *own;    /* [BLOCK x D + 1] columns at work, standardised; those of one class, scaled */
    double *wide;       /* [BLOCK x D] all columns as they are; [BLOCK x MOST_TOGETHER] variables of all classes */
    double *z;          /* [BLOCK x C] logits, then derivatives */
    double *p, *weight; /* [BLOCK x C] probabilities and weights */
};

struct sparse_pass *sparse_pass_create(struct arena *arena, const struct head_rows *rows, const double *inverse)
{
    struct sparse_pass *p = arena_array(arena, struct sparse_pass, 1);
    size_t wide = (size_t)BLOCK * (size_t)(rows->dim + 1), narrow = (size_t)BLOCK * (size_t)rows->classes;
    size_t widest = (size_t)BLOCK * (size_t)(rows->dim > MOST_TOGETHER ? rows->dim : MOST_TOGETHER);
    *p = (struct sparse_pass){ .rows = rows,
                               .inverse = inverse,
                               .x = arena_take_raw(arena, wide, sizeof(double)),
                               .own = arena_take_raw(arena, wide, sizeof(double)),
                               .wide = arena_take_raw(arena, widest, sizeof(double)),
                               .z = arena_take_raw(arena, narrow, sizeof(double)),
                               .p = arena_take_raw(arena, narrow, sizeof(double)),
                               .weight = arena_take_raw(arena, narrow, sizeof(double)) };
    return p;
}

void sparse_set_finish(struct sparse_set *set)
{
    for (int d = 0; d < set->dim; d++)
        set->place[d] = -1;
    for (int c = 0; c < set->classes; c++)
        for (int j = 0; j < set->count[c]; j++)
            set->place[set->column[(int64_t)c * set->dim + j]] = 0;
    set->used = 0;
    for (int d = 0; d < set->dim; d++)
        if (set->place[d] == 0) {
            set->place[d] = set->used;
            set->union_of[set->used++] = d;
        }
    for (int c = 0; c < set->classes; c++)
        set->first[c + 1] = set->first[c] + set->count[c] + 1;
    set->groups = set->together && set->first[set->classes] <= MOST_TOGETHER ? 1 : set->classes;
    set->length = 1;
    for (int g = 0; g < set->groups; g++) {
        int64_t n = sparse_set_group(set, g).count;
        set->moment[g] = set->length;
        set->length += n + n * n;
    }
}

struct span sparse_set_group(const struct sparse_set *set, int g)
{
    int last = set->groups == 1 ? set->classes : g + 1;
    return (struct span){ set->first[g], set->first[last] - set->first[g] };
}

/* Columns at work of `rows` rows, their logits, and from these derivatives and probabilities; returns the loss. */
static double block_forward(struct sparse_pass *p, const struct sparse_set *set, const struct sparse_weights *at,
                            int64_t first, int rows)
{
    const struct head_rows *r = p->rows;
    int C = r->classes, D = r->dim, U = set->used;
    double loss = 0;
    for (int i = 0; i < rows; i++) {
        const float *from = r->x + (first + i) * D;
        double *x = p->x + (int64_t)i * U, *z = p->z + i * C;
        for (int u = 0; u < U; u++) {
            int d = set->union_of[u];
            x[u] = ((double)from[d] - r->mean[d]) * p->inverse[d];
        }
        for (int c = 0; c < C; c++) {
            const int *column = set->column + (int64_t)c * D;
            z[c] = at->b[c] + (r->offset ? (double)r->offset[(first + i) * C + c] : 0);
            for (int j = 0; j < set->count[c]; j++)
                z[c] += x[set->place[column[j]]] * at->w[(int64_t)c * D + column[j]];
        }
        loss += head_loss(z, p->p + i * C, p->weight + i * C, r, first + i);
    }
    return loss;
}

/* Adds to the sums of its group what these rows bring of class c alone: derivatives, and sum of h x x' where h is
 * p (1 - p), or p when the part between classes is taken off later. */
static void class_moments(double *sum, struct sparse_pass *p, const struct sparse_set *set, int c, int rows)
{
    int C = set->classes, U = set->used, n = set->count[c] + 1;
    bool one = set->groups == 1 && set->together;
    int64_t ld = sparse_set_group(set, set->groups == 1 ? 0 : c).count, at = set->groups == 1 ? set->first[c] : 0;
    const int *column = set->column + (int64_t)c * set->dim;
    double *slopes = sum + at, *gram = sum + ld + at * ld + at;
    for (int i = 0; i < rows; i++) {
        const double *x = p->x + (int64_t)i * U;
        double *own = p->own + (int64_t)i * n, *all = p->wide + i * ld + at;
        double slope = p->z[i * C + c], chance = p->p[i * C + c], weight = p->weight[i * C + c];
        double root = sqrt(weight * chance * (one ? 1 : 1 - chance) + LEAST_CURVATURE), between = sqrt(weight) * chance;
        for (int j = 0; j < n; j++) {
            double value = j < n - 1 ? x[set->place[column[j]]] : 1;
            slopes[j] += slope * value;
            own[j] = root * value;
            if (one)
                all[j] = between * value;
        }
    }
    blas_dgemm('T', 'N', n, n, rows, 1, p->own, n, p->own, n, 1, gram, ld);
}

static int block_rows(int64_t left)
{
    return left < BLOCK ? (int)left : BLOCK;
}

/* A leaf's sums; forms what one pass adds up. */
typedef void leaf_sum(double *sum, struct sparse_pass *p, const struct sparse_set *set, const struct sparse_weights *at,
                      int64_t first, int rows);

static void newton_block(double *sum, struct sparse_pass *p, const struct sparse_set *set,
                         const struct sparse_weights *at, int64_t first, int rows)
{
    sum[0] += block_forward(p, set, at, first, rows);
    for (int c = 0; c < set->classes; c++)
        class_moments(sum + set->moment[set->groups == 1 ? 0 : c], p, set, c, rows);
    int64_t n = set->first[set->classes];
    if (set->groups == 1 && set->together) /* classes share a row: - sum of p_c p_d x x' */
        blas_dgemm('T', 'N', n, n, rows, -1, p->wide, n, p->wide, n, 1, sum + set->moment[0] + n, n);
}

/* sum [C x D + C]: derivatives by the inputs as they are, and by the intercepts. */
static void gradient_block(double *sum, struct sparse_pass *p, const struct sparse_set *set,
                           const struct sparse_weights *at, int64_t first, int rows)
{
    const struct head_rows *r = p->rows;
    int C = r->classes, D = r->dim;
    block_forward(p, set, at, first, rows);
    for (int64_t i = 0; i < (int64_t)rows * D; i++)
        p->wide[i] = (double)r->x[first * D + i];
    blas_dgemm('T', 'N', C, D, rows, 1, p->z, C, p->wide, D, 1, sum, D);
    for (int i = 0; i < rows; i++)
        vec_daxpy(sum + (int64_t)C * D, 1, p->z + i * C, C);
}

/* out [n] = mean over all rows of what `form` adds up. */
static void over_rows(double *out, int64_t n, leaf_sum *form, struct sparse_pass *p, const struct sparse_set *set,
                      const struct sparse_weights *at, struct arena *scratch)
{
    const struct head_rows *r = p->rows;
    struct arena_mark mark = arena_mark(scratch);
    double *stack = arena_take_raw(scratch, (size_t)tree_depth(r->tree) * (size_t)n, sizeof *stack);
    struct span own = tree_leaves(r->tree);
    for (int l = 0; l < own.count; l++) {
        double *sum = stack + tree_slot(r->tree, l) * n;
        memset(sum, 0, (size_t)n * sizeof *sum);
        int64_t begin = r->leaf[l].first - r->mine.first;
        for (int64_t i = 0; i < r->leaf[l].count; i += BLOCK)
            form(sum, p, set, at, begin + i, block_rows(r->leaf[l].count - i));
        tree_fold_f64(r->tree, l, stack, n, n);
    }
    enum phase before = phase_enter(PHASE_COMM);
    tree_sum_nodes_f64(r->tree, stack, stack, n, n);
    phase_enter(before);
    for (int64_t i = 0; i < n; i++)
        out[i] = stack[i] / (double)r->total;
    arena_release(scratch, mark);
}

void sparse_pass_newton(double *sum, struct sparse_pass *p, const struct sparse_set *set,
                        const struct sparse_weights *at, struct arena *scratch)
{
    over_rows(sum, set->length, newton_block, p, set, at, scratch);
}

void sparse_pass_gradient(double *gradient, struct sparse_pass *p, const struct sparse_set *set,
                          const struct sparse_weights *at, struct arena *scratch)
{
    int C = p->rows->classes, D = p->rows->dim;
    struct arena_mark mark = arena_mark(scratch);
    double *sum = arena_array(scratch, double, (int64_t)C *(D + 1));
    over_rows(sum, (int64_t)C * (D + 1), gradient_block, p, set, at, scratch);
    for (int c = 0; c < C; c++)
        for (int d = 0; d < D; d++)
            gradient[(int64_t)c * D + d] =
                (sum[(int64_t)c * D + d] - p->rows->mean[d] * sum[(int64_t)C * D + c]) * p->inverse[d];
    arena_release(scratch, mark);
}
