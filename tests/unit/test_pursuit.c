/* Orthogonal matching pursuit against a plain version (least squares by normal equations on the residual after
 * each pick), and its corners: dependent atoms, nothing left, ties, threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "concept/pursuit.h"
#include "formula.h"
#include "test_arena.h"

enum { D = 48, M = 30, S = 9, ROWS = 11 };

static struct pursuit_codes make_codes(int rows, int nonzeros)
{
    return (struct pursuit_codes){ arena_array(arena, int32_t, rows * nonzeros),
                                   arena_array(arena, double, rows *nonzeros), arena_array(arena, double, rows),
                                   arena_array(arena, double, rows), arena_array(arena, double, rows *nonzeros) };
}

static struct pursuit *create(const float *atoms, int m, int d, int nonzeros, bool intercept, int rows, int threads)
{
    struct pursuit_spec spec = { .nonzeros = nonzeros, .intercept = intercept };
    return pursuit_create(arena, atoms, m, d, &spec, rows, threads);
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
    struct pursuit_codes one = make_codes(ROWS, S), three = make_codes(ROWS, S);
    struct pursuit_counts counts = { 0 };
    pursuit_solve(create(atoms, M, D, S, true, ROWS, 1), &one, x, ROWS, &counts);
    pursuit_solve(create(atoms, M, D, S, true, ROWS, 3), &three, x, ROWS, &counts);
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
        struct pursuit_codes codes = make_codes(ROWS, S);
        struct pursuit_counts counts = { 0 };
        pursuit_solve(create(atoms, M, D, S, intercept, ROWS, 1), &codes, x, ROWS, &counts);
        for (int r = 0; r < ROWS; r++) {
            double out[D], squared = 0;
            pursuit_reconstruct(out, codes.atom + r * S, codes.value + r * S, codes.constant[r], S, atoms, D);
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
    struct pursuit_codes codes = make_codes(2, S);
    struct pursuit_counts counts = { 0 };
    pursuit_solve(create(atoms, M, D, S, false, 2, 1), &codes, x, 2, &counts);
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
    struct pursuit_codes codes = make_codes(1, 2);
    struct pursuit_counts counts = { 0 };
    pursuit_solve(create(atoms, 2, SMALL, 2, false, 1, 1), &codes, x, 1, &counts);
    assert_int_equal(counts.dependent, 1);
    assert_int_equal(codes.atom[1], -1);
}

/* The search in single precision finds the same atoms; the coefficients are those in double but for rounding. */
static void single_precision_is_refined(void **state)
{
    (void)state;
    float atoms[M * D], x[ROWS * D];
    formula_fill(atoms, M * D, 3, 1, 0.1f);
    formula_fill(x, ROWS * D, 4, 1, 0.5f);
    struct pursuit_codes exact = make_codes(ROWS, S), fast = make_codes(ROWS, S);
    struct pursuit_counts counts = { 0 };
    struct pursuit_spec spec = { .nonzeros = S, .intercept = true, .single = true };
    pursuit_solve(create(atoms, M, D, S, true, ROWS, 1), &exact, x, ROWS, &counts);
    pursuit_solve(pursuit_create(arena, atoms, M, D, &spec, ROWS, 2), &fast, x, ROWS, &counts);
    assert_memory_equal(exact.atom, fast.atom, sizeof(int32_t) * ROWS * S);
    for (int i = 0; i < ROWS * S; i++)
        assert_true(fabs(exact.value[i] - fast.value[i]) < 1e-10);
    for (int r = 0; r < ROWS; r++)
        assert_true(fabs(exact.residual[r] - fast.residual[r]) < 1e-10);
}

/* `drop` adds up to what the code explains; with a tolerance a pursuit is the beginning of the whole one, and the
 * first that leaves no more. */
static void ends_at_the_tolerance(void **state)
{
    (void)state;
    float atoms[M * D], x[ROWS * D];
    formula_fill(atoms, M * D, 3, 1, 0.1f);
    formula_fill(x, ROWS * D, 4, 1, 0.5f);
    struct pursuit_codes whole = make_codes(ROWS, S), part = make_codes(ROWS, S);
    struct pursuit_counts counts = { 0 };
    struct pursuit_spec spec = { .nonzeros = S, .intercept = true, .tolerance = 0.6 };
    pursuit_solve(create(atoms, M, D, S, true, ROWS, 1), &whole, x, ROWS, &counts);
    pursuit_solve(pursuit_create(arena, atoms, M, D, &spec, ROWS, 1), &part, x, ROWS, &counts);
    int64_t shorter = 0;
    for (int r = 0; r < ROWS; r++) {
        double y[D], total, left;
        centre(y, x + r * D);
        total = left = dot(y, y);
        int n = 0;
        for (int j = 0; j < S; j++)
            left -= whole.drop[r * S + j];
        assert_true(fabs(left - whole.residual[r] * whole.residual[r]) < 1e-9);
        for (left = total; n < S && (n == 0 || left > 0.6 * total); n++)
            left -= whole.drop[r * S + n];
        for (int j = 0; j < S; j++)
            assert_int_equal(part.atom[r * S + j], j < n ? whole.atom[r * S + j] : -1);
        assert_true(fabs(part.residual[r] * part.residual[r] - left) < 1e-9);
        shorter += n < S;
    }
    assert_true(shorter > 0);
    assert_int_equal(counts.reached, shorter);
}

/* Slope of |x - sum|^2 / 2 along atom k, centred. */
static double slope(const struct pursuit_codes *codes, int r, int width, const float *atoms, const float *x, int k)
{
    double out[D], left[D], a[D];
    pursuit_reconstruct(out, codes->atom + r * width, codes->value + r * width, codes->constant[r], width, atoms, D);
    for (int d = 0; d < D; d++)
        left[d] = (double)x[r * D + d] - out[d];
    centre(a, atoms + k * D);
    return dot(a, left);
}

static double value_of(const struct pursuit_codes *codes, int r, int width, int k)
{
    for (int j = 0; j < width; j++)
        if (codes->atom[r * width + j] == k)
            return codes->value[r * width + j];
    return 0;
}

/* With room for all atoms the non-negative variant is at the minimum: no slope where a coefficient is above 0, no
 * positive slope elsewhere. With less room it is still the best fit on its support. */
static void positive_is_optimal(void **state)
{
    (void)state;
    float atoms[M * D], x[ROWS * D];
    formula_fill(atoms, M * D, 5, 1, 0.4f);
    formula_fill(x, ROWS * D, 6, 1, 0.5f);
    for (int most = 4; most <= M; most += M - 4) {
        struct pursuit_codes codes = make_codes(ROWS, most);
        struct pursuit_counts counts = { 0 };
        struct pursuit_spec spec = { .nonzeros = most, .intercept = true, .positive = true };
        pursuit_solve(pursuit_create(arena, atoms, M, D, &spec, ROWS, 1), &codes, x, ROWS, &counts);
        for (int r = 0; r < ROWS; r++)
            for (int k = 0; k < M; k++) {
                double value = value_of(&codes, r, most, k), s = slope(&codes, r, most, atoms, x, k);
                assert_true(value >= 0);
                assert_true(value > 0 ? fabs(s) < 1e-9 : most < M || s < 1e-9);
            }
        assert_int_equal(counts.exact, most == M ? ROWS : 0);
    }
}

/* Lasso: the slope is D lambda along the sign of every coefficient, and no more than that elsewhere. */
static void lasso_is_optimal(void **state)
{
    (void)state;
    float atoms[M * D], x[ROWS * D];
    const double lambda = 0.02;
    formula_fill(atoms, M * D, 5, 1, 0.4f);
    formula_fill(x, ROWS * D, 6, 1, 0.5f);
    for (int positive = 0; positive < 2; positive++) {
        struct pursuit_codes codes = make_codes(ROWS, M);
        struct pursuit_counts counts = { 0 };
        struct pursuit_spec spec = {
            .nonzeros = M, .intercept = true, .positive = positive != 0, .lasso = true, .lambda = lambda
        };
        int used = 0;
        pursuit_solve(pursuit_create(arena, atoms, M, D, &spec, ROWS, 1), &codes, x, ROWS, &counts);
        for (int r = 0; r < ROWS; r++)
            for (int k = 0; k < M; k++) {
                double value = value_of(&codes, r, M, k), s = slope(&codes, r, M, atoms, x, k);
                used += value != 0;
                assert_true(!positive || value >= 0);
                if (value != 0)
                    assert_true(fabs(s - copysign(D * lambda, value)) < 1e-6);
                else
                    assert_true((positive ? s : fabs(s)) < D * lambda + 1e-6);
            }
        assert_true(used > ROWS && used < ROWS * M && counts.unsettled == 0 && counts.cut == 0);
    }
}

static void lasso_keeps_the_largest(void **state)
{
    (void)state;
    float atoms[M * D], x[ROWS * D];
    formula_fill(atoms, M * D, 5, 1, 0.4f);
    formula_fill(x, ROWS * D, 6, 1, 0.5f);
    struct pursuit_codes whole = make_codes(ROWS, M), cut = make_codes(ROWS, 3);
    struct pursuit_counts counts = { 0 };
    struct pursuit_spec spec = { .nonzeros = M, .lasso = true, .lambda = 0.01 };
    pursuit_solve(pursuit_create(arena, atoms, M, D, &spec, ROWS, 1), &whole, x, ROWS, &counts);
    spec.nonzeros = 3;
    pursuit_solve(pursuit_create(arena, atoms, M, D, &spec, ROWS, 1), &cut, x, ROWS, &counts);
    assert_int_equal(counts.cut, ROWS);
    for (int r = 0; r < ROWS; r++)
        for (int j = 0; j < 3; j++) {
            assert_int_equal(cut.atom[r * 3 + j], whole.atom[r * M + j]);
            assert_true(fabs(whole.value[r * M + j]) >= fabs(whole.value[r * M + j + 1]));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_plain_version),       cmocka_unit_test(residual_is_what_is_left),
        cmocka_unit_test(ends_when_nothing_is_left),   cmocka_unit_test(counts_dependent_atoms),
        cmocka_unit_test(single_precision_is_refined), cmocka_unit_test(ends_at_the_tolerance),
        cmocka_unit_test(positive_is_optimal),         cmocka_unit_test(lasso_is_optimal),
        cmocka_unit_test(lasso_keeps_the_largest),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
