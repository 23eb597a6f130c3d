/* The phase table: rows add up to the wall time, counts add up over ranks,
 * notes at their thresholds, perf.json keeps the other stages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/phase.h"
#include "base/text.h"
#include "dist/world.h"
#include "job/perf.h"

static struct world *world;
static struct arena *arena;
static const char *path;
static double hands;

static double fake_clock(void)
{
    return hands;
}

static void spend(enum phase phase, double seconds)
{
    enum phase before = phase_enter(phase);
    hands += seconds;
    phase_enter(before);
}

static double number(const json_t *stage, const char *table, const char *row, const char *column)
{
    const json_t *value = json_object_get(json_object_get(json_object_get(stage, table), row), column);
    if (!value)
        fail_msg("perf.json has no %s / %s / %s", table, row, column);
    return json_number_value(value);
}

/* Is there a note that begins so? */
static bool noted(const json_t *stage, const char *begin)
{
    const json_t *notes = json_object_get(stage, "notes");
    for (size_t i = 0; i < json_array_size(notes); i++)
        if (text_starts(json_string_value(json_array_get(notes, i)), begin))
            return true;
    return false;
}

/* One stage of 100 s with these seconds; the report's object on rank 0, else NULL. */
static json_t *stage(const char *name, double comm, double compute, double decode, double checkpoint)
{
    phase_set_clock(fake_clock);
    perf_start(name);
    double start = hands;
    spend(PHASE_COMM, comm);
    spend(PHASE_FORWARD, compute);
    spend(PHASE_DECODE, decode);
    spend(PHASE_CHECKPOINT, checkpoint);
    hands = start + 100.0;
    phase_count("images", 10.0);
    phase_count("images", 5.0);
    if (world->rank == world->size - 1)
        phase_count("only_last", 1.0);
    perf_report(world, arena, path);
    phase_set_clock(NULL);
    world_barrier(world);
    return world->rank == 0 ? json_load_file(path, 0, NULL) : NULL;
}

static void rows_add_up_and_stages_stay(void **unused)
{
    (void)unused;
    json_t *first = stage("first", 3.0, 40.0, 2.0, 1.0), *all = stage("second", 0.0, 50.0, 0.0, 0.0);
    if (world->rank > 0)
        return;
    const json_t *one = json_object_get(all, "first"), *row;
    assert_true(json_equal(one, json_object_get(first, "first")));
    assert_non_null(json_object_get(all, "second"));
    assert_true(fabs(number(one, "phase_seconds", "forward", "avg") - 40.0) < 1e-6);
    assert_true(fabs(number(one, "phase_seconds", "other", "max") - 54.0) < 1e-6);
    double sum = 0.0;
    const char *name;
    json_object_foreach(json_object_get(one, "phase_seconds"), name, row) sum +=
        json_number_value(json_object_get(row, "avg"));
    assert_true(fabs(sum - json_number_value(json_object_get(json_object_get(one, "wall_seconds"), "avg"))) < 1e-6);
    const json_t *counts = json_object_get(one, "counts");
    assert_true(json_number_value(json_object_get(counts, "images")) == 15.0 * world->size);
    assert_true(json_number_value(json_object_get(counts, "only_last")) == 1.0);
    counts = json_object_get(json_object_get(all, "second"), "counts"); /* of its own stage alone */
    assert_true(json_number_value(json_object_get(counts, "images")) == 15.0 * world->size);
    assert_true(json_number_value(json_object_get(one, "peak_memory_bytes")) > 1e6);
    json_decref(first);
    json_decref(all);
}

static void notes_have_their_thresholds(void **unused)
{
    (void)unused;
    json_t *below = stage("below", 14.0, 50.0, 9.0, 1.5), *above = stage("above", 16.0, 50.0, 11.0, 2.5);
    if (world->rank == 0) {
        assert_int_equal(json_array_size(json_object_get(json_object_get(below, "below"), "notes")), 0);
        const json_t *notes = json_object_get(above, "above");
        assert_true(noted(notes, "exposed communication takes 16 %"));
        assert_true(noted(notes, "waiting for input takes 11 %"));
        assert_true(noted(notes, "checkpoints take 2.5 %"));
        assert_false(noted(notes, "imbalance"));
        json_decref(below);
        json_decref(above);
    }
    json_t *packing = stage("packing", 0.0, 0.0, 90.0, 0.0); /* no network waits: decoding is the work */
    if (world->rank == 0) {
        assert_false(noted(json_object_get(packing, "packing"), "waiting for input"));
        json_decref(packing);
    }
    json_t *uneven = stage("uneven", 0.0, world->rank == 0 ? 60.0 : 30.0, 0.0, 0.0);
    if (world->rank == 0) {
        assert_true(noted(json_object_get(uneven, "uneven"), "imbalance") == (world->size > 1));
        json_decref(uneven);
    }
}

/* With the real clock: rows add up to the wall time within 2 %, and collectives count as communication. */
static void real_time_adds_up(void **unused)
{
    (void)unused;
    world_barrier(world);
    perf_start("real");
    enum phase before = phase_enter(PHASE_COMPUTE);
    assert_int_equal(before, PHASE_OTHER);
    if (world->rank == 0)
        usleep(300000);
    world_barrier(world); /* the others wait here */
    phase_enter(before);
    usleep(20000);
    perf_report(world, arena, path);
    world_barrier(world);
    if (world->rank > 0)
        return;
    json_t *all = json_load_file(path, 0, NULL), *one = json_object_get(all, "real"), *row;
    double sum = 0.0, wall = json_number_value(json_object_get(json_object_get(one, "wall_seconds"), "avg"));
    const char *name;
    json_object_foreach(json_object_get(one, "phase_seconds"), name, row) sum +=
        json_number_value(json_object_get(row, "avg"));
    assert_true(fabs(sum - wall) < 0.02 * wall);
    assert_true(wall > 0.02);
    if (world->size > 1)
        assert_true(number(one, "phase_seconds", "communication, exposed", "max") > 0.01);
    json_decref(all);
}

static void a_spoiled_file_is_replaced(void **unused)
{
    (void)unused;
    const char *why = NULL;
    if (world->rank == 0)
        assert_true(file_write(arena, path, "{\"cut", 5, &why));
    json_t *all = stage("after", 1.0, 1.0, 1.0, 1.0);
    if (world->rank > 0)
        return;
    assert_int_equal(json_object_size(all), 1);
    json_decref(all);
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    arena = arena_create("test", 1 << 16);
    const char *base = getenv("CFN_TEST_TMP");
    char *name = arena_printf(arena, "%s/perf.%d.json", base ? base : "/tmp", (int)getpid());
    path = world_broadcast_text(world, arena, name, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_add_up_and_stages_stay),
        cmocka_unit_test(notes_have_their_thresholds),
        cmocka_unit_test(real_time_adds_up),
        cmocka_unit_test(a_spoiled_file_is_replaced),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (world->rank == 0)
        unlink(path);
    return world_end(world, failed);
}
