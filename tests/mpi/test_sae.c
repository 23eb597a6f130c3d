/* Training the sparse autoencoder over ranks: every variant gives the same bits at any rank count, whether rows are
 * kept or fetched, after a stop in the middle of an epoch, and beside other trainings on the same batches, for which
 * rows are fetched once; resampling fires; the largest activations of all ranks
 * are found; lists of exciting images are merged. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "concept/sae/sae_top.h"
#include "concept/sae_census.h"
#include "concept/sae_cost.h"
#include "concept/sae_score.h"
#include "concept/sae_train.h"
#include "digest.h"
#include "dist/shard.h"
#include "dist/world.h"
#include "formula.h"
#include "math/blas.h"

enum { D = 12, K = 64, TRAIN = 163, EVAL = 37, EPOCHS = 10 };

static struct world *world;
static struct arena *arena;

/* This rank's block of `rows` rows; few directions, so that there is something to learn. */
static struct sae_set make_set(int64_t rows, int salt)
{
    struct span mine = shard_chunks(rows, 16, world->size, world->rank);
    float *x = arena_array(arena, float, mine.count *D + 1);
    for (int64_t i = 0; i < mine.count; i++)
        for (int d = 0; d < D; d++) {
            int64_t row = mine.first + i;
            x[i * D + d] = formula(row % 9 * D + d, 1) + 0.2f * formula(row * D + d, salt);
        }
    return (struct sae_set){ x, mine.first, mine.count, rows };
}

/* One training a row: each variant, the ways to start, relu with so few active neurons that products are sparse, and
 * products in bf16. */
static const struct kind {
    const char *name;
    struct sae_rule rule;
    double penalty;
    enum sae_start start;
    bool median;
    double most_l0;
    bool half;
} kinds[] = {
    { "relu", { .variant = SAE_RELU }, 0.05, SAE_START_PUBLISHED, false, K / 2.0, false },
    { "relu-sparse", { .variant = SAE_RELU }, 0.2, SAE_START_PUBLISHED, true, (double)K / SAE_SPARSE_COST, false },
    { "topk", { .variant = SAE_TOPK, .k = 4 }, 0, SAE_START_DATA, false, 4, false },
    { "batchtopk", { .variant = SAE_BATCHTOPK, .k = 4 }, 0, SAE_START_TIED, true, 8, false },
    { "jumprelu", { .variant = SAE_JUMPRELU, .bandwidth = 0.2 }, 0.01, SAE_START_TIED, true, K / 2.0, false },
    { "matryoshka", { .variant = SAE_MATRYOSHKA, .k = 4, .prefixes = 3 }, 0, SAE_START_TIED, true, 8, false },
    { "relu-bf16", { .variant = SAE_RELU }, 0.05, SAE_START_PUBLISHED, false, K / 2.0, true },
    { "relu-sparse-bf16",
      { .variant = SAE_RELU },
      0.25,
      SAE_START_PUBLISHED,
      true,
      (double)K / SAE_SPARSE_COST_HALF,
      true },
    { "topk-bf16", { .variant = SAE_TOPK, .k = 4 }, 0, SAE_START_DATA, false, 4, true },
    { "batchtopk-bf16", { .variant = SAE_BATCHTOPK, .k = 4 }, 0, SAE_START_TIED, true, 8, true },
    { "jumprelu-bf16", { .variant = SAE_JUMPRELU, .bandwidth = 0.2 }, 0.01, SAE_START_TIED, true, K / 2.0, true },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static struct sae_options options_of(const struct kind *kind, int64_t resident_bytes)
{
    /* The last of five batches has 3 rows: most of the 8 leaves are empty. */
    return (struct sae_options){ .rule = kind->rule,
                                 .penalty = kind->penalty,
                                 .lr = 5e-3,
                                 .warmup = 0.1,
                                 .decay = 0.3,
                                 .penalty_warmup = 0.1,
                                 .clip = 10,
                                 .aux_k = 6,
                                 .aux_weight = 1.0 / 32,
                                 .dead_after = 1,
                                 .threshold_decay = 0.9,
                                 .start = kind->start,
                                 .median = kind->median,
                                 .first_threshold = 0.1,
                                 .batch = 40,
                                 .epochs = EPOCHS,
                                 .resample_every = kind->rule.variant == SAE_RELU ? 2 : 4,
                                 .resample_scale = 0.2,
                                 .leaves = 8,
                                 .seed = 3,
                                 .resident_bytes = resident_bytes,
                                 .half = kind->half };
}

static struct sae_trainer *make_trainer(const struct kind *kind, int64_t resident_bytes)
{
    struct sae_options options = options_of(kind, resident_bytes);
    return sae_trainer_create(arena, world, &options, D, K, make_set(TRAIN, 2), make_set(EVAL, 3));
}

static uint64_t state_digest(struct sae_trainer *trainer)
{
    struct checkpoint_field fields[SAE_FIELDS];
    uint64_t hash = 1469598103934665603u;
    sae_settle(trainer);
    int count = sae_fields(trainer, fields);
    for (int i = 0; i < count; i++) {
        size_t width = fields[i].type == STORE_F32 ? 4 : 8;
        hash = digest(hash, fields[i].data, (size_t)fields[i].count * width);
    }
    return hash;
}

/* Trains from where it stands to the end; the digest of the state and the last metrics. */
static uint64_t train(struct sae_trainer *trainer, struct sae_metrics *metrics, int *resampled)
{
    *resampled = 0;
    while (sae_epoch(trainer) < EPOCHS) {
        while (!sae_epoch_done(trainer))
            sae_step(trainer);
        *metrics = sae_end_epoch(trainer);
        *resampled += metrics->resampled;
        assert_true(metrics->epoch <= 4 * EPOCHS / 5 || metrics->resampled == 0);
    }
    const double last[4] = { metrics->train_loss, metrics->fvu, metrics->l0, metrics->dead };
    return digest(state_digest(trainer), last, sizeof last);
}

static void same_bits_at_any_rank_count(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        struct sae_metrics kept = { 0 }, fetched = { 0 };
        int resampled, again;
        char name[64];
        uint64_t hash = train(make_trainer(&kinds[i], 1 << 20), &kept, &resampled);
        assert_true(resampled > 0 || strcmp(kinds[i].name, "relu") != 0); /* the published start leaves dead neurons */
        if (!(kept.fvu > 0 && kept.fvu < 0.7 && kept.l0 > 0.5 && kept.l0 <= kinds[i].most_l0))
            fail_msg("%s: FVU %g, L0 %g", kinds[i].name, kept.fvu, kept.l0);
        assert_true(train(make_trainer(&kinds[i], 0), &fetched, &again) == hash);
        snprintf(name, sizeof name, "sae-%s", kinds[i].name);
        bool same = world->rank != 0 || digest_same(name, hash);
        agree(world, same, EXIT_INTERNAL, "%s: weights differ from those at another rank count", kinds[i].name);
    }
}

/* Rounding operands to 8 bits moves what is learned a little; that it moves at all shows that they are rounded. */
static void bf16_is_near_single(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        struct sae_metrics half = { 0 }, single = { 0 };
        struct kind twin = kinds[i];
        int resampled;
        if (!kinds[i].half)
            continue;
        twin.half = false;
        train(make_trainer(&kinds[i], 1 << 20), &half, &resampled);
        train(make_trainer(&twin, 1 << 20), &single, &resampled);
        if (!(half.train_loss != single.train_loss && fabs(half.train_loss / single.train_loss - 1) < 0.05 &&
              fabs(half.fvu - single.fvu) < 0.15))
            fail_msg("%s: loss %g and %g, FVU %g and %g", kinds[i].name, half.train_loss, single.train_loss, half.fvu,
                     single.fvu);
    }
}

static void stop_in_an_epoch_changes_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        struct sae_metrics straight = { 0 }, resumed = { 0 };
        int resampled;
        uint64_t expected = train(make_trainer(&kinds[i], 1 << 20), &straight, &resampled);

        struct sae_trainer *first = make_trainer(&kinds[i], 1 << 20), *second = make_trainer(&kinds[i], 1 << 20);
        for (int epoch = 0; epoch < 3; epoch++) {
            while (!sae_epoch_done(first))
                sae_step(first);
            sae_end_epoch(first);
        }
        sae_step(first);
        sae_step(first);
        /* What a checkpoint does: every rank gets rank 0's values. */
        struct checkpoint_field from[SAE_FIELDS], to[SAE_FIELDS];
        sae_settle(first);
        int count = sae_fields(first, from);
        sae_fields(second, to);
        for (int f = 0; f < count; f++) {
            size_t bytes = (size_t)from[f].count * (from[f].type == STORE_F32 ? 4 : 8);
            memcpy(to[f].data, from[f].data, bytes);
            world_broadcast(world, to[f].data, bytes, 0);
        }
        sae_loaded(second);
        assert_int_equal(sae_rows_done(second), 80);
        assert_true(train(second, &resumed, &resampled) == expected);
    }
}

/* Trainings on the same batches: of all variants, of several sizes, two that share products in bf16, and one that blows
 * up. */
enum { TOGETHER = 12 };
static void make_points(struct sae_options *options, int *neurons, int64_t resident_bytes)
{
    static const int kind[TOGETHER] = { 0, 3, 1, 2, 5, 4, 3, 3, 2, 6, 6, 0 },
                     size[TOGETHER] = { 40, 32, K, 48, K, 32, K, 48, K, 40, 40, 32 };
    for (int p = 0; p < TOGETHER; p++) {
        options[p] = options_of(&kinds[kind[p]], resident_bytes);
        options[p].may_be_lost = true;
        neurons[p] = size[p];
    }
    options[6].rule.k = 7;
    options[7].aux_weight = 0;
    options[8].rule.k = 2;
    options[10].penalty = 0.1;
    options[11].lr = 1e30;
}

static void train_together(struct sae_trainer **t, struct sae_metrics *metrics)
{
    while (sae_epoch(t[0]) < EPOCHS) {
        while (!sae_epoch_done(t[0]))
            for (int p = 0; p < TOGETHER; p++)
                sae_step(t[p]);
        sae_end_epochs(metrics, t, TOGETHER);
    }
}

static void together_is_alone(void **state)
{
    (void)state;
    struct sae_options options[TOGETHER];
    struct sae_trainer *t[TOGETHER];
    struct sae_metrics metrics[TOGETHER], last = { 0 };
    int neurons[TOGETHER], resampled;
    for (int resident = 0; resident < 2; resident++) {
        struct sae_set train_set = make_set(TRAIN, 2), eval_set = make_set(EVAL, 3);
        make_points(options, neurons, resident << 20);
        sae_trainers_create(t, arena, world, options, D, neurons, TOGETHER, train_set, eval_set);
        train_together(t, metrics);
        for (int p = 0; p < TOGETHER - 1; p++) {
            struct sae_trainer *alone =
                sae_trainer_create(arena, world, &options[p], D, neurons[p], train_set, eval_set);
            const uint64_t expected = train(alone, &last, &resampled);
            const double own[4] = { metrics[p].train_loss, metrics[p].fvu, metrics[p].l0, metrics[p].dead };
            if (digest(state_digest(t[p]), own, sizeof own) != expected)
                fail_msg("point %d: not the bits of its training alone", p);
            assert_false(sae_lost(t[p]));
        }
        assert_true(sae_lost(t[TOGETHER - 1]) && isnan(metrics[TOGETHER - 1].fvu));
        assert_true(isnan(sae_history(t[TOGETHER - 1])[(EPOCHS - 1) * SAE_HISTORY + SAE_HISTORY_FVU]));
    }
}

/* Bytes this rank sends in the first step of `count` trainings. */
static int64_t sent_in_a_step(int count, int64_t resident_bytes)
{
    struct sae_options options[TOGETHER];
    struct sae_trainer *t[TOGETHER];
    int neurons[TOGETHER];
    make_points(options, neurons, resident_bytes);
    sae_trainers_create(t, arena, world, options, D, neurons, count, make_set(TRAIN, 2), make_set(EVAL, 3));
    const int64_t before = world_bytes_sent();
    for (int p = 0; p < count; p++)
        sae_step(t[p]);
    return world_bytes_sent() - before;
}

static void rows_are_fetched_once_a_step(void **state)
{
    (void)state;
    const int64_t one = sent_in_a_step(1, 0) - sent_in_a_step(1, 1 << 20);
    const int64_t all = sent_in_a_step(TOGETHER, 0) - sent_in_a_step(TOGETHER, 1 << 20);
    assert_true(one == all && (one > 0 || world->size == 1));
}

/* Values with many ties, spread over ranks: as many stay as were asked for, the first of equal ones. */
static void largest_of_all_ranks(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct span mine = shard_rows(N, world->size, world->rank);
    int64_t *counts = arena_array(arena, int64_t, world->size);
    float all[N];
    for (int i = 0; i < N; i++)
        all[i] = ldexpf(floorf(1 + fabsf(formula(i, 6)) * 5), i % 3 - 140); /* denormals too */
    for (int64_t k = 1; k <= N + 1; k += 37) {
        int64_t ties, kept = 0, wrong = 0;
        float kth = sae_kth_largest_of_all(world, counts, all + mine.first, mine.count, k, &ties);
        for (int64_t i = mine.first; i < mine.first + mine.count; i++) {
            int64_t before = 0; /* rank of value i by the definition */
            for (int64_t j = 0; j < N; j++)
                before += all[j] > all[i] || (all[j] >= all[i] && j < i);
            bool keep = all[i] > kth || (all[i] >= kth && ties-- > 0);
            kept += keep;
            wrong += keep != (before < k) && k <= N;
        }
        world_sum_i64(world, &kept, 1);
        assert_true(wrong == 0);
        assert_int_equal(kept, k <= N ? k : N);
        assert_true((kth > 0) == (k <= N));
    }
}

static void lists_are_merged(void **state)
{
    (void)state;
    enum { N = 100, TOP = 5 };
    struct span mine = shard_rows(N, world->size, world->rank);
    struct sae_census *c = sae_census_create(arena, 2, TOP);
    for (int64_t row = mine.first; row < mine.first + mine.count; row++) {
        const float f[2] = { (float)(row % 40), row == 7 ? 1.5f : 0 };
        const bool train_row = row < 50;
        int64_t active;
        sae_census_add(c, &active, f, &train_row, row, 1);
    }
    sae_census_merge(c, world, arena, 50);
    const int64_t expected[TOP] = { 39, 79, 38, 78, 37 };
    for (int t = 0; t < TOP; t++) {
        assert_int_equal(c->top_index[t], expected[t]);
        assert_int_equal(c->top_index[TOP + t], t == 0 ? 7 : -1);
    }
    assert_int_equal(c->fired[0], 48);
    assert_int_equal(c->fired[1], 1);
    assert_true(c->largest == 39 && c->scale > 0);
    for (int64_t row = mine.first; row < mine.first + mine.count; row++) {
        const float f[2] = { (float)(row % 40), row == 7 ? 1.5f : 0 };
        const bool train_row = row < 50;
        sae_census_total(c, f, &train_row, 1);
    }
    world_sum_i64(world, c->total, 2);
    assert_true((double)c->total[0] / c->scale == 825 && (double)c->total[1] / c->scale == 1.5);
}

/* The figures of a dry run are those the collectives count. */
static void traffic_is_as_foretold(void **state)
{
    (void)state;
    enum { WIDE = 2048 };
    for (int kind = 0; kind < 4; kind++)
        for (int kept = 0; kept < 2; kept++) {
            struct sae_options options = options_of(&kinds[kind], kept ? 1 << 20 : 0);
            const struct sae_traffic told = sae_traffic(&options, D, WIDE, TRAIN, world->size);
            struct sae_trainer *trainer =
                sae_trainer_create(arena, world, &options, D, WIDE, make_set(TRAIN, 2), make_set(EVAL, 3));
            int64_t sent = world_bytes_sent();
            sae_step(trainer);
            sent = world_bytes_sent() - sent;
            world_sum_i64(world, &sent, 1);
            const double mean = (double)sent / world->size, all = sae_traffic_all(&told);
            assert_true((told.rows > 0) == (world->size > 1 && !kept));
            if (!(fabs(mean - all) < 1024))
                fail_msg("%s, rows %s: %.0f bytes sent, %.0f foretold", kinds[kind].name, kept ? "kept" : "fetched",
                         mean, all);
        }
}

/* Trainings together, then the scores of one and its repetition, in `run` and `scratch`; a census besides. */
static void take_all(struct arena *run, struct arena *scratch, const struct sae_options *options, const int *neurons)
{
    struct sae_trainer *t[TOGETHER];
    const struct sae_repeats repeats = { .count = 1 };
    double *score = arena_array(run, double, neurons[0]);
    sae_trainers_create(t, run, world, options, D, neurons, TOGETHER, make_set(TRAIN, 2), make_set(EVAL, 3));
    struct sae_census *census = sae_census_create(run, neurons[0], 4);
    sae_census_merge(census, world, scratch, TRAIN);
    sae_monosemanticity(score, t[0], scratch);
    sae_coherence(score, world, scratch, sae_model(t[0])->decoder, census->fired, neurons[0], D);
    sae_stability(score, t[0], scratch, &repeats);
    sae_trainers_end(t, TOGETHER);
}

/* A dry run's plan takes what is taken in earnest, to the byte. */
static void memory_is_as_foretold(void **state)
{
    (void)state;
    struct sae_options options[TOGETHER];
    int neurons[TOGETHER];
    make_points(options, neurons, 1 << 20);
    struct arena *run = arena_create("test", 1 << 20), *scratch = arena_create("test", 1 << 20);
    struct arena *plan = arena_plan("test"), *plan_scratch = arena_plan("test");
    take_all(run, scratch, options, neurons);
    take_all(plan, plan_scratch, options, neurons);
    assert_int_equal(arena_peak_bytes(plan), arena_peak_bytes(run));
    assert_int_equal(arena_peak_bytes(plan_scratch), arena_peak_bytes(scratch));
    for (int i = 0; i < KINDS; i++) {
        const struct sae_options one = options_of(&kinds[i], i % 2 ? 1 << 20 : 0);
        struct arena *const both[] = { arena_create("test", 1 << 20), arena_plan("test") };
        for (int b = 0; b < 2; b++) {
            struct sae_trainer *t =
                sae_trainer_create(both[b], world, &one, D, K, make_set(TRAIN, 2), make_set(EVAL, 3));
            sae_trainers_end(&t, 1);
        }
        const size_t took = arena_peak_bytes(both[0]), told = arena_peak_bytes(both[1]);
        if (took != told)
            fail_msg("%s: %zu bytes taken, %zu foretold", kinds[i].name, took, told);
        arena_destroy(both[0]);
        arena_destroy(both[1]);
    }
    arena_destroy(run);
    arena_destroy(scratch);
    arena_destroy(plan);
    arena_destroy(plan_scratch);
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    world_threads(world, 1);
    blas_start(1);
    arena = arena_create("test", 1 << 20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_at_any_rank_count),
        cmocka_unit_test(bf16_is_near_single),
        cmocka_unit_test(stop_in_an_epoch_changes_nothing),
        cmocka_unit_test(together_is_alone),
        cmocka_unit_test(rows_are_fetched_once_a_step),
        cmocka_unit_test(largest_of_all_ranks),
        cmocka_unit_test(lists_are_merged),
        cmocka_unit_test(traffic_is_as_foretold),
        cmocka_unit_test(memory_is_as_foretold),
    };
    int code = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return world_end(world, code);
}
