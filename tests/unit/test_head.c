/* The head: gradient by finite differences, unknown labels, and the search for C on a validation score made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/rng.h"
#include "concept/head.h"
#include "concept/head/head_scale.h"
#include "concept/head_basis.h"
#include "concept/head_calibrate.h"
#include "concept/head_loss.h"
#include "concept/head_newton.h"
#include "concept/head_sparse.h"
#include "dist/world.h"
#include "math/blas.h"
#include "math/skinny.h"

enum { N = 300, D = 7, C = 4 };
static const struct rng RNG = { .seed = 2, .purpose = RNG_TEST };
static struct world *world;
static struct arena *arena, *scratch;

static struct head_rows *make_rows(int classes, bool multi)
{
    struct head_rows *rows = head_rows_create(arena, world, N, classes, D, multi);
    float *x = arena_array(arena, float, N *D);
    int32_t *label = arena_array(arena, int32_t, N);
    int8_t *labels = arena_array(arena, int8_t, N * C);
    for (int i = 0; i < N; i++) {
        for (int d = 0; d < D; d++)
            x[i * D + d] = (float)rng_normal(&RNG, (uint64_t)i, (uint64_t)d);
        label[i] = (int32_t)rng_below(&RNG, (uint64_t)i, 100, (uint64_t)classes);
        for (int c = 0; c < C; c++)
            labels[i * C + c] = (int8_t)((int)rng_below(&RNG, (uint64_t)i, 200 + (uint64_t)c, 4) - 2);
    }
    rows->x = x;
    rows->label = multi ? NULL : label;
    rows->labels = multi ? labels : NULL;
    head_rows_prepare(rows, arena);
    return rows;
}

static void gradients_are_those_of_the_objective(void **state)
{
    (void)state;
    const int classes[] = { C, 2, C };
    for (int k = 0; k < 3; k++, arena_reset(arena)) {
        struct head_rows *rows = make_rows(classes[k], k == 2);
        struct head head = head_create(arena, classes[k], D);
        int n = classes[k] * (D + 1);
        for (int i = 0; i < n; i++)
            head.weight[i] = rng_normal(&RNG, 9, (uint64_t)i);
        double *gradient = arena_array(arena, double, n);
        head_objective(gradient, &head, rows, 0.7, arena);
        for (int i = 0; i < n; i++) {
            double at = head.weight[i], h = 1e-5;
            head.weight[i] = at + h;
            double up = head_objective(NULL, &head, rows, 0.7, arena);
            head.weight[i] = at - h;
            double down = head_objective(NULL, &head, rows, 0.7, arena);
            head.weight[i] = at;
            if (!(fabs((up - down) / (2 * h) - gradient[i]) <= 1e-5 * fmax(1, fabs(gradient[i]))))
                fail_msg("parameter %d: difference %.9g, gradient %.9g", i, (up - down) / (2 * h), gradient[i]);
        }
    }
}

static void unknown_labels_do_not_count(void **state)
{
    (void)state;
    struct head_rows *rows = make_rows(C, true);
    struct head head = head_create(arena, C, D);
    for (int i = 0; i < C * (D + 1); i++)
        head.weight[i] = rng_normal(&RNG, 9, (uint64_t)i);
    double before = head_objective(NULL, &head, rows, 1, arena), gradient[C * (D + 1)];
    float *x = arena_array(arena, float, N *D);
    int8_t *labels = arena_array(arena, int8_t, N * C);
    memcpy(x, rows->x, N * D * sizeof *x);
    /* A row known for nothing may hold anything. */
    memcpy(labels, rows->labels, N * C);
    memset(labels + 5 * C, -1, C);
    labels[5 * C + 1] = -2;
    rows->labels = labels;
    double without = head_objective(gradient, &head, rows, 1, arena), again[C * (D + 1)];
    assert_true(without < before);
    for (int d = 0; d < D; d++)
        x[5 * D + d] = 1000;
    rows->x = x;
    assert_true(head_objective(again, &head, rows, 1, arena) == without);
    assert_memory_equal(gradient, again, sizeof again);
    arena_reset(arena);
}

/* Sums of concepts keep their lengths and angles in the basis, and weights come back. */
static void the_basis_keeps_what_concepts_can_rebuild(void **state)
{
    (void)state;
    enum { M = 9, DIM = 40 };
    float atoms[M * DIM];
    for (int i = 0; i < M * DIM; i++) /* the last two are copies: they add no direction */
        atoms[i] = (float)rng_normal(&RNG, 50 + (uint64_t)(i / DIM % 7), (uint64_t)(i % DIM));
    struct head_basis *basis = head_basis_create(arena, world, atoms, M, DIM);
    assert_int_equal(basis->width, 8);
    for (int a = 0; a < 8; a++)
        for (int b = 0; b <= a; b++) {
            double dot = 0;
            for (int d = 0; d < DIM; d++)
                dot += basis->rows[a * DIM + d] * basis->rows[b * DIM + d];
            assert_true(fabs(dot - (a == b)) < 1e-13);
        }
    const int32_t atom[] = { 3, 8, 0, -1, -1 };
    const double value[] = { 1.5, -2, 0.25, 7, 7 };
    double w_in[2 * 8], w[2 * DIM];
    float x[8];
    for (int i = 0; i < 2 * 8; i++)
        w_in[i] = rng_normal(&RNG, 70, (uint64_t)i);
    head_basis_rebuild(x, basis, atom, value, 5, 0.3);
    head_basis_weight(w, w_in, basis, 2);
    for (int c = 0; c < 2; c++) {
        double in_basis = 0, in_full = 0, norm_in = 0, norm = 0;
        for (int d = 0; d < 8; d++) {
            in_basis += w_in[c * 8 + d] * (double)x[d];
            norm_in += w_in[c * 8 + d] * w_in[c * 8 + d];
        }
        for (int d = 0; d < DIM; d++) {
            double rebuilt =
                0.3 + 1.5 * (double)atoms[3 * DIM + d] - 2 * (double)atoms[8 * DIM + d] + 0.25 * (double)atoms[d];
            in_full += w[c * DIM + d] * rebuilt;
            norm += w[c * DIM + d] * w[c * DIM + d];
        }
        assert_true(fabs(in_basis - in_full) < 1e-5);
        assert_true(fabs(norm - norm_in) < 1e-12);
    }
    /* Too many concepts to be worth it: the coordinates themselves. */
    struct head_basis *plain = head_basis_create(arena, world, atoms, M, 19);
    assert_null(plain->rows);
    assert_int_equal(plain->width, 19);
    float row[19];
    head_basis_rebuild(row, plain, atom, value, 1, 0.5);
    for (int d = 0; d < 19; d++)
        assert_true(fabs((double)row[d] - (1.5 * (double)atoms[3 * 19 + d] + 0.5)) < 1e-6);
    arena_reset(arena);
}

/* L-BFGS sees the same function in other coordinates: gradient by finite differences, and back to where it started. */
static void scaled_coordinates_are_consistent(void **state)
{
    (void)state;
    enum { P = C * (D + 1) };
    struct head_rows *rows = make_rows(C, false);
    struct head_scale *scale = head_scale_create(arena, rows, 0.3, false);
    double w[P], u[P], back[P], gu[P], gw[P], v[P];
    for (int i = 0; i < P; i++)
        w[i] = rng_normal(&RNG, 80, (uint64_t)i);
    head_scale_start(u, w, scale, rows);
    head_scale_weight(back, u, scale);
    for (int i = 0; i < P; i++)
        assert_true(fabs(back[i] - w[i]) < 1e-12);
    /* <gw, w> of a linear function is <gu, u>. */
    for (int i = 0; i < P; i++)
        gw[i] = rng_normal(&RNG, 81, (uint64_t)i);
    head_scale_gradient(gu, gw, scale);
    double in_w = 0, in_u = 0;
    for (int i = 0; i < P; i++) {
        v[i] = rng_normal(&RNG, 82, (uint64_t)i);
        in_u += gu[i] * v[i];
    }
    head_scale_weight(back, v, scale);
    for (int i = 0; i < P; i++)
        in_w += gw[i] * back[i];
    assert_true(fabs(in_w - in_u) < 1e-10);
    /* inverse (0.1 X'X + penalty I) inverse' = I. */
    for (int a = 0; a < D; a++)
        for (int b = 0; b < D; b++) {
            double sum = 0;
            for (int i = 0; i < D; i++)
                for (int j = 0; j < D; j++)
                    sum += scale->inverse[a * D + i] * (0.1 * rows->gram[i * D + j] + (i == j ? 0.3 : 0)) *
                           scale->inverse[b * D + j];
            assert_true(fabs(sum - (a == b)) < 1e-10);
        }
    arena_reset(arena);
}

/* More columns than one block of the factor. */
static void large_factors_are_inverted(void **state)
{
    (void)state;
    enum { ROWS = 300, DIM = 150 };
    struct head_rows *rows = head_rows_create(arena, world, ROWS, 2, DIM, false);
    float *x = arena_array(arena, float, ROWS *DIM);
    for (int i = 0; i < ROWS * DIM; i++)
        x[i] = (float)rng_normal(&RNG, 90, (uint64_t)i);
    rows->x = x;
    head_rows_prepare(rows, arena);
    struct head_scale *s = head_scale_create(arena, rows, 0.01, false);
    for (int a = 0; a < DIM; a++)
        for (int b = 0; b < DIM; b++) {
            double sum = 0;
            for (int i = 0; i < DIM; i++) /* L is the lower triangle only */
                sum += (i <= a ? s->factor[a * DIM + i] : 0) * s->inverse[i * DIM + b];
            assert_true(fabs(sum - (a == b)) < 1e-10);
        }
    arena_reset(arena);
}

/* Rows that can be separated, next to no penalty: columns of zeros change nothing of the minimum but make the head too
 * large for a Hessian, so that both ways of finishing a fit must meet. Several ways in: from nothing, and from the
 * last. */
static void separable_rows_are_solved_to_the_end(void **state)
{
    (void)state;
    enum { ROWS = 150, DIM = 100, WIDE = 200 };
    for (int multi = 0; multi < 2; multi++) {
        struct head_rows *rows[2];
        for (int wide = 0; wide < 2; wide++) {
            int dim = wide ? WIDE : DIM;
            float *x = arena_array(arena, float, ROWS *dim);
            int32_t *label = arena_array(arena, int32_t, ROWS);
            int8_t *labels = arena_array(arena, int8_t, ROWS * C);
            for (int i = 0; i < ROWS; i++) {
                for (int d = 0; d < DIM; d++)
                    x[i * dim + d] = (float)rng_normal(&RNG, 300 + (uint64_t)i, (uint64_t)d);
                label[i] = (int32_t)rng_below(&RNG, 500, (uint64_t)i, C);
                for (int c = 0; c < C; c++)
                    labels[i * C + c] = (int8_t)((int)rng_below(&RNG, 501 + (uint64_t)c, (uint64_t)i, 3) - 1);
            }
            rows[wide] = head_rows_create(arena, world, ROWS, C, dim, multi);
            rows[wide]->x = x;
            rows[wide]->label = multi ? NULL : label;
            rows[wide]->labels = multi ? labels : NULL;
            head_rows_prepare(rows[wide], arena);
        }
        assert_true(head_newton_fits(rows[0]) && !head_newton_fits(rows[1]));
        struct head head[2] = { head_create(arena, C, DIM), head_create(arena, C, WIDE) };
        for (double c = 1; c < 2e6; c *= 1000) {
            int least = head_fit(&head[0], rows[0], c, 1e-7, 1000, arena);
            int steps = head_fit(&head[1], rows[1], c, 5e-5, 1000, arena);
            double least_value = head_objective(NULL, &head[0], rows[0], c, arena);
            double value = head_objective(NULL, &head[1], rows[1], c, arena);
            if (!(fabs(value - least_value) <= 1e-6 * least_value && least < 1000 && steps < 1000))
                fail_msg("C %g: %.10g after %d steps instead of %.10g after %d", c, value, steps, least_value, least);
        }
    }
    arena_reset(arena);
}

/* A score that depends on C alone, through the norm of the weights. */
struct judge {
    double wanted;
    int calls;
};
static double nearness(void *data, const struct head *head)
{
    struct judge *judge = data;
    double norm = 0;
    for (int i = 0; i < head->classes * head->dim; i++)
        norm += head->weight[i] * head->weight[i];
    judge->calls++;
    return judge->wanted < 0 ? 0.5 : -fabs(sqrt(norm) - judge->wanted);
}

static double norm_at(struct head_rows *rows, double c)
{
    struct head head = head_create(arena, C, D);
    head_fit(&head, rows, c, 1e-9, 10000, arena);
    double norm = 0;
    for (int i = 0; i < C * D; i++)
        norm += head.weight[i] * head.weight[i];
    return sqrt(norm);
}

static void the_search_finds_the_best_c(void **state)
{
    (void)state;
    struct head_rows *rows = make_rows(C, false);
    struct judge judge = { .wanted = norm_at(rows, pow(10, -2.3)) };
    struct head head;
    struct head_search s = head_search(&head, rows, 1e-7, 10000, nearness, &judge, arena, arena);
    assert_true(fabs(log10(s.c) + 2.3) < 0.02); /* the last interval is 2 / 2^8 wide */
    assert_int_equal(judge.calls, s.fits);
    assert_true(s.fits <= 17);
    for (int a = 0; a < s.fits; a++) /* nothing is fitted twice */
        for (int b = 0; b < a; b++)
            assert_true(s.trials[a].log10_c != s.trials[b].log10_c);
    assert_true(fabs(nearness(&judge, &head) - s.score) == 0);
    arena_reset(arena);
}

/* When every C is as good, the first of the grid wins, and each step keeps the left end: 10^5. */
static void ties_go_as_published(void **state)
{
    (void)state;
    struct head_rows *rows = make_rows(C, false);
    struct judge judge = { .wanted = -1 };
    struct head head;
    struct head_search s = head_search(&head, rows, 1e-4, 50, nearness, &judge, arena, arena);
    assert_true(fabs(s.c / 1e5 - 1) < 1e-12);
    assert_int_equal(s.fits, 7 + 2 + 6); /* the grid, both ends, and what lies between them but 10^6 */
    arena_reset(arena);
}

/* The search of a head that should do little: the smallest C on a tie, the best one otherwise. */
static void the_smallest_c_is_kept(void **state)
{
    (void)state;
    struct head_rows *rows = make_rows(C, false);
    struct judge judge = { .wanted = -1 };
    struct head head;
    struct head_search s = head_search_smallest(&head, rows, 1e-4, 50, nearness, &judge, arena, arena);
    assert_true(fabs(s.c / 1e-6 - 1) < 1e-12);
    assert_int_equal(s.fits, 11);
    judge = (struct judge){ .wanted = norm_at(rows, 1e-2) };
    s = head_search_smallest(&head, rows, 1e-7, 10000, nearness, &judge, arena, arena);
    assert_true(fabs(s.c / 1e-2 - 1) < 1e-12);
    assert_true(fabs(nearness(&judge, &head) - s.score) == 0);
    arena_reset(arena);
}

/* The mean loss and its gradient on standardised inputs, by plain loops. */
static double plain_loss(double *gradient, const double *w, const struct head_rows *rows, int classes)
{
    double loss = 0;
    memset(gradient, 0, (size_t)(classes * (D + 1)) * sizeof *gradient);
    for (int i = 0; i < N; i++) {
        double x[D + 1], z[C];
        for (int d = 0; d <= D; d++)
            x[d] = d == D ? 1 : ((double)rows->x[i * D + d] - rows->mean[d]) / sqrt(rows->gram[d * D + d] / N);
        for (int c = 0; c < classes; c++) {
            z[c] = 0;
            for (int d = 0; d <= D; d++)
                z[c] += w[c * (D + 1) + d] * x[d];
        }
        loss += head_loss(z, NULL, NULL, rows, i) / N;
        for (int c = 0; c < classes; c++)
            for (int d = 0; d <= D; d++)
                gradient[c * (D + 1) + d] += z[c] * x[d] / N;
    }
    return loss;
}

/* What the elastic net adds to the loss. */
static double plain_penalty(const double *w, int classes, double alpha, double lambda)
{
    double value = 0;
    for (int c = 0; c < classes; c++)
        for (int d = 0; d < D; d++) {
            const double weight = w[c * (D + 1) + d];
            value += lambda * (alpha * fabs(weight) + 0.5 * (1 - alpha) * weight * weight);
        }
    return value;
}

/* Proximal gradient steps, thousands of them: the same minimum, found the plain way. */
static double plain_minimum(double *w, const struct head_rows *rows, int classes, double alpha, double lambda)
{
    double gradient[C * (D + 1)];
    memset(w, 0, (size_t)(classes * (D + 1)) * sizeof *w);
    for (int step = 0; step < 4000; step++) {
        plain_loss(gradient, w, rows, classes);
        for (int i = 0; i < classes * (D + 1); i++) {
            bool weight = i % (D + 1) < D;
            double to = w[i] - 0.4 * gradient[i], l1 = weight ? 0.4 * lambda * alpha : 0;
            to = to > l1 ? to - l1 : to < -l1 ? to + l1 : 0;
            w[i] = weight ? to / (1 + 0.4 * lambda * (1 - alpha)) : to;
        }
    }
    return plain_loss(gradient, w, rows, classes) + plain_penalty(w, classes, alpha, lambda);
}

static void sparse_heads_are_minima(void **state)
{
    (void)state;
    const int classes[] = { C, 2, C };
    for (int k = 0; k < 3; k++, arena_reset(arena)) {
        struct head_rows *rows = make_rows(classes[k], k == 2);
        if (k == 0)
            rows->class_weight = head_balanced_weights(arena, rows->label, rows->labels, N, C);
        struct sparse_spec spec = { .alpha = 0.8, .tolerance = 1e-8, .max_iter = 100 };
        struct head head = head_create(arena, classes[k], D);
        double w[C * (D + 1)], plain = plain_minimum(w, rows, classes[k], spec.alpha, 0.03);
        struct sparse_point point = head_sparse_fit(&head, rows, &spec, 0.03, scratch);
        if (!(fabs(point.objective - plain) < 1e-9))
            fail_msg("objective %.12g, plain %.12g", point.objective, plain);
        assert_true(point.nonzeros > 0 && point.nonzeros < classes[k] * D);
        for (int i = 0; i < classes[k] * D; i++) {
            double sd = sqrt(rows->gram[i % D * D + i % D] / N), expected = w[i / D * (D + 1) + i % D] / sd;
            if (k != 1 && !(fabs(head.weight[i] - expected) < 1e-5)) /* two rows: common parts are free of the loss */
                fail_msg("case %d, weight %d: %g, plain %g", k, i, head.weight[i], expected);
        }
    }
}

static void paths_reach_their_levels(void **state)
{
    (void)state;
    struct head_rows *rows = make_rows(C, false);
    float *x = arena_array(arena, float, N *D);
    memcpy(x, rows->x, N * D * sizeof *x);
    for (int i = 0; i < N; i++)
        x[i * D + 3] = 0.1f; /* a constant column never gets a weight */
    rows->x = x;
    memset(rows->mean, 0, D * sizeof *rows->mean);
    head_rows_prepare(rows, scratch);
    const int levels[] = { 1, 3, 4, D };
    struct sparse_spec spec = { 0.99, 0.9, 1e-4, 1e-5, 100, levels, 4 };
    struct sparse_path *path = head_sparse_path(rows, &spec, arena, scratch);
    assert_true(path->count > 10 && path->points[0].nonzeros >= 1 && path->points[0].nonzeros <= 2);
    for (int p = 1; p < path->count; p++)
        assert_true(path->points[p].lambda < path->points[p - 1].lambda &&
                    path->points[p].objective < path->points[p - 1].objective);
    for (int l = 0; l < 4; l++) {
        int nonzeros = 0;
        for (int i = 0; i < C * D; i++)
            nonzeros += path->level[l].weight[i] != 0;
        assert_true(fabs(path->nec[l] - (double)nonzeros / C) < 1e-12);
        assert_int_equal(path->nec[l] == levels[l], l < 3); /* the last asks for more than there is */
        for (int c = 0; c < C; c++)
            assert_true(path->level[l].weight[c * D + 3] == 0);
    }
    arena_reset(arena);
}

static void classes_are_balanced(void **state)
{
    (void)state;
    const int32_t label[] = { 0, 0, 0, 1, 0, 1 };
    const double *w = head_balanced_weights(arena, label, NULL, 6, 3);
    assert_true(w[0] == 0.5 && w[1] == 1 && w[2] == 0);
    const int8_t labels[] = { 1, 0, -1, 0, 0, 0, 1, -2, 0, 0 };
    w = head_balanced_weights(arena, NULL, labels, 5, 2);
    assert_true(w[0] == 4.0 / (2 * 2) && w[1] == 4.0 / (2 * 2)); /* 1, -1, 0, 1, 0 */
    assert_true(w[2] == 4.0 / (2 * 4) && w[3] == 0);             /* 0, 0, 0, -2, 0 */
    arena_reset(arena);
}

/* Rows whose labels are drawn from the very probabilities, with logits made three times too large. */
static void temperatures_are_found(void **state)
{
    (void)state;
    enum { ROWS = 4000 };
    float *z = arena_array(arena, float, ROWS *C);
    int32_t *label = arena_array(arena, int32_t, ROWS);
    int8_t *labels = arena_array(arena, int8_t, ROWS * C);
    for (int i = 0; i < ROWS; i++) {
        double sum = 0, at = 0, u = rng_uniform(&RNG, 500, (uint64_t)i);
        for (int c = 0; c < C; c++) {
            double logit = rng_normal(&RNG, 501 + (uint64_t)c, (uint64_t)i);
            z[i * C + c] = (float)(3 * logit);
            sum += exp(logit);
            double p = 1 / (1 + exp(-logit)), draw = rng_uniform(&RNG, 600 + (uint64_t)c, (uint64_t)i);
            labels[i * C + c] = (int8_t)(i % 7 == c ? -1 : draw < p);
        }
        for (label[i] = 0; label[i] < C - 1; label[i]++)
            if ((at += exp((double)z[i * C + label[i]] / 3) / sum) > u)
                break;
    }
    for (int multi = 0; multi < 2; multi++) {
        struct calibrate_rows rows = { ROWS, C, z, multi ? NULL : label, multi ? labels : NULL };
        double t = calibrate_temperature(&rows, scratch);
        struct calibrate_report before, after;
        calibrate_measure(&before, &rows, 1, scratch);
        calibrate_measure(&after, &rows, t, scratch);
        if (!(fabs(t - 3) < 0.3 && after.ece < 0.03 && before.ece > 0.1 && after.loss < before.loss))
            fail_msg("temperature %g, error %g to %g", t, before.ece, after.ece);
        int64_t n = 0;
        for (int b = 0; b < CALIBRATE_BINS; b++) {
            assert_true(after.count[b] == 0 ||
                        (after.confidence[b] > b / 15.0 && after.confidence[b] <= (b + 1) / 15.0 + 1e-12));
            n += after.count[b];
        }
        assert_true(multi ? n > ROWS * (C - 1) : n == ROWS);
    }
    arena_reset(arena);
}

/* Against plain loops, at sizes that leave rests of columns, rows and vectors. */
static void narrow_products_are_plain_sums(void **state)
{
    (void)state;
    const int sizes[][3] = { { 1, 1, 3 }, { 5, 7, 32 }, { 11, 9, 45 }, { 128, 13, 8 }, { 7, 2, 71 } }; /* rows, C, D */
    for (int k = 0; k < 5; k++, arena_reset(arena)) {
        int rows = sizes[k][0], classes = sizes[k][1], dim = sizes[k][2];
        float *x = arena_array(arena, float, rows *dim);
        double *mean = arena_array(arena, double, dim), *w = arena_array(arena, double, classes *dim);
        double *z = arena_array(arena, double, rows *classes), *g = arena_array(arena, double, classes *dim);
        for (int i = 0; i < rows * dim; i++)
            x[i] = (float)rng_normal(&RNG, 900, (uint64_t)i);
        for (int d = 0; d < dim; d++)
            mean[d] = rng_normal(&RNG, 901, (uint64_t)d);
        for (int i = 0; i < classes * dim; i++)
            w[i] = g[i] = rng_normal(&RNG, 902, (uint64_t)i);
        skinny_forward(z, x, mean, w, rows, classes, dim);
        skinny_backward(g, z, x, mean, rows, classes, dim);
        for (int i = 0; i < rows; i++)
            for (int c = 0; c < classes; c++) {
                double sum = 0;
                for (int d = 0; d < dim; d++)
                    sum += ((double)x[i * dim + d] - mean[d]) * w[c * dim + d];
                assert_true(fabs(sum - z[i * classes + c]) < 1e-12);
            }
        for (int c = 0; c < classes; c++)
            for (int d = 0; d < dim; d++) {
                double sum = w[c * dim + d];
                for (int i = 0; i < rows; i++)
                    sum += z[i * classes + c] * ((double)x[i * dim + d] - mean[d]);
                assert_true(fabs(sum - g[c * dim + d]) < 1e-10);
            }
    }
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    log_setup(world->rank, LOG_QUIET);
    blas_start(1);
    arena = arena_create("test", 1 << 20);
    scratch = arena_create("scratch", 1 << 20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_those_of_the_objective),
        cmocka_unit_test(unknown_labels_do_not_count),
        cmocka_unit_test(the_basis_keeps_what_concepts_can_rebuild),
        cmocka_unit_test(scaled_coordinates_are_consistent),
        cmocka_unit_test(large_factors_are_inverted),
        cmocka_unit_test(separable_rows_are_solved_to_the_end),
        cmocka_unit_test(the_search_finds_the_best_c),
        cmocka_unit_test(ties_go_as_published),
        cmocka_unit_test(the_smallest_c_is_kept),
        cmocka_unit_test(sparse_heads_are_minima),
        cmocka_unit_test(paths_reach_their_levels),
        cmocka_unit_test(classes_are_balanced),
        cmocka_unit_test(temperatures_are_found),
        cmocka_unit_test(narrow_products_are_plain_sums),
    };
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
