/* What fixtures of training steps do not show of convnext and vision transformers: values from scratch, and stochastic
 * depth against its definition. */
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

static struct world *world;

struct moments {
    const char *name;
    double mean, deviation; /* 0: all are `mean` */
};

/* Parameters with ImageNet's classes, and moments of what torchvision draws. */
static void expect_from_scratch(const char *backbone, int64_t parameters, const struct moments *rows, int count)
{
    struct arena *arena = arena_create("test", 1 << 20);
    struct network_spec spec = {
        .backbone = backbone, .classes = 1000, .image_size = 224, .batch = 1, .shards = 1, .seed = 7
    };
    struct network *net = network_create(world, arena, &spec);
    const struct parameter *list;
    int64_t weights;
    int named = network_parameters(net, &list), found = 0;
    const float *w = network_weights(net, &weights);
    assert_int_equal(weights, parameters);
    for (int i = 0; i < named; i++)
        for (int r = 0; r < count; r++) {
            if (strcmp(list[i].name, rows[r].name) != 0)
                continue;
            double sum = 0.0, square = 0.0, n = (double)list[i].count, deviation = rows[r].deviation;
            for (int64_t k = list[i].offset; k < list[i].offset + list[i].count; k++) {
                double d = (double)w[k] - rows[r].mean;
                sum += d;
                square += d * d;
            }
            assert_true(fabs(sqrt(square / n) - deviation) <= 4.0 * deviation / sqrt(n) + 1e-12);
            assert_true(fabs(sum / n) <= 5.0 * deviation / sqrt(n) + 1e-12);
            found++;
        }
    assert_int_equal(found, count);
    network_close(net);
    arena_destroy(arena);
}

static void convnext_from_scratch(void **state)
{
    static const struct moments rows[] = {
        { "features.0.0.weight", 0.0, 0.02 },      { "features.0.1.weight", 1.0, 0.0 },
        { "features.1.0.layer_scale", 1e-6, 0.0 }, { "features.1.0.block.0.weight", 0.0, 0.02 },
        { "features.1.0.block.0.bias", 0.0, 0.0 }, { "features.1.0.block.3.weight", 0.0, 0.02 },
        { "features.2.1.weight", 0.0, 0.02 },      { "classifier.2.weight", 0.0, 0.02 },
        { "classifier.2.bias", 0.0, 0.0 },
    };
    (void)state;
    expect_from_scratch("convnext_tiny", 28589128, rows, sizeof rows / sizeof rows[0]);
    expect_from_scratch("convnext_base", 88591464, rows, sizeof rows / sizeof rows[0]);
}

static void vit_from_scratch(void **state)
{
    static const struct moments rows[] = {
        { "class_token", 0.0, 0.0 },
        { "conv_proj.weight", 0.0, 0.036084392 },
        { "conv_proj.bias", 0.0, 0.0 },
        { "encoder.pos_embedding", 0.0, 0.02 },
        { "encoder.layers.encoder_layer_3.ln_1.weight", 1.0, 0.0 },
        { "encoder.layers.encoder_layer_3.self_attention.in_proj_weight", 0.0, 0.025515518 },
        { "encoder.layers.encoder_layer_3.self_attention.in_proj_bias", 0.0, 0.0 },
        { "encoder.layers.encoder_layer_3.self_attention.out_proj.weight", 0.0, 0.020833333 },
        { "encoder.layers.encoder_layer_3.self_attention.out_proj.bias", 0.0, 0.0 },
        { "encoder.layers.encoder_layer_3.mlp.0.weight", 0.0, 0.022821773 },
        { "encoder.layers.encoder_layer_3.mlp.3.bias", 0.0, 1e-6 },
        { "heads.head.weight", 0.0, 0.0 },
    };
    (void)state;
    expect_from_scratch("vit_b_16", 86567656, rows, sizeof rows / sizeof rows[0]);
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
    const struct CMUnitTest tests[] = { cmocka_unit_test(convnext_from_scratch), cmocka_unit_test(vit_from_scratch),
                                        cmocka_unit_test(draws_of_depth), cmocka_unit_test(depth_follows_the_row) };
    world = world_start(&argc, &argv);
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
