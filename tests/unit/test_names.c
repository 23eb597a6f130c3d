/* Naming statistics against a plain two-pass computation on dense arrays; missing values, constants, ties, words. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/rng.h"
#include "concept/names.h"

enum { N = 60, K = 5, J = 4 };
static float dense[N][K], target[N][J];
static uint8_t split[N];
static int64_t indptr[N + 1];
static int32_t index_of[N * K];
static float value_of[N * K];
static const double centre[J] = { 1e6, 0.5, 0, 0 };
static const char *const names[J] = { "offset", "gappy", "class a", "class b" };
static const struct names_targets targets = { J, 2, names, &target[0][0], centre };
static double sums[NAMES_SPLITS * 2000];

/* Neuron 3 never fires, neuron 4 copies neuron 2; target 0 lies far from zero, target 1 has gaps. */
static void make_data(void)
{
    struct rng rng = { 5, RNG_TEST, 0 };
    for (int i = 0; i < N; i++) {
        split[i] = (uint8_t)(i % 5 == 3 ? 1 : i % 5 == 4 ? 2 : 0);
        for (int k = 0; k < K; k++) {
            double u = rng_uniform(&rng, (uint64_t)i, (uint64_t)k);
            dense[i][k] = k == 3 || u < 0.5 ? 0 : (float)u;
        }
        dense[i][4] = dense[i][2];
        target[i][0] = (float)(1e6 + 10 * (double)dense[i][0] + rng_normal(&rng, (uint64_t)i, 20));
        target[i][1] = i % 7 == 2 ? NAN : (float)rng_uniform(&rng, (uint64_t)i, 30);
        target[i][2] = i % 2 == 0 ? 1 : 0;
        target[i][3] = 1 - target[i][2];
    }
    int64_t e = 0;
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < K; k++)
            if (dense[i][k] > 0)
                index_of[e] = k, value_of[e++] = dense[i][k];
        indptr[i + 1] = e;
    }
}

static int setup(void **state)
{
    (void)state;
    make_data();
    assert_true(names_sums_length(K, J) <= (int64_t)(sizeof sums / sizeof sums[0]));
    for (int64_t first = 0; first < N; first += 13) { /* any cut of the rows gives the same sums */
        int64_t rows = N - first < 13 ? N - first : 13, at = indptr[first];
        struct names_codes codes = { rows, indptr + first, index_of + at, value_of + at };
        names_add_rows(sums, K, &targets, &codes, split, first);
    }
    return 0;
}

/* The textbook: means first, then deviations. */
static double plain_correlation(unsigned mask, int k, int j)
{
    double n = 0, ma = 0, mt = 0, cov = 0, va = 0, vt = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < N; i++) {
            if (!(mask >> split[i] & 1) || isnan(target[i][j]))
                continue;
            double a = (double)dense[i][k], t = (double)target[i][j];
            if (pass == 0)
                n++, ma += a, mt += t;
            else
                cov += (a - ma) * (t - mt), va += (a - ma) * (a - ma), vt += (t - mt) * (t - mt);
        }
        if (pass == 0)
            ma /= n, mt /= n;
    }
    return cov / sqrt(va * vt);
}

static void test_correlation(void **state)
{
    (void)state;
    for (unsigned mask = 1; mask < 8; mask++)
        for (int k = 0; k < K; k++)
            for (int j = 0; j < J; j++) {
                double r = names_correlation(sums, K, J, mask, k, j);
                if (k == 3)
                    assert_true(isnan(r));
                else
                    assert_true(fabs(r - plain_correlation(mask, k, j)) < 1e-7);
            }
    assert_true(isnan(names_correlation(sums, K, J, 0, 0, 0))); /* no split, no rows */
}

static void test_best(void **state)
{
    (void)state;
    assert_int_equal(names_best_neuron(sums, K, J, 7, 0), 0); /* target 0 was made from neuron 0 */
    assert_int_equal(names_best_target(sums, K, J, 7, 0, 0, J), 0);
    assert_int_equal(names_best_target(sums, K, J, 7, 3, 0, J), -1); /* never fires */
    for (int j = 0; j < J; j++)
        assert_int_not_equal(names_best_neuron(sums, K, J, 7, j), 4); /* a copy never wins over its original */
}

static void test_rates(void **state)
{
    (void)state;
    for (int k = 0; k < K; k++) {
        double fired = 0, rows = 0, all = 0, with = 0, positives = 0;
        for (int i = 0; i < N; i++)
            if (split[i] != 1) {
                rows++, fired += dense[i][k] > 0, all += (double)dense[i][k];
                positives += (double)target[i][2], with += (double)(dense[i][k] * target[i][2]);
            }
        assert_true(fabs(names_fire_rate(sums, K, J, 5, k) - fired / rows) < 1e-12);
        double lift = names_lift(sums, K, &targets, 5, k, 2);
        if (k == 3)
            assert_true(isnan(lift));
        else
            assert_true(fabs(lift - with / positives / (all / rows)) < 1e-7);
    }
    assert_true(isnan(names_fire_rate(sums, K, J, 0, 0)));
}

static void test_words(void **state)
{
    (void)state;
    struct arena *arena = arena_create("test", 1 << 14);
    struct names_facts f = { "frac_deep_grey", 0.714, "limbic", 0.4, "limbic", 0.6, 0.123 };
    assert_string_equal(names_text(arena, &f),
                        "deep grey region (r 0.71); fires on 12 % of images, strongest on limbic");
    f.attribute_r = -0.5, f.top_share = 0.3, f.fire_rate = 0.002;
    assert_string_equal(names_text(arena, &f),
                        "absence of deep grey region (r -0.50); fires on 0.2 % of images, strongest on mixed classes");
    f.attribute = NULL, f.top_class = NULL;
    assert_string_equal(names_text(arena, &f), "limbic (r 0.40); fires on 0.2 % of images");
    f.class_r = -0.1;
    assert_string_equal(names_text(arena, &f), "no clear match (nearest: limbic, r -0.10); fires on 0.2 % of images");
    f.class_match = NULL, f.top_class = "limbic", f.top_share = 0.95;
    assert_string_equal(names_text(arena, &f), "no clear match; fires on 0.2 % of images, strongest on limbic");
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_correlation),
        cmocka_unit_test(test_best),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
