/* Products in bf16: each entry against a sum in double over operands rounded here, for every way operands lie, shapes
 * off every block, and added to what was there; rows do not depend on the others; rounding; NaN stays. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formula.h"
#include "math/bf16.h"
#include "math/half_product.h"
#include "test_arena.h"

static double rounded(float x)
{
    return (double)bf16_to_float(bf16_from_float(x));
}

static void fill_halves(uint16_t *half, float *single, int64_t n, int salt)
{
    formula_fill(single, n, salt, 1, 0);
    half_round(half, single, n);
}

static void check_product(char transa, char transb, int64_t m, int64_t n, int64_t k, enum half_source source, bool add)
{
    struct half_products *all = half_products_create(arena);
    struct half_product *product = half_product(all, transa, transb, m, n, k, source, add, "test");
    float *a = arena_array(arena, float, m *k), *b = arena_array(arena, float, k *n);
    float *c = arena_array(arena, float, m *n), *before = arena_array(arena, float, m *n);
    uint16_t *half_a = arena_array(arena, uint16_t, m * k), *half_b = arena_array(arena, uint16_t, k * n);
    half_products_ready(all);
    fill_halves(half_a, a, m * k, 3);
    fill_halves(half_b, b, k * n, 4);
    formula_fill(before, m * n, 5, 1, 0);
    memcpy(c, before, (size_t)(m * n) * sizeof *c);
    void *packed = arena_take_raw(arena, (size_t)half_packed_bytes(product), 1);
    half_pack(packed, product, source == HALF_OF_FLOATS ? (const void *)b : (const void *)half_b);
    half_multiply(c, product, half_a, packed);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = add ? (double)before[i * n + j] : 0, size = fabs(sum);
            for (int64_t l = 0; l < k; l++) {
                const double term = rounded(transa == 'T' ? a[l * m + i] : a[i * k + l]) *
                                    rounded(transb == 'T' ? b[j * k + l] : b[l * n + j]);
                sum += term;
                size += fabs(term);
            }
            if (!(fabs((double)c[i * n + j] - sum) <= 1e-6 * size))
                fail_msg("%c%c %d x %d x %d, entry %d %d: %g, expected %g", transa, transb, (int)m, (int)n, (int)k,
                         (int)i, (int)j, (double)c[i * n + j], sum);
        }
    half_products_destroy(all);
}

static void same_as_plain_sums(void **state)
{
    (void)state;
    if (!half_in_hardware())
        skip();
    static const int64_t shapes[][3] = { { 1, 1, 1 }, { 37, 53, 61 }, { 64, 128, 32 }, { 3, 200, 17 }, { 130, 5, 77 } };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int way = 0; way < 16; way++)
            check_product(way & 1 ? 'T' : 'N', way & 2 ? 'T' : 'N', shapes[s][0], shapes[s][1], shapes[s][2],
                          way & 4 ? HALF_OF_FLOATS : HALF_OF_HALVES, way & 8);
}

/* Pieces of rows are filled up with zeros: the rows that are there must not notice. A NaN stays in its row. */
static void rows_are_alone(void **state)
{
    (void)state;
    if (!half_in_hardware())
        skip();
    enum { M = 48, N = 70, L = 33, SOME = 11 };
    struct half_products *all = half_products_create(arena);
    struct half_product *product = half_product(all, 'N', 'T', M, N, L, HALF_OF_FLOATS, false, "test");
    float a[M * L], b[N * L], whole[M * N], part[M * N];
    uint16_t half[M * L];
    half_products_ready(all);
    fill_halves(half, a, M * L, 6);
    formula_fill(b, N * L, 7, 1, 0);
    void *packed = arena_take_raw(arena, (size_t)half_packed_bytes(product), 1);
    half_pack(packed, product, b);
    half_multiply(whole, product, half, packed);
    memset(half + SOME * L, 0, sizeof half - SOME * L * sizeof *half);
    half_multiply(part, product, half, packed);
    assert_memory_equal(part, whole, SOME * N * sizeof *part);
    for (int i = SOME * N; i < M * N; i++)
        assert_true(part[i] == 0.0f);
    half[2 * L + 5] = bf16_from_float(NAN);
    half_multiply(part, product, half, packed);
    for (int i = 0; i < SOME * N; i++)
        assert_true(i / N == 2 ? isnan(part[i]) : part[i] == whole[i]);
    half_products_destroy(all);
}

static void rounds_to_nearest_even(void **state)
{
    (void)state;
    enum { ODD = 40003 };
    const float ulp = ldexpf(1, -7); /* of 1 in bf16 */
    const float x[] = { 1 + ulp / 2, 1 + 3 * ulp / 2, 1 + ulp * 0.5001f, -1 - ulp / 2, 0, INFINITY, 3e38f };
    const float expected[] = { 1, 1 + 2 * ulp, 1 + ulp, -1, 0, INFINITY, 3e38f };
    uint16_t half[ODD];
    float many[ODD];
    half_round(half, x, 7);
    for (int i = 0; i < 6; i++)
        assert_true(bf16_to_float(half[i]) == expected[i]);
    assert_true(fabsf(bf16_to_float(half[6]) - 3e38f) <= 3e38f * ulp / 2);
    many[0] = NAN;
    formula_fill(many + 1, ODD - 1, 8, 3, 0);
    half_round(half, many, ODD);
    assert_true(isnan(bf16_to_float(half[0])));
    for (int i = 1; i < ODD; i++)
        assert_true(half[i] == bf16_from_float(many[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_plain_sums),
        cmocka_unit_test(rows_are_alone),
        cmocka_unit_test(rounds_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
