/* One-to-one matching: the best of all permutations on small matrices, with ties; a planted permutation on a large
 * one. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/rng.h"
#include "math/assign.h"

static struct arena *arena;

/* Largest sum over permutations of rows row..n-1 on the columns not in `used`. */
static double best_sum(const float *value, int n, int row, unsigned used)
{
    double best = row == n ? 0 : -INFINITY;
    for (int j = 0; row < n && j < n; j++)
        if (!(used >> j & 1u))
            best = fmax(best, (double)value[row * n + j] + best_sum(value, n, row + 1, used | 1u << j));
    return best;
}

static void best_of_all_permutations(void **state)
{
    (void)state;
    enum { MOST = 6, TRIALS = 400 };
    for (int trial = 0; trial < TRIALS; trial++) {
        struct rng rng = { (uint64_t)trial, RNG_TEST, 0 };
        const int n = 1 + trial % MOST, levels = 1 + trial % 7; /* few levels: many ties */
        float value[MOST * MOST];
        int32_t column[MOST];
        unsigned used = 0;
        double sum = 0;
        for (int i = 0; i < n * n; i++)
            value[i] = (float)rng_below(&rng, 0, (uint64_t)i, (uint64_t)levels) - 2.5f;
        const double mean = assign_rows(column, arena, value, n);
        for (int i = 0; i < n; i++) {
            assert_in_range(column[i], 0, n - 1);
            used |= 1u << column[i];
            sum += (double)value[i * n + column[i]];
        }
        assert_int_equal(used, (1u << n) - 1);
        assert_true(fabs(sum - best_sum(value, n, 0, 0)) < 1e-9);
        assert_true(fabs(mean - sum / n) < 1e-9);
    }
}

/* Rows prefer columns that others need more: greedy choices are wrong, the planted sum is the largest. */
static void planted_permutation(void **state)
{
    (void)state;
    enum { N = 300 };
    struct rng rng = { 7, RNG_TEST, 0 };
    int64_t order[N];
    double price[N];
    float *value = arena_array(arena, float, N *N);
    int32_t column[N];
    rng_permutation(&rng, 0, order, N);
    for (int j = 0; j < N; j++)
        price[j] = rng_uniform(&rng, 1, (uint64_t)j);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            const double loss = order[i] == j ? 0 : 0.01 + 0.5 * rng_uniform(&rng, 2, (uint64_t)(i * N + j));
            value[i * N + j] = (float)(price[j] - loss);
        }
    assign_rows(column, arena, value, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(column[i], order[i]);
}

int main(void)
{
    arena = arena_create("test", 1 << 20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(best_of_all_permutations),
        cmocka_unit_test(planted_permutation),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return failed;
}
