/* Random numbers: Philox' published answers, streams that differ, distributions, permutations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"

/* Random123's kat_vectors, philox4x32 10, all-zero counter and key: 6627e8d5 e169c58d bc57ac4c 9b00dbd8.
 * Purpose 0 exists only here: it makes the whole counter zero. */
static void known_answer(void **unused)
{
    (void)unused;
    const struct rng zero = { .seed = 0, .purpose = (enum rng_purpose)0, .epoch = 0 };
    assert_int_equal(rng_u32(&zero, 0, 0), 0x6627e8d5u);
    double uniform = (double)(0x6627e8d5e169c58dull >> 11) * 0x1p-53;
    assert_true(rng_uniform(&zero, 0, 0) == uniform);
    assert_int_equal(rng_below(&zero, 0, 0, UINT64_C(1) << 32), 0x6627e8d5u);
    /* kat_vectors: counter 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0 -> d16cfe09 ...
     * counter[3] = purpose 03, row bits 32..43 = 707, draw bits 32..43 = 344. */
    const struct rng pi = { .seed = 0x299f31d0a4093822ull, .purpose = (enum rng_purpose)3, .epoch = 0x13198a2e };
    assert_int_equal(rng_u32(&pi, 0x707243f6a88ull, 0x34485a308d3ull), 0xd16cfe09u);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Neighbouring seeds, purposes, epochs, rows and draws, low words and high: all values differ. */
static void streams_never_meet(void **unused)
{
    (void)unused;
    static uint64_t seen[2 * 4 * 3 * 8 * 8 * 4];
    size_t n = 0;
    const uint64_t high[] = { 0, UINT64_C(1) << 32, UINT64_C(1) << 43, UINT64_C(3) << 40 };
    for (uint64_t seed = 1; seed <= 2; seed++)
        for (int purpose = RNG_SHUFFLE; purpose < RNG_SHUFFLE + 4; purpose++)
            for (uint32_t epoch = 0; epoch < 3; epoch++)
                for (uint64_t row = 0; row < 8; row++)
                    for (uint64_t draw = 0; draw < 8; draw++)
                        for (int h = 0; h < 4; h++) {
                            const struct rng rng = { seed, (enum rng_purpose)purpose, epoch };
                            seen[n++] = rng_below(&rng, row + high[h], draw + high[3 - h], UINT64_MAX);
                        }
    qsort(seen, n, sizeof *seen, by_value);
    for (size_t i = 1; i < n; i++)
        assert_true(seen[i] != seen[i - 1]);
}

static void distributions(void **unused)
{
    (void)unused;
    enum { N = 400000 };
    const struct rng rng = { .seed = 42, .purpose = RNG_TEST };
    double sum = 0.0, sum2 = 0.0, normal = 0.0, normal2 = 0.0, normal4 = 0.0;
    int64_t bins[10] = { 0 };
    for (uint64_t i = 0; i < N; i++) {
        double u = rng_uniform(&rng, 5, i), z = rng_normal(&rng, 6, i), r = rng_range(&rng, 7, i, -3.0, -1.0);
        assert_true(u >= 0.0 && u < 1.0 && isfinite(z) && r >= -3.0 && r < -1.0);
        sum += u;
        sum2 += u * u;
        normal += z;
        normal2 += z * z;
        normal4 += z * z * z * z;
        bins[rng_below(&rng, 8, i, 10)]++;
    }
    /* Five standard errors. */
    double root = sqrt((double)N);
    assert_true(fabs(sum / N - 0.5) < 5.0 * sqrt(1.0 / 12.0) / root);
    assert_true(fabs(sum2 / N - 1.0 / 3.0) < 5.0 * sqrt(4.0 / 45.0) / root);
    assert_true(fabs(normal / N) < 5.0 / root);
    assert_true(fabs(normal2 / N - 1.0) < 5.0 * sqrt(2.0) / root);
    assert_true(fabs(normal4 / N - 3.0) < 5.0 * sqrt(96.0) / root);
    for (int b = 0; b < 10; b++)
        assert_true(fabs((double)bins[b] - N / 10.0) < 5.0 * sqrt(N * 0.09));
    assert_int_equal(rng_below(&rng, 0, 0, 1), 0);
}

static void permutations(void **unused)
{
    (void)unused;
    enum { N = 1000 };
    struct arena *arena = arena_create("test", 1 << 16);
    const struct rng rng = { .seed = 3, .purpose = RNG_SHUFFLE, .epoch = 2 };
    int64_t *order = arena_array(arena, int64_t, N), *again = arena_array(arena, int64_t, N);
    bool *seen = arena_array(arena, bool, N);
    rng_permutation(&rng, 0, order, N);
    rng_permutation(&rng, 0, again, N);
    assert_memory_equal(order, again, N * sizeof *order);
    int fixed = 0;
    for (int i = 0; i < N; i++) {
        assert_true(order[i] >= 0 && order[i] < N && !seen[order[i]]);
        seen[order[i]] = true;
        fixed += order[i] == i;
    }
    assert_true(fixed < 10); /* one is expected */
    rng_permutation(&rng, 1, again, N);
    assert_memory_not_equal(order, again, N * sizeof *order);
    rng_permutation(&rng, 0, order, 1);
    assert_int_equal(order[0], 0);
    rng_permutation(&rng, 0, NULL, 0);
    /* All orders of three come up alike often. */
    int64_t three[3];
    int counts[27] = { 0 };
    for (uint64_t row = 0; row < 6000; row++) {
        rng_permutation(&rng, row, three, 3);
        counts[three[0] * 9 + three[1] * 3 + three[2]]++;
    }
    int kinds = 0;
    for (int i = 0; i < 27; i++)
        if (counts[i]) {
            kinds++;
            assert_true(abs(counts[i] - 1000) < 5 * 29);
        }
    assert_int_equal(kinds, 6);
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answer),
        cmocka_unit_test(streams_never_meet),
        cmocka_unit_test(distributions),
        cmocka_unit_test(permutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
