/* When to stop: by a clock that the test moves, by signals to one rank, by a file; all ranks alike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "dist/deadline.h"
#include "dist/world.h"

static struct world *world;
static struct arena *arena;
static double hands; /* of the test's clock */

static double fake_clock(void)
{
    return hands;
}

static void the_limit_leaves_time_to_write(void **unused)
{
    (void)unused;
    hands = 500.0 + world->rank; /* clocks differ */
    deadline_set_clock(fake_clock);
    deadline_start(1.0, NULL);
    assert_false(deadline_reached(world, 10.0, 60.0));
    hands += 3529.0;
    assert_false(deadline_reached(world, 10.0, 60.0));
    assert_string_equal(deadline_reason(), "");
    hands += 2.0;
    assert_true(deadline_reached(world, 10.0, 60.0));
    assert_string_equal(deadline_reason(), "time limit");
    assert_true(deadline_reached(world, 0.0, 0.0)); /* once said, it stays */
    deadline_start(0.0, "");
    hands += 1e9;
    assert_false(deadline_reached(world, 10.0, 60.0)); /* no limit */
    deadline_set_clock(NULL);
}

static void a_signal_to_one_rank_stops_all(void **unused)
{
    (void)unused;
    const int signals[] = { SIGUSR1, SIGTERM };
    for (int s = 0; s < 2; s++) {
        deadline_listen();
        deadline_start(0.0, NULL);
        assert_false(deadline_reached(world, 0.0, 0.0));
        if (world->rank == world->size - 1)
            raise(signals[s]);
        assert_true(deadline_reached(world, 0.0, 0.0));
        assert_string_equal(deadline_reason(), "signal");
    }
    deadline_listen();
    if (world->rank == 0)
        raise(SIGUSR1); /* before the limit is known: kept */
    deadline_start(0.0, NULL);
    assert_true(deadline_reached(world, 0.0, 0.0));
    deadline_listen();
}

static void a_stop_file_stops_all(void **unused)
{
    (void)unused;
    const char *base = getenv("CFN_TEST_TMP");
    char *name = arena_printf(arena, "%s/stop.%d", base ? base : "/tmp", (int)getpid());
    const char *path = world_broadcast_text(world, arena, name, 0);
    deadline_set_clock(fake_clock); /* it is looked for once a second */
    deadline_start(0.0, path);
    assert_false(deadline_reached(world, 0.0, 0.0));
    hands += 1.5;
    if (world->rank == 0) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fclose(file);
    }
    assert_true(deadline_reached(world, 0.0, 0.0));
    assert_string_equal(deadline_reason(), "stop file");
    deadline_set_clock(NULL);
    world_barrier(world);
    if (world->rank == 0)
        unlink(path);
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    arena = arena_create("test", 1 << 16);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_leaves_time_to_write),
        cmocka_unit_test(a_signal_to_one_rank_stops_all),
        cmocka_unit_test(a_stop_file_stops_all),
    };
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
