/* L-BFGS: known minima, the stopping rule, limits, and functions on which the line search must fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "math/lbfgs.h"

static int calls;

static double rosenbrock(void *data, const double *x, double *g, int64_t n)
{
    (void)data;
    double f = 0;
    calls++;
    memset(g, 0, (size_t)n * sizeof *g);
    for (int64_t i = 0; i + 1 < n; i += 2) {
        const double t1 = 1 - x[i], t2 = 10 * (x[i + 1] - x[i] * x[i]);
        f += t1 * t1 + t2 * t2;
        g[i + 1] = 20 * t2;
        g[i] = -2 * (x[i] * g[i + 1] + t1);
    }
    return f;
}

static void finds_the_minimum(void **state)
{
    (void)state;
    double x[101] = { 0 }, g[101], value = -1; /* odd length: no padding may leak in */
    for (int i = 0; i < 100; i += 2)
        x[i] = -1.2, x[i + 1] = 1;
    const int iterations =
        lbfgs_minimise(x, 101, rosenbrock, NULL, &(struct lbfgs_stop){ NULL, 1e-8, 1000 }, &value, NULL);
    assert_in_range(iterations, 5, 200);
    for (int i = 0; i < 100; i++)
        assert_true(fabs(x[i] - 1) < 1e-7);
    assert_true(x[100] == 0);
    assert_true(value == rosenbrock(NULL, x, g, 101));
    for (int i = 0; i < 101; i++)
        assert_true(fabs(g[i]) <= 1e-8);
}

static void stops_when_told(void **state)
{
    (void)state;
    double x[2] = { -1.2, 1 }, g[2], value;
    const double first = rosenbrock(NULL, x, g, 2);
    assert_int_equal(lbfgs_minimise(x, 2, rosenbrock, NULL, &(struct lbfgs_stop){ NULL, 1e-12, 3 }, &value, NULL), 3);
    assert_true(value < first && value == rosenbrock(NULL, x, g, 2));
    double at[2] = { 1, 1 };
    calls = 0;
    assert_int_equal(lbfgs_minimise(at, 2, rosenbrock, NULL, &(struct lbfgs_stop){ NULL, 1e-8, 100 }, NULL, NULL),
                     0); /* at the minimum already */
    assert_int_equal(calls, 1);
    double start[2] = { -1.2, 1 };
    assert_int_equal(lbfgs_minimise(start, 2, rosenbrock, NULL, &(struct lbfgs_stop){ NULL, 1e-8, 0 }, &value, NULL),
                     0);
    assert_true(start[0] == -1.2 && value == first);
}

/* A wrong gradient: no step along it goes down. */
static double uphill(void *data, const double *x, double *g, int64_t n)
{
    (void)data, (void)n;
    g[0] = -2 * x[0];
    return x[0] * x[0];
}

/* |x| has no gradient at its minimum: the largest |gradient| never falls below 1. */
static double kink(void *data, const double *x, double *g, int64_t n)
{
    double f = 0;
    (void)data;
    for (int64_t i = 0; i < n; i++) {
        f += fabs(x[i]);
        g[i] = x[i] > 0 ? 1 : -1;
    }
    return f;
}

/* Not a number beyond a wall. */
static double wall(void *data, const double *x, double *g, int64_t n)
{
    (void)data, (void)n;
    g[0] = x[0] > 2 ? NAN : 2 * (x[0] - 1.9);
    return x[0] > 2 ? NAN : (x[0] - 1.9) * (x[0] - 1.9);
}

static void survives_failed_line_searches(void **state)
{
    (void)state;
    double x[3] = { 3, 0, 0 }, value;
    lbfgs_minimise(x, 1, uphill, NULL, &(struct lbfgs_stop){ NULL, 1e-6, 100 }, &value, NULL);
    assert_true(value <= 9 && value == x[0] * x[0]);
    double y[3] = { 3, -2, 0.7 };
    lbfgs_minimise(y, 3, kink, NULL, &(struct lbfgs_stop){ NULL, 1e-6, 100 }, &value, NULL);
    assert_true(value < 5.7 && value == fabs(y[0]) + fabs(y[1]) + fabs(y[2]));
    double z[1] = { -100 };
    lbfgs_minimise(z, 1, wall, NULL, &(struct lbfgs_stop){ NULL, 1e-9, 100 }, &value, NULL);
    assert_true(isfinite(value) && isfinite(z[0]) && value < 101.9 * 101.9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_minimum),
        cmocka_unit_test(stops_when_told),
        cmocka_unit_test(survives_failed_line_searches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
