/* Ownership of rows: blocks cover everything once, in order, balanced; chunks are never cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dist/shard.h"
#include "dist/world.h"

static struct world *world;

static void blocks_cover_every_row_once(void **unused)
{
    (void)unused;
    for (int64_t n = 0; n < 60; n++)
        for (int ranks = 1; ranks <= 17; ranks++) {
            int64_t next = 0, least = INT64_MAX, most = 0;
            for (int r = 0; r < ranks; r++) {
                struct span mine = shard_rows(n, ranks, r);
                assert_int_equal(mine.first, next);
                next += mine.count;
                least = mine.count < least ? mine.count : least;
                most = mine.count > most ? mine.count : most;
                for (int64_t row = mine.first; row < next; row++)
                    assert_int_equal(shard_owner(n, ranks, row), r);
            }
            assert_int_equal(next, n);
            assert_true(most - least <= 1);
        }
}

static void large_numbers_do_not_overflow(void **unused)
{
    (void)unused;
    const int64_t n = INT64_C(5000000000000);
    struct span last = shard_rows(n, 4096, 4095);
    assert_int_equal(last.first + last.count, n);
    assert_int_equal(shard_owner(n, 4096, n - 1), 4095);
    last = shard_chunks(n, 64, 4096, 4095);
    assert_int_equal(last.first + last.count, n);
}

static void chunks_are_whole(void **unused)
{
    (void)unused;
    for (int64_t n = 0; n < 70; n++)
        for (int64_t chunk = 1; chunk < 20; chunk += 3)
            for (int ranks = 1; ranks <= 9; ranks++) {
                int64_t next = 0;
                for (int r = 0; r < ranks; r++) {
                    struct span mine = shard_chunks(n, chunk, ranks, r);
                    assert_int_equal(mine.first, next);
                    assert_true(mine.count >= 0);
                    assert_true(mine.first % chunk == 0 || mine.count == 0);
                    next += mine.count;
                    assert_true(next % chunk == 0 || next == n);
                }
                assert_int_equal(next, n);
            }
}

static void all_ranks_together_own_everything(void **unused)
{
    (void)unused;
    int64_t rows = shard_rows(1001, world->size, world->rank).count;
    int64_t chunks = shard_chunks(1001, 64, world->size, world->rank).count, sums[2] = { rows, chunks };
    world_sum_i64(world, sums, 2);
    assert_int_equal(sums[0], 1001);
    assert_int_equal(sums[1], 1001);
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_cover_every_row_once),
        cmocka_unit_test(large_numbers_do_not_overflow),
        cmocka_unit_test(chunks_are_whole),
        cmocka_unit_test(all_ranks_together_own_everything),
    };
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
