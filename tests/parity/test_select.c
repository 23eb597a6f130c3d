/* Every objective by every optimiser beside plain loops in Python (fixture: scripts/dump_select.py), with ties, zero
 * gains, negative entries and duplicates; similarities stored and in tiles. Picks must be equal. Gains: 1e-9 where
 * similarities are exact in float, 1e-5 otherwise. */
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
#include "concept/greedy.h"
#include "dist/world.h"
#include "math/blas.h"

enum { MOST = 256 };
static struct world *world;
static struct arena *arena;

struct plan {
    char objective[32], similarity[16], optimiser[16], kind[24], optimisers[48]; /* those with one result: a+b */
    int n, dim, distinct, count, taken;
    int64_t picks[MOST];
    double gains[MOST];
};

static void vector(float *x, const struct plan *p, int i)
{
    int n = p->distinct;
    i %= n;
    memset(x, 0, (size_t)p->dim * sizeof *x);
    for (int d = 0; d < p->dim; d++)
        if (strcmp(p->kind, "signed") == 0 || strcmp(p->kind, "positive") == 0) {
            int v = (i * 7 + d * 13 + i * d * 3) % 23 - 6;
            x[d] = (float)(v < 0 && *p->kind == 'p' ? 0 : v) / 16;
        } else if (strcmp(p->kind, "smooth") == 0 || strcmp(p->kind, "positive_smooth") == 0) {
            x[d] = (float)((i * i * 7919 + d * d * 104729 + i * d * 31) % 1009 - (*p->kind == 's' ? 300 : 0)) / 256;
        } else if (strcmp(p->kind, "matrix") == 0) {
            int j = d % n;
            x[d] = (float)((i * j * 5 + i + j) % 19 - 4) / 16 + (float)(i == j);
        }
    for (int j = 0; j < 4 && strcmp(p->kind, "quarter") == 0; j++)
        x[((i * 5 + i * i) + j * (2 * (i % 4) + 1)) % p->dim] = (i * j + i / 4) % 2 ? -1.0f : 1.0f;
}

/* The objective under test, as members of a goal. */
static int terms_of(struct term_spec *term, const struct plan *p)
{
    static double score[MOST], moment[128 * 128];
    for (int i = 0; i < p->n; i++)
        score[i] = (double)(i * 37 % 11) / 8;
    for (int a = 0; a < p->dim && p->dim <= 128; a++)
        for (int b = 0; b < p->dim; b++)
            moment[a * p->dim + b] = (a == b ? 8 : 0) + (double)((a * b + a + b) % 5) / 4;
    bool labo = strcmp(p->objective, "labo") == 0;
    const char *names[] = { labo ? "modular" : p->objective, "facility_location" };
    for (int t = 0; t <= labo; t++) {
        const struct objective *objective = objective_find(names[t]);
        assert_non_null(objective);
        bool residual = strcmp(p->objective, "reconstruction") == 0;
        term[t] = (struct term_spec){ .objective = objective,
                                      .similarity = similarity_find(p->similarity),
                                      .weight = labo ? t ? 2 : 0.5 : 1,
                                      .parameter = objective->parameter,
                                      .score = score,
                                      .moment = residual ? moment : NULL };
    }
    return 1 + labo;
}

static void compare(const struct plan *p, bool store)
{
    float *x = arena_array(arena, float, p->n * p->dim);
    for (int i = 0; i < p->n; i++)
        vector(x + i * p->dim, p, i);
    struct term_spec term[2];
    struct ground ground = { p->n, p->dim, x, { 0, p->n }, 0 };
    struct greedy_problem problem = { world, &ground, term, terms_of(term, p), store };
    struct greedy_spec spec;
    greedy_defaults(&spec);
    spec.count = p->count;
    spec.seed = 11;
    spec.parts = 8;
    bool initial = strcmp(p->optimiser, "initial") == 0, knapsack = strcmp(p->optimiser, "knapsack") == 0;
    int64_t first[] = { p->n - 1, 0 };
    double cost[MOST];
    for (int i = 0; i < p->n; i++)
        cost[i] = 1 + (double)(i * 5 % 7) / 4;
    spec.optimiser = optimiser_find(initial || knapsack ? "lazy" : p->optimiser);
    assert_non_null(spec.optimiser);
    if (initial)
        spec.initial = first, spec.initial_count = 2;
    if (knapsack)
        spec.cost = cost, spec.budget = 0.6 * p->count;

    int64_t picks[MOST];
    double gains[MOST];
    struct greedy_cost spent;
    const char *why = NULL;
    int64_t taken = greedy_select(picks, gains, &problem, &spec, &spent, arena, &why);
    if (taken != p->taken)
        fail_msg("%s %s %s %s n %d: %d taken instead of %d (%s)", p->objective, p->similarity, p->optimiser, p->kind,
                 p->n, (int)taken, p->taken, why ? why : "");
    bool rough = strstr(p->kind, "smooth") || strcmp(p->similarity, "precomputed") == 0;
    for (int m = 0; m < p->taken; m++)
        if (picks[m] != p->picks[m] ||
            !(fabs(gains[m] - p->gains[m]) <= (rough ? 1e-5 : 1e-9) * fmax(1, fabs(p->gains[0]))))
            fail_msg("%s %s %s %s n %d, %s: pick %d is %lld (gain %.12g) instead of %lld (%.12g)", p->objective,
                     p->similarity, p->optimiser, p->kind, p->n, store ? "stored" : "tiles", m, (long long)picks[m],
                     gains[m], (long long)p->picks[m], p->gains[m]);
}

static void picks_are_those_of_a_plain_greedy(void **state)
{
    (void)state;
    FILE *file = fopen("tests/parity/fixtures/select.txt", "r");
    assert_non_null(file);
    int cases = 0, results = 0;
    assert_int_equal(fscanf(file, "%d", &cases), 1);
    for (int c = 0; c < cases; c++, arena_reset(arena)) {
        struct plan *p = arena_array(arena, struct plan, 1);
        assert_int_equal(fscanf(file, "%31s %15s %47s %23s %d %d %d %d %d", p->objective, p->similarity, p->optimisers,
                                p->kind, &p->n, &p->dim, &p->distinct, &p->count, &p->taken),
                         9);
        assert_true(p->count <= MOST && p->n <= MOST);
        for (int m = 0; m < p->taken; m++)
            assert_int_equal(fscanf(file, "%ld", &p->picks[m]), 1);
        for (int m = 0; m < p->taken; m++)
            assert_int_equal(fscanf(file, "%lf", &p->gains[m]), 1);
        for (char *name = strtok(p->optimisers, "+"); name; name = strtok(NULL, "+"), results++) {
            snprintf(p->optimiser, sizeof p->optimiser, "%s", name);
            compare(p, true);
            compare(p, false);
        }
    }
    fclose(file);
    assert_true(results >= 20 * 11 * 11); /* matrices, optimisers, objectives */
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
