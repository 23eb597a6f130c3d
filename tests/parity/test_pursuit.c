/* Orthogonal matching pursuit against scikit-learn (scripts/dump_pursuit.py): the same atoms in the same order,
 * coefficients within 1e-8, predictions within 1e-9. scikit-learn solves in double as we do; what differs is
 * the order of sums. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/arena.h"
#include "concept/pursuit.h"
#include "formula.h"

static double number(FILE *file)
{
    double value;
    assert_int_equal(fscanf(file, "%lf", &value), 1);
    return value;
}

static void check_signal(FILE *file, const struct pursuit_codes *codes, int row, int S, const float *atoms, int D)
{
    double out[256];
    const double *value = codes->value + row * S;
    const int32_t *atom = codes->atom + row * S;
    for (int j = 0; j < S; j++)
        assert_int_equal(atom[j], (int)number(file));
    for (int j = 0; j < S; j++)
        assert_true(fabs(value[j] - number(file)) < 1e-8);
    assert_true(fabs(codes->constant[row] - number(file)) < 1e-9);
    pursuit_reconstruct(out, atom, value, codes->constant[row], S, atoms, D);
    for (int d = 0; d < D; d += 7)
        assert_true(fabs(out[d] - number(file)) < 1e-9);
}

static void same_as_scikit_learn(void **state)
{
    (void)state;
    FILE *file = fopen("tests/parity/fixtures/pursuit.txt", "r");
    assert_non_null(file);
    struct arena *arena = arena_create("test", 1 << 20);
    int M, D, S, intercept, rows, cases = 0;
    for (; fscanf(file, "%d %d %d %d %d", &M, &D, &S, &intercept, &rows) == 5; cases++) {
        float *atoms = arena_array(arena, float, M *D), *x = arena_array(arena, float, rows *D);
        formula_fill(atoms, M * D, 10 * cases + 1, 1, 0);
        formula_fill(x, rows * D, 10 * cases + 2, 1, 0.25f);
        struct pursuit_codes codes = { arena_array(arena, int32_t, rows * S), arena_array(arena, double, rows *S),
                                       arena_array(arena, double, rows), arena_array(arena, double, rows), NULL };
        struct pursuit_counts counts = { 0 };
        struct pursuit_spec spec = { .nonzeros = S, .intercept = intercept != 0 };
        struct pursuit *pursuit = pursuit_create(arena, atoms, M, D, &spec, rows, 2);
        pursuit_solve(pursuit, &codes, x, rows, &counts);
        for (int r = 0; r < rows; r++)
            check_signal(file, &codes, r, S, atoms, D);
    }
    assert_int_equal(cases, 3);
    fclose(file);
    arena_destroy(arena);
}

/* As support_hash() of the script. */
static uint32_t support_hash(const int32_t *atom, int S, int M)
{
    uint32_t hash = 2166136261u;
    for (int k = 0; k < M; k++)
        for (int j = 0; j < S; j++)
            if (atom[j] == k)
                hash = (hash ^ (uint32_t)k) * 16777619u;
    return hash;
}

struct many {
    int rows, M, D, S;
    float *atoms, *x, *of_atoms, *of_dims;
};

static struct pursuit_codes solve(struct arena *arena, const struct many *m, const struct pursuit_spec *spec, int rows)
{
    struct pursuit_codes codes = { arena_array(arena, int32_t, rows * spec->nonzeros),
                                   arena_array(arena, double, rows * spec->nonzeros), arena_array(arena, double, rows),
                                   arena_array(arena, double, rows), NULL };
    struct pursuit_counts counts = { 0 };
    pursuit_solve(pursuit_create(arena, m->atoms, m->M, m->D, spec, rows, 2), &codes, m->x, rows, &counts);
    return codes;
}

/* The whole set in one call, in both precisions: the supports, and sums of all coefficients and predictions. In single
 * precision the picks of a few signals may differ, where two correlations are the same in it. */
static void compare_many(FILE *file, struct arena *arena, const struct many *m, bool intercept)
{
    struct pursuit_spec spec = { .nonzeros = m->S, .intercept = intercept }, single = spec;
    single.single = true;
    struct pursuit_codes codes = solve(arena, m, &spec, m->rows), fast = solve(arena, m, &single, m->rows);
    double *out = arena_array(arena, double, m->D);
    int swapped = 0;
    for (int r = 0; r < m->rows; r++) {
        const int32_t *atom = codes.atom + r * m->S;
        uint32_t hash = support_hash(atom, m->S, m->M);
        double coefficients = 0, predictions = 0;
        for (int j = 0; j < m->S; j++)
            coefficients += codes.value[r * m->S + j] * (double)m->of_atoms[atom[j]];
        pursuit_reconstruct(out, atom, codes.value + r * m->S, codes.constant[r], m->S, m->atoms, m->D);
        for (int d = 0; d < m->D; d++)
            predictions += out[d] * (double)m->of_dims[d];
        assert_int_equal(hash, (uint32_t)number(file));
        assert_true(fabs(coefficients - number(file)) < 1e-8);
        assert_true(fabs(predictions - number(file)) < 1e-9);
        assert_true(fabs(codes.constant[r] - number(file)) < 1e-9);
        swapped += support_hash(fast.atom + r * m->S, m->S, m->M) != hash;
    }
    assert_true(swapped <= m->rows / 100);
}

/* Non-negative least squares, when all atoms may join, and both lassos: objectives within 1e-9. */
static void compare_objectives(FILE *file, struct arena *arena, const struct many *m)
{
    int rows = (int)number(file);
    const double lambda = number(file);
    struct pursuit_spec nnls = { .nonzeros = m->M, .positive = true };
    struct pursuit_spec lasso = { .nonzeros = m->M, .intercept = true, .lasso = true, .lambda = lambda };
    struct pursuit_codes codes[3];
    codes[0] = solve(arena, m, &nnls, rows);
    codes[1] = solve(arena, m, &lasso, rows);
    lasso.positive = true;
    codes[2] = solve(arena, m, &lasso, rows);
    for (int r = 0; r < rows; r++) {
        assert_true(fabs(codes[0].residual[r] - number(file)) < 1e-9);
        for (int l = 1; l < 3; l++) {
            double objective = codes[l].residual[r] * codes[l].residual[r] / (2 * m->D);
            for (int j = 0; j < m->M; j++)
                objective += lambda * fabs(codes[l].value[r * m->M + j]);
            assert_true(fabs(objective - number(file)) < 1e-9);
        }
    }
}

static void a_thousand_signals(void **state)
{
    (void)state;
    FILE *file = fopen("tests/parity/fixtures/pursuit_many.txt", "r");
    assert_non_null(file);
    struct arena *arena = arena_create("test", 1 << 20);
    struct many m;
    assert_int_equal(fscanf(file, "%d %d %d %d", &m.rows, &m.M, &m.D, &m.S), 4);
    assert_int_equal(m.rows, 1000);
    m.atoms = arena_array(arena, float, m.M *m.D);
    m.x = arena_array(arena, float, m.rows *m.D);
    m.of_atoms = arena_array(arena, float, m.M);
    m.of_dims = arena_array(arena, float, m.D);
    formula_fill(m.atoms, m.M * m.D, 101, 1, 0);
    formula_fill(m.x, m.rows * m.D, 102, 1, 0.25f);
    formula_fill(m.of_atoms, m.M, 103, 1, 0);
    formula_fill(m.of_dims, m.D, 104, 1, 0);
    compare_many(file, arena, &m, false);
    compare_many(file, arena, &m, true);
    compare_objectives(file, arena, &m);
    fclose(file);
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(same_as_scikit_learn), cmocka_unit_test(a_thousand_signals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
