/* Elastic-net logistic regression by proximal Newton steps on a working set
 * (Friedman, Hastie & Tibshirani, J. Stat. Softw. 2010, with the curvature of a
 * class by itself; strong rule of Tibshirani et al., JRSS B 2012), the path of
 * penalties, and heads of a wanted number of weights. Passes over the rows are
 * in head_sparse_pass.c; everything here is done alike on every rank. */
#include "concept/head_sparse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "concept/head/head_sparse_pass.h"
#include "dist/progress.h"
#include "math/vec.h"

enum { MOST_SWEEPS = 20000, MOST_POINTS = 400 };

struct solver {
    const struct head_rows *rows;
    const struct sparse_spec *spec;
    int classes, dim;
    double lambda;
    double *inverse; /* [D] 1 / standard deviation, 0 for a constant column */
    struct sparse_set set;
    struct sparse_pass *pass;
    struct sparse_weights at, next;
    double *gradient; /* [C x D] of the mean loss, at the solution of the point before */
    double *delta;    /* [C (D + 1)] of the variables of a group */
    double *slope;    /* [C (D + 1)] derivative of the model */
    double curvature; /* factor of the model's curvature */
    struct arena *arena, *scratch;
};

static struct solver *solver_create(const struct head_rows *rows, const struct sparse_spec *spec, struct arena *arena,
                                    struct arena *scratch)
{
    int C = rows->classes, D = rows->dim;
    int64_t all = (int64_t)C * D;
    struct solver *s = arena_array(arena, struct solver, 1);
    *s = (struct solver){ .rows = rows, .spec = spec, .classes = C, .dim = D, .arena = arena, .scratch = scratch };
    s->inverse = arena_array(arena, double, D);
    for (int d = 0; d < D; d++) {
        double variance = rows->gram[(int64_t)d * D + d] / (double)rows->total;
        /* What centring leaves of a constant column is rounding. */
        s->inverse[d] = variance > 1e-12 * rows->mean[d] * rows->mean[d] ? 1 / sqrt(variance) : 0;
    }
    s->set = (struct sparse_set){ .classes = C,
                                  .dim = D,
                                  .together = !rows->multi_label,
                                  .first = arena_array(arena, int, C + 1),
                                  .count = arena_array(arena, int, C),
                                  .column = arena_array(arena, int, all),
                                  .union_of = arena_array(arena, int, D),
                                  .place = arena_array(arena, int, D),
                                  .moment = arena_array(arena, int64_t, C) };
    s->pass = sparse_pass_create(arena, rows, s->inverse);
    s->at = (struct sparse_weights){ arena_array(arena, double, all), arena_array(arena, double, C) };
    s->next = (struct sparse_weights){ arena_array(arena, double, all), arena_array(arena, double, C) };
    s->gradient = arena_array(arena, double, all);
    s->delta = arena_array(arena, double, all + C);
    s->slope = arena_array(arena, double, all + C);
    s->curvature = 1;
    return s;
}

/* ---- the working set ---- */

/* Columns of class c that `wanted` marks, or that have a weight. Returns how many are new. */
static int gather_columns(struct solver *s, int c, const bool *wanted)
{
    int *column = s->set.column + (int64_t)c * s->dim, before = s->set.count[c], count = 0;
    for (int d = 0; d < s->dim; d++)
        if (s->inverse[d] > 0 && (wanted[d] || s->at.w[(int64_t)c * s->dim + d] != 0))
            column[count++] = d;
    s->set.count[c] = count;
    return count - before;
}

/* Weights, and columns whose derivative is at least `bound`. */
static void choose_columns(struct solver *s, double bound)
{
    struct arena_mark mark = arena_mark(s->scratch);
    bool *wanted = arena_array(s->scratch, bool, s->dim);
    for (int c = 0; c < s->classes; c++) {
        for (int d = 0; d < s->dim; d++)
            wanted[d] = fabs(s->gradient[(int64_t)c * s->dim + d]) >= bound;
        gather_columns(s, c, wanted);
    }
    sparse_set_finish(&s->set);
    arena_release(s->scratch, mark);
}

/* Adds columns that break the optimality conditions; returns how many. */
static int add_violators(struct solver *s)
{
    struct arena_mark mark = arena_mark(s->scratch);
    bool *wanted = arena_array(s->scratch, bool, s->dim);
    double bound = s->lambda * s->spec->alpha * (1 + s->spec->tolerance);
    int added = 0;
    for (int c = 0; c < s->classes; c++) {
        const int *column = s->set.column + (int64_t)c * s->dim;
        for (int d = 0; d < s->dim; d++)
            wanted[d] = fabs(s->gradient[(int64_t)c * s->dim + d]) > bound;
        for (int j = 0; j < s->set.count[c]; j++)
            wanted[column[j]] = true;
        added += gather_columns(s, c, wanted);
    }
    sparse_set_finish(&s->set);
    arena_release(s->scratch, mark);
    return added;
}

/* ---- a Newton step ---- */

static double penalty_of(const struct solver *s, double w)
{
    return s->lambda * (s->spec->alpha * fabs(w) + 0.5 * (1 - s->spec->alpha) * w * w);
}

static double penalty(const struct solver *s, const struct sparse_weights *at)
{
    double sum = 0;
    for (int c = 0; c < s->classes; c++)
        for (int j = 0; j < s->set.count[c]; j++)
            sum += penalty_of(s, at->w[(int64_t)c * s->dim + s->set.column[(int64_t)c * s->dim + j]]);
    return sum;
}

/* A variable of the working set by its number: the weight of a column, or an intercept (column -1). */
struct variable {
    int class, column;
};

static struct variable variable(const struct sparse_set *set, int64_t v, int class)
{
    while (v >= set->first[class + 1])
        class ++;
    int64_t j = v - set->first[class];
    return (struct variable){ class, j < set->count[class] ? set->column[(int64_t) class * set->dim + j] : -1 };
}

static double *value_of(const struct solver *s, struct sparse_weights *at, struct variable v)
{
    return v.column < 0 ? &at->b[v.class] : &at->w[(int64_t)v.class * s->dim + v.column];
}

/* Largest violation of the optimality conditions on the working set; derivatives in sum. */
static double violation(struct solver *s, const double *sum)
{
    double worst = 0, l1 = s->lambda * s->spec->alpha, l2 = s->lambda * (1 - s->spec->alpha);
    for (int g = 0; g < s->set.groups; g++) {
        struct span group = sparse_set_group(&s->set, g);
        struct variable v = { g, 0 };
        for (int64_t i = 0; i < group.count; i++) {
            v = variable(&s->set, group.first + i, v.class);
            double at = *value_of(s, &s->at, v), slope = sum[s->set.moment[g] + i] + (v.column < 0 ? 0 : l2 * at);
            worst = fmax(worst, v.column < 0 ? fabs(slope)
                                : at > 0     ? fabs(slope + l1)
                                : at < 0     ? fabs(slope - l1)
                                             : fabs(slope) - l1);
        }
    }
    return worst;
}

static double shrink(double x, double by)
{
    return x > by ? x - by : x < -by ? x + by : 0;
}

/* delta <- minimum of the model of group g by coordinate descent, until no derivative changes by more than `within`;
 * `at` [n] the variables as they are, `l1` [n] and `l2` [n] their penalties. Plain loops: the same on every rank. */
static void descend(struct solver *s, const double *g, const double *gram, int64_t n, const double *at,
                    const double *l1, const double *l2, double within)
{
    double *delta = s->delta, *slope = s->slope, worst = INFINITY;
    memset(delta, 0, (size_t)n * sizeof *delta);
    memcpy(slope, g, (size_t)n * sizeof *slope);
    for (int sweep = 0; sweep < MOST_SWEEPS && worst > within; sweep++) {
        worst = 0;
        for (int64_t j = 0; j < n; j++) {
            double h = s->curvature * gram[j * n + j], was = at[j] + delta[j];
            double change = shrink(h * was - slope[j], l1[j]) / (h + l2[j]) - was;
            if (change == 0)
                continue;
            delta[j] += change;
            vec_daxpy(slope, s->curvature * change, gram + j * n, n);
            worst = fmax(worst, h * fabs(change));
        }
    }
}

/* next <- minimum of the model of group g. Returns how much the model falls. */
static double group_step(struct solver *s, int g, const double *sum, double within)
{
    struct span group = sparse_set_group(&s->set, g);
    struct arena_mark mark = arena_mark(s->scratch);
    int64_t n = group.count;
    const double *slope = sum + s->set.moment[g];
    double *at = arena_array(s->scratch, double, n), *l1 = arena_array(s->scratch, double, n);
    double *l2 = arena_array(s->scratch, double, n), falls = 0;
    struct variable v = { g, 0 };
    for (int64_t i = 0; i < n; i++) {
        v = variable(&s->set, group.first + i, v.class);
        at[i] = *value_of(s, &s->at, v);
        l1[i] = v.column < 0 ? 0 : s->lambda * s->spec->alpha;
        l2[i] = v.column < 0 ? 0 : s->lambda * (1 - s->spec->alpha);
    }
    descend(s, slope, slope + n, n, at, l1, l2, within);
    v.class = g;
    for (int64_t i = 0; i < n; i++) {
        v = variable(&s->set, group.first + i, v.class);
        double d = s->delta[i], to = at[i] + d;
        falls -= d * slope[i] + 0.5 * d * (s->slope[i] - slope[i]);
        falls -= l1[i] * (fabs(to) - fabs(at[i])) + 0.5 * l2[i] * (to * to - at[i] * at[i]);
        *value_of(s, &s->next, v) = to;
    }
    arena_release(s->scratch, mark);
    return falls;
}

static void copy_weights(const struct solver *s, struct sparse_weights *to, const struct sparse_weights *from)
{
    memcpy(to->w, from->w, (size_t)s->classes * (size_t)s->dim * sizeof *to->w);
    memcpy(to->b, from->b, (size_t)s->classes * sizeof *to->b);
}

/* Trusts the model less where the objective fell by less than it promised, more where it kept its word. */
static void adapt(struct solver *s, double kept)
{
    if (kept < 0.5)
        s->curvature *= 1.5;
    else if (kept > 0.8)
        s->curvature = fmax(s->curvature / 2, 1);
}

/* Solves the problem of the working set; *objective out. Returns Newton steps. */
static int solve_set(struct solver *s, double *objective)
{
    struct arena_mark mark = arena_mark(s->scratch);
    double *sum = arena_take_raw(s->scratch, (size_t)s->set.length, sizeof *sum);
    double *sum_next = arena_take_raw(s->scratch, (size_t)s->set.length, sizeof *sum);
    double wanted = s->spec->tolerance * s->lambda * s->spec->alpha, worst, value;
    int steps = 0;
    sparse_pass_newton(sum, s->pass, &s->set, &s->at, s->scratch);
    value = sum[0] + penalty(s, &s->at);
    while ((worst = violation(s, sum)) > wanted && steps < s->spec->max_iter) {
        double promised = 0, got;
        copy_weights(s, &s->next, &s->at);
        for (int g = 0; g < s->set.groups; g++)
            promised += group_step(s, g, sum, fmax(0.03 * worst, 0.1 * wanted));
        sparse_pass_newton(sum_next, s->pass, &s->set, &s->next, s->scratch);
        got = value - (sum_next[0] + penalty(s, &s->next));
        steps++;
        if (promised <= 1e-15 * fabs(value)) /* rounding is all that is left */
            break;
        if (got < 0.1 * promised) {
            s->curvature *= 2;
            continue;
        }
        adapt(s, got / promised);
        copy_weights(s, &s->at, &s->next);
        value -= got;
        double *swap = sum;
        sum = sum_next;
        sum_next = swap;
    }
    *objective = value;
    arena_release(s->scratch, mark);
    return steps;
}

/* The point at s->lambda, from the weights as they are and the columns with a derivative of at least `bound`. */
static struct sparse_point solve_point(struct solver *s, double bound)
{
    struct sparse_point point = { .lambda = s->lambda };
    choose_columns(s, bound);
    do {
        point.steps += solve_set(s, &point.objective);
        sparse_pass_gradient(s->gradient, s->pass, &s->set, &s->at, s->scratch);
    } while (add_violators(s) > 0 && point.steps < s->spec->max_iter);
    for (int64_t i = 0; i < (int64_t)s->classes * s->dim; i++)
        point.nonzeros += s->at.w[i] != 0;
    return point;
}

/* Intercepts alone, and the derivatives there. Returns the smallest penalty without any weight. */
static double start(struct solver *s)
{
    double value, most = 0;
    s->lambda = 1;
    sparse_set_finish(&s->set);
    struct sparse_spec tight = *s->spec;
    tight.tolerance = 1e-10;
    tight.max_iter = 100;
    const struct sparse_spec *given = s->spec;
    s->spec = &tight;
    solve_set(s, &value);
    s->spec = given;
    sparse_pass_gradient(s->gradient, s->pass, &s->set, &s->at, s->scratch);
    for (int64_t i = 0; i < (int64_t)s->classes * s->dim; i++)
        most = fmax(most, fabs(s->gradient[i]));
    return most / s->spec->alpha;
}

/* ---- heads ---- */

/* From standardised weights to those of the inputs as they are. */
static void head_of(struct head *head, const struct solver *s, const double *w)
{
    for (int c = 0; c < s->classes; c++) {
        head->bias[c] = s->at.b[c];
        for (int d = 0; d < s->dim; d++) {
            double weight = w[(int64_t)c * s->dim + d] * s->inverse[d];
            head->weight[(int64_t)c * s->dim + d] = weight;
            head->bias[c] -= weight * s->rows->mean[d];
        }
    }
}

struct size {
    double size;
    int64_t at;
};

static int larger_first(const void *a, const void *b)
{
    const struct size *x = a, *y = b;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* The head with the `keep` largest weights. */
static struct head prune(const struct solver *s, int64_t keep)
{
    int64_t all = (int64_t)s->classes * s->dim;
    struct head head = head_create(s->arena, s->classes, s->dim);
    struct arena_mark mark = arena_mark(s->scratch);
    struct size *sizes = arena_array(s->scratch, struct size, all);
    double *w = arena_array(s->scratch, double, all);
    for (int64_t i = 0; i < all; i++)
        sizes[i] = (struct size){ fabs(s->at.w[i]), i };
    qsort(sizes, (size_t)all, sizeof *sizes, larger_first);
    for (int64_t i = 0; i < keep && i < all; i++)
        w[sizes[i].at] = s->at.w[sizes[i].at];
    head_of(&head, s, w);
    arena_release(s->scratch, mark);
    return head;
}

struct sparse_point head_sparse_fit(struct head *head, const struct head_rows *rows, const struct sparse_spec *spec,
                                    double lambda, struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    struct solver *s = solver_create(rows, spec, scratch, scratch);
    start(s);
    s->lambda = lambda;
    struct sparse_point point = solve_point(s, lambda * spec->alpha);
    head_of(head, s, s->at.w);
    arena_release(scratch, mark);
    return point;
}

struct sparse_path *head_sparse_path(const struct head_rows *rows, const struct sparse_spec *spec, struct arena *arena,
                                     struct arena *scratch)
{
    struct solver *s = solver_create(rows, spec, arena, scratch);
    struct sparse_path *path = arena_array(arena, struct sparse_path, 1);
    path->points = arena_array(arena, struct sparse_point, MOST_POINTS);
    path->level = arena_array(arena, struct head, spec->level_count);
    path->nec = arena_array(arena, double, spec->level_count);
    double most = start(s);
    int level = 0;
    s->lambda = most;
    while (level < spec->level_count && path->count < MOST_POINTS && s->lambda * spec->ratio >= most * spec->least) {
        double before = s->lambda;
        s->lambda *= spec->ratio;
        struct sparse_point point = solve_point(s, spec->alpha * (2 * s->lambda - before));
        path->points[path->count++] = point;
        for (; level < spec->level_count && point.nonzeros >= (int64_t)spec->levels[level] * s->classes; level++) {
            path->level[level] = prune(s, (int64_t)spec->levels[level] * s->classes);
            path->nec[level] = spec->levels[level];
        }
        progress("classify", "sparse path", (double)level, spec->level_count, "level");
    }
    for (int l = level; l < spec->level_count; l++) { /* the path ended before */
        path->level[l] = prune(s, (int64_t)s->classes * s->dim);
        path->nec[l] = path->count > 0 ? (double)path->points[path->count - 1].nonzeros / s->classes : 0;
    }
    return path;
}
