/* Selection at any rank count: picks and gains have the bits of one rank. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/rng.h"
#include "concept/greedy.h"
#include "digest.h"
#include "dist/world.h"
#include "math/blas.h"

enum { N = 333, DIM = 21, COUNT = 60 };
static struct world *world;
static struct arena *arena;

struct result {
    int64_t picks[COUNT], taken;
    double gains[COUNT];
};

static const struct {
    const char *objective, *similarity;
} PLANS[] = {
    { "facility_location", "cosine" },   { "facility_location", "correlation" }, { "facility_location", "euclidean" },
    { "facility_location", "features" }, { "feature_sqrt", "features" },         { "feature_log1p", "features" },
    { "feature_sigmoid", "features" },   { "max_coverage", "features" },         { "saturated_coverage", "cosine" },
    { "graph_cut", "cosine" },           { "sum_redundancy", "euclidean" },      { "modular", "cosine" },
    { "reconstruction", "cosine" },
};
static const char *const OPTIMISERS[] = { "naive",  "lazy",    "approximate", "two_stage", "stochastic",
                                          "sample", "modular", "greedi",      "greedyml" };
enum { PLANS_COUNT = sizeof PLANS / sizeof *PLANS, WAYS = sizeof OPTIMISERS / sizeof *OPTIMISERS };

static float *vectors(bool positive)
{
    struct rng rng = { .seed = 4, .purpose = RNG_TEST };
    float *x = arena_array(arena, float, N *DIM);
    for (int i = 0; i < N * DIM; i++) {
        x[i] = (float)rng_normal(&rng, (uint64_t)(i / DIM % 300), (uint64_t)(i % DIM)); /* the last 33 are copies */
        x[i] = positive ? fabsf(x[i]) : x[i];
    }
    return x;
}

/* All objectives by all optimisers, the matrix stored, or (`shared`) in tiles with each rank's own rows only. */
static void run_all(struct result *result, bool shared)
{
    static double score[N], moment[DIM * DIM];
    for (int i = 0; i < N; i++)
        score[i] = sin(i);
    for (int i = 0; i < DIM * DIM; i++)
        moment[i] = (i / DIM == i % DIM ? 9 : 0) + cos((i / DIM + 1) * (i % DIM + 1));
    struct span mine = shared ? similarities_span(world, N) : (struct span){ 0, N };
    for (int p = 0, r = 0; p < PLANS_COUNT; p++)
        for (int o = 0; o < WAYS; o++, r++) {
            const struct objective *objective = objective_find(PLANS[p].objective);
            const struct similarity *similarity = similarity_find(PLANS[p].similarity);
            if (shared && (!similarity->is_square || strcmp(PLANS[p].objective, "reconstruction") == 0))
                continue;
            bool positive = strcmp(PLANS[p].similarity, "features") == 0 && p > 3;
            float *x = vectors(positive);
            struct term_spec term = { .objective = objective,
                                      .similarity = similarity,
                                      .weight = 1,
                                      .parameter = objective->parameter,
                                      .score = score,
                                      .moment = strcmp(PLANS[p].objective, "reconstruction") == 0 ? moment : NULL };
            struct ground ground = { N, DIM, x + mine.first * DIM, mine, 0 };
            struct greedy_problem problem = { world, &ground, &term, 1, !shared };
            struct greedy_spec spec;
            greedy_defaults(&spec);
            spec.optimiser = optimiser_find(OPTIMISERS[o]);
            spec.count = COUNT;
            spec.seed = 7;
            spec.parts = 5;
            struct greedy_cost cost;
            const char *why = NULL;
            result[r].taken = greedy_select(result[r].picks, result[r].gains, &problem, &spec, &cost, arena, &why);
            if (result[r].taken < (term.moment ? 1 : COUNT))
                fail_msg("%s %s: %d taken (%s)", PLANS[p].objective, OPTIMISERS[o], (int)result[r].taken,
                         why ? why : "");
            arena_reset(arena);
        }
}

/* One launch writes the digest of its results; the launches with other rank counts compare theirs. */
static void check(bool shared, const char *name)
{
    static struct result mine[PLANS_COUNT * WAYS], theirs[PLANS_COUNT * WAYS];
    memset(mine, 0, sizeof mine);
    run_all(mine, shared);
    for (int p = 0; p < PLANS_COUNT; p++) { /* naive, lazy and two_stage are alike to the bit */
        assert_memory_equal(&mine[p * WAYS], &mine[p * WAYS + 1], sizeof *mine);
        assert_memory_equal(&mine[p * WAYS], &mine[p * WAYS + 3], sizeof *mine);
    }
    memcpy(theirs, mine, sizeof mine);
    world_broadcast(world, theirs, sizeof theirs, 0);
    assert_memory_equal(mine, theirs, sizeof mine);
    assert_true(world->rank != 0 || digest_same(name, digest(1, mine, sizeof mine)));
}

static void picks_and_gains_are_those_of_one_rank(void **state)
{
    (void)state;
    check(false, "greedy");
}

static void tiles_and_shared_vectors_too(void **state)
{
    (void)state;
    check(true, "greedy-tiles");
}

/* Lazy: collectives and bytes of a pick on n vectors around 100 centres; greedyml: none for gains. */
static struct greedy_cost cost_of(const char *optimiser, int64_t n)
{
    enum { CENTRES = 100 };
    struct rng rng = { .seed = 9, .purpose = RNG_TEST };
    float *x = arena_array(arena, float, n *DIM);
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = 0; d < DIM; d++)
            x[i * DIM + d] = (float)(rng_normal(&rng, (uint64_t)(i * 7 % CENTRES), (uint64_t)d) +
                                     0.3 * rng_normal(&rng, (uint64_t)(CENTRES + i), (uint64_t)d));
    struct term_spec term = { .objective = objective_find("facility_location"),
                              .similarity = similarity_find("cosine"),
                              .weight = 1 };
    struct ground ground = { n, DIM, x, { 0, n }, 0 };
    struct greedy_problem problem = { world, &ground, &term, 1, true };
    struct greedy_spec spec;
    greedy_defaults(&spec);
    spec.optimiser = optimiser_find(optimiser);
    spec.count = COUNT;
    int64_t picks[COUNT];
    double gains[COUNT];
    struct greedy_cost cost;
    const char *why = NULL;
    assert_int_equal(greedy_select(picks, gains, &problem, &spec, &cost, arena, &why), COUNT);
    arena_reset(arena);
    return cost;
}

static void a_pick_costs_a_few_small_messages(void **state)
{
    (void)state;
    struct greedy_cost small = cost_of("lazy", 800), large = cost_of("lazy", 6400), tree = cost_of("greedyml", 800);
    struct greedy_cost grown = cost_of("greedyml", 6400);
    /* Nothing once the parts are on their ranks, whatever n. */
    assert_int_equal(tree.picks.calls + tree.picks.bytes + tree.start.calls, 0);
    assert_int_equal(grown.picks.calls + grown.picks.bytes + grown.start.calls, 0);
    /* Lazy: a few sums a pick, each of 1024 gains at most (four subtrees of a rank at most), far from all n. */
    int64_t others = world->size - 1, most = (int64_t)8 * 1024 * 4 * others;
    const struct greedy_cost *both[] = { &small, &large };
    for (int i = 0; i < 2; i++) {
        assert_true(both[i]->picks.calls <= 6 * COUNT && (both[i]->picks.calls >= COUNT || others == 0));
        assert_true(both[i]->picks.bytes <= both[i]->picks.calls * most);
    }
    assert_true(2 * large.picks.bytes <= (int64_t)8 * 6400 * others * COUNT);
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    log_setup(world->rank, LOG_QUIET);
    blas_start(1);
    arena = arena_create("test", 1 << 20);
    const struct CMUnitTest tests[] = { cmocka_unit_test(picks_and_gains_are_those_of_one_rank),
                                        cmocka_unit_test(tiles_and_shared_vectors_too),
                                        cmocka_unit_test(a_pick_costs_a_few_small_messages) };
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
