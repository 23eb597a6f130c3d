/* Small interleaved blocks written collectively over and over, and read back: what Open MPI's file layer once lost
 * (its issue 12718) or hung on (uneven counts). tests/cli/test_store_ranks.sh runs it at 8 and 31 ranks.
 *
 * With arguments it is one life of a file, for tests/cli/test_store_errors.sh:
 *   create PATH MEGABYTES [replace]   makes a file of that size
 *   slow PATH MEGABYTES               the same, values only when PATH.go is there
 *   hold PATH                         a small file, unfinished until PATH.go is there */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "dist/shard.h"
#include "dist/world.h"
#include "store/store.h"

static struct world *world;
static struct arena *arena;
static const char *dir;

static uint8_t byte_of(int64_t i, int repeat)
{
    return (uint8_t)((uint64_t)(i * 2654435761 + repeat * 40503) >> 7);
}

static const struct layout TABLE[] = {
    { "/bytes", STORE_U8, "N,7", "1", "rows of 7 bytes", NULL, false },
    { "/numbers", STORE_F64, "N", "1", "a number a row", NULL, false },
};

/* Rows first..first+count-1 of both datasets. */
static void write_rows(struct store *store, int64_t first, int64_t count, int repeat)
{
    uint8_t bytes[64 * 7];
    double numbers[64];
    for (int64_t i = 0; i < count * 7; i++)
        bytes[i] = byte_of(first * 7 + i, repeat);
    for (int64_t i = 0; i < count; i++)
        numbers[i] = (double)(first + i) + repeat;
    store_write_rows(store, "/bytes", first, count, bytes);
    store_write_rows(store, "/numbers", first, count, numbers);
}

static void check_file(const char *path, int64_t n, int repeat)
{
    struct store *store = store_open(world, arena, path);
    uint8_t *bytes = arena_array(arena, uint8_t, n * 7 + 1);
    double *numbers = arena_array(arena, double, n + 1);
    store_read_rows(store, "/bytes", 0, n, bytes); /* every rank reads everything by itself */
    store_read_rows(store, "/numbers", 0, n, numbers);
    for (int64_t i = 0; i < n * 7; i++)
        assert_int_equal(bytes[i], byte_of(i, repeat));
    for (int64_t i = 0; i < n; i++)
        assert_true(numbers[i] == (double)i + repeat);
    store_close(store);
}

static int repeats(void)
{
    const char *text = getenv("CFN_TEST_REPEATS");
    return text ? (int)strtol(text, NULL, 10) : 8;
}

/* Block b of 3 rows belongs to rank b mod P: neighbours share pages and stripes. */
static void interleaved_blocks(void **state)
{
    (void)state;
    enum { BLOCK = 3, ROUNDS = 6 };
    const char *path = path_join(arena, dir, "blocks.h5");
    const int64_t n = (int64_t)BLOCK * world->size * ROUNDS + 2; /* the last block is short */
    const struct extent sizes[] = { { "N", n } };
    for (int repeat = 0; repeat < repeats(); repeat++) {
        const struct arena_mark mark = arena_mark(arena);
        struct store *store = store_create(world, arena, path, TABLE, 2, sizes, 1, true);
        for (int64_t round = 0; round <= ROUNDS; round++) {
            int64_t first = (round * world->size + world->rank) * BLOCK;
            first = first < n ? first : n;
            write_rows(store, first, n - first < BLOCK ? n - first : BLOCK, repeat);
        }
        store_publish(store);
        check_file(path, n, repeat);
        arena_release(arena, mark);
        world_barrier(world);
    }
}

/* Rank r has r mod 5 rows in each call; some calls have rows on one rank only. */
static void uneven_blocks(void **state)
{
    (void)state;
    const char *path = path_join(arena, dir, "uneven.h5");
    int64_t n = 0, first = 0;
    for (int r = 0; r < world->size; r++) {
        first = r == world->rank ? n : first;
        n += r % 5 + 20 * (r == world->size / 2);
    }
    const int64_t count = world->rank % 5 + 20 * (world->rank == world->size / 2);
    const struct extent sizes[] = { { "N", n } };
    const struct arena_mark mark = arena_mark(arena);
    struct store *store = store_create(world, arena, path, TABLE, 2, sizes, 1, true);
    write_rows(store, first, count, 3);
    write_rows(store, first, world->rank == world->size / 2 ? count : 0, 3);
    store_publish(store);
    check_file(path, n, 3);
    arena_release(arena, mark);
}

/* Says so, then waits until PATH.go is there, a minute at most. */
static void hold(const char *path)
{
    const char *go = arena_printf(arena, "%s.go", path);
    if (world->rank == 0) {
        puts("held");
        fflush(stdout);
        for (int i = 0; i < 1200 && !file_exists(go); i++)
            usleep(50000);
    }
    world_barrier(world);
}

static void create_file(const char *path, int64_t megabytes, bool replace, bool slow)
{
    static const struct layout table[] = { { "/x", STORE_F32, "N,D", "1", "filling", NULL, false } };
    const struct extent sizes[] = { { "N", megabytes * 4 }, { "D", 65536 } };
    struct store *store = store_create(world, arena, path, table, 1, sizes, 2, replace);
    if (slow)
        hold(path);
    const struct span mine = shard_rows(megabytes * 4, world->size, world->rank);
    float *row = arena_array(arena, float, 65536);
    for (int64_t i = 0; i < (megabytes * 4 + world->size - 1) / world->size; i++)
        store_write_rows(store, "/x", mine.first + (i < mine.count ? i : 0), i < mine.count, row);
    store_publish(store);
}

static void hold_file(const char *path)
{
    static const struct layout table[] = { { "/x", STORE_I32, "N", "1", "held", NULL, false } };
    const struct extent sizes[] = { { "N", 4 } };
    struct store *store = store_create(world, arena, path, table, 1, sizes, 1, false);
    const int32_t x[4] = { 1, 2, 3, 4 };
    hold(path);
    store_write_all(store, "/x", x);
    store_publish(store);
}

static void one_life(int argc, char **argv)
{
    const long number = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
    if (strcmp(argv[1], "create") == 0)
        create_file(argv[2], number, argc > 4, false);
    else if (strcmp(argv[1], "slow") == 0)
        create_file(argv[2], number, false, true);
    else if (strcmp(argv[1], "hold") == 0)
        hold_file(argv[2]);
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    arena = arena_create("test", 1 << 20);
    if (argc > 2) {
        one_life(argc, argv);
        return world_end(world, 0);
    }
    const char *top = getenv("CFN_TEST_TMP"), *why = NULL;
    dir = arena_printf(arena, "%s/blocks-%d", top ? top : "/tmp", world->size);
    if (world->rank == 0 && !path_make_dirs(arena, dir, &why))
        return 1;
    world_barrier(world);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interleaved_blocks),
        cmocka_unit_test(uneven_blocks),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return world_end(world, failed);
}
