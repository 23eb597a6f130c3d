/* The arena of a test program: group setup and teardown for cmocka_run_group_tests. */
#ifndef TESTS_TEST_ARENA_H
#define TESTS_TEST_ARENA_H

#include "base/arena.h"

static struct arena *arena;

static int open_arena(void **state)
{
    (void)state;
    arena = arena_create("test", 1 << 20);
    return 0;
}

static int close_arena(void **state)
{
    (void)state;
    arena_destroy(arena);
    return 0;
}

#endif
