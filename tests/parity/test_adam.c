/* Ten steps of Adam and AdamW against torch.optim (scripts/dump_adam.py): every weight within 1e-6 relative, ten units
 * in the last place for ten steps. And the same bits however the buffer is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formula.h"
#include "math/adam.h"

enum { MOST = 64, LONG = 100003 };

static void check_case(FILE *file, const struct adam *adam, int64_t n, int steps)
{
    float w[MOST], m[MOST] = { 0 }, v[MOST] = { 0 }, g[MOST];
    formula_fill(w, n, 1, 1, 0);
    for (int step = 1; step <= steps; step++) {
        formula_fill(g, n, 100 + step, (float)pow(10, step % 5 - 3), 0);
        adam_step(w, m, v, g, n, adam, step);
    }
    for (int64_t i = 0; i < n; i++) {
        double expected;
        assert_int_equal(fscanf(file, "%lf", &expected), 1);
        if (!(fabs((double)w[i] - expected) <= 1e-6 * fabs(expected)))
            fail_msg("weight %d: %.9g, PyTorch %.9g", (int)i, (double)w[i], expected);
    }
}

static void same_weights_as_pytorch(void **state)
{
    (void)state;
    FILE *file = fopen("tests/parity/fixtures/adam.txt", "r");
    assert_non_null(file);
    struct adam adam;
    int n, steps, cases = 0;
    while (fscanf(file, "%lf %lf %lf %lf %lf %d %d", &adam.lr, &adam.beta1, &adam.beta2, &adam.eps, &adam.weight_decay,
                  &n, &steps) == 7) {
        assert_in_range(n, 1, MOST);
        check_case(file, &adam, n, steps);
        cases++;
    }
    fclose(file);
    assert_int_equal(cases, 3);
}

static void cuts_do_not_matter(void **state)
{
    (void)state;
    static float w[2][LONG], m[2][LONG], v[2][LONG], g[LONG];
    const struct adam adam = { 1e-3, 0.9, 0.999, 1e-8, 1e-2 };
    for (int k = 0; k < 2; k++)
        formula_fill(w[k], LONG, 3, 1, 0);
    for (int step = 1; step <= 3; step++) {
        formula_fill(g, LONG, 10 + step, 0.1f, 0);
        adam_step(w[0], m[0], v[0], g, LONG, &adam, step);
        for (int64_t at = 0, count; at < LONG; at += count) { /* pieces that split every vector and block */
            count = (at * 7) % 4099 + 1;
            count = LONG - at < count ? LONG - at : count;
            adam_step(w[1] + at, m[1] + at, v[1] + at, g + at, count, &adam, step);
        }
    }
    assert_memory_equal(w[0], w[1], sizeof w[0]);
    assert_memory_equal(v[0], v[1], sizeof v[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_weights_as_pytorch),
        cmocka_unit_test(cuts_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
