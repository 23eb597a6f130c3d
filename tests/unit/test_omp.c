/* Orthogonal matching pursuit against a plain version (least squares by normal equations on the residual after
 * each pick), and its corners: dependent atoms, nothing left, ties, threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "concept/omp.h"
#include "formula.h"

enum { D = 48, M = 30, S = 9, ROWS = 11 };

static struct arena *arena;

static struct omp_codes make_codes(int rows, int nonzeros)
{
    return (struct omp_codes){ arena_array(arena, int32_t, rows * nonzeros), arena_array(arena, double, rows *nonzeros),
                               arena_array(arena, double, rows), arena_array(arena, double, rows) };
}

/* Solves the n x n system a z = b by Gaussian elimination with pivoting; a and b are overwritten. */
static void solve_dense(double *a, double *b, int n)
{
    for (int c = 0; c < n; c++) {
        int pivot = c;
        for (int r = c + 1; r < n; r++)
            if (fabs(a[r * n + c]) > fabs(a[pivot * n + c]))
                pivot = r;
        for (int k = 0; k < n; k++) {
            double swap = a[c * n + k];
            a[c * n + k] = a[pivot * n + k];
            a[pivot * n + k] = swap;
        }
        double swap = b[c];
        b[c] = b[pivot];
        b[pivot] = swap;
        for (int r = 0; r < n; r++) {
            double factor = r == c ? 0 : a[r * n + c] / a[c * n + c];
            for (int k = c; k < n; k++)
                a[r * n + k] -= factor * a[c * n + k];
            b[r] -= factor * b[c];
        }
    }
    for (int r = 0; r < n; r++)
        b[r] /= a[r * n + r];
}

static void centre(double *out, const float *in)
{
    double mean = 0;
    for (int d = 0; d < D; d++)
        mean += (double)in[d] / D;
    for (int d = 0; d < D; d++)
        out[d] = (double)in[d] - mean;
}

static double dot(const double *a, const double *b)
{
    double sum = 0;
    for (int d = 0; d < D; d++)
        sum += a[d] * b[d];
    return sum;
}

/* The plain version: one signal, `S` picks. */
static void plain(int *picks, double *coefficients, const float *atoms, const float *x)
{
    static double a[M][D], y[D], left[D];
    for (int k = 0; k < M; k++)
        centre(a[k], atoms + k * D);
    centre(y, x);
    memcpy(left, y, sizeof left);
    for (int n = 1; n <= S; n++) {
        int best = 0;
        for (int k = 1; k < M; k++)
            if (fabs(dot(a[k], left)) > fabs(dot(a[best], left)))
                best = k;
        picks[n - 1] = best;
        double normal[S * S], right[S];
        for (int i = 0; i < n; i++) {
            right[i] = dot(a[picks[i]], y);
            for (int j = 0; j < n; j++)
                normal[i * n + j] = dot(a[picks[i]], a[picks[j]]);
        }
        solve_dense(normal, right, n);
        memcpy(left, y, sizeof left);
        for (int i = 0; i < n; i++) {
            coefficients[i] = right[i];
            for (int d = 0; d < D; d++)
                left[d] -= right[i] * a[picks[i]][d];
        }
    }
}

static void same_as_plain_version(void **state)
{
    (void)state;
    float atoms[M * D], x[ROWS * D];
    formula_fill(atoms, M * D, 3, 1, 0.1f);
    formula_fill(x, ROWS * D, 4, 1, 0.5f);
    struct omp_codes one = make_codes(ROWS, S), three = make_codes(ROWS, S);
    struct omp_counts counts = { 0, 0 };
    omp_solve(omp_create(arena, atoms, M, D, S, true, ROWS, 1), &one, x, ROWS, &counts);
    omp_solve(omp_create(arena, atoms, M, D, S, true, ROWS, 3), &three, x, ROWS, &counts);
    assert_int_equal(counts.exact + counts.dependent, 0);
    for (int r = 0; r < ROWS; r++) {
        int picks[S];
        double coefficients[S];
        plain(picks, coefficients, atoms, x + r * D);
        for (int j = 0; j < S; j++) {
            assert_int_equal(one.atom[r * S + j], picks[j]);
            assert_true(fabs(one.value[r * S + j] - coefficients[j]) < 1e-10);
        }
    }
    assert_memory_equal(one.value, three.value, sizeof(double) * ROWS * S); /* threads do not change a bit */
    assert_memory_equal(one.atom, three.atom, sizeof(int32_t) * ROWS * S);
}

static void residual_is_what_is_left(void **state)
{
    (void)state;
    float atoms[M * D], x[ROWS * D];
    formula_fill(atoms, M * D, 5, 1, 0.1f);
    formula_fill(x, ROWS * D, 6, 1, -0.5f);
    for (int intercept = 0; intercept < 2; intercept++) {
        struct omp_codes codes = make_codes(ROWS, S);
        struct omp_counts counts = { 0, 0 };
        omp_solve(omp_create(arena, atoms, M, D, S, intercept, ROWS, 1), &codes, x, ROWS, &counts);
        for (int r = 0; r < ROWS; r++) {
            double out[D], squared = 0;
            omp_reconstruct(out, codes.atom + r * S, codes.value + r * S, codes.constant[r], S, atoms, D);
            for (int d = 0; d < D; d++)
                squared += pow((double)x[r * D + d] - out[d], 2);
            assert_true(fabs(sqrt(squared) - codes.residual[r]) < 1e-10);
            assert_true(intercept || codes.constant[r] == 0);
        }
    }
}

/* Twice the same atom: the lowest is taken, the other never; a signal made of two atoms needs two. */
static void ends_when_nothing_is_left(void **state)
{
    (void)state;
    float atoms[M * D], x[2 * D];
    formula_fill(atoms, M * D, 7, 1, 0);
    memcpy(atoms + 9 * D, atoms + 4 * D, D * sizeof(float));
    for (int d = 0; d < D; d++) {
        x[d] = 2 * atoms[4 * D + d];
        x[D + d] = 0;
    }
    struct omp_codes codes = make_codes(2, S);
    struct omp_counts counts = { 0, 0 };
    omp_solve(omp_create(arena, atoms, M, D, S, false, 2, 1), &codes, x, 2, &counts);
    assert_int_equal(codes.atom[0], 4);
    assert_int_equal(codes.atom[1], -1);
    assert_true(fabs(codes.value[0] - 2) < 1e-12 && codes.value[1] == 0 && codes.residual[0] < 1e-7);
    for (int j = 0; j < S; j++)
        assert_int_equal(codes.atom[S + j], -1);
    assert_int_equal(counts.exact, 2);
}

/* Atoms that differ by 1e-9 pass as correlated but not as independent: the pursuit ends and says why. */
static void counts_dependent_atoms(void **state)
{
    (void)state;
    enum { SMALL = 3 };
    float atoms[2 * SMALL] = { 1, 0, 0, 1, 1e-9f, 0 }, x[SMALL] = { 3, 1e6f, 0 };
    struct omp_codes codes = make_codes(1, 2);
    struct omp_counts counts = { 0, 0 };
    omp_solve(omp_create(arena, atoms, 2, SMALL, 2, false, 1, 1), &codes, x, 1, &counts);
    assert_int_equal(counts.dependent, 1);
    assert_int_equal(codes.atom[1], -1);
}

static int begin(void **state)
{
    (void)state;
    arena = arena_create("test", 1 << 20);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_destroy(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_plain_version),
        cmocka_unit_test(residual_is_what_is_left),
        cmocka_unit_test(ends_when_nothing_is_left),
        cmocka_unit_test(counts_dependent_atoms),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
