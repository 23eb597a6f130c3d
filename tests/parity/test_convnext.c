/* Training steps and evaluation of convnext_tiny against torchvision's (scripts/dump_convnext.py),
 * cut into 1, 2 and 4 shards; values from scratch; stochastic depth, which the fixtures leave off, against its
 * definition. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/rng.h"
#include "dist/world.h"
#include "formula.h"
#include "nn/kernels_rows.h"
#include "nn/network.h"
#include "parity_network.h"

static const struct parity_rule rules[] = {
    { "convnext_tiny", 64, 1e-3, 1e-3, 1e-3, 3e-2, 3e-2 },
    { "convnext_tiny", 75, 1e-3, 1e-3, 1e-3, 3e-2, 3e-2 },
    { NULL },
};

static struct world *world;

static void same_as_torchvision(int shards)
{
    parity_network(world, "tests/parity/fixtures/convnext.txt", rules, shards);
}

static void one_shard(void **state)
{
    (void)state;
    same_as_torchvision(1);
}

static void two_shards(void **state)
{
    (void)state;
    same_as_torchvision(2);
}

static void four_shards(void **state)
{
    (void)state;
    same_as_torchvision(4);
}

/* Parameters with ImageNet's classes, and deviations of what torchvision draws. */
static void from_scratch(void **state)
{
    static const struct {
        const char *name;
        double mean, deviation;
    } rows[] = {
        { "features.0.0.weight", 0.0, 0.02 },      { "features.0.1.weight", 1.0, 0.0 },
        { "features.1.0.layer_scale", 1e-6, 0.0 }, { "features.1.0.block.0.weight", 0.0, 0.02 },
        { "features.1.0.block.0.bias", 0.0, 0.0 }, { "features.1.0.block.3.weight", 0.0, 0.02 },
        { "features.2.1.weight", 0.0, 0.02 },      { "classifier.2.weight", 0.0, 0.02 },
        { "classifier.2.bias", 0.0, 0.0 },
    };
    (void)state;
    for (int base = 0; base < 2; base++) {
        struct arena *arena = arena_create("test", 1 << 20);
        struct network_spec spec = { .backbone = base ? "convnext_base" : "convnext_tiny",
                                     .classes = 1000,
                                     .image_size = 64,
                                     .batch = 1,
                                     .shards = 1,
                                     .seed = 7 };
        struct network *net = network_create(world, arena, &spec);
        const struct parameter *list;
        int64_t weights;
        int count = network_parameters(net, &list), found = 0;
        const float *w = network_weights(net, &weights);
        assert_int_equal(weights, base ? 88591464 : 28589128);
        assert_string_equal(list[2].name, "features.0.1.weight");
        assert_string_equal(list[4].name, "features.1.0.layer_scale");
        for (int i = 0; i < count; i++)
            for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
                if (strcmp(list[i].name, rows[r].name) != 0)
                    continue;
                double sum = 0.0, n = (double)list[i].count;
                for (int64_t k = list[i].offset; k < list[i].offset + list[i].count; k++)
                    sum += pow((double)w[k] - rows[r].mean, 2);
                assert_true(fabs(sqrt(sum / n) - rows[r].deviation) <= 4.0 * rows[r].deviation / sqrt(n) + 1e-12);
                found++;
            }
        assert_int_equal(found, sizeof rows / sizeof rows[0]);
        network_close(net);
        arena_destroy(arena);
    }
}

/* How often a branch is left out, and that its mean stays. */
static void draws_of_depth(void **state)
{
    enum { DRAWS = 20000 };
    struct rng rng = { 3, RNG_DEPTH, 1 };
    (void)state;
    for (double drop = 0.1; drop < 0.6; drop += 0.2) {
        double out = 0.0, sum = 0.0;
        for (uint64_t row = 0; row < DRAWS; row++) {
            float keep = stochastic_depth(rng_uniform(&rng, row, 9), drop);
            assert_true(keep == 0.0f || keep == (float)(1.0 / (1.0 - drop)));
            out += keep == 0.0f;
            sum += (double)keep;
        }
        double error = 4.0 * sqrt(drop * (1.0 - drop) / DRAWS);
        assert_true(fabs(out / DRAWS - drop) < error && fabs(sum / DRAWS - 1.0) < error / (1.0 - drop));
    }
}

enum { SIZE = 32, ROWS = 8, CLASSES = 3 };

/* Scores of one training step whose images are rows `first`, `first` + `stride` ... of the corpus. */
static void step_scores(float scores[ROWS * CLASSES], int64_t first, int64_t stride, int64_t epoch, bool whole,
                        const float *images)
{
    struct arena *arena = arena_create("test", 1 << 20);
    struct network_spec spec = { .backbone = "convnext_tiny",
                                 .classes = CLASSES,
                                 .image_size = SIZE,
                                 .batch = ROWS,
                                 .shards = 2,
                                 .train = true,
                                 .whole_depth = whole,
                                 .seed = 5 };
    struct network *net = network_create(world, arena, &spec);
    const struct parameter *list;
    int32_t labels[ROWS] = { 0 };
    int64_t rows[ROWS], correct;
    int count = network_parameters(net, &list);
    for (int i = 0; i < ROWS; i++)
        rows[i] = first + stride * i;
    for (int i = 0; i < count; i++) /* from scratch a branch adds a millionth */
        if (strstr(list[i].name, "layer_scale"))
            formula_fill(network_weights(net, NULL) + list[i].offset, list[i].count, i, 1.0f, 0.0f);
    network_changed(net);
    struct network_batch batch = { .images = images, .labels = labels, .rows = rows, .epoch = epoch };
    network_gradient(net, &batch, &correct);
    memcpy(scores, network_logits(net), ROWS * CLASSES * sizeof *scores);
    network_close(net);
    arena_destroy(arena);
}

/* The same rows in another order, with equal images: each row's scores go with it. Another epoch draws anew. */
static void depth_follows_the_row(void **state)
{
    static float images[ROWS * 3 * SIZE * SIZE], a[ROWS * CLASSES], b[ROWS * CLASSES], c[ROWS * CLASSES],
        whole[ROWS * CLASSES];
    (void)state;
    for (int i = 0; i < ROWS; i++)
        formula_fill(images + i * 3 * SIZE * SIZE, 3 * SIZE * SIZE, 11, 1.0f, 0.0f);
    step_scores(a, 100, 1, 2, false, images);
    step_scores(b, 107, -1, 2, false, images);
    step_scores(c, 100, 1, 3, false, images);
    step_scores(whole, 100, 1, 2, true, images);
    int differ = 0;
    for (int i = 0; i < ROWS; i++) {
        assert_memory_equal(a + i * CLASSES, b + (ROWS - 1 - i) * CLASSES, CLASSES * sizeof *a);
        assert_memory_equal(whole, whole + i * CLASSES, CLASSES * sizeof *a);
        differ += memcmp(a + i * CLASSES, a, CLASSES * sizeof *a) != 0;
    }
    assert_true(differ > 0);
    assert_memory_not_equal(a, c, sizeof a);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_scratch), cmocka_unit_test(draws_of_depth), cmocka_unit_test(depth_follows_the_row),
        cmocka_unit_test(one_shard),    cmocka_unit_test(two_shards),     cmocka_unit_test(four_shards)
    };
    world = world_start(&argc, &argv);
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
