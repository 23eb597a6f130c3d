/* What the network reaches on this machine: the rate of convolutions alone on
 * resnet18's main shapes, then images a second in training and embedding, and
 * their share of what the convolutions would allow.
 *
 *   bench_network [threads [seconds of each measurement]] */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/timer.h"
#include "dist/world.h"
#include "math/adam.h"
#include "nn/network.h"
#include "nn/onednn.h"

enum { BATCH = 16, SIZE = 224 };

static double limit_seconds = 3.0;

static void noise(float *x, int64_t n)
{
    uint32_t state = 12345;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) / 8388608.0f - 1.0f;
    }
}

static float *random_floats(struct arena *arena, int64_t n)
{
    float *x = arena_array(arena, float, n);
    noise(x, n);
    return x;
}

/* Best GFLOP/s of one shape: forward, both gradients. */
static void conv_rate(struct arena *arena, const char *name, struct conv_shape shape, double rates[3])
{
    struct arena_mark mark = arena_mark(arena);
    struct dn *dn = dn_create(arena);
    const struct dn_layout *plain = dn_plain(dn, 4, (int64_t[]){ shape.images, shape.in, shape.h, shape.w });
    struct dn_conv_spec spec = { .name = name, .shape = shape, .train = true, .data_gradient = true };
    /* The input as a convolution before would leave it. */
    struct conv_shape before = { shape.images, shape.in, shape.in, shape.h, shape.w, shape.h, shape.w, 1, 1, 0 };
    struct dn_conv_spec spec_before = { .name = "before", .shape = before };
    struct dn_conv *first = dn_conv_create(dn, &spec_before, plain);
    struct dn_conv *conv = dn_conv_create(dn, &spec, dn_conv_dst(first));
    dn_finish(dn);
    float *src = random_floats(arena, dn_values(dn_conv_dst(first))),
          *dst = random_floats(arena, dn_values(dn_conv_dst(conv)));
    float *weights = random_floats(arena, dn_values(dn_conv_weights(conv)));
    double flops = 2.0 * shape.images * shape.out * shape.oh * shape.ow * shape.in * shape.kernel * shape.kernel;
    double best[3] = { 1e9, 1e9, 1e9 };
    for (double start = timer_seconds(); timer_seconds() - start < limit_seconds / 8;) {
        double t0 = timer_seconds();
        dn_conv_forward(conv, dst, src, weights, NULL);
        double t1 = timer_seconds();
        const void *prepared = dn_conv_prepare_backward(conv, weights);
        double t2 = timer_seconds();
        dn_conv_backward_data(conv, src, dst, prepared);
        double t3 = timer_seconds();
        dn_conv_backward_weights(conv, weights, src, dst);
        double t[3] = { t1 - t0, t3 - t2, timer_seconds() - t3 };
        for (int i = 0; i < 3; i++)
            best[i] = t[i] < best[i] ? t[i] : best[i];
        noise(dst, 16); /* no denormals from repeated application */
        noise(weights, dn_values(dn_conv_weights(conv)));
        noise(src, dn_values(dn_conv_dst(first)));
    }
    for (int i = 0; i < 3; i++)
        rates[i] = flops / best[i] / 1e9;
    printf("  %-28s %8.0f %8.0f %8.0f\n", name, rates[0], rates[1], rates[2]);
    dn_destroy(dn);
    arena_release(arena, mark);
}

/* Mean over the shapes weighted by their time in the network (each stage costs about the same). */
static void conv_rates(struct arena *arena, double *forward, double *train)
{
    static const struct {
        const char *name;
        struct conv_shape shape;
    } shapes[] = {
        { "64 -> 64, 56x56", { BATCH, 64, 64, 56, 56, 56, 56, 3, 1, 1 } },
        { "128 -> 128, 28x28", { BATCH, 128, 128, 28, 28, 28, 28, 3, 1, 1 } },
        { "256 -> 256, 14x14", { BATCH, 256, 256, 14, 14, 14, 14, 3, 1, 1 } },
        { "512 -> 512, 7x7", { BATCH, 512, 512, 7, 7, 7, 7, 3, 1, 1 } },
    };
    double slow = 0.0, slow_forward = 0.0;
    printf("3x3 convolutions of resnet18 alone, GFLOP/s, batch %d\n  %-28s %8s %8s %8s\n", BATCH, "shape", "forward",
           "d data", "d weight");
    for (int i = 0; i < 4; i++) {
        double rates[3];
        conv_rate(arena, shapes[i].name, shapes[i].shape, rates);
        slow_forward += 0.25 / rates[0];
        for (int k = 0; k < 3; k++)
            slow += 1.0 / 12.0 / rates[k];
    }
    *forward = 1.0 / slow_forward;
    *train = 1.0 / slow;
    printf("  mean                         forward %.0f, forward and backward %.0f\n", *forward, *train);
}

static double train_rate(struct world *world, int shards, int size)
{
    struct arena *arena = arena_create("bench", 1 << 20);
    struct network_spec spec = { .backbone = "resnet18",
                                 .classes = 7,
                                 .image_size = size,
                                 .batch = BATCH,
                                 .shards = shards,
                                 .train = true,
                                 .seed = 1 };
    struct network *net = network_create(world, arena, &spec);
    struct adam adam = { .lr = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 1e-2 };
    float *images = random_floats(arena, (int64_t)BATCH * 3 * size * size);
    int32_t labels[BATCH];
    struct network_batch batch = { .images = images, .labels = labels };
    double best = 1e9;
    int step = 0;
    for (int i = 0; i < BATCH; i++)
        labels[i] = i % 7;
    for (double start = timer_seconds(); step < 3 || timer_seconds() - start < limit_seconds;) {
        double t = timer_seconds();
        network_gradient(net, &batch, NULL);
        network_update(net, &adam, ++step);
        t = timer_seconds() - t;
        best = t < best ? t : best;
    }
    network_close(net);
    arena_destroy(arena);
    return BATCH / best;
}

static double embed_rate(struct world *world)
{
    struct arena *arena = arena_create("bench", 1 << 20);
    struct network_spec spec = {
        .backbone = "resnet18", .classes = 7, .image_size = SIZE, .batch = BATCH, .shards = 1, .seed = 1
    };
    struct network *net = network_create(world, arena, &spec);
    float *images = random_floats(arena, (int64_t)BATCH * 3 * SIZE * SIZE),
          *features = random_floats(arena, BATCH * 512);
    double best = 1e9;
    int count = 0;
    for (double start = timer_seconds(); count++ < 3 || timer_seconds() - start < limit_seconds;) {
        double t = timer_seconds();
        network_infer(net, features, NULL, images);
        t = timer_seconds() - t;
        best = t < best ? t : best;
    }
    network_close(net);
    arena_destroy(arena);
    return BATCH / best;
}

/* Arithmetic of one image, from a small network's own count. */
static double image_gflops(struct world *world, bool train, int size)
{
    struct arena *arena = arena_create("bench", 1 << 20);
    struct network_spec spec = {
        .backbone = "resnet18", .classes = 7, .image_size = size, .batch = 1, .shards = 1, .seed = 1
    };
    struct network *net = network_create(world, arena, &spec);
    double flops = network_flops(net, train) / 1e9;
    network_close(net);
    arena_destroy(arena);
    return flops;
}

static void report(const char *what, double rate, double gflops, double bound)
{
    printf("  %-34s %8.1f img/s   %6.0f GFLOP/s   %3.0f %% of %.0f img/s\n", what, rate, rate * gflops,
           100.0 * rate * gflops / bound, bound / gflops);
}

int main(int argc, char **argv)
{
    struct world *world = world_start(&argc, &argv);
    int threads = world_threads(world, argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0);
    if (argc > 2)
        limit_seconds = strtod(argv[2], NULL);
    struct arena *arena = arena_create("bench", 1 << 20);
    double forward, train;
    printf("%s, %s, %d threads\n\n", network_library(), network_isa(), threads);
    conv_rates(arena, &forward, &train);
    printf("\nresnet18, batch %d, fp32; bound: its arithmetic at the rate above\n", BATCH);
    report("train 224x224, 1 shard", train_rate(world, 1, SIZE), image_gflops(world, true, SIZE), train);
    report("train 224x224, 4 shards", train_rate(world, 4, SIZE), image_gflops(world, true, SIZE), train);
    report("train 64x64, 1 shard", train_rate(world, 1, 64), image_gflops(world, true, 64), train);
    report("train 64x64, 4 shards", train_rate(world, 4, 64), image_gflops(world, true, 64), train);
    report("embed 224x224", embed_rate(world), image_gflops(world, false, SIZE), forward);
    arena_destroy(arena);
    return world_end(world, 0);
}
