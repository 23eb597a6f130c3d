/* Training the sparse autoencoder over ranks: the same bits at any rank count, whether rows are kept or
 * fetched, and after a stop in the middle of an epoch; resampling fires; lists of exciting images are merged. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "concept/sae_codes.h"
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

static struct sae_trainer *make_trainer(int64_t resident_bytes)
{
    /* The last of five batches has 3 rows: most of the 8 leaves are empty. */
    struct sae_options options = { .l1 = 0.05,
                                   .lr = 5e-3,
                                   .batch = 40,
                                   .epochs = EPOCHS,
                                   .resample_every = 2,
                                   .resample_scale = 0.2,
                                   .leaves = 8,
                                   .seed = 3,
                                   .resident_bytes = resident_bytes };
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
    struct sae_metrics kept = { 0 }, fetched = { 0 };
    int resampled, again;
    uint64_t hash = train(make_trainer(1 << 20), &kept, &resampled);
    assert_true(resampled > 0);
    assert_true(kept.fvu > 0 && kept.fvu < 0.5);
    assert_true(kept.l0 > 0 && kept.l0 < K / 2);
    assert_true(train(make_trainer(0), &fetched, &again) == hash);
    bool same = world->rank != 0 || digest_same("sae", hash);
    agree(world, same, EXIT_INTERNAL, "weights differ from those at another rank count");
}

static void stop_in_an_epoch_changes_nothing(void **state)
{
    (void)state;
    struct sae_metrics straight = { 0 }, resumed = { 0 };
    int resampled;
    uint64_t expected = train(make_trainer(1 << 20), &straight, &resampled);

    struct sae_trainer *first = make_trainer(1 << 20), *second = make_trainer(1 << 20);
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
    for (int i = 0; i < count; i++) {
        size_t bytes = (size_t)from[i].count * (from[i].type == STORE_F32 ? 4 : 8);
        memcpy(to[i].data, from[i].data, bytes);
        world_broadcast(world, to[i].data, bytes, 0);
    }
    sae_loaded(second);
    assert_int_equal(sae_rows_done(second), 80);
    assert_true(train(second, &resumed, &resampled) == expected);
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

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    world_threads(world, 1);
    blas_start(1);
    arena = arena_create("test", 1 << 20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_at_any_rank_count),
        cmocka_unit_test(stop_in_an_epoch_changes_nothing),
        cmocka_unit_test(lists_are_merged),
    };
    int code = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return world_end(world, code);
}
