/* Vectors: values against plain loops of long double, fixed order, bounds of the median. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "math/vec.h"

enum { MOST = 1037 };
static float a[MOST + 64], b[MOST + 64];

static void fill(int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        a[i] = (float)((i * 7919) % 1013 - 500) / 77.0f;
        b[i] = (float)((i * 104729) % 997 - 498) / 91.0f;
    }
}

static void sums_equal_plain_loops(void **state)
{
    (void)state;
    for (int64_t n = 0; n <= MOST; n = n < 70 ? n + 1 : n + 97) {
        fill(n);
        long double dot = 0, sum = 0, size = 1;
        for (int64_t i = 0; i < n; i++) {
            dot += (long double)a[i] * b[i];
            size += fabsl((long double)a[i] * b[i]);
            sum += a[i];
        }
        assert_true(fabs(vec_dot(a, b, n) - (double)dot) <= 1e-14 * (double)size);
        assert_true(fabs(vec_sum(a, n) - (double)sum) <= 1e-13 * (double)size);
        assert_true(fabs(vec_norm(a, n) - sqrt(vec_dot(a, a, n))) == 0);
    }
}

static void order_ignores_alignment(void **state)
{
    (void)state;
    static float moved[MOST + 64];
    fill(MOST);
    const double dot = vec_dot(a, b, MOST), sum = vec_sum(a, MOST);
    for (int shift = 1; shift < 17; shift++) {
        memcpy(moved + shift, a, MOST * sizeof *a);
        assert_true(vec_dot(moved + shift, b, MOST) == dot);
        assert_true(vec_sum(moved + shift, MOST) == sum);
    }
}

static void double_dot_and_updates(void **state)
{
    (void)state;
    static double x[MOST], y[MOST], z[MOST];
    fill(MOST);
    double plain = 0;
    for (int i = 0; i < MOST; i++) {
        z[i] = y[i] = (double)b[i];
        plain += (x[i] = (double)a[i]) * y[i];
    }
    assert_true(fabs(vec_ddot(x, y, MOST) - plain) < 1e-9);
    vec_daxpy(y, -0.5, x, MOST);
    for (int i = 0; i < MOST; i++)
        assert_true(fabs(y[i] - (z[i] - 0.5 * x[i])) < 1e-14);
    float u[5] = { 1, 2, 3, 4, 5 }, v[5] = { 5, 4, 3, 2, 1 };
    vec_axpy(u, 2, v, 5);
    assert_true(u[0] == 11 && u[4] == 7);
    vec_add(u, v, 5);
    assert_true(u[0] == 16 && u[4] == 8);
    vec_scale(u, 0.5f, 5);
    assert_true(u[0] == 8 && u[4] == 4);
}

static void unit_vectors(void **state)
{
    (void)state;
    fill(MOST);
    assert_true(vec_normalise(a, MOST) > 1);
    assert_true(fabs(vec_norm(a, MOST) - 1) < 1e-7);
    float zero[3] = { 0 };
    assert_true(vec_normalise(zero, 3) == 0);
    assert_true(zero[0] == 0 && zero[2] == 0);
    float small[2] = { 3e-30f, 4e-30f }, large[2] = { 3e30f, 4e30f }; /* squares leave the range of float */
    vec_normalise(small, 2);
    vec_normalise(large, 2);
    assert_true(fabsf(small[0] - 0.6f) < 1e-6f && fabsf(large[1] - 0.8f) < 1e-6f);
}

static void finite_everywhere(void **state)
{
    (void)state;
    const float bad[3] = { NAN, INFINITY, -INFINITY };
    for (int64_t n = 1; n < 40; n++) {
        fill(n);
        assert_true(vec_all_finite(a, n));
        for (int64_t i = 0; i < n; i++) {
            const float held = a[i];
            a[i] = bad[i % 3];
            assert_false(vec_all_finite(a, n));
            a[i] = held;
        }
    }
    assert_true(vec_all_finite(a, 0));
}

static int ascending(const void *p, const void *q)
{
    const double x = *(const double *)p, y = *(const double *)q;
    return (x > y) - (x < y);
}

static void median_equals_sorting(void **state)
{
    (void)state;
    double x[200], sorted[200];
    assert_true(isnan(vec_median(x, 0)));
    for (int64_t n = 1; n < 200; n++) {
        for (int64_t i = 0; i < n; i++)
            sorted[i] = x[i] = (double)((i * 7919 + n * 31) % (n % 3 == 0 ? 5 : 1009));
        qsort(sorted, (size_t)n, sizeof *sorted, ascending);
        const double middle = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
        assert_true(vec_median(x, n) == middle);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_equal_plain_loops), cmocka_unit_test(order_ignores_alignment),
        cmocka_unit_test(double_dot_and_updates), cmocka_unit_test(unit_vectors),
        cmocka_unit_test(finite_everywhere),      cmocka_unit_test(median_equals_sorting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
