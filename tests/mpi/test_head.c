/* The head and the bootstrap at any rank count: the bits of one rank. */
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
#include "concept/head.h"
#include "concept/head_loss.h"
#include "concept/head_sparse.h"
#include "concept/score.h"
#include "digest.h"
#include "dist/world.h"
#include "math/blas.h"

enum { N = 417, D = 19, C = 3, R = 25, METRICS = SCORE_SCALARS + 2 * C };
static const struct rng RNG = { .seed = 6, .purpose = RNG_TEST };
static struct world *world;
static struct arena *arena, *scratch;

struct result {
    double weights[2][C * (D + 1)];
    double c, objective[2];
    double sparse[2][C * (D + 1)], lambda[2];
    double replicates[R * METRICS];
};

static float x[N * D], logits[N * C];
static int32_t label[N];
static int8_t labels[N * C];

static void make_data(void)
{
    for (int i = 0; i < N; i++) {
        label[i] = (int32_t)rng_below(&RNG, (uint64_t)i, 50, C);
        for (int d = 0; d < D; d++)
            x[i * D + d] = (float)rng_normal(&RNG, (uint64_t)i, (uint64_t)d) + (d == label[i] ? 1 : 0);
        for (int c = 0; c < C; c++)
            labels[i * C + c] = (int8_t)((int)rng_below(&RNG, (uint64_t)i, 60 + (uint64_t)c, 4) - 2);
    }
}

/* Share of training rows a head gets right: the same on every rank, since every rank looks at all rows. */
static double accuracy(void *data, const struct head *head)
{
    (void)data;
    int right = 0;
    int32_t said[N];
    head_logits(logits, head, x, N, arena);
    score_predict(said, logits, N, C, false);
    for (int i = 0; i < N; i++)
        right += said[i] == label[i];
    return (double)right / N;
}

static void run_all(struct result *result)
{
    struct head head;
    for (int multi = 0; multi < 2; multi++) {
        struct head_rows *rows = head_rows_create(arena, world, N, C, D, multi);
        rows->x = x + rows->mine.first * D;
        rows->label = multi ? NULL : label + rows->mine.first;
        rows->labels = multi ? labels + rows->mine.first * C : NULL;
        head_rows_prepare(rows, arena);
        if (multi) {
            head = head_create(arena, C, D);
            head_fit(&head, rows, 0.5, 1e-6, 500, arena);
        } else {
            result->c = head_search(&head, rows, 1e-4, 200, accuracy, NULL, arena, arena).c;
        }
        const int levels[] = { 2, 4 };
        struct sparse_spec spec = { 0.9, 0.8, 1e-3, 1e-5, 100, levels, 2 };
        rows->class_weight = head_balanced_weights(arena, multi ? NULL : label, multi ? labels : NULL, N, C);
        struct sparse_path *path = head_sparse_path(rows, &spec, arena, scratch);
        memcpy(result->sparse[multi], path->level[1].weight, sizeof result->sparse[multi]);
        result->lambda[multi] = path->points[path->count - 1].lambda;
        rows->class_weight = NULL;
        result->objective[multi] = head_objective(NULL, &head, rows, 0.5, arena);
        memcpy(result->weights[multi], head.weight, sizeof result->weights[multi]);
    }
    double p[N * C];
    int32_t said[N];
    score_probability(p, logits, N, C, false);
    score_predict(said, logits, N, C, false);
    struct score_rows rows = { .rows = N, .classes = C, .probability = p, .predicted = said, .label = label };
    struct score_plan *plan = score_plan_create(arena, &rows);
    score_bootstrap(result->replicates, world, arena, &plan, 1, R, 3);
}

static void results_are_those_of_one_rank(void **state)
{
    (void)state;
    struct result *mine = arena_array(arena, struct result, 1), *theirs = arena_array(arena, struct result, 1);
    make_data();
    run_all(mine);
    memcpy(theirs, mine, sizeof *mine);
    world_broadcast(world, theirs, sizeof *theirs, 0);
    assert_memory_equal(mine, theirs, sizeof *mine);
    assert_true(mine->objective[0] > 0 && mine->objective[1] > 0);

    assert_true(world->rank != 0 || digest_same("cbm", digest(1, mine, sizeof *mine)));
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    log_setup(world->rank, LOG_QUIET);
    blas_start(1);
    arena = arena_create("test", 1 << 20);
    scratch = arena_create("scratch", 1 << 20);
    const struct CMUnitTest tests[] = { cmocka_unit_test(results_are_those_of_one_rank) };
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
