/* Each operation on a register against the same on its lanes one by one, with numbers of all sizes and what is none. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formula.h"
#include "math/simd.h"

static simd sample(int salt)
{
    float x[SIMD];
    formula_fill(x, SIMD, salt, ldexpf(1.0f, salt % 60 - 30), 0.0f);
    if (salt % 7 == 0)
        x[salt % SIMD] = NAN;
    if (salt % 11 == 0)
        x[(salt + 1) % SIMD] = -INFINITY;
    return simd_load(x, 0, VALUE_F32);
}

static void conversions_are_those_of_single_values(void **state)
{
    (void)state;
    for (int salt = 1; salt < 200; salt++) {
        const simd x = sample(salt);
        uint16_t half[SIMD];
        simd_store(half, 0, x, VALUE_BF16);
        const simd back = simd_load(half, 0, VALUE_BF16);
        for (int l = 0; l < SIMD; l++) {
            assert_true(isnan(x[l]) ? isnan(back[l]) : half[l] == bf16_from_float(x[l]));
            assert_true(isnan(x[l]) || back[l] == bf16_to_float(half[l]));
        }
        for (int l = 0; l < SIMD; l++) {
            const double wide = simd_to_double(x, l / (SIMD / 2))[l % (SIMD / 2)];
            assert_true(isnan(x[l]) ? isnan(wide) : wide == (double)x[l]);
        }
        float lanes[SIMD];
        simd_store(lanes, 0, x, VALUE_F32);
        const simd_double first = simd_load_double(lanes);
        for (int l = 0; l < SIMD / 2; l++)
            assert_true(isnan(x[l]) ? isnan(first[l]) : first[l] == (double)x[l]);
    }
}

static void comparisons_take_what_the_header_says(void **state)
{
    (void)state;
    for (int salt = 1; salt < 200; salt++) {
        const simd x = sample(salt), y = sample(salt + 1) + 0.25f, least = simd_min(x, y), kept = simd_where(x < y, x);
        const uint32_t bits = simd_bits_of(x < y);
        for (int l = 0; l < SIMD; l++) {
            const float want = x[l] < y[l] ? x[l] : y[l], open = x[l] < y[l] ? x[l] : 0.0f;
            assert_true(isnan(want) ? isnan(least[l]) : least[l] == want);
            assert_true(kept[l] == open);
            assert_int_equal(bits >> l & 1, x[l] < y[l]);
        }
        assert_true((uint64_t)bits >> SIMD == 0);
    }
}

/* Nothing beyond the few is read or written; sums are a tree of halves. */
static void few_lanes_and_sums(void **state)
{
    (void)state;
    for (int n = 0; n <= SIMD; n++) {
        const simd x = sample(n + 1);
        float out[SIMD + 1], tree[SIMD];
        for (int l = 0; l <= SIMD; l++)
            out[l] = 7.0f;
        simd_store_few(out, 0, x, n, VALUE_F32);
        const simd few = simd_load_few(out, 0, n, VALUE_F32);
        for (int l = 0; l < SIMD; l++) {
            assert_true(l < n ? isnan(x[l]) || few[l] == x[l] : few[l] == 0.0f);
            assert_true(l < n ? isnan(x[l]) || out[l] == x[l] : out[l] == 7.0f);
        }
        for (int l = 0; l < SIMD; l++)
            tree[l] = few[l];
        for (int half = SIMD / 2; half > 0; half /= 2)
            for (int l = 0; l < half; l++)
                tree[l] += tree[l + half];
        assert_true(isnan(tree[0]) ? isnan(simd_sum(few)) : simd_sum(few) == tree[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversions_are_those_of_single_values),
        cmocka_unit_test(comparisons_take_what_the_header_says),
        cmocka_unit_test(few_lanes_and_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
