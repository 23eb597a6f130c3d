/* A fixture of scripts/parity_network.py against the network. The reference is in double. AdamW's first steps move
 * every weight by about lr whatever its gradient, which leaves 1e-4 in a loss curve. */
#include "parity_network.h"
#include "math/half_product.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "formula.h"
#include "math/adam.h"
#include "nn/network.h"

static const double SCORES = 1e-4, STATISTICS = 1e-4, WEIGHTS = 1e-4, LATER = 2e-3;
/* A gradient that is zero but for rounding: a bias whose effect a normalisation behind it takes away. */
static const double NOTHING = 1e-5;
enum { IMAGES = 901, TARGETS, MASK, PROBE, STEPS_MAX = 16, FEATURES_MAX = 32768 };

static struct world *world;

struct run {
    struct arena *arena;
    struct network *net;
    char backbone[16];
    const struct parity_rule *rule;
    int size, batch, classes, multi, steps, lift, shards;
    float *images, *targets, *mask;
    int32_t *labels;
    double losses[STEPS_MAX];
};

static bool of_a_norm(const char *name)
{
    return strstr(name, "norm") || strstr(name, "bn") || strstr(name, "downsample.1");
}

/* Weights as scripts/parity_network.py sets them. */
static void fill_weights(struct network *net, int lift)
{
    const struct parameter *list;
    float *weights = network_weights(net, NULL);
    int count = network_parameters(net, &list), number = 0;
    for (int i = 0; i < count; i++) {
        const struct parameter *p = &list[i];
        if (p->is_buffer)
            continue;
        float scale = 0.125f, offset = 0.0f;
        if (p->rank == 4)
            scale = (float)sqrt(6.0 / (double)(p->dims[0] * p->dims[2] * p->dims[3]));
        else if (p->rank == 2)
            scale = (float)sqrt((strstr(p->name, "in_proj") ? 6.0 : 1.0) / (double)p->dims[1]);
        else if (p->rank == 3 && p->dims[0] == 1)
            scale = 1.0f;
        else if (strstr(p->name, "weight"))
            offset = 1.0f;
        formula_fill(weights + p->offset, p->count, ++number, scale, offset);
        if (!lift || p->rank != 1 || offset > 0.0f || !of_a_norm(p->name))
            continue;
        for (float *bias = weights + p->offset; bias < weights + p->offset + p->count; bias++)
            *bias += (float)(*bias > 0.0f ? lift : *bias < 0.0f ? -lift : 0);
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
    struct network_spec spec = { .backbone = run->backbone,
                                 .classes = run->classes,
                                 .image_size = run->size,
                                 .batch = run->batch,
                                 .shards = train ? run->shards : 1,
                                 .loss = run->multi ? LOSS_BCE : LOSS_CROSS_ENTROPY,
                                 .train = train,
                                 .precision = precision,
                                 .whole_depth = true,
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

/* Norm, and product with the probe, of `count` values; `along` is the tolerance of the product. */
static void expect_summary(FILE *file, const char *what, const char *name, const float *x, int64_t count,
                           double tolerance, double along)
{
    double norm, product, sum = 0.0, dot = 0.0;
    assert_int_equal(fscanf(file, "%lf %lf", &norm, &product), 2);
    for (int64_t i = 0; i < count; i++) {
        sum += (double)x[i] * (double)x[i];
        dot += (double)x[i] * (double)formula(i, PROBE);
    }
    double scale = fmax(norm, NOTHING);
    expect_near(what, name, sqrt(sum), norm, scale, tolerance);
    expect_near(what, name, dot, product, scale, along);
}

/* All values; the difference is measured against the norm. */
static void expect_values(FILE *file, const char *what, const char *name, const float *x, int64_t count,
                          double tolerance)
{
    double off = 0.0, norm = 0.0, value;
    for (int64_t i = 0; i < count; i++) {
        assert_int_equal(fscanf(file, "%lf", &value), 1);
        norm += value * value;
        off += (value - (double)x[i]) * (value - (double)x[i]);
    }
    expect_near(what, name, sqrt(off), 0.0, sqrt(norm), tolerance);
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

static void expect_losses(FILE *file, const struct run *run, double tolerance)
{
    for (int s = 0; s < run->steps; s++) {
        double loss;
        assert_int_equal(fscanf(file, "%lf", &loss), 1);
        expect_near("loss", "of a step", run->losses[s], loss, loss, s == 0 ? SCORES : tolerance);
    }
}

/* The rest of the training steps. */
static void train_on(struct run *run)
{
    struct adam adam = { .lr = 2e-5, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 1e-2 };
    for (int s = 0; s < run->steps; s++) {
        if (s > 0)
            run->losses[s] = step_gradient(run);
        network_update(run->net, &adam, s + 1);
    }
    network_sync(run->net);
}

/* Scores and representation of a second network that has only inference planned. */
static void evaluate(struct run *run, float *features, float *logits, enum value_type precision)
{
    struct network *infer = make_network(run, false, precision);
    int64_t weights, buffers;
    float *w = network_weights(infer, &weights), *b = network_buffers(infer, &buffers);
    memcpy(w, network_weights(run->net, NULL), (size_t)weights * sizeof *w);
    memcpy(b, network_buffers(run->net, NULL), (size_t)buffers * sizeof *b);
    network_changed(infer);
    assert_true(run->batch * network_feature_dim(infer) <= FEATURES_MAX);
    network_infer(infer, features, logits, run->images);
    network_close(infer);
}

static void expect_half(const struct run *run, const char *what, const float *found, const float *single, int64_t count,
                        double tolerance)
{
    double off = 0.0, norm = 0.0;
    for (int64_t i = 0; i < count; i++) {
        double d = (double)found[i] - (double)single[i];
        off += d * d;
        norm += (double)single[i] * (double)single[i];
    }
    assert_true(off > 0.0);
    expect_near(what, run->backbone, sqrt(off), 0.0, sqrt(norm), tolerance);
}

/* Scores and gradients of a training step in bfloat16 against those in single precision, which are compared with the
 * fixture. */
static void compare_half_step(struct run *run)
{
    struct run half = *run;
    half.net = make_network(&half, true, VALUE_BF16);
    fill_weights(half.net, run->lift);
    step_gradient(&half);
    expect_half(run, "bf16 scores of a step", network_logits(half.net), network_logits(run->net),
                run->batch * run->classes, run->rule->half_step);
    int64_t count;
    network_weights(run->net, &count);
    if (run->rule->half_gradient > 0.0)
        expect_half(run, "bf16 gradients", network_gradients(half.net), network_gradients(run->net), count,
                    run->rule->half_gradient);
    network_close(half.net);
}

/* The same in evaluation, with the weights and statistics trained so far. */
static void compare_half_evaluation(struct run *run, const float *single)
{
    float features[FEATURES_MAX], logits[64];
    evaluate(run, features, logits, VALUE_BF16);
    expect_half(run, "bf16 scores", logits, single, run->batch * run->classes, run->rule->half);
}

/* Lines of one case, in the order they were written; each line's word tells what is compared. */
static void compare_case(FILE *file, struct run *run)
{
    char what[32], name[64];
    float features[FEATURES_MAX], logits[64];
    bool trained = false;
    run->losses[0] = step_gradient(run);
    if (run->shards == 2 && run->rule->half_step > 0.0 && half_in_hardware())
        compare_half_step(run);
    network_gradients(run->net);
    network_sync(run->net);
    while (fscanf(file, "%31s", what) == 1 && strcmp(what, "end") != 0) {
        if (strcmp(what, "losses") == 0) {
            train_on(run);
            trained = true;
            evaluate(run, features, logits, VALUE_F32);
            if (run->shards == 2 && half_in_hardware())
                compare_half_evaluation(run, logits);
            expect_losses(file, run, run->rule->losses);
            continue;
        }
        if (strcmp(what, "logits") == 0 || strcmp(what, "evaluated") == 0) {
            bool first = what[0] == 'l';
            const float *found = first ? network_logits(run->net) : logits;
            expect_values(file, what, "", found, run->batch * run->classes, first ? SCORES : LATER);
            continue;
        }
        assert_int_equal(fscanf(file, "%63s", name), 1);
        if (strcmp(what, "features") == 0) {
            expect_summary(file, what, name, features, (int64_t)run->batch * network_feature_dim(run->net), LATER,
                           3.0 * LATER);
            continue;
        }
        const struct parameter *p = find(run->net, name);
        const float *gradient = network_gradients(run->net) + p->offset;
        if (strcmp(what, "gradient") == 0)
            expect_summary(file, what, name, gradient, p->count, run->rule->norm, run->rule->whole);
        else if (strcmp(what, "whole") == 0)
            expect_values(file, what, name, gradient, p->count, run->rule->whole);
        else if (strcmp(what, "buffer") == 0)
            expect_summary(file, what, name, network_buffers(run->net, NULL) + p->offset, p->count, STATISTICS,
                           3.0 * STATISTICS);
        else
            expect_summary(file, what, name, network_weights(run->net, NULL) + p->offset, p->count, WEIGHTS,
                           3.0 * WEIGHTS);
    }
    assert_true(trained);
}

static const struct parity_rule *rule_of(const struct run *run, const struct parity_rule *rules)
{
    for (const struct parity_rule *r = rules; r->backbone; r++)
        if (strcmp(r->backbone, run->backbone) == 0 && r->size == run->size)
            return r;
    fail_msg("no tolerance for %s at %d pixels", run->backbone, run->size);
    return NULL;
}

void parity_network(struct world *in, const char *fixture, const struct parity_rule *rules, int shards)
{
    FILE *file = fopen(fixture, "r");
    char word[32];
    int cases = 0, known = 0;
    world = in;
    assert_non_null(file);
    for (; fscanf(file, "%31s", word) == 1; cases++) {
        struct run run = { .shards = shards };
        assert_string_equal(word, "case");
        assert_int_equal(fscanf(file, "%15s %d %d %d %d %d %d", run.backbone, &run.size, &run.batch, &run.classes,
                                &run.multi, &run.steps, &run.lift),
                         7);
        run.rule = rule_of(&run, rules);
        if (run.rule->once && shards != 2) {
            while (fscanf(file, "%31s", word) == 1 && strcmp(word, "end") != 0)
                continue;
            continue;
        }
        run.arena = arena_create("test", 1 << 20);
        make_inputs(&run);
        run.net = make_network(&run, true, VALUE_F32);
        fill_weights(run.net, run.lift);
        compare_case(file, &run);
        network_close(run.net);
        arena_destroy(run.arena);
    }
    while (rules[known].backbone)
        known++;
    assert_int_equal(cases, known);
    fclose(file);
}
