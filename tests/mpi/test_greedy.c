/* Selection at any rank count: picks and gains have the bits of one rank. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/rng.h"
#include "concept/coverage.h"
#include "concept/greedy.h"
#include "digest.h"
#include "dist/world.h"
#include "math/blas.h"

enum { N = 333, DIM = 21, COUNT = 120, RUNS = 4 };
static struct world *world;
static struct arena *arena;

struct result {
    int64_t picks[RUNS][COUNT];
    double gains[RUNS][COUNT];
};

static void run_all(struct result *result)
{
    struct rng rng = { .seed = 4, .purpose = RNG_TEST };
    float *x = arena_array(arena, float, N *DIM);
    for (int i = 0; i < N * DIM; i++)
        x[i] = (float)rng_normal(&rng, (uint64_t)(i / DIM % 300), (uint64_t)(i % DIM)); /* the last 33 are copies */
    for (int r = 0; r < RUNS; r++) {
        struct coverage *c = coverage_create(arena, world, similarity_find(r % 2 ? "features" : "cosine"), x, N, DIM);
        greedy_select(result->picks[r], result->gains[r], COUNT, c, objective_find("facility_location"),
                      optimiser_find(r / 2 ? "lazy" : "naive"), arena);
    }
}

/* One rank writes its result; the launches with more ranks compare theirs. */
static void picks_and_gains_are_those_of_one_rank(void **state)
{
    (void)state;
    struct result *mine = arena_array(arena, struct result, 1), *theirs = arena_array(arena, struct result, 1);
    run_all(mine);
    for (int r = 0; r < 2; r++) {
        assert_memory_equal(mine->picks[r], mine->picks[r + 2], sizeof mine->picks[r]);
        assert_memory_equal(mine->gains[r], mine->gains[r + 2], sizeof mine->gains[r]);
    }
    /* Every rank holds the same answer. */
    memcpy(theirs, mine, sizeof *mine);
    world_broadcast(world, theirs, sizeof *theirs, 0);
    assert_memory_equal(mine, theirs, sizeof *mine);

    assert_true(world->rank != 0 || digest_same("greedy", digest(1, mine, sizeof *mine)));
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    log_setup(world->rank, LOG_QUIET);
    blas_start(1);
    arena = arena_create("test", 1 << 20);
    const struct CMUnitTest tests[] = { cmocka_unit_test(picks_and_gains_are_those_of_one_rank) };
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
