/* Directions and biases of the SVM beside scikit-learn's SVC (fixture: scripts/dump_cav.py).
 * Tolerance 1e-6 of a unit vector, also at the 1e-3 on the KKT conditions where scikit-learn stops by default, 1e-3
 * away from the minimum: with the same kernel, rounded to float, and the same order of the examples both go the same
 * way. What is left is the float of our vector. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "base/arena.h"
#include "concept/cav.h"
#include "concept/svm.h"
#include "math/blas.h"

struct sample {
    int positives, negatives, dim, shift;
    double c, bias;
};

static float *examples(struct arena *arena, const struct sample *s)
{
    int n = s->positives + s->negatives;
    float *x = arena_array(arena, float, n * s->dim);
    for (int i = 0; i < n; i++)
        for (int d = 0; d < s->dim; d++) {
            int hash = (i * 7919 + d * 104729 + i * d * 31) % 1009 - 504;
            double shift = i < s->positives ? s->shift * ((d * 37) % 11 - 5) / 8.0 : 0;
            x[i * s->dim + d] = (float)(hash / 256.0 + shift);
        }
    return x;
}

/* The next direction of the file against ours. */
static void compare_direction(FILE *file, const struct sample *s, const float *cav, float bias, double limit)
{
    double worst = 0;
    for (int d = 0; d < s->dim; d++) {
        double theirs;
        assert_int_equal(fscanf(file, "%lf", &theirs), 1);
        worst = fmax(worst, fabs((double)cav[d] - theirs));
    }
    if (!(worst < limit && fabs((double)bias - s->bias) < limit * fmax(1, fabs(s->bias))))
        fail_msg("%d + %d examples, dim %d, C %g: direction off by %g, bias %.9g instead of %.9g", s->positives,
                 s->negatives, s->dim, s->c, worst, (double)bias, s->bias);
}

static struct sample next_sample(FILE *file)
{
    struct sample s;
    assert_int_equal(fscanf(file, "%d %d %d %d %lf %lf", &s.positives, &s.negatives, &s.dim, &s.shift, &s.c, &s.bias),
                     6);
    return s;
}

static void compare(FILE *file, struct arena *arena, struct sample s, enum cav_method method, double tolerance)
{
    struct cav_spec spec = { .dim = s.dim,
                             .positives = s.positives,
                             .negatives = s.negatives,
                             .c = s.c,
                             .tolerance = tolerance,
                             .holdout = 0.2,
                             .method = method };
    float *x = examples(arena, &s), *cav = arena_array(arena, float, s.dim);
    struct cav_score score;
    assert_true(cav_fit(cav, &score, x, s.positives, s.negatives, NULL, 0, &spec, cav_work_create(arena, &spec)));
    compare_direction(file, &s, cav, score.bias, 1e-6);
}

static void directions_are_those_of_scikit_learn(void **state)
{
    (void)state;
    FILE *file = fopen("tests/parity/fixtures/cav.txt", "r");
    assert_non_null(file);
    int cases = 0;
    assert_int_equal(fscanf(file, "%d", &cases), 1);
    assert_true(cases >= 10);
    struct arena *arena = arena_create("test", 1 << 20);
    for (int i = 0; i < cases; i++, arena_reset(arena))
        for (int t = 0; t < 2; t++)
            compare(file, arena, next_sample(file), CAV_SVM, t == 0 ? 1e-3 : 1e-7);
    arena_destroy(arena);
    fclose(file);
}

/* Logistic: scikit-learn's LogisticRegression. Mean and pattern: their definitions in numpy; the pattern multiplies
 * what the filters differ by with the covariance. */
static void other_methods(void **state)
{
    (void)state;
    static const enum cav_method methods[] = { CAV_LOGISTIC, CAV_MEAN, CAV_PATTERN };
    FILE *file = fopen("tests/parity/fixtures/cav_methods.txt", "r");
    assert_non_null(file);
    int cases = 0;
    assert_int_equal(fscanf(file, "%d", &cases), 1);
    assert_true(cases >= 10);
    struct arena *arena = arena_create("test", 1 << 20);
    for (int i = 0; i < cases; i++) {
        struct sample s = next_sample(file);
        for (int m = 0; m < 3; m++, arena_reset(arena)) {
            assert_int_equal(fscanf(file, "%lf", &s.bias), 1);
            compare(file, arena, s, methods[m], 1e-3);
        }
    }
    arena_destroy(arena);
    fclose(file);
}

int main(void)
{
    blas_start(1);
    svm_start();
    const struct CMUnitTest tests[] = { cmocka_unit_test(directions_are_those_of_scikit_learn),
                                        cmocka_unit_test(other_methods) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
