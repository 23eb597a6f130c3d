/* Facility location beside a plain greedy in Python (fixture: scripts/dump_select.py), with ties and duplicates, for
 * both optimisers. Picks must be equal. Gains: 1e-12 where similarities are exact in float, 1e-5 otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "concept/coverage.h"
#include "concept/greedy.h"
#include "dist/world.h"
#include "math/blas.h"

enum { MOST = 256 };
static struct world *world;
static struct arena *arena;

static void vector(float *x, const char *kind, int i, int dim, int distinct)
{
    i %= distinct;
    memset(x, 0, (size_t)dim * sizeof *x);
    if (strcmp(kind, "features") == 0)
        for (int d = 0; d < dim; d++)
            x[d] = (float)((i * 7 + d * 13 + i * d * 3) % 23 - 6) / 16;
    else if (strcmp(kind, "smooth") == 0)
        for (int d = 0; d < dim; d++)
            x[d] = (float)((i * i * 7919 + d * d * 104729 + i * d * 31) % 1009 - 300) / 256;
    else
        for (int j = 0; j < 4; j++)
            x[((i * 5 + i * i) + j * (2 * (i % 4) + 1)) % dim] = (i * j + i / 4) % 2 ? -1.0f : 1.0f;
}

static void compare(const char *kind, const char *optimiser, const float *x, int n, int dim, int count,
                    const int64_t *picks, const double *gains)
{
    int64_t our_picks[MOST];
    double our_gains[MOST];
    const char *similarity = strcmp(kind, "features") == 0 ? kind : "cosine";
    struct coverage *coverage = coverage_create(arena, world, similarity_find(similarity), x, n, dim);
    greedy_select(our_picks, our_gains, count, coverage, objective_find("facility_location"), optimiser_find(optimiser),
                  arena);
    double tolerance = strcmp(kind, "smooth") == 0 ? 1e-5 : 1e-12;
    for (int m = 0; m < count; m++)
        if (our_picks[m] != picks[m] || !(fabs(our_gains[m] - gains[m]) <= tolerance * fmax(1, gains[0])))
            fail_msg("%s %s, %d of %d in %d dimensions: pick %d is %lld (gain %.12g) instead of %lld (%.12g)",
                     optimiser, kind, count, n, dim, m, (long long)our_picks[m], our_gains[m], (long long)picks[m],
                     gains[m]);
}

static void picks_are_those_of_a_plain_greedy(void **state)
{
    (void)state;
    FILE *file = fopen("tests/parity/fixtures/select.txt", "r");
    assert_non_null(file);
    int cases = 0;
    assert_int_equal(fscanf(file, "%d", &cases), 1);
    assert_true(cases >= 20);
    for (int c = 0; c < cases; c++, arena_reset(arena)) {
        char kind[16];
        int n, dim, distinct, count;
        assert_int_equal(fscanf(file, "%15s %d %d %d %d", kind, &n, &dim, &distinct, &count), 5);
        assert_true(count <= MOST);
        int64_t picks[MOST];
        double gains[MOST];
        for (int m = 0; m < count; m++)
            assert_int_equal(fscanf(file, "%ld", &picks[m]), 1);
        for (int m = 0; m < count; m++)
            assert_int_equal(fscanf(file, "%lf", &gains[m]), 1);
        float *x = arena_array(arena, float, n *dim);
        for (int i = 0; i < n; i++)
            vector(x + i * dim, kind, i, dim, distinct);
        compare(kind, "naive", x, n, dim, count, picks, gains);
        compare(kind, "lazy", x, n, dim, count, picks, gains);
    }
    fclose(file);
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    log_setup(world->rank, LOG_QUIET);
    blas_start(1);
    arena = arena_create("test", 1 << 20);
    const struct CMUnitTest tests[] = { cmocka_unit_test(picks_are_those_of_a_plain_greedy) };
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
