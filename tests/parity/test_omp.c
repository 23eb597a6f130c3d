/* Orthogonal matching pursuit against scikit-learn (scripts/dump_omp.py): the same atoms in the same order,
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
#include "concept/omp.h"
#include "formula.h"

static double number(FILE *file)
{
    double value;
    assert_int_equal(fscanf(file, "%lf", &value), 1);
    return value;
}

static void check_signal(FILE *file, const struct omp_codes *codes, int row, int S, const float *atoms, int D)
{
    double out[256];
    const double *value = codes->value + row * S;
    const int32_t *atom = codes->atom + row * S;
    for (int j = 0; j < S; j++)
        assert_int_equal(atom[j], (int)number(file));
    for (int j = 0; j < S; j++)
        assert_true(fabs(value[j] - number(file)) < 1e-8);
    assert_true(fabs(codes->constant[row] - number(file)) < 1e-9);
    omp_reconstruct(out, atom, value, codes->constant[row], S, atoms, D);
    for (int d = 0; d < D; d += 7)
        assert_true(fabs(out[d] - number(file)) < 1e-9);
}

static void same_as_scikit_learn(void **state)
{
    (void)state;
    FILE *file = fopen("tests/parity/fixtures/omp.txt", "r");
    assert_non_null(file);
    struct arena *arena = arena_create("test", 1 << 20);
    int M, D, S, intercept, rows, cases = 0;
    for (; fscanf(file, "%d %d %d %d %d", &M, &D, &S, &intercept, &rows) == 5; cases++) {
        float *atoms = arena_array(arena, float, M *D), *x = arena_array(arena, float, rows *D);
        formula_fill(atoms, M * D, 10 * cases + 1, 1, 0);
        formula_fill(x, rows * D, 10 * cases + 2, 1, 0.25f);
        struct omp_codes codes = { arena_array(arena, int32_t, rows * S), arena_array(arena, double, rows *S),
                                   arena_array(arena, double, rows), arena_array(arena, double, rows), NULL };
        struct omp_counts counts = { 0 };
        struct omp_spec spec = { .nonzeros = S, .intercept = intercept != 0 };
        struct omp *omp = omp_create(arena, atoms, M, D, &spec, rows, 2);
        omp_solve(omp, &codes, x, rows, &counts);
        for (int r = 0; r < rows; r++)
            check_signal(file, &codes, r, S, atoms, D);
    }
    assert_int_equal(cases, 3);
    fclose(file);
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(same_as_scikit_learn) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
