/* Concept activation vectors: choice of examples against plain sorting, and what a fit promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "concept/cav.h"
#include "concept/cav_deal.h"
#include "concept/cav_examples.h"
#include "concept/svm.h"
#include "math/blas.h"
#include "math/vec.h"

enum { ROWS = 150, NEURONS = 6, WANTED = 20 };
static const struct rng RNG = { .seed = 5, .purpose = RNG_TEST };
static struct arena *arena;

/* Activations [ROWS x NEURONS] with many ties; neuron 4 never fires, neuron 5 always. */
static float activation(int row, int neuron)
{
    if (neuron == 4)
        return 0;
    uint64_t level = rng_below(&RNG, (uint64_t)row, (uint64_t)neuron, 12);
    return neuron == 5 ? (float)(level + 1) : level < 6 ? 0 : (float)(level - 5) / 4;
}

/* All rows, visited in an order of their own. */
static struct cav_collector *collect(const int32_t *neurons, int count, int step)
{
    struct cav_collector *c = cav_collector_create(arena, neurons, count, NEURONS, ROWS, WANTED);
    for (int i = 0; i < ROWS; i++) {
        int row = (i * step) % ROWS, entries = 0;
        int32_t index[NEURONS];
        float value[NEURONS];
        for (int k = 0; k < NEURONS; k++)
            if (activation(row, k) > 0 || k == 2) { /* stored zeros do not count */
                index[entries] = k;
                value[entries++] = activation(row, k);
            }
        cav_collect(c, row, index, value, entries);
    }
    return c;
}

static int sort_neuron;
static int by_activation(const void *a, const void *b)
{
    int x = (int)*(const int64_t *)a, y = (int)*(const int64_t *)b;
    float p = activation(x, sort_neuron), q = activation(y, sort_neuron);
    return p != q ? (p < q) - (p > q) : x - y;
}

static void positives_are_the_highest_and_ties_go_to_the_lowest_row(void **state)
{
    (void)state;
    const int32_t neurons[] = { 0, 2, 3, 4, 5 };
    const int steps[] = { 1, 149, 7, 77 };
    for (int s = 0; s < 4; s++) {
        struct cav_collector *c = collect(neurons, 5, steps[s]);
        for (int slot = 0; slot < 5; slot++) {
            int64_t order[ROWS], got[WANTED];
            int active = 0;
            for (int row = 0; row < ROWS; row++)
                if (activation(row, neurons[slot]) > 0)
                    order[active++] = row;
            sort_neuron = neurons[slot];
            qsort(order, (size_t)active, sizeof *order, by_activation);
            int expected = active < WANTED ? active : WANTED;
            assert_int_equal(cav_positives(c, slot, got), expected);
            assert_memory_equal(got, order, (size_t)expected * sizeof *got);
        }
    }
}

static void negatives_are_silent_distinct_and_keyed(void **state)
{
    (void)state;
    const int32_t neurons[] = { 1, 3, 5 }, alone[] = { 3 };
    struct cav_collector *c = collect(neurons, 3, 1), *other = collect(alone, 1, 7);
    int64_t rows[ROWS], again[ROWS];
    for (int slot = 0; slot < 2; slot++) {
        assert_int_equal(cav_negatives(c, slot, rows, WANTED, 9), WANTED);
        for (int i = 0; i < WANTED; i++) {
            assert_true(rows[i] >= 0 && rows[i] < ROWS);
            assert_true(activation((int)rows[i], neurons[slot]) <= 0);
            assert_true(i == 0 || rows[i] > rows[i - 1]);
        }
    }
    /* The same draws for neuron 3 in other company; others with another seed. */
    assert_int_equal(cav_negatives(other, 0, again, WANTED, 9), WANTED);
    assert_memory_equal(rows, again, WANTED * sizeof *rows);
    cav_negatives(other, 0, again, WANTED, 10);
    assert_memory_not_equal(rows, again, WANTED * sizeof *rows);
    /* Fewer than wanted: all of them. None: none. */
    int silent = 0;
    for (int row = 0; row < ROWS; row++)
        silent += activation(row, 3) <= 0;
    assert_int_equal(cav_negatives(other, 0, again, ROWS, 9), silent);
    for (int i = 0, row = 0; row < ROWS; row++)
        if (activation(row, 3) <= 0)
            assert_int_equal(again[i++], row);
    assert_int_equal(cav_negatives(c, 2, rows, WANTED, 9), 0);
}

/* Every silent row is as likely as any other. */
static void negatives_are_uniform(void **state)
{
    (void)state;
    const int32_t neurons[] = { 3 };
    struct cav_collector *c = collect(neurons, 1, 1);
    int hits[ROWS] = { 0 }, silent = 0, trials = 4000;
    int64_t rows[WANTED];
    for (int t = 0; t < trials; t++) {
        cav_negatives(c, 0, rows, WANTED, (uint64_t)t);
        for (int i = 0; i < WANTED; i++)
            hits[rows[i]]++;
    }
    for (int row = 0; row < ROWS; row++)
        silent += activation(row, 3) <= 0;
    double expected = (double)trials * WANTED / silent;
    for (int row = 0; row < ROWS; row++)
        if (activation(row, 3) <= 0)
            assert_true(fabs(hits[row] - expected) < 6 * sqrt(expected));
}

enum { DIM = 24, EACH = 60 };
static struct cav_spec spec = {
    .dim = DIM, .positives = EACH, .negatives = EACH, .c = 1, .tolerance = 1e-3, .holdout = 0.2, .random = 99
};

/* Two clouds `gap` apart along the first axis. */
static void clouds(float *x, double gap)
{
    for (int i = 0; i < 2 * EACH; i++)
        for (int d = 0; d < DIM; d++)
            x[i * DIM + d] = (float)(rng_normal(&RNG, (uint64_t)(1000 + i), (uint64_t)d) +
                                     (d == 0 ? (i < EACH ? gap / 2 : -gap / 2) : 0));
}

static void a_fit_finds_the_axis_and_says_how_sure_it_is(void **state)
{
    (void)state;
    static float x[2 * EACH * DIM], directions[99 * DIM], cav[DIM], again[DIM];
    cav_random_directions(directions, spec.random, DIM, 3);
    for (int r = 0; r < spec.random; r++)
        assert_true(fabs(vec_norm(directions + r * DIM, DIM) - 1) < 1e-6);
    struct cav_score score, same;
    struct cav_work *work = cav_work_create(arena, &spec);

    clouds(x, 8);
    assert_true(cav_fit(cav, &score, x, EACH, EACH, directions, 17, &spec, work));
    assert_true(fabs(vec_norm(cav, DIM) - 1) < 1e-6);
    assert_true(cav[0] > 0.9f);
    assert_true(score.accuracy == 1);
    assert_true(score.pvalue <= 0.05f);
    /* The decision separates the examples themselves. */
    for (int i = 0; i < 2 * EACH; i++)
        assert_true((vec_dot(cav, x + i * DIM, DIM) + (double)score.bias > 0) == (i < EACH));
    /* Used working memory leaves no trace. */
    assert_true(cav_fit(again, &same, x, EACH, EACH, directions, 17, &spec, work));
    assert_memory_equal(cav, again, sizeof cav);
    assert_memory_equal(&score, &same, sizeof score);

    clouds(x, 0);
    assert_true(cav_fit(cav, &score, x, EACH, EACH, directions, 17, &spec, work));
    assert_true(score.accuracy > 0.2f && score.accuracy < 0.8f);
    assert_true(score.pvalue > 0.02f);
}

static void every_method_finds_the_axis(void **state)
{
    (void)state;
    static float x[2 * EACH * DIM], directions[99 * DIM], cav[DIM];
    cav_random_directions(directions, spec.random, DIM, 3);
    clouds(x, 8);
    for (int method = CAV_SVM; method <= CAV_PATTERN; method++) {
        struct cav_spec other = spec;
        other.method = (enum cav_method)method;
        struct cav_score score;
        assert_true(cav_fit(cav, &score, x, EACH, EACH, directions, 17, &other, cav_work_create(arena, &other)));
        assert_true(fabs(vec_norm(cav, DIM) - 1) < 1e-6 && cav[0] > 0.9f);
        assert_true(score.accuracy > 0.95f && score.pvalue <= 0.05f);
        for (int i = 0; i < 2 * EACH; i++)
            assert_true((vec_dot(cav, x + i * DIM, DIM) + (double)score.bias > 0) == (i < EACH));
    }
    /* Both classes hold the same points: no direction by any of them but rounding. */
    for (int i = 0; i < EACH * DIM; i++)
        x[EACH * DIM + i] = x[i];
    struct cav_spec mean = spec;
    mean.method = CAV_MEAN;
    struct cav_score score;
    assert_false(cav_fit(cav, &score, x, EACH, EACH, directions, 17, &mean, cav_work_create(arena, &mean)));
}

static void unequal_classes_do_not_flatter(void **state)
{
    (void)state;
    static float x[2 * EACH * DIM], cav[DIM];
    clouds(x, 0);
    struct cav_spec few = spec;
    few.random = 0;
    struct cav_score score;
    /* 8 against 60 without a difference: saying "no" always is right 88 times of 100, and worth one half. */
    assert_true(cav_fit(cav, &score, x, 8, EACH, NULL, 4, &few, cav_work_create(arena, &few)));
    assert_true(score.accuracy <= 0.75f);
    assert_true(score.pvalue == 1);
}

static void the_same_points_in_both_classes_have_no_direction(void **state)
{
    (void)state;
    static float x[2 * EACH * DIM], cav[DIM];
    for (int i = 0; i < 2 * EACH * DIM; i++)
        x[i] = 0.37f * (float)(i % DIM);
    struct cav_score score;
    struct cav_spec plain = spec;
    plain.random = 0;
    assert_false(cav_fit(cav, &score, x, EACH, EACH, NULL, 4, &plain, cav_work_create(arena, &plain)));
}

/* Costs from 0 to 40,000 that rise with the number, as where neurons are ordered by how often they fire: every block of
 * 64 neurons costs what the mean does, within 6 %, and every neuron is dealt once. */
static void blocks_of_the_deal_cost_the_same(void **state)
{
    (void)state;
    enum { COUNT = 1000, BLOCK = 64 };
    int32_t neurons[COUNT];
    double cost[COUNT], mean = 0;
    bool seen[COUNT] = { false };
    for (int i = 0; i < COUNT; i++) {
        neurons[i] = i;
        cost[i] = i < 300 ? 0 : 40000.0 * (i - 300) / (COUNT - 300);
        mean += cost[i] / COUNT;
    }
    cav_deal(neurons, cost, COUNT, arena);
    for (int first = 0; first + BLOCK <= COUNT; first += BLOCK) {
        double sum = 0;
        for (int i = first; i < first + BLOCK; i++) {
            sum += cost[neurons[i]] / BLOCK;
            assert_false(seen[neurons[i]]);
            seen[neurons[i]] = true;
        }
        assert_true(fabs(sum / mean - 1) < 0.06);
    }
}

/* A direction given along the first axis, with the classes 2 apart on it but for one of ten: unit norm, a threshold
 * between them, the side as given. Turned round, it is as wrong as it was right. */
static void given_directions_are_rated(void **state)
{
    (void)state;
    enum { HALF = 40, WIDTH = 6 };
    struct cav_spec given = { .dim = WIDTH, .positives = HALF, .negatives = HALF, .holdout = 0.25, .seed = 3 };
    struct cav_work *work = cav_work_create(arena, &given);
    struct cav_score score;
    float x[2 * HALF * WIDTH], cav[WIDTH] = { 4 }, zero[WIDTH] = { 0 };
    for (int i = 0; i < 2 * HALF; i++)
        for (int d = 0; d < WIDTH; d++)
            x[i * WIDTH + d] = d > 0 ? (float)((i * 7 + d) % 5) : (i < HALF) != (i % 10 == 0) ? 5 : 3;
    assert_true(cav_rate(cav, &score, x, HALF, HALF, NULL, 0, &given, work));
    assert_true(cav[0] == 1 && cav[1] == 0);
    assert_true(fabsf(score.bias + 4) < 1e-6f);
    assert_true(score.accuracy > 0.75f && score.accuracy <= 1);
    cav[0] = -1;
    assert_true(cav_rate(cav, &score, x, HALF, HALF, NULL, 0, &given, work));
    assert_true(cav[0] == -1 && score.accuracy < 0.5f);
    assert_false(cav_rate(zero, &score, x, HALF, HALF, NULL, 0, &given, work));
}

int main(void)
{
    blas_start(1);
    svm_start();
    arena = arena_create("test", 1 << 20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positives_are_the_highest_and_ties_go_to_the_lowest_row),
        cmocka_unit_test(negatives_are_silent_distinct_and_keyed),
        cmocka_unit_test(negatives_are_uniform),
        cmocka_unit_test(a_fit_finds_the_axis_and_says_how_sure_it_is),
        cmocka_unit_test(every_method_finds_the_axis),
        cmocka_unit_test(unequal_classes_do_not_flatter),
        cmocka_unit_test(blocks_of_the_deal_cost_the_same),
        cmocka_unit_test(given_directions_are_rated),
        cmocka_unit_test(the_same_points_in_both_classes_have_no_direction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
