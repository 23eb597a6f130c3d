/* Products over few rows against plain loops in double: every length around the widths of the kernels, lists of every
 * length around those taken together, both types; and nothing beyond the end is touched. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "math/rows.h"

enum { LONGEST = 300, MOST = 21 };

static float value(int i, int d)
{
    return sinf((float)(37 * i + d)) * (float)(1 + i % 3);
}

static struct {
    float wide[MOST][LONGEST];
    uint16_t half[MOST][LONGEST];
    const void *list[2][MOST];
    float factor[MOST];
} rows;

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < MOST; i++) {
        for (int d = 0; d < LONGEST; d++) {
            rows.half[i][d] = bf16_from_float(value(i, d));
            rows.wide[i][d] = value(i, d);
        }
        rows.list[VALUE_F32][i] = rows.wide[i];
        rows.list[VALUE_BF16][i] = rows.half[i];
        rows.factor[i] = value(i, 7) - 0.5f;
    }
    return 0;
}

static double at(int i, int d, enum value_type type)
{
    return (double)value_load(rows.list[type][i], d, type);
}

static void adds(void **state)
{
    (void)state;
    const int lengths[] = { 1, 15, 16, 17, 127, 128, 129, 160, 255, 256, 299 };
    for (enum value_type type = VALUE_F32; type <= VALUE_BF16; type++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
            for (int count = 0; count <= MOST; count++) {
                const int n = lengths[l];
                float y[LONGEST];
                for (int d = 0; d < LONGEST; d++)
                    y[d] = (float)d;
                rows_add(y, rows.factor, rows.list[type], count, n, type);
                for (int d = 0; d < LONGEST; d++) {
                    double want = d;
                    for (int i = 0; d < n && i < count; i++)
                        want += (double)rows.factor[i] * at(i, d, type);
                    assert_true(d < n ? fabs((double)y[d] - want) < 1e-3 : y[d] == (float)d);
                }
            }
}

static void dots(void **state)
{
    (void)state;
    for (enum value_type type = VALUE_F32; type <= VALUE_BF16; type++)
        for (int n = 0; n <= LONGEST; n++) {
            double want = 0;
            for (int d = 0; d < n; d++)
                want += at(3, d, type) * at(4, d, type);
            assert_true(fabs((double)rows_dot(rows.list[type][3], rows.list[type][4], n, type) - want) < 1e-4);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(adds), cmocka_unit_test(dots) };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
