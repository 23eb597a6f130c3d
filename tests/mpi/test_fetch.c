/* Rows by number: any order, repeats, ranks without rows or without wishes, many rounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "dist/shard.h"
#include "dist/world.h"

static struct world *world;
static struct arena *arena;

/* Byte b of row r, so that a wrong row or a wrong place shows. */
static unsigned char content(int64_t row, size_t b)
{
    return (unsigned char)((uint64_t)row * 131 + b * 7 + (uint64_t)(row >> 8));
}

static void check(int64_t n, struct span mine, const int64_t *rows, int64_t count, size_t row_bytes)
{
    unsigned char *local = arena_take_raw(arena, (size_t)mine.count, row_bytes);
    unsigned char *out = arena_take(arena, (size_t)count, row_bytes);
    for (int64_t i = 0; i < mine.count; i++)
        for (size_t b = 0; b < row_bytes; b++)
            local[(size_t)i * row_bytes + b] = content(mine.first + i, b);
    world_fetch_rows(world, out, rows, count, local, mine.first, mine.count, row_bytes);
    for (int64_t i = 0; i < count; i++)
        for (size_t b = 0; b < row_bytes; b++)
            if (out[(size_t)i * row_bytes + b] != content(rows[i], b))
                fail_msg("n = %lld: wish %lld (row %lld), byte %zu", (long long)n, (long long)i, (long long)rows[i], b);
}

static int64_t *random_rows(int64_t n, int64_t count)
{
    const struct rng rng = { .seed = 1, .purpose = RNG_TEST };
    int64_t *rows = arena_array(arena, int64_t, count);
    for (int64_t i = 0; i < count; i++)
        rows[i] = (int64_t)rng_below(&rng, (uint64_t)world->rank, (uint64_t)i, (uint64_t)n);
    return rows;
}

static void any_rows_in_any_order(void **unused)
{
    (void)unused;
    const int64_t sizes[] = { 1, 2, 3, 10, 1000 }; /* fewer rows than ranks too */
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t row_bytes = 1; row_bytes < 300; row_bytes = row_bytes * 3 + 1) {
            arena_reset(arena);
            int64_t n = sizes[s], count = 500 + 10 * world->rank;
            check(n, shard_rows(n, world->size, world->rank), random_rows(n, count), count, row_bytes);
        }
}

static void some_ranks_wish_nothing(void **unused)
{
    (void)unused;
    arena_reset(arena);
    int64_t count = world->rank % 2 ? 0 : 77;
    check(100, shard_rows(100, world->size, world->rank), random_rows(100, count), count, 24);
    check(100, shard_rows(100, world->size, world->rank), NULL, 0, 24);
}

/* Everything lies on the last rank; the blocks before are empty and begin at row 0. */
static void one_rank_holds_everything(void **unused)
{
    (void)unused;
    arena_reset(arena);
    bool last = world->rank == world->size - 1;
    check(50, (struct span){ 0, last ? 50 : 0 }, random_rows(50, 60), 60, 16);
    /* and on the first: the empty ones begin at the end */
    bool first = world->rank == 0;
    check(50, (struct span){ first ? 0 : 50, first ? 50 : 0 }, random_rows(50, 60), 60, 16);
}

/* Rows of 16 MB: an owner hands out 256 MB a round, so this takes several. */
static void large_rows_come_in_rounds(void **unused)
{
    (void)unused;
    arena_reset(arena);
    const size_t row_bytes = (size_t)16 << 20;
    enum { WISHES = 6 };
    int64_t n = 2 * world->size, first = 2 * world->rank, rows[WISHES];
    unsigned char *local = arena_take_raw(arena, 2, row_bytes), *out = arena_take_raw(arena, WISHES, row_bytes);
    memset(local, (int)(2 * world->rank + 1), row_bytes);
    memset(local + row_bytes, (int)(2 * world->rank + 2), row_bytes);
    for (int64_t i = 0; i < WISHES; i++)
        rows[i] = i * 5 % 2; /* all from rank 0 */
    rows[WISHES - 1] = n - 1;
    world_fetch_rows(world, out, rows, WISHES, local, first, 2, row_bytes);
    for (int64_t i = 0; i < WISHES; i++) {
        const unsigned char *row = out + (size_t)i * row_bytes;
        assert_int_equal(row[0], rows[i] + 1);
        assert_int_equal(memcmp(row, row + 1, row_bytes - 1), 0);
    }
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    arena = arena_create("test", (size_t)1 << 20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_rows_in_any_order),
        cmocka_unit_test(some_ranks_wish_nothing),
        cmocka_unit_test(one_rank_holds_everything),
        cmocka_unit_test(large_rows_come_in_rounds),
    };
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
