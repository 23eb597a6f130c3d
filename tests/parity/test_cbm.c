/* The head beside scikit-learn's LogisticRegression (fixture: scripts/dump_cbm.py): objective within 1e-6 relative and
 * not above theirs, the same predictions, weights within 1e-3 of the largest (their solver also stops when the
 * objective hardly falls; ours only on the gradient, here at 1e-7). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "concept/cbm.h"
#include "concept/head_loss.h"
#include "concept/head_sparse.h"
#include "concept/score.h"
#include "dist/world.h"
#include "math/blas.h"

static struct world *world;
static struct arena *arena, *scratch;

struct sample {
    int rows, dim, classes, noise;
    bool multi;
    double c, value;
};

static int hash(int i, int d)
{
    return (i * 7919 + d * 104729 + i * d * 31) % 1009 - 504;
}

/* All rows on this one rank. */
static struct head_rows *make_rows(const struct sample *s)
{
    struct head_rows *rows = head_rows_create(arena, world, s->rows, s->classes, s->dim, s->multi);
    float *x = arena_array(arena, float, s->rows * s->dim);
    int32_t *label = arena_array(arena, int32_t, s->rows);
    int8_t *labels = arena_array(arena, int8_t, s->rows * s->classes);
    for (int i = 0; i < s->rows; i++) {
        int best = 0;
        for (int d = 0; d < s->dim; d++)
            x[i * s->dim + d] = (float)hash(i, d) / 256;
        for (int c = 0; c < s->classes; c++) {
            int score = s->noise * ((i * 37 + c * 101) % 61 - 30);
            for (int d = 0; d < s->dim; d++)
                score += hash(i, d) * ((c * 17 + d * 5) % 7 - 3);
            if (c == 0 || score > best) {
                best = score;
                label[i] = c;
            }
            int state = (i * 5 + c * 3) % 11;
            labels[i * s->classes + c] = (int8_t)(state > 1 ? score > 0 : -1 - state);
        }
    }
    rows->x = x;
    rows->label = s->multi ? NULL : label;
    rows->labels = s->multi ? labels : NULL;
    return rows;
}

static void compare_weights(FILE *file, const struct sample *s, const struct head *head)
{
    bool pair = !s->multi && s->classes == 2; /* scikit-learn keeps one row: the difference of ours */
    int n = (pair ? 1 : s->classes) * s->dim;
    double worst = 0, most = 0;
    for (int i = 0; i < n && i < 60; i++) {
        double theirs, ours = pair ? head->weight[s->dim + i] - head->weight[i] : head->weight[i];
        assert_int_equal(fscanf(file, "%lf", &theirs), 1);
        worst = fmax(worst, fabs(ours - theirs));
        most = fmax(most, fabs(theirs));
    }
    if (!(worst <= 1e-3 * most))
        fail_msg("%d rows, %d classes: weights differ by %g, largest %g", s->rows, s->classes, worst, most);
}

static void heads_are_those_of_scikit_learn(void **state)
{
    (void)state;
    FILE *file = fopen("tests/parity/fixtures/cbm.txt", "r");
    assert_non_null(file);
    int cases = 0;
    assert_int_equal(fscanf(file, "%d", &cases), 1);
    assert_true(cases >= 8);
    for (int k = 0; k < cases; k++, arena_reset(arena)) {
        char kind[16];
        struct sample s;
        assert_int_equal(
            fscanf(file, "%15s %d %d %d %d %lf %lf", kind, &s.rows, &s.dim, &s.classes, &s.noise, &s.c, &s.value), 7);
        s.multi = strcmp(kind, "multi") == 0;
        struct head_rows *rows = make_rows(&s);
        struct head head = head_create(arena, s.classes, s.dim);
        head_rows_prepare(rows, arena);
        head_fit(&head, rows, s.c, 1e-7, 10000, arena);
        double value = head_objective(NULL, &head, rows, s.c, arena);
        if (!(fabs(value - s.value) <= 1e-6 * s.value && value <= s.value * (1 + 1e-9)))
            fail_msg("%s, %d rows, %d classes, C %g: objective %.12g instead of %.12g", kind, s.rows, s.classes, s.c,
                     value, s.value);
        float *logits = arena_array(arena, float, s.rows *s.classes);
        head_logits(logits, &head, rows->x, s.rows, arena);
        int n = s.multi ? s.rows * s.classes : s.rows;
        int32_t *predicted = arena_array(arena, int32_t, n);
        score_predict(predicted, logits, s.rows, s.classes, s.multi);
        for (int i = 0; i < n; i++) {
            int theirs;
            assert_int_equal(fscanf(file, "%d", &theirs), 1);
            assert_int_equal(predicted[i], theirs);
        }
        compare_weights(file, &s, &head);
    }
    fclose(file);
}

/* The elastic net beside the saga solver: saga stops on the change of weights, so ours may only lie lower; the same
 * weights are zero. */
static void sparse_heads_are_those_of_saga(void **state)
{
    (void)state;
    FILE *file = fopen("tests/parity/fixtures/sparse.txt", "r");
    assert_non_null(file);
    int cases = 0;
    assert_int_equal(fscanf(file, "%d", &cases), 1);
    assert_true(cases >= 7);
    for (int k = 0; k < cases; k++, arena_reset(arena)) {
        char kind[16];
        struct sample s;
        struct sparse_spec spec = { .tolerance = 1e-7, .max_iter = 1000 };
        double lambda;
        int balanced, nonzeros;
        assert_int_equal(fscanf(file, "%15s %d %d %d %d %lf %lf %d %lf %d", kind, &s.rows, &s.dim, &s.classes, &s.noise,
                                &spec.alpha, &lambda, &balanced, &s.value, &nonzeros),
                         10);
        s.multi = strcmp(kind, "multi") == 0;
        struct head_rows *rows = make_rows(&s);
        if (balanced)
            rows->class_weight = head_balanced_weights(arena, rows->label, rows->labels, s.rows, s.classes);
        head_rows_prepare(rows, arena);
        struct head head = head_create(arena, s.classes, s.dim);
        struct sparse_point point = head_sparse_fit(&head, rows, &spec, lambda, arena);
        if (getenv("CFN_TEST_VERBOSE"))
            printf("case %d: %d steps\n", k, point.steps);
        if (!(fabs(point.objective - s.value) <= 1e-6 * s.value && point.objective <= s.value * (1 + 1e-9)))
            fail_msg("case %d: objective %.12g instead of %.12g", k, point.objective, s.value);
        assert_int_equal(point.nonzeros, nonzeros);
        float *logits = arena_array(arena, float, s.rows *s.classes);
        head_logits(logits, &head, rows->x, s.rows, arena);
        int n = s.multi ? s.rows * s.classes : s.rows;
        int32_t *predicted = arena_array(arena, int32_t, n);
        score_predict(predicted, logits, s.rows, s.classes, s.multi);
        for (int i = 0; i < n; i++) {
            int theirs;
            assert_int_equal(fscanf(file, "%d", &theirs), 1);
            assert_int_equal(predicted[i], theirs);
        }
    }
    fclose(file);
}

struct validation {
    const float *x;
    const int32_t *label;
    int rows;
};

static double right_answers(void *data, const struct head *head)
{
    const struct validation *v = data;
    struct arena_mark mark = arena_mark(scratch);
    float *logits = arena_array(scratch, float, v->rows * head->classes);
    int32_t *said = arena_array(scratch, int32_t, v->rows);
    head_logits(logits, head, v->x, v->rows, scratch);
    score_predict(said, logits, v->rows, head->classes, false);
    int right = 0;
    for (int i = 0; i < v->rows; i++)
        right += said[i] == v->label[i];
    arena_release(scratch, mark);
    return right;
}

/* The whole search as published, where each C is fitted up to six times: the same C in the end, and the same right
 * answers at every C up to 10. Beyond, one of the cases is separable rows with next to no penalty: their solver stops
 * on a small change of the objective, far from the minimum, and answers differ. */
static void the_search_chooses_as_published(void **state)
{
    (void)state;
    FILE *file = fopen("tests/parity/fixtures/search.txt", "r");
    assert_non_null(file);
    int cases = 0;
    assert_int_equal(fscanf(file, "%d", &cases), 1);
    assert_true(cases >= 3);
    for (int k = 0; k < cases; k++, arena_reset(arena)) {
        struct sample s = { .multi = false };
        int val, trials;
        double chosen;
        assert_int_equal(
            fscanf(file, "%d %d %d %d %d %lf %d", &s.rows, &val, &s.dim, &s.classes, &s.noise, &chosen, &trials), 7);
        int train = s.rows;
        s.rows += val;
        struct head_rows *all = make_rows(&s), *rows = head_rows_create(arena, world, train, s.classes, s.dim, false);
        rows->x = all->x;
        rows->label = all->label;
        head_rows_prepare(rows, scratch);
        struct validation v = { all->x + train * s.dim, all->label + train, val };
        struct head head;
        struct head_search search = head_search(&head, rows, 3e-5, 1000, right_answers, &v, arena, scratch);
        if (!(fabs(log10(search.c) - chosen) < 1e-9))
            fail_msg("case %d: log10 C %.9g instead of %.9g", k, log10(search.c), chosen);
        assert_in_range(search.fits, trials, trials + 1); /* the C left over may be one that was never an end */
        for (int t = 0; t < trials; t++) {
            double log10_c, right;
            assert_int_equal(fscanf(file, "%lf %lf", &log10_c, &right), 2);
            int found = 0;
            for (int f = 0; f < search.fits; f++)
                if (search.trials[f].log10_c == log10_c) {
                    found++;
                    if (log10_c <= 1 && search.trials[f].score != right)
                        fail_msg("case %d, log10 C %g: %g right instead of %g", k, log10_c, search.trials[f].score,
                                 right);
                }
            assert_int_equal(found, 1);
        }
    }
    fclose(file);
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    log_setup(world->rank, LOG_QUIET);
    blas_start(1);
    arena = arena_create("test", 1 << 20);
    scratch = arena_create("scratch", 1 << 20);
    const struct CMUnitTest tests[] = { cmocka_unit_test(heads_are_those_of_scikit_learn),
                                        cmocka_unit_test(sparse_heads_are_those_of_saga),
                                        cmocka_unit_test(the_search_chooses_as_published) };
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
