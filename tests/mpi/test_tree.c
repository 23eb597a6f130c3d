/* Fixed-tree sums: the bits of a serial sum along the same tree, at any rank
 * count, with more ranks than leaves, for short and long vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "dist/tree.h"
#include "dist/world.h"

static struct world *world;
static struct arena *arena;

/* Numbers of mixed size and sign, so that another order gives other bits. */
static double value(int leaf, int64_t i)
{
    const struct rng rng = { .seed = 7, .purpose = RNG_TEST };
    double x = rng_range(&rng, (uint64_t)leaf, (uint64_t)i, -1.0, 1.0);
    return i % 3 == 0 ? x * 1e6 : x;
}

/* The plain version: pairs, pairs of pairs, ... */
static double plain_f64(int first, int size, int64_t i)
{
    if (size == 1)
        return value(first, i);
    return plain_f64(first, size / 2, i) + plain_f64(first + size / 2, size / 2, i);
}

static float plain_f32(int first, int size, int64_t i)
{
    if (size == 1)
        return (float)value(first, i);
    return plain_f32(first, size / 2, i) + plain_f32(first + size / 2, size / 2, i);
}

static void check_f32(int leaves, int64_t n)
{
    struct arena_mark mark = arena_mark(arena);
    struct tree *tree = tree_create(arena, world, leaves);
    struct span own = tree_leaves(tree);
    int64_t stride = n + 3;
    float *stack = arena_array(arena, float, tree_depth(tree) * stride);
    for (int leaf = 0; leaf < (int)own.count; leaf++) {
        float *row = stack + tree_slot(tree, leaf) * stride;
        for (int64_t i = 0; i < n; i++)
            row[i] = (float)value((int)own.first + leaf, i);
        tree_fold_f32(tree, leaf, stack, n, stride);
    }
    float *out = n % 2 ? stack : arena_array(arena, float, n); /* in place as well */
    tree_sum_nodes_f32(tree, out, stack, n, stride);
    for (int64_t i = 0; i < n; i++) {
        float want = plain_f32(0, leaves, i);
        if (memcmp(&want, &out[i], sizeof want) != 0)
            fail_msg("V = %d, n = %lld: element %lld is %.9g, expected %.9g", leaves, (long long)n, (long long)i,
                     (double)out[i], (double)want);
    }
    arena_release(arena, mark);
}

static void check_f64(int leaves, int64_t n)
{
    struct arena_mark mark = arena_mark(arena);
    struct tree *tree = tree_create(arena, world, leaves);
    struct span own = tree_leaves(tree);
    double *rows = arena_array(arena, double, own.count *n + 1), *out = arena_array(arena, double, n);
    for (int leaf = 0; leaf < (int)own.count; leaf++)
        for (int64_t i = 0; i < n; i++)
            rows[leaf * n + i] = value((int)own.first + leaf, i);
    tree_sum_f64(tree, out, rows, n);
    for (int64_t i = 0; i < n; i++) {
        double want = plain_f64(0, leaves, i);
        if (memcmp(&want, &out[i], sizeof want) != 0)
            fail_msg("V = %d, n = %lld: element %lld is %.17g, expected %.17g", leaves, (long long)n, (long long)i,
                     out[i], want);
    }
    arena_release(arena, mark);
}

static void sums_have_the_bits_of_the_plain_tree(void **unused)
{
    (void)unused;
    for (int leaves = 1; leaves <= 16; leaves *= 2) {
        const int64_t sizes[] = { 0, 1, 7, 8, 1000, 100003 };
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            check_f32(leaves, sizes[s]);
            check_f64(leaves, sizes[s]);
        }
    }
}

/* Longer than one piece of the exchange; sums of small whole numbers are exact, so a formula checks them. */
static void long_vectors_are_cut_into_pieces(void **unused)
{
    (void)unused;
    const int64_t n = ((int64_t)4 << 20) + 12345;
    struct arena_mark mark = arena_mark(arena);
    struct tree *tree = tree_create(arena, world, 4);
    struct span own = tree_leaves(tree);
    float *stack = arena_take_raw(arena, (size_t)(tree_depth(tree) * n), sizeof *stack);
    for (int leaf = 0; leaf < (int)own.count; leaf++) {
        float *row = stack + tree_slot(tree, leaf) * n;
        for (int64_t i = 0; i < n; i++)
            row[i] = (float)((own.first + leaf + 1) * (i % 1000));
        tree_fold_f32(tree, leaf, stack, n, n);
    }
    tree_sum_nodes_f32(tree, stack, stack, n, n);
    for (int64_t i = 0; i < n; i++)
        if (stack[i] != (float)(10 * (i % 1000)))
            fail_msg("element %lld is %g, expected %lld", (long long)i, (double)stack[i], (long long)(10 * (i % 1000)));
    arena_release(arena, mark);
}

static void nodes_are_few_and_one_for_powers_of_two(void **unused)
{
    (void)unused;
    struct tree *tree = tree_create(arena, world, 8);
    bool power = (world->size & (world->size - 1)) == 0;
    if (power)
        assert_int_equal(tree_nodes(tree), 1);
    assert_true(tree_nodes(tree) <= tree_depth(tree));
    assert_int_equal(tree_leaf_count(tree), 8);
    int64_t total = tree_leaves(tree).count;
    world_sum_i64(world, &total, 1);
    assert_int_equal(total, 8);
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    arena = arena_create("test", (size_t)1 << 20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_have_the_bits_of_the_plain_tree),
        cmocka_unit_test(long_vectors_are_cut_into_pieces),
        cmocka_unit_test(nodes_are_few_and_one_for_powers_of_two),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return world_end(world, failed);
}
