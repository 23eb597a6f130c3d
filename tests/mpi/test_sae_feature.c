/* Feature-parallel training: at every rank count the bits of data-parallel training, for every variant, rows kept or
 * fetched, with neurons replanted, auxiliary neurons, clipped gradients and ties; after a stop it goes on the other
 * way; ranks without neurons take part; a step sends what was foretold. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "concept/sae_cost.h"
#include "concept/sae_score.h"
#include "concept/sae_train.h"
#include "digest.h"
#include "dist/shard.h"
#include "dist/world.h"
#include "formula.h"
#include "math/blas.h"

enum { D = 12, K = 261, TRAIN = 163, EVAL = 37, EPOCHS = 5, STEPS = 5, MANY = 1500 };

static struct world *world;
static struct arena *arena;

/* This rank's block of `rows` rows; few directions, so that there is something to learn. `alike`: every third row is
 * the same one, so that largest activations tie over rows. */
static struct sae_set make_set(int64_t rows, int salt, bool alike)
{
    struct span mine = shard_chunks(rows, 16, world->size, world->rank);
    float *x = arena_array(arena, float, mine.count *D + 1);
    for (int64_t i = 0; i < mine.count; i++)
        for (int d = 0; d < D; d++) {
            const int64_t row = alike && (mine.first + i) % 3 == 0 ? 0 : mine.first + i;
            x[i * D + d] = formula(row % 9 * D + d, 1) + 0.2f * formula(row * D + d, salt);
        }
    return (struct sae_set){ x, mine.first, mine.count, rows };
}

static const struct kind {
    const char *name;
    struct sae_rule rule;
    double penalty, clip;
    int neurons;
    enum { PLAIN, ALIKE, TWINS } data; /* rows that are the same; neurons that are */
} kinds[] = {
    { "relu", { .variant = SAE_RELU }, 0.05, 0.05, K, PLAIN },
    { "relu-sparse", { .variant = SAE_RELU }, 0.2, 10, K, PLAIN },
    { "topk", { .variant = SAE_TOPK, .k = 4 }, 0, 0, K, PLAIN },
    { "topk-twins", { .variant = SAE_TOPK, .k = 5 }, 0, 0, K, TWINS },
    { "topk-wide", { .variant = SAE_TOPK, .k = 40 }, 0, 0, 70, PLAIN },       /* two blocks: some ranks have none */
    { "topk-most-dead", { .variant = SAE_TOPK, .k = 4 }, 0, 0, MANY, PLAIN }, /* planted more at once than a leaf has */
    { "batchtopk", { .variant = SAE_BATCHTOPK, .k = 4 }, 0, 10, K, PLAIN },
    { "batchtopk-ties", { .variant = SAE_BATCHTOPK, .k = 3 }, 0, 0, K, ALIKE },
    { "jumprelu", { .variant = SAE_JUMPRELU, .bandwidth = 0.2 }, 0.01, 0.05, K, PLAIN },
    { "matryoshka", { .variant = SAE_MATRYOSHKA, .k = 4, .prefixes = 3 }, 0, 0, K, PLAIN },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static struct sae_options options_of(const struct kind *kind, enum sae_way way, int64_t resident_bytes)
{
    /* The last of five batches has 3 rows: most of the 8 leaves are empty. */
    return (struct sae_options){ .rule = kind->rule,
                                 .way = way,
                                 .penalty = kind->penalty,
                                 .lr = 5e-3,
                                 .warmup = 0.1,
                                 .decay = 0.3,
                                 .clip = kind->clip,
                                 .aux_k = 6,
                                 .aux_weight = 1.0 / 32,
                                 .dead_after = 1,
                                 .threshold_decay = 0.9,
                                 .start = kind->rule.variant == SAE_RELU || kind->neurons == MANY ? SAE_START_PUBLISHED
                                                                                                  : SAE_START_TIED,
                                 .median = true,
                                 .first_threshold = 0.1,
                                 .batch = 40,
                                 .epochs = EPOCHS,
                                 .resample_every = 3,
                                 .resample_scale = 0.2,
                                 .leaves = 8,
                                 .seed = 3,
                                 .resident_bytes = resident_bytes };
}

static struct sae_trainer *make_trainer(const struct kind *kind, enum sae_way way, int64_t resident_bytes)
{
    struct sae_options options = options_of(kind, way, resident_bytes);
    struct sae_trainer *t = sae_trainer_create(arena, world, &options, D, kind->neurons,
                                               make_set(TRAIN, 2, kind->data == ALIKE), make_set(EVAL, 3, false));
    struct checkpoint_field fields[SAE_FIELDS];
    sae_fields(t, fields);
    struct sae sae = sae_view(fields[0].data, D, kind->neurons);
    if (kind->data == TWINS) /* neurons k and k + K / 2 have the same activations: only their numbers tell them apart */
        memcpy(sae.encoder + K / 2 * D, sae.encoder, (size_t)(K / 2 * D) * sizeof(float));
    return t;
}

static uint64_t state_digest(struct sae_trainer *trainer)
{
    struct checkpoint_field fields[SAE_FIELDS];
    uint64_t hash = 1469598103934665603u;
    sae_settle(trainer);
    int count = sae_fields(trainer, fields);
    for (int i = 0; i < count; i++)
        hash = digest(hash, fields[i].data, (size_t)fields[i].count * (fields[i].type == STORE_F32 ? 4 : 8));
    return hash;
}

/* Trains from where it stands to the end; the digest of all states on the way and of the scores. */
static uint64_t train(struct sae_trainer *trainer, const struct kind *kind)
{
    uint64_t hash = 0;
    int resampled = 0;
    while (sae_epoch(trainer) < EPOCHS) {
        while (!sae_epoch_done(trainer))
            sae_step(trainer);
        const struct sae_metrics m = sae_end_epoch(trainer);
        const double last[4] = { m.train_loss, m.fvu, m.l0, m.dead };
        resampled += m.resampled;
        hash = digest(digest(hash, &(uint64_t){ state_digest(trainer) }, sizeof hash), last, sizeof last);
        assert_true(isfinite(m.fvu) && m.l0 > 0.5);
    }
    double *score = arena_array(arena, double, kind->neurons);
    sae_monosemanticity(score, trainer, arena);
    hash = digest(hash, score, (size_t)kind->neurons * sizeof *score);
    assert_true(resampled > 0 || kind->neurons < K || kind->rule.variant == SAE_JUMPRELU); /* those all stay alive */
    return hash;
}

static void same_bits_both_ways(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        char name[64];
        const struct kind *kind = &kinds[i];
        const uint64_t rows = train(make_trainer(kind, SAE_BY_ROWS, 1 << 20), kind);
        for (int kept = 0; kept < 2; kept++)
            if (train(make_trainer(kind, SAE_BY_NEURONS, kept << 20), kind) != rows)
                fail_msg("%s, rows %s: not the bits of data-parallel training", kind->name, kept ? "kept" : "fetched");
        snprintf(name, sizeof name, "sae-feature-%s", kind->name);
        bool same = world->rank != 0 || digest_same(name, rows);
        agree(world, same, EXIT_INTERNAL, "%s: weights differ from those at another rank count", kind->name);
    }
}

static void goes_on_the_other_way(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++)
        for (int way = SAE_BY_ROWS; way <= SAE_BY_NEURONS; way++) {
            const enum sae_way other = way == SAE_BY_ROWS ? SAE_BY_NEURONS : SAE_BY_ROWS;
            struct sae_trainer *first = make_trainer(&kinds[i], (enum sae_way)way, 1 << 20);
            struct sae_trainer *second = make_trainer(&kinds[i], other, 1 << 20);
            for (int step = 0; step < 3 * STEPS + 2; step++) {
                sae_step(first);
                if (sae_epoch_done(first))
                    sae_end_epoch(first);
            }
            struct checkpoint_field from[SAE_FIELDS], to[SAE_FIELDS];
            sae_settle(first);
            const int count = sae_fields(first, from);
            sae_fields(second, to);
            for (int f = 0; f < count; f++) {
                const size_t bytes = (size_t)from[f].count * (from[f].type == STORE_F32 ? 4 : 8);
                memcpy(to[f].data, from[f].data, bytes);
                world_broadcast(world, to[f].data, bytes, 0);
            }
            sae_loaded(second);
            while (sae_epoch(first) < EPOCHS) {
                while (!sae_epoch_done(first)) {
                    const double loss = sae_step(first);
                    assert_true(sae_step(second) == loss);
                }
                sae_end_epoch(first);
                sae_end_epoch(second);
            }
            assert_true(state_digest(first) == state_digest(second));
        }
}

/* The figures of a dry run are those the collectives count. */
static void traffic_is_as_foretold(void **state)
{
    (void)state;
    enum { WIDE = 2048 };
    for (int i = 0; i < KINDS; i++)
        for (int kept = 0; kept < 2; kept++) {
            struct sae_options options = options_of(&kinds[i], SAE_BY_NEURONS, kept ? 1 << 20 : 0);
            const struct sae_traffic told = sae_traffic(&options, D, WIDE, TRAIN, world->size);
            struct sae_trainer *trainer = sae_trainer_create(arena, world, &options, D, WIDE, make_set(TRAIN, 2, false),
                                                             make_set(EVAL, 3, false));
            int64_t sent = world_bytes_sent();
            sae_step(trainer);
            sent = world_bytes_sent() - sent;
            world_sum_i64(world, &sent, 1);
            const double mean = (double)sent / world->size, all = sae_traffic_all(&told);
            assert_true((told.sums > 0) == (world->size > 1) && !(told.gradients > 0));
            assert_true((told.rows > 0) == (world->size > 1 && !kept));
            if (!(fabs(mean - all) < 300 + 0.01 * all)) /* which rows a rank holds itself is drawn */
                fail_msg("%s, rows %s: %.0f bytes sent, %.0f foretold", kinds[i].name, kept ? "kept" : "fetched", mean,
                         all);
        }
}

/* Far fewer bytes at published sizes; few neurons or one rank: rows are shared out. */
static void the_cheaper_way_is_taken(void **state)
{
    (void)state;
    struct sae_options options = options_of(&kinds[2], SAE_BY_ROWS, 0);
    options.batch = 4096;
    const int many = 8192, few = 64;
    const struct sae_traffic rows = sae_traffic_of(&options, SAE_BY_ROWS, 1024, &many, 1, 100000, 8);
    const struct sae_traffic split = sae_traffic_of(&options, SAE_BY_NEURONS, 1024, &many, 1, 100000, 8);
    assert_true(sae_traffic_all(&split) < sae_traffic_all(&rows) / 2);
    assert_int_equal(sae_cheaper_way(&options, 1024, &many, 1, 100000, 8), SAE_BY_NEURONS);
    assert_int_equal(sae_cheaper_way(&options, 1024, &few, 1, 100000, 8), SAE_BY_ROWS);
    assert_int_equal(sae_cheaper_way(&options, 1024, &many, 1, 100000, 1), SAE_BY_ROWS);
    options.batch = 1 << 17;
    assert_int_equal(sae_cheaper_way(&options, 1024, &many, 1, 1 << 18, 8), SAE_BY_ROWS);
}

/* A dry run's plan takes what the training takes, to the byte. */
static void memory_is_as_foretold(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        for (int way = 0; way < 4; way++) {
            const struct sae_options options =
                options_of(&kinds[kind], way % 2 ? SAE_BY_NEURONS : SAE_BY_ROWS, way / 2 ? 1 << 20 : 0);
            struct arena *const both[] = { arena_create("test", 1 << 20), arena_plan("test") };
            for (int i = 0; i < 2; i++) {
                struct sae_trainer *t = sae_trainer_create(both[i], world, &options, D, kinds[kind].neurons,
                                                           make_set(TRAIN, 2, false), make_set(EVAL, 3, false));
                sae_trainers_end(&t, 1);
            }
            const size_t took = arena_peak_bytes(both[0]), told = arena_peak_bytes(both[1]);
            if (took != told)
                fail_msg("%s, way %d: %zu bytes taken, %zu foretold", kinds[kind].name, way, took, told);
            arena_destroy(both[0]);
            arena_destroy(both[1]);
        }
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    world_threads(world, 1);
    blas_start(1);
    arena = arena_create("test", 1 << 20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_both_ways),      cmocka_unit_test(goes_on_the_other_way),
        cmocka_unit_test(traffic_is_as_foretold),   cmocka_unit_test(memory_is_as_foretold),
        cmocka_unit_test(the_cheaper_way_is_taken),
    };
    int code = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return world_end(world, code);
}
