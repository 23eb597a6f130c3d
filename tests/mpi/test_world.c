/* Small collectives against what every rank can work out by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "dist/world.h"

static struct world *world;
static struct arena *arena;

static void the_world_knows_itself(void **unused)
{
    (void)unused;
    const char *launched = getenv("OMPI_COMM_WORLD_SIZE");
    if (launched)
        assert_int_equal(world->size, strtol(launched, NULL, 10));
    assert_true(world->rank >= 0 && world->rank < world->size);
    assert_true(world->node_rank >= 0 && world->node_rank < world->node_size && world->nodes >= 1);
    assert_true(strlen(world->host) > 0);
    assert_int_equal(world_threads(world, 3), 3);
    assert_int_equal(world->threads, 3);
    assert_true(world_threads(world, 0) >= 1);
    world_banner(world);
}

/* One release of each kind: that of Debian 12, which needs the guard, and that of Debian 13, which does not. */
static void files_are_guarded_where_needed(void **unused)
{
    (void)unused;
    const char *sieving = getenv("OMPI_MCA_fbtl_posix_write_datasieving"),
               *lock = getenv("OMPI_MCA_fs_ufs_lock_algorithm");
    if (strcmp(world_library(), "Open MPI v4.1.4") == 0) {
        assert_string_equal(sieving, "0");
        assert_string_equal(lock, "3");
    } else if (strcmp(world_library(), "Open MPI v5.0.7") == 0) {
        assert_null(sieving);
        assert_null(lock);
    } else
        skip();
}

static void broadcasts(void **unused)
{
    (void)unused;
    for (int root = 0; root < world->size; root++) {
        char data[1000];
        memset(data, world->rank, sizeof data);
        world_broadcast(world, data, sizeof data, root);
        for (size_t i = 0; i < sizeof data; i++)
            assert_int_equal(data[i], root);
        char *text = world_broadcast_text(world, arena, world->rank == root ? "a text" : "", root);
        assert_string_equal(text, "a text");
    }
    world_broadcast(world, NULL, 0, 0);
}

static void sums_and_extremes(void **unused)
{
    (void)unused;
    int64_t p = world->size, whole[2] = { world->rank + 1, INT64_C(1) << 40 };
    world_sum_i64(world, whole, 2);
    assert_int_equal(whole[0], p * (p + 1) / 2);
    assert_int_equal(whole[1], p << 40);
    double value = -(double)world->rank;
    world_max_f64(world, &value, 1);
    assert_true(value == 0.0);
    value = -(double)world->rank;
    world_min_f64(world, &value, 1);
    assert_true(value == 1.0 - (double)p);
    value = 0.5;
    world_sum_f64_any_order(world, &value, 1);
    assert_true(fabs(value - 0.5 * (double)p) < 1e-12);
}

static void argmax_takes_the_lowest_index_of_equals(void **unused)
{
    (void)unused;
    double value = 7.0;
    int64_t index = 100 - world->rank;
    world_argmax_f64(world, &value, &index);
    assert_true(value == 7.0);
    assert_int_equal(index, 101 - world->size);
    /* The largest wins over a lower index; it sits on the last rank. */
    value = world->rank;
    index = world->rank + (INT64_C(1) << 40);
    world_argmax_f64(world, &value, &index);
    assert_int_equal(index, world->size - 1 + (INT64_C(1) << 40));
    /* Ranks without candidates (index -1) and NaN never win. */
    value = world->rank == 0 ? -5.0 : world->rank % 2 ? 1e300 : (double)NAN;
    index = world->rank == 0 ? 42 : world->rank % 2 ? -1 : 3;
    world_argmax_f64(world, &value, &index);
    assert_true(value == -5.0);
    assert_int_equal(index, 42);
}

static void gather_rows_of(int64_t rows_per_rank, size_t row_bytes)
{
    /* Rank r brings r * rows_per_rank rows: rank 0 none. */
    int64_t rows = world->rank * rows_per_rank, total = (int64_t)world->size * (world->size - 1) / 2 * rows_per_rank;
    unsigned char *local = arena_take_raw(arena, (size_t)rows, row_bytes);
    unsigned char *out = arena_take(arena, (size_t)total, row_bytes), *at = out;
    memset(local, world->rank + 1, (size_t)rows * row_bytes);
    world_allgather_rows(world, out, local, rows, row_bytes);
    for (int r = 1; r < world->size; r++) {
        size_t bytes = (size_t)(r * rows_per_rank) * row_bytes;
        assert_int_equal(at[0], r + 1);
        assert_int_equal(memcmp(at, at + 1, bytes - 1), 0);
        at += bytes;
    }
}

static void gathers(void **unused)
{
    (void)unused;
    gather_rows_of(3, 20);
    gather_rows_of(1, 1);
    /* Beyond one piece of 64 MB in all: goes rank by rank. CFN_TEST_LARGE: beyond 2 GiB a rank. */
    if (world->size == 2)
        gather_rows_of(70, 1000000);
    if (getenv("CFN_TEST_LARGE"))
        gather_rows_of(2200, 1000000);
    arena_reset(arena);
    char *mine = arena_printf(arena, "%d;", world->rank), *all = world_gather_text(world, arena, mine);
    struct text want = text_new(arena);
    for (int r = 0; r < world->size; r++)
        text_add(&want, "%d;", r);
    if (world->rank == 0)
        assert_string_equal(all, want.data);
    else
        assert_null(all);
}

static void agreement_goes_on_when_all_agree(void **unused)
{
    (void)unused;
    int64_t calls = world_calls();
    agree(world, true, EXIT_INTERNAL, "%s", "not said");
    assert_true(world_calls() == calls + 1);
}

/* Each rank learns of itself alone; a zero's sign counts. */
static void other_bits_than_rank_0_are_noticed(void **unused)
{
    (void)unused;
    float values[3] = { 1, 0, 2 };
    assert_true(world_same_bits(world, values, sizeof values));
    const bool last = world->size > 1 && world->rank == world->size - 1;
    if (last)
        values[1] = -0.0F;
    assert_true(world_same_bits(world, values, sizeof values) == !last);
    assert_true(world_same_bits(world, NULL, 0));
}

/* Warnings of all ranks come out once, counted by kind. */
static void warnings_are_gathered(void **unused)
{
    (void)unused;
    log_forget();
    for (int i = 0; i < 3 && world->rank > 0; i++)
        log_warn("row %d is bad", 10 * world->rank + i);
    char path[256];
    const char *base = getenv("CFN_TEST_TMP");
    snprintf(path, sizeof path, "%s/warnings.%d", base ? base : "/tmp", (int)getpid());
    log_file(path); /* rank 0 only */
    world_warnings(world);
    log_file(NULL);
    assert_int_equal(log_kept_count(), 0);
    if (world->rank > 0)
        return;
    const char *why = NULL, *said = file_read(arena, path, 0, NULL, &why);
    unlink(path);
    const char *want = "";
    if (world->size > 1)
        want = arena_printf(arena, "warning: row 10 is bad (and %d more like it)\n", 3 * (world->size - 1) - 1);
    assert_string_equal(said, want);
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    arena = arena_create("test", (size_t)1 << 20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_world_knows_itself),
        cmocka_unit_test(files_are_guarded_where_needed),
        cmocka_unit_test(broadcasts),
        cmocka_unit_test(sums_and_extremes),
        cmocka_unit_test(argmax_takes_the_lowest_index_of_equals),
        cmocka_unit_test(gathers),
        cmocka_unit_test(agreement_goes_on_when_all_agree),
        cmocka_unit_test(other_bits_than_rank_0_are_noticed),
        cmocka_unit_test(warnings_are_gathered),
    };
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
