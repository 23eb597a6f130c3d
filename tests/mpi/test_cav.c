/* The stages cav and select on files made by formula: unit rows, neurons left out, and the bits of one rank, also
 * with more ranks than neurons. */
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
#include "base/file.h"
#include "base/log.h"
#include "base/rng.h"
#include "cli/commands.h"
#include "concept/cav.h"
#include "config/config.h"
#include "digest.h"
#include "dist/world.h"
#include "job/home.h"
#include "math/blas.h"
#include "math/vec.h"
#include "stage/stage.h"
#include "store/store.h"

enum { N = 300, D = 24, C = 3, TRAIN = 220, MOST = 40 };
static const struct rng RNG = { .seed = 12, .purpose = RNG_TEST };
static struct world *world;
static struct arena *arena;
static const char *dir;

static float feature(int64_t i, int d)
{
    return (float)rng_normal(&RNG, (uint64_t)i, (uint64_t)d);
}

/* Neuron k fires where coordinate k is high; neuron 1 hardly ever, neuron 2 always, neuron 3 never. */
static float activation(int64_t i, int k)
{
    if (k == 1)
        return i < 5 ? 1 : 0;
    if (k == 2)
        return 1 + (float)(i % 7);
    return k == 3 ? 0 : fmaxf(0, feature(i, k % D) - 0.4f * (float)(1 + k / D));
}

static void write_embeddings(void)
{
    const struct layout layout[] = { { "/features", STORE_F32, "N,D", "1", "test", NULL, false },
                                     { "/logits", STORE_F32, "N,C", "1", "test", NULL, false },
                                     { "/label", STORE_I32, "N", "1", "test", NULL, false },
                                     { "/split", STORE_U8, "N", "1", "test", NULL, false } };
    const struct extent sizes[] = { { "N", N }, { "D", D }, { "C", C } };
    static float features[N * D], logits[N * C];
    static int32_t label[N];
    static uint8_t split[N];
    for (int i = 0; i < N; i++) {
        for (int d = 0; d < D; d++)
            features[i * D + d] = feature(i, d);
        label[i] = i % C;
        split[i] = (uint8_t)(i < TRAIN ? 0 : 1 + i % 2);
    }
    struct store *s = store_create(world, arena, path_join(arena, dir, "embeddings.h5"), layout, 4, sizes, 3, true);
    store_write_all(s, "/features", features);
    store_write_all(s, "/logits", logits);
    store_write_all(s, "/label", label);
    store_write_all(s, "/split", split);
    store_set_texts(s, "/", "class_names", (const char *const[]){ "a", "b", "c" }, C);
    store_publish(s);
}

static void write_sae(int neurons)
{
    const struct layout layout[] = { { "/decoder", STORE_F32, "K,D", "1", "test", NULL, false },
                                     { "/fire_rate", STORE_F32, "K", "1", "test", NULL, false },
                                     { "/codes/indptr", STORE_I64, "N+1", "1", "test", NULL, false },
                                     { "/codes/index", STORE_I32, "entries", "1", "test", NULL, false },
                                     { "/codes/value", STORE_F32, "entries", "1", "test", NULL, false } };
    static float decoder[MOST * D], rate[MOST], value[N * MOST];
    static int64_t indptr[N + 1];
    static int32_t index[N * MOST];
    int64_t entries = 0;
    memset(rate, 0, sizeof rate);
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < neurons; k++) {
            if (!(activation(i, k) > 0))
                continue;
            rate[k] += i < TRAIN ? 1.0f / TRAIN : 0;
            index[entries] = k;
            value[entries++] = activation(i, k);
        }
        indptr[i + 1] = entries;
    }
    const struct extent sizes[] = { { "K", neurons }, { "D", D }, { "N+1", N + 1 }, { "entries", entries } };
    struct store *s = store_create(world, arena, path_join(arena, dir, "sae.h5"), layout, 5, sizes, 4, true);
    store_write_all(s, "/decoder", decoder);
    store_write_all(s, "/fire_rate", rate);
    store_write_all(s, "/codes/indptr", indptr);
    store_write_all(s, "/codes/index", index);
    store_write_all(s, "/codes/value", value);
    store_publish(s);
}

struct result {
    int64_t vectors;
    float cav[MOST * D], bias[MOST], accuracy[MOST], pvalue[MOST];
    int32_t neuron[MOST];
    int64_t pick[MOST];
    double gain[MOST];
};

static void run_stages(struct result *r, int neurons)
{
    write_embeddings();
    write_sae(neurons);
    const struct setting settings[] = { { "cav.positives", "30", "test" },
                                        { "cav.negatives", "30", "test" },
                                        { "select.count", neurons < 10 ? "2" : "30", "test" } };
    struct job job = { .world = world,
                       .run = arena,
                       .scratch = arena_create("scratch", 1 << 20),
                       .config = config_load(world, arena, NULL, settings, 3),
                       .command_line = "test",
                       .dir = dir,
                       .data_dir = dir,
                       .force = true };
    home_set(&job, command_find("cav"));
    assert_int_equal(stage_cav(&job), EXIT_DONE);
    home_set(&job, command_find("select"));
    assert_int_equal(stage_select(&job), EXIT_DONE);
    struct store *cav = store_open(world, arena, path_join(arena, dir, "cav.h5"));
    struct store *selection = store_open(world, arena, path_join(arena, dir, "selection.h5"));
    r->vectors = store_rows(cav, "/cav");
    store_read_all(cav, "/cav", r->cav);
    store_read_all(cav, "/bias", r->bias);
    store_read_all(cav, "/accuracy", r->accuracy);
    store_read_all(cav, "/pvalue", r->pvalue);
    store_read_all(cav, "/neuron", r->neuron);
    store_read_all(selection, "/index", r->pick);
    store_read_all(selection, "/gain", r->gain);
    store_close(cav);
    store_close(selection);
    arena_destroy(job.scratch);
}

static void vectors_and_picks_are_those_of_one_rank(void **state)
{
    (void)state;
    struct result *r = arena_array(arena, struct result, 1);
    double mean = 0;
    run_stages(r, MOST);
    assert_int_equal(r->vectors, MOST - 3); /* 1, 2 and 3 have no examples */
    for (int64_t a = 0; a < r->vectors; a++) {
        assert_int_equal(r->neuron[a], a == 0 ? 0 : a + 3);
        assert_true(fabs(vec_norm(r->cav + a * D, D) - 1) < 1e-6);
        /* The direction of a neuron that fires on a coordinate is that coordinate. */
        assert_true(r->cav[a * D + r->neuron[a] % D] > 0.7f);
        assert_true(r->accuracy[a] > 0.4f && r->pvalue[a] > 0 && r->pvalue[a] <= 1);
        mean += (double)r->accuracy[a] / (double)r->vectors;
    }
    assert_true(mean > 0.8);
    assert_true(world->rank != 0 || digest_same("cav", digest(1, r, sizeof *r)));
}

static void fewer_neurons_than_ranks(void **state)
{
    (void)state;
    struct result *r = arena_array(arena, struct result, 1);
    run_stages(r, 5); /* 0 and 4 have a vector */
    assert_int_equal(r->vectors, 2);
    assert_int_equal(r->neuron[0], 0);
    assert_int_equal(r->neuron[1], 4);
    assert_int_equal(r->pick[0] + r->pick[1], 1);
    assert_true(world->rank != 0 || digest_same("cav-few", digest(1, r, sizeof *r)));
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    log_setup(world->rank, LOG_QUIET);
    blas_start(1);
    arena = arena_create("test", 1 << 20);
    const char *tmp = getenv("CFN_TEST_TMP"), *why = "";
    dir = arena_printf(arena, "%s/cav%d", tmp ? tmp : "/tmp", world->size);
    require(world->rank != 0 || path_make_dirs(arena, dir, &why), EXIT_CANNOT_CREATE, "%s: %s", dir, why);
    world_barrier(world);
    const struct CMUnitTest tests[] = { cmocka_unit_test(vectors_and_picks_are_those_of_one_rank),
                                        cmocka_unit_test(fewer_neurons_than_ranks) };
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
