/* The k largest of a row against sorting: random rows, many equal values, few positive ones, groups of large values
 * side by side, short rows and k beyond what is left; NaN that are not among the largest. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "concept/sae/sae_top.h"
#include "formula.h"

enum { MOST = 9000 };

struct item {
    float value;
    int place;
};

/* Falling values, the lowest place first among equal ones. */
static int by_value(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return x->value != y->value ? (x->value < y->value ? 1 : -1) : x->place - y->place;
}
static int by_place(const void *a, const void *b)
{
    return ((const struct item *)a)->place - ((const struct item *)b)->place;
}

static void check_row(const float *f, int n, int k)
{
    static struct item items[MOST];
    static int32_t index[MOST];
    static float value[MOST];
    int positive = 0;
    int64_t ties, equal = 0;
    for (int i = 0; i < n; i++)
        if (f[i] > 0)
            items[positive++] = (struct item){ f[i], i };
    qsort(items, (size_t)positive, sizeof *items, by_value);
    const int count = positive < k ? positive : k;
    const float kth = positive < k ? 0 : items[k - 1].value;
    for (int i = 0; i < count && kth > 0; i++)
        equal += items[i].value == kth;
    assert_true(sae_kth_largest(f, n, k, &ties) == kth);
    assert_int_equal(ties, equal);
    qsort(items, (size_t)count, sizeof *items, by_place);
    assert_int_equal(sae_largest(index, value, f, n, k), count);
    for (int i = 0; i < count; i++)
        assert_true(index[i] == items[i].place && value[i] == items[i].value);
}

static void same_as_sorting(void **state)
{
    (void)state;
    static const int sizes[] = { 1, 15, 16, 17, 700, 2047, 2048, 2049, 4096, 8192, 8999 };
    static const int counts[] = { 1, 2, 16, 64, 255, 256, 257, 1000, 8999 };
    static float f[MOST];
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int kind = 0; kind < 6; kind++) {
            for (int i = 0; i < sizes[s]; i++) {
                const float x = formula(i, 10 + kind);
                const float of_kind[] = {
                    fmaxf(x, 0),          fmaxf(floorf(x * 4), 0),       x > 0.47f ? x : 0,
                    (float)(i % 97 == 0), i < 300 ? 2 + x : fmaxf(x, 0), i % 50 == 7 ? NAN : fmaxf(x, 0)
                };
                f[i] = of_kind[kind];
            }
            for (size_t c = 0; c < sizeof counts / sizeof *counts && counts[c] <= sizes[s]; c++)
                if (kind < 5 || counts[c] < 300)
                    check_row(f, sizes[s], counts[c]);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(same_as_sorting) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
