/* Metrics: small cases by hand, bootstrap by its definition, quantiles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "concept/control.h"
#include "concept/score.h"
#include "dist/world.h"
#include "math/vec.h"

static struct world *world;
static struct arena *arena;

static void near(double found, double expected)
{
    if (!(fabs(found - expected) <= 1e-12))
        fail_msg("found %.15g, expected %.15g", found, expected);
}

static void two_classes_by_hand(void **state)
{
    (void)state;
    /* Class 1 scores .9 .6 .6 .2; truth 1 1 0 0: pairs (.9 .6) (.9 .2) (.6 .2) right, (.6 .6) a tie: 3.5 of 4. */
    const double p[] = { 0.1, 0.9, 0.4, 0.6, 0.4, 0.6, 0.8, 0.2 };
    const int32_t label[] = { 1, 1, 0, 0 }, said[] = { 1, 1, 1, 0 };
    struct score_rows rows = { .rows = 4, .classes = 2, .probability = p, .predicted = said, .label = label };
    double out[10];
    score_compute(out, score_plan_create(arena, &rows), NULL);
    near(out[SCORE_ACCURACY], 0.75);
    near(out[SCORE_BALANCED], 0.75);
    near(out[SCORE_SCALARS + 1], 3.5 / 4);
    near(out[SCORE_AUROC], 3.5 / 4);
    near(out[SCORE_SCALARS + 2 + 1], 0.5 * 1 + 0.5 * 2 / 3); /* recall .5 at precision 1, then .5 at 2/3 */
    near(out[SCORE_F1], 0.5 * (2.0 / 3 + 4.0 / 5));
    near(out[SCORE_ECE], (fabs(0.9 - 1) + fabs(2 * 0.6 - 1) + fabs(0.8 - 1)) / 4);
    arena_reset(arena);
}

static void a_class_without_positives_is_not_defined(void **state)
{
    (void)state;
    const double p[] = { 0.2, 0.5, 0.3, 0.1, 0.8, 0.1 };
    const int32_t label[] = { 0, 1 }, said[] = { 1, 1 };
    struct score_rows rows = { .rows = 2, .classes = 3, .probability = p, .predicted = said, .label = label };
    double out[12];
    score_compute(out, score_plan_create(arena, &rows), NULL);
    assert_true(isnan(out[SCORE_SCALARS + 2]));
    near(out[SCORE_AUROC], 1);
    near(out[SCORE_BALANCED], 0.5);
    rows.rows = 0;
    score_compute(out, score_plan_create(arena, &rows), NULL);
    assert_true(isnan(out[SCORE_ACCURACY]) && isnan(out[SCORE_AUROC]) && isnan(out[SCORE_ECE]));
    arena_reset(arena);
}

/* A replicate is the metric of the resampled rows themselves. */
static void replicates_are_resamples(void **state)
{
    (void)state;
    enum { N = 40, C = 3, R = 7, METRICS = SCORE_SCALARS + 2 * C };
    struct rng data = { .seed = 3, .purpose = RNG_TEST }, draw = { .seed = 11, .purpose = RNG_BOOTSTRAP };
    float logits[N * C], drawn[N * C];
    int32_t label[N], drawn_label[N], said[N];
    double p[N * C], out[R * METRICS], plain[METRICS];
    for (int i = 0; i < N * C; i++)
        logits[i] = (float)rng_range(&data, 0, (uint64_t)i, -2, 2);
    for (int i = 0; i < N; i++)
        label[i] = (int32_t)rng_below(&data, 1, (uint64_t)i, C);
    struct score_rows rows = { .rows = N, .classes = C, .probability = p, .predicted = said, .label = label };
    score_probability(p, logits, N, C, false);
    score_predict(said, logits, N, C, false);
    struct score_plan *plan[2] = { score_plan_create(arena, &rows), score_plan_create(arena, &rows) };
    score_bootstrap(out, world, arena, plan, 2, R, 11);
    for (int r = 0; r < R; r++) {
        for (int i = 0; i < N; i++) {
            uint64_t pick = rng_below(&draw, (uint64_t)r, (uint64_t)i, N);
            memcpy(drawn + i * C, logits + pick * C, C * sizeof *drawn);
            drawn_label[i] = label[pick];
        }
        rows.label = drawn_label;
        score_probability(p, drawn, N, C, false);
        score_predict(said, drawn, N, C, false);
        score_compute(plain, score_plan_create(arena, &rows), NULL);
        for (int m = 0; m < METRICS; m++)
            near(out[r * METRICS + m], plain[m]);
        rows.label = label;
    }
    arena_reset(arena);
}

static void intervals_interpolate_and_pass_over_nan(void **state)
{
    (void)state;
    double values[2 * 41], low, high;
    for (int i = 0; i < 41; i++) {
        values[2 * i] = (i * 7) % 41; /* 0..40 in disorder */
        values[2 * i + 1] = i == 3 ? 5 : NAN;
    }
    score_interval(&low, &high, arena, values, 41, 2);
    near(low, 1);
    near(high, 39);
    score_interval(&low, &high, arena, values + 1, 41, 2);
    near(low, 5);
    near(high, 5);
    score_interval(&low, &high, arena, values + 1, 3, 2);
    assert_true(isnan(low) && isnan(high));
    arena_reset(arena);
}

static void predictions_take_the_lowest_of_equals(void **state)
{
    (void)state;
    const float z[] = { 1, 3, 3, -1, -1, -2 };
    int32_t said[6];
    score_predict(said, z, 2, 3, false);
    assert_int_equal(said[0], 1);
    assert_int_equal(said[1], 0);
    score_predict(said, z, 2, 3, true);
    const int32_t expected[] = { 1, 1, 1, 0, 0, 0 };
    assert_memory_equal(said, expected, sizeof expected);
    const float large[] = { 1000, -1000, 0 };
    double p[3];
    score_probability(p, large, 1, 3, false);
    assert_true(p[0] == 1 && p[1] == 0 && p[2] == 0);
    score_probability(p, large, 1, 3, true);
    assert_true(p[0] == 1 && p[1] == 0 && p[2] == 0.5);
}

static void controls_are_what_they_say(void **state)
{
    (void)state;
    enum { V = 50, D = 33 };
    float a[V * D], b[V * D], logits[3];
    control_random_vectors(a, V, D, 1, 0);
    control_random_vectors(b, V, D, 1, 1);
    for (int v = 0; v < V; v++) {
        near((float)vec_norm(a + v * D, D), 1);
        assert_true(fabs(vec_dot(a + v * D, b + v * D, D)) < 0.9);
    }
    const int32_t label[] = { 2, 2, 0, 2 };
    control_majority(logits, label, NULL, 4, 3, false);
    assert_true(logits[2] > logits[0] && logits[0] > logits[1]);
    double p[3];
    score_probability(p, logits, 1, 3, false);
    assert_true(fabs(p[2] - 3.5 / 5.5) < 1e-6);
    const int8_t labels[] = { 1, 0, -1, 1, 0, -2, 0, 0, 1 };
    control_majority(logits, NULL, labels, 3, 3, true);
    assert_true(logits[0] > 0 && logits[1] < 0 && logits[2] > 0);
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    arena = arena_create("test", 1 << 20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_classes_by_hand),
        cmocka_unit_test(a_class_without_positives_is_not_defined),
        cmocka_unit_test(replicates_are_resamples),
        cmocka_unit_test(intervals_interpolate_and_pass_over_nan),
        cmocka_unit_test(predictions_take_the_lowest_of_equals),
        cmocka_unit_test(controls_are_what_they_say),
    };
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
