/* Position embeddings at other image sizes against torchvision's interpolate_embeddings (scripts/dump_positions.py,
 * computed in double). Ours sum in double too: what is left is rounding to single, 6e-8, of 1e-6. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/arena.h"
#include "formula.h"
#include "nn/positions.h"

enum { INPUT = 701, PROBE };
static const double TOLERANCE = 1e-6;

static double next(FILE *file)
{
    double value;
    assert_int_equal(fscanf(file, "%lf", &value), 1);
    return value;
}

static void compare_case(FILE *file, int from, int to, int width, int whole)
{
    struct arena *arena = arena_create("test", 1 << 20);
    int64_t count = (1 + (int64_t)to * to) * width, given = (1 + (int64_t)from * from) * width;
    float *in = arena_array(arena, float, given), *out = arena_array(arena, float, count);
    formula_fill(in, given, INPUT, 1.0f, 0.0f);
    positions_resize(out, to, in, from, width);
    double norm = next(file), product = next(file), sum = 0.0, dot = 0.0;
    for (int64_t i = 0; i < count; i++) {
        sum += (double)out[i] * (double)out[i];
        dot += (double)out[i] * (double)formula(i, PROBE);
        if (whole)
            assert_true(fabs((double)out[i] - next(file)) < TOLERANCE);
    }
    assert_true(fabs(sqrt(sum) - norm) < TOLERANCE * norm);
    assert_true(fabs(dot - product) < TOLERANCE * norm);
    arena_destroy(arena);
}

static void as_torchvision(void **state)
{
    (void)state;
    FILE *file = fopen("tests/parity/fixtures/positions.txt", "r");
    int from, to, width, whole, cases = 0;
    assert_non_null(file);
    for (; fscanf(file, " case %d %d %d %d", &from, &to, &width, &whole) == 4; cases++)
        compare_case(file, from, to, width, whole);
    assert_int_equal(cases, 7);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(as_torchvision) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
