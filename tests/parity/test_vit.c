/* Training steps and evaluation of vit_b_16 against torchvision's (scripts/dump_vit.py, computed in double), cut into
 * shards; bfloat16 against the same. Tolerances, relative to norms: single precision through 12 layers leaves 1e-6 to
 * 1e-5; AdamW's first steps move every weight by about lr whatever its gradient, which leaves 1e-4 in a loss curve. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "dist/world.h"
#include "formula.h"
#include "math/adam.h"
#include "nn/network.h"

static const double SCORES = 1e-4, GRADIENT = 1e-3, LOSS = 1e-3, WEIGHTS = 1e-4, LATER = 2e-3, HALF = 3e-2;
enum { IMAGES = 901, TARGETS, MASK, PROBE, STEPS_MAX = 16, PARAMETERS = 86567656, CLASSES = 1000 };

static struct world *world;

struct run {
    struct arena *arena;
    struct network *net;
    int size, batch, classes, multi, steps, shards;
    float *images, *targets, *mask;
    int32_t *labels;
    double losses[STEPS_MAX];
};

/* Weights as dump_vit.py sets them. */
static void fill_weights(struct network *net)
{
    const struct parameter *list;
    float *weights = network_weights(net, NULL);
    int count = network_parameters(net, &list);
    for (int i = 0; i < count; i++) {
        const struct parameter *p = &list[i];
        float scale = 0.125f, offset = 0.0f;
        if (p->rank == 4)
            scale = (float)sqrt(3.0 / (double)(p->dims[1] * p->dims[2] * p->dims[3]));
        else if (p->rank == 2)
            scale = (float)sqrt((strstr(p->name, "in_proj") ? 6.0 : 3.0) / (double)p->dims[1]);
        else if (p->rank == 3)
            scale = 1.0f;
        else if (strstr(p->name, "weight"))
            offset = 1.0f;
        formula_fill(weights + p->offset, p->count, i + 1, scale, offset);
    }
    network_changed(net);
}

static void make_inputs(struct run *run)
{
    int64_t pixels = (int64_t)run->batch * 3 * run->size * run->size, scores = run->batch * run->classes;
    run->images = arena_array(run->arena, float, pixels);
    run->targets = arena_array(run->arena, float, scores);
    run->mask = arena_array(run->arena, float, scores);
    run->labels = arena_array(run->arena, int32_t, run->batch);
    formula_fill(run->images, pixels, IMAGES, 1.0f, 0.0f);
    for (int64_t i = 0; i < scores; i++) {
        run->targets[i] = formula(i, TARGETS) > 0.0f ? 1.0f : 0.0f;
        run->mask[i] = formula(i, MASK) > -0.5f ? 1.0f : 0.0f;
    }
    for (int i = 0; i < run->batch; i++)
        run->labels[i] = i * 5 % run->classes;
}

static struct network *make_network(struct run *run, bool train, enum value_type precision)
{
    struct network_spec spec = { .backbone = "vit_b_16",
                                 .classes = run->classes,
                                 .image_size = run->size,
                                 .batch = run->batch,
                                 .shards = train ? run->shards : 1,
                                 .loss = run->multi ? LOSS_BCE : LOSS_CROSS_ENTROPY,
                                 .train = train,
                                 .precision = precision,
                                 .seed = 1 };
    return network_create(world, run->arena, &spec);
}

static double step_gradient(struct run *run)
{
    int64_t correct = -1;
    struct network_batch batch = { .images = run->images,
                                   .labels = run->multi ? NULL : run->labels,
                                   .targets = run->multi ? run->targets : NULL,
                                   .mask = run->multi ? run->mask : NULL };
    double loss = network_gradient(run->net, &batch, &correct);
    assert_true(correct >= 0 && correct <= run->batch * (run->multi ? run->classes : 1));
    return loss;
}

/* ---- comparison with a line of the fixture ---- */

static void expect_near(const char *what, const char *name, double found, double expected, double scale,
                        double tolerance)
{
    if (!(fabs(found - expected) <= tolerance * scale))
        fail_msg("%s %s: found %.9g, expected %.9g, off by %.2g of %.3g (tolerance %.1g)", what, name, found, expected,
                 fabs(found - expected) / scale, scale, tolerance);
}

/* Norm, and product with the probe, of `count` values. The gradient of keys' biases is zero but for rounding: all
 * scores of a query move alike; it is a third of in_proj_bias and does not show in the norm. */
static void expect_summary(FILE *file, const char *what, const char *name, const float *x, int64_t count,
                           double tolerance)
{
    double norm, product, sum = 0.0, dot = 0.0;
    assert_int_equal(fscanf(file, "%lf %lf", &norm, &product), 2);
    for (int64_t i = 0; i < count; i++) {
        sum += (double)x[i] * (double)x[i];
        dot += (double)x[i] * (double)formula(i, PROBE);
    }
    expect_near(what, name, sqrt(sum), norm, norm, tolerance);
    expect_near(what, name, dot, product, norm, 3.0 * tolerance);
}

/* All values; the difference is measured against the norm. */
static void expect_values(const char *what, const char *name, const float *x, const double *expected, int64_t count,
                          double tolerance)
{
    double off = 0.0, norm = 0.0;
    for (int64_t i = 0; i < count; i++) {
        norm += expected[i] * expected[i];
        off += (expected[i] - (double)x[i]) * (expected[i] - (double)x[i]);
    }
    expect_near(what, name, sqrt(off), 0.0, sqrt(norm), tolerance);
}

static double *read_values(FILE *file, struct arena *arena, int64_t count)
{
    double *x = arena_array(arena, double, count);
    for (int64_t i = 0; i < count; i++)
        assert_int_equal(fscanf(file, "%lf", &x[i]), 1);
    return x;
}

static const struct parameter *find(const struct network *net, const char *name)
{
    const struct parameter *list;
    int count = network_parameters(net, &list);
    for (int i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            return &list[i];
    fail_msg("no parameter %s", name);
    return NULL;
}

static void expect_losses(FILE *file, const struct run *run)
{
    const double *losses = read_values(file, run->arena, run->steps);
    for (int s = 0; s < run->steps; s++)
        expect_near("loss", "of a step", run->losses[s], losses[s], losses[s], s == 0 ? SCORES : LOSS);
}

/* The rest of the training steps. */
static void train_on(struct run *run)
{
    struct adam adam = { .lr = 2e-6, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 1e-2 };
    for (int s = 0; s < run->steps; s++) {
        if (s > 0)
            run->losses[s] = step_gradient(run);
        network_update(run->net, &adam, s + 1);
    }
    network_sync(run->net);
}

/* Scores of an inference network with the weights of `run`, in both precisions, and the representation. */
static void expect_evaluated(FILE *file, struct run *run)
{
    const double *expected = read_values(file, run->arena, run->batch * run->classes);
    int64_t dim = 768, weights;
    float *features = arena_array(run->arena, float, run->batch *dim), *logits = arena_array(run->arena, float, 64);
    for (int half = 1; half >= 0; half--) {
        struct network *infer = make_network(run, false, half ? VALUE_BF16 : VALUE_F32);
        float *w = network_weights(infer, &weights);
        memcpy(w, network_weights(run->net, NULL), (size_t)weights * sizeof *w);
        network_changed(infer);
        assert_int_equal(network_feature_dim(infer), dim);
        network_infer(infer, features, logits, run->images);
        expect_values("evaluated", half ? "bf16" : "fp32", logits, expected, run->batch * run->classes,
                      half         ? HALF
                      : run->steps ? LATER
                                   : SCORES);
        network_close(infer);
    }
    char word[32], name[32];
    assert_int_equal(fscanf(file, "%31s %31s", word, name), 2);
    expect_summary(file, word, name, features, run->batch * dim, run->steps ? LATER : SCORES);
}

/* A training step in bfloat16: scores, and the gradient of all parameters together. */
static void expect_half_step(const struct run *run, const double *logits)
{
    struct run half = *run;
    double off = 0.0, norm = 0.0;
    half.net = make_network(&half, true, VALUE_BF16);
    fill_weights(half.net);
    step_gradient(&half);
    expect_values("bf16 logits", "", network_logits(half.net), logits, run->batch * run->classes, HALF);
    const float *g = network_gradients(half.net), *single = network_gradients(run->net);
    int64_t count;
    network_weights(half.net, &count);
    for (int64_t i = 0; i < count; i++) {
        norm += (double)single[i] * (double)single[i];
        off += (double)(g[i] - single[i]) * (double)(g[i] - single[i]);
    }
    expect_near("bf16", "gradient", sqrt(off), 0.0, sqrt(norm), 2.0 * HALF);
    network_close(half.net);
}

/* Lines of one case, in the order they were written; each line's word tells what is compared. */
static void compare_case(FILE *file, struct run *run)
{
    char what[32], name[96];
    if (run->steps) {
        run->losses[0] = step_gradient(run);
        network_gradients(run->net);
    }
    network_sync(run->net);
    while (fscanf(file, "%31s", what) == 1 && strcmp(what, "end") != 0) {
        if (strcmp(what, "losses") == 0) {
            train_on(run);
            expect_losses(file, run);
        } else if (strcmp(what, "logits") == 0) {
            const double *logits = read_values(file, run->arena, run->batch * run->classes);
            expect_values(what, "", network_logits(run->net), logits, run->batch * run->classes, SCORES);
            if (run->multi)
                expect_half_step(run, logits);
        } else if (strcmp(what, "evaluated") == 0) {
            expect_evaluated(file, run);
        } else {
            assert_int_equal(fscanf(file, "%95s", name), 1);
            const struct parameter *p = find(run->net, name);
            const float *x = network_weights(run->net, NULL);
            if (strcmp(what, "weight") == 0)
                expect_summary(file, what, name, x + p->offset, p->count, WEIGHTS);
            else if (strcmp(what, "gradient") == 0)
                expect_summary(file, what, name, network_gradients(run->net) + p->offset, p->count, GRADIENT);
            else
                expect_values(what, name, network_gradients(run->net) + p->offset,
                              read_values(file, run->arena, p->count), p->count, GRADIENT);
        }
    }
}

/* Case `which` of the fixture. */
static void as_torchvision(int which, int shards)
{
    FILE *file = fopen("tests/parity/fixtures/vit.txt", "r");
    char word[96];
    struct run run = { .shards = shards };
    assert_non_null(file);
    for (int skip = 0; skip <= which;) {
        assert_int_equal(fscanf(file, "%95s", word), 1);
        skip += strcmp(word, "case") == 0;
    }
    assert_int_equal(fscanf(file, "%d %d %d %d %d", &run.size, &run.batch, &run.classes, &run.multi, &run.steps), 5);
    run.arena = arena_create("test", 1 << 20);
    make_inputs(&run);
    run.net = make_network(&run, run.steps > 0, VALUE_F32);
    fill_weights(run.net);
    compare_case(file, &run);
    network_close(run.net);
    arena_destroy(run.arena);
    fclose(file);
}

static void ten_tokens_two_shards(void **state)
{
    (void)state;
    as_torchvision(0, 2);
}

static void five_tokens_labels_four_shards(void **state)
{
    (void)state;
    as_torchvision(1, 4);
}

static void full_size_scores(void **state)
{
    (void)state;
    as_torchvision(2, 1);
}

/* Parameters of a network with ImageNet's classes, and their values from scratch: moments of what torchvision draws. */
static void from_scratch(void **state)
{
    static const struct {
        const char *name;
        double deviation; /* 0: all of them are `mean` */
        double mean;
    } rows[] = {
        { "class_token", 0.0, 0.0 },
        { "conv_proj.weight", 0.036084392, 0.0 },
        { "conv_proj.bias", 0.0, 0.0 },
        { "encoder.pos_embedding", 0.02, 0.0 },
        { "encoder.layers.encoder_layer_3.ln_1.weight", 0.0, 1.0 },
        { "encoder.layers.encoder_layer_3.self_attention.in_proj_weight", 0.025515518, 0.0 },
        { "encoder.layers.encoder_layer_3.self_attention.in_proj_bias", 0.0, 0.0 },
        { "encoder.layers.encoder_layer_3.self_attention.out_proj.weight", 0.020833333, 0.0 },
        { "encoder.layers.encoder_layer_3.self_attention.out_proj.bias", 0.0, 0.0 },
        { "encoder.layers.encoder_layer_3.mlp.0.weight", 0.022821773, 0.0 },
        { "encoder.layers.encoder_layer_3.mlp.3.bias", 1e-6, 0.0 },
        { "heads.head.weight", 0.0, 0.0 },
    };
    (void)state;
    struct run run = { .arena = arena_create("test", 1 << 20), .size = 224, .batch = 1, .classes = CLASSES };
    struct network *net = make_network(&run, false, VALUE_F32);
    int64_t count;
    const float *weights = network_weights(net, &count);
    assert_int_equal(count, PARAMETERS);
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        const struct parameter *p = find(net, rows[r].name);
        double sum = 0.0, square = 0.0;
        for (int64_t i = 0; i < p->count; i++) {
            double d = (double)weights[p->offset + i] - rows[r].mean;
            sum += d;
            square += d * d;
        }
        double deviation = rows[r].deviation, n = (double)p->count;
        expect_near("deviation of", p->name, sqrt(square / n), deviation, deviation, 4.0 / sqrt(n));
        expect_near("mean of", p->name, sum / n, 0.0, deviation, 5.0 / sqrt(n));
    }
    network_close(net);
    arena_destroy(run.arena);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(ten_tokens_two_shards),
                                        cmocka_unit_test(five_tokens_labels_four_shards),
                                        cmocka_unit_test(full_size_scores), cmocka_unit_test(from_scratch) };
    world = world_start(&argc, &argv);
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
