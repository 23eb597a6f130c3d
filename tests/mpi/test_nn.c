/* A network's training steps have the same bits at any rank count: weights, moments, running statistics and
 * losses of three steps, for whole and ragged numbers of shards, both losses, batch-norm statistics of the global
 * batch and of a shard. Launches at other rank counts are compared through a digest.
 * run-tests: first */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "digest.h"
#include "dist/tree.h"
#include "dist/world.h"
#include "formula.h"
#include "math/adam.h"
#include "math/half_product.h"
#include "nn/engine.h"
#include "nn/network.h"

enum { SIZE = 33, CLASSES = 3, STEPS = 3, TOKENS_SIZE = 32, TOKENS_STEPS = 2 };

static struct world *world;
static struct arena *arena; /* of all tests, one after the other: fresh pages take longer than the steps */
static uint64_t global_hash;
static double last_losses[STEPS];
static uint64_t dense_hash, token_hash;
static int64_t last_bytes, global_bytes, dense_bytes, token_bytes;

/* This rank's part of the global batch of step `step`. */
struct batch {
    float *images, *targets, *mask;
    int32_t *labels;
    int64_t *rows;
};

static struct batch make_batch(struct network *net, int size, int step)
{
    struct span mine = tree_leaves(network_tree(net));
    int64_t rows = mine.count * network_shard_rows(net), first = mine.first * network_shard_rows(net);
    int64_t pixels = 3 * (int64_t)size * size;
    struct batch b = { arena_array(arena, float, rows *pixels), arena_array(arena, float, rows *CLASSES),
                       arena_array(arena, float, rows *CLASSES), arena_array(arena, int32_t, rows),
                       arena_array(arena, int64_t, rows) };
    for (int64_t i = 0; i < rows * pixels; i++)
        b.images[i] = formula(first * pixels + i, 11 + step);
    for (int64_t i = 0; i < rows * CLASSES; i++) {
        b.targets[i] = formula(first * CLASSES + i, 21 + step) > 0 ? 1.0f : 0.0f;
        b.mask[i] = formula(first * CLASSES + i, 31 + step) > -0.8f ? 1.0f : 0.0f;
    }
    for (int64_t i = 0; i < rows; i++) {
        b.labels[i] = (int32_t)((first + i) % CLASSES);
        b.rows[i] = 1000 + first + i;
    }
    return b;
}

/* Eight bytes at a time: there are 11 million weights. */
static uint64_t digest_floats(uint64_t hash, const float *x, int64_t count)
{
    for (int64_t i = 0; i + 1 < count; i += 2) {
        uint64_t word;
        memcpy(&word, x + i, sizeof word);
        hash = (hash ^ word) * 1099511628211u;
        hash ^= hash >> 29;
    }
    return digest(hash, x + count - 1, sizeof *x);
}

static uint64_t digest_state(struct network *net, uint64_t hash)
{
    int64_t weights, buffers;
    float *w = network_weights(net, &weights), *b = network_buffers(net, &buffers);
    if (buffers)
        network_moment1(net);
    network_sync(net);
    hash = digest_floats(hash, w, weights);
    if (!buffers) /* a transformer has none, and is too large for a copy of its moments */
        return hash;
    hash = digest_floats(hash, b, buffers);
    return digest_floats(hash, network_moment1(net), weights);
}

static uint64_t train(struct network_spec spec)
{
    if (!spec.backbone)
        spec.backbone = "resnet18";
    if (!spec.image_size)
        spec.image_size = SIZE;
    int steps = spec.image_size == TOKENS_SIZE ? TOKENS_STEPS : STEPS;
    spec.classes = CLASSES;
    spec.train = true;
    spec.seed = 7;
    struct network *net = network_create(world, arena, &spec);
    struct adam adam = { .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 1e-2 };
    uint64_t hash = 1469598103934665603u;
    bool bce = spec.loss == LOSS_BCE;
    double losses[STEPS] = { 0 };
    for (int step = 0; step < steps; step++) {
        struct batch b = make_batch(net, spec.image_size, step);
        int64_t correct = -1;
        struct network_batch batch = { .images = b.images,
                                       .labels = bce ? NULL : b.labels,
                                       .targets = bce ? b.targets : NULL,
                                       .mask = bce ? b.mask : NULL,
                                       .rows = b.rows,
                                       .epoch = step };
        losses[step] = network_gradient(net, &batch, &correct);
        network_update(net, &adam, step + 1);
        hash = digest(digest(hash, &losses[step], sizeof(double)), &correct, sizeof correct);
    }
    memcpy(last_losses, losses, sizeof losses);
    last_bytes = net->value_bytes;
    hash = digest_state(net, hash);
    network_close(net);
    arena_reset(arena);
    return hash;
}

/* The same on all ranks of this launch, and as in launches before it. */
static void expect_same(const char *name, uint64_t hash)
{
    uint64_t first = hash;
    world_broadcast(world, &first, sizeof first, 0);
    assert_true(first == hash);
    if (world->rank == 0)
        assert_true(digest_same(name, hash));
}

static void global_statistics(void **state)
{
    (void)state;
    global_hash = train((struct network_spec){ .batch = 8, .shards = 4 });
    global_bytes = last_bytes;
    expect_same("nn_global", global_hash);
}

/* Of a residual network little more is kept than what its convolutions make. */
static void little_kept(void **state)
{
    (void)state;
    enum { STEM = 64 * 32 * 32, STAGES = 4 * 64 * 256 + 5 * 128 * 64 + 5 * 256 * 16 + 5 * 512 * 4, BATCH = 16 };
    if (world->size > 1)
        return; /* a rank's part of it */
    struct network_spec spec = { .backbone = "resnet18", .classes = CLASSES, .image_size = 64, .train = true };
    spec.batch = BATCH;
    spec.shards = 4;
    struct network *net = network_create(world, arena, &spec);
    int64_t made = (int64_t)BATCH * (STEM + STAGES) * (int64_t)sizeof(float);
    assert_true(net->value_bytes < made + made / 4);
    network_close(net);
    arena_reset(arena);
}

static void one_image_a_shard(void **state)
{
    (void)state;
    expect_same("nn_single", train((struct network_spec){ .batch = 8, .shards = 8, .loss = LOSS_BCE }));
}

static void shard_statistics(void **state)
{
    (void)state;
    uint64_t hash = train((struct network_spec){ .batch = 8, .shards = 4, .local_batchnorm = true });
    expect_same("nn_local", hash);
    assert_true(hash != global_hash); /* the switch does something */
}

static void bfloat16(void **state)
{
    (void)state;
    if (!half_in_hardware())
        skip();
    uint64_t hash = train((struct network_spec){ .batch = 8, .shards = 4, .precision = VALUE_BF16 });
    expect_same("nn_bf16", hash);
    assert_true(hash != global_hash);
}

/* A dense network: statistics shared by the readers of a value, outputs made again in backward. */
static void dense(void **state)
{
    (void)state;
    struct network_spec spec = { .backbone = "densenet121", .batch = 8, .shards = 4 };
    uint64_t hash = dense_hash = train(spec);
    dense_bytes = last_bytes;
    expect_same("nn_dense", hash);
    spec.local_batchnorm = true;
    uint64_t local = train(spec);
    expect_same("nn_dense_local", local);
    assert_true(local != hash);
}

static void dense_in_bfloat16(void **state)
{
    (void)state;
    if (!half_in_hardware())
        skip();
    expect_same("nn_dense_bf16", train((struct network_spec){
                                     .backbone = "densenet121", .batch = 8, .shards = 4, .precision = VALUE_BF16 }));
}

/* Class token and positions get their gradients only in the second step: the first starts with a head of zeros. */
static void tokens(void **state)
{
    (void)state;
    struct network_spec spec = { .backbone = "vit_b_16", .image_size = TOKENS_SIZE, .batch = 4, .shards = 4 };
    token_hash = train(spec);
    token_bytes = last_bytes;
    expect_same("nn_tokens", token_hash);
}

/* Activations made again instead of kept: the same bits as in the tests above, in fewer bytes. */
static void checkpointed(void **state)
{
    (void)state;
    assert_true(train((struct network_spec){ .batch = 8, .shards = 4, .checkpoint = true }) == global_hash);
    assert_true(last_bytes < global_bytes);
    struct network_spec spec = { .backbone = "densenet121", .batch = 8, .shards = 4, .checkpoint = true };
    assert_true(train(spec) == dense_hash);
    assert_true(last_bytes < dense_bytes);
    spec = (struct network_spec){
        .backbone = "vit_b_16", .image_size = TOKENS_SIZE, .batch = 4, .shards = 4, .checkpoint = true
    };
    assert_true(train(spec) == token_hash);
    assert_true(last_bytes < token_bytes);
    /* A bottleneck, of which single convolutions run again in any case. */
    spec = (struct network_spec){ .backbone = "resnet50", .batch = 4, .shards = 4 };
    uint64_t hash = train(spec);
    expect_same("nn_bottleneck", hash);
    int64_t bytes = last_bytes;
    spec.checkpoint = true;
    assert_true(train(spec) == hash);
    assert_true(last_bytes <= bytes);
}

/* Inference goes through a batch in pieces: sixteen images give the bits of eight and eight. */
static void pieces(void **state)
{
    (void)state;
    enum { BATCH = 16, HALF = BATCH / 2, PIXELS = 3 * SIZE * SIZE };
    struct network_spec spec = { .backbone = "resnet18", .classes = CLASSES, .image_size = SIZE, .seed = 7 };
    float *images = arena_array(arena, float, BATCH *PIXELS), whole[BATCH * CLASSES], halves[BATCH * CLASSES];
    spec.shards = 1;
    spec.batch = BATCH;
    struct network *all = network_create(world, arena, &spec);
    spec.batch = HALF;
    struct network *half = network_create(world, arena, &spec);
    formula_fill(images, BATCH * PIXELS, 41, 1.0f, 0.0f);
    network_infer(all, NULL, whole, images);
    network_infer(half, NULL, halves, images);
    network_infer(half, NULL, halves + HALF * CLASSES, images + HALF * PIXELS);
    assert_memory_equal(whole, halves, sizeof whole);
    assert_true(memcmp(whole, whole + HALF * CLASSES, HALF * CLASSES * sizeof(float)) != 0);
    network_close(all);
    network_close(half);
    arena_reset(arena);
}

/* Channel-last, with stochastic depth drawn by rows of the corpus. */
static void depthwise(void **state)
{
    (void)state;
    struct network_spec spec = { .backbone = "convnext_tiny", .image_size = TOKENS_SIZE, .batch = 4, .shards = 4 };
    uint64_t hash = train(spec);
    int64_t bytes = last_bytes;
    expect_same("nn_depthwise", hash);
    spec.checkpoint = true;
    assert_true(train(spec) == hash);
    assert_true(last_bytes < bytes);
}

/* A node that is far slower than its kind is named, unless nobody feels it. */
static void slow_node(void **state)
{
    (void)state;
    enum { FAST = 30 };
    struct network_spec spec = { .backbone = "resnet18",
                                 .classes = CLASSES,
                                 .image_size = SIZE,
                                 .batch = 8,
                                 .shards = 8,
                                 .train = true,
                                 .plan_only = true };
    struct network *net = network_create(world, arena, &spec);
    int conv = NONE;
    for (int i = 0; i < net->graph->count; i++) {
        net->ops[i].seconds[PASS_FORWARD] = 1e-11 * node_flops(net->graph, i, true);
        conv = strcmp(net->graph->nodes[i].name, "layer4.1.conv2") == 0 ? i : conv;
    }
    assert_true(conv != NONE);
    assert_null(network_slow_node(net, arena));
    net->ops[conv].seconds[PASS_BACKWARD] = FAST * net->ops[conv].seconds[PASS_FORWARD];
    const char *text = network_slow_node(net, arena);
    assert_non_null(text);
    assert_non_null(strstr(text, "layer4.1.conv2 runs 31 times slower"));
    /* The same where another kind takes nearly all the time. */
    for (int i = 0; i < net->graph->count; i++)
        net->ops[i].seconds[PASS_FORWARD] *= net->ops[i].norm ? 1e6 : 1.0;
    assert_null(network_slow_node(net, arena));
    network_close(net);
    arena_reset(arena);
}

/* Sums in any order: the same on all ranks of a launch, and near the exact ones. */
static void any_order(void **state)
{
    (void)state;
    double exact[STEPS];
    train((struct network_spec){ .batch = 8, .shards = 4 });
    memcpy(exact, last_losses, sizeof exact);
    uint64_t hash = train((struct network_spec){ .batch = 8, .shards = 4, .fast_reduction = true }), first = hash;
    world_broadcast(world, &first, sizeof first, 0);
    assert_true(first == hash);
    for (int step = 0; step < STEPS; step++)
        assert_true(fabs(last_losses[step] - exact[step]) < 1e-3 * exact[step]);
}

int main(int argc, char **argv)
{
    /* The largest network first: its blocks of memory serve the others. */
    const struct CMUnitTest tests[] = { cmocka_unit_test(tokens),
                                        cmocka_unit_test(global_statistics),
                                        cmocka_unit_test(little_kept),
                                        cmocka_unit_test(one_image_a_shard),
                                        cmocka_unit_test(shard_statistics),
                                        cmocka_unit_test(bfloat16),
                                        cmocka_unit_test(dense),
                                        cmocka_unit_test(dense_in_bfloat16),
                                        cmocka_unit_test(pieces),
                                        cmocka_unit_test(any_order),
                                        cmocka_unit_test(slow_node),
                                        cmocka_unit_test(checkpointed),
                                        cmocka_unit_test(depthwise) };
    world = world_start(&argc, &argv);
    arena = arena_create("test", 1 << 20);
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
