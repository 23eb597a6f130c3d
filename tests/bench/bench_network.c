/* What the network reaches on this machine: the rate of convolutions alone on
 * resnet18's main shapes, then images a second in training and embedding, and
 * their share of what the convolutions would allow.
 *
 *   bench_network [threads [seconds of each measurement]] */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "dist/world.h"
#include "nn/bench.h"

enum { BATCH = 16, SIZE = 224 };

static void print_rates(const struct bench_rates *rates)
{
    printf("3x3 convolutions of resnet18 alone, GFLOP/s, batch %d\n  %-28s %8s %8s %8s\n", BATCH, "shape", "forward",
           "d data", "d weight");
    for (int i = 0; i < BENCH_SHAPES; i++)
        printf("  %-28s %8.0f %8.0f %8.0f\n", rates->shapes[i].name, rates->shapes[i].forward, rates->shapes[i].data,
               rates->shapes[i].weights);
    printf("  mean                         forward %.0f, forward and backward %.0f\n", rates->forward, rates->train);
}

/* The best step; shards 0: embedding. */
static void report(struct world *world, const char *what, int shards, int size, double bound, double seconds)
{
    struct arena *arena = arena_create("bench", 1 << 20);
    struct network_spec spec = { .backbone = "resnet18",
                                 .classes = 7,
                                 .image_size = size,
                                 .batch = BATCH,
                                 .shards = shards ? shards : 1,
                                 .train = shards > 0,
                                 .seed = 1 };
    struct bench_result r = bench_network(world, arena, &spec, seconds);
    double rate = BATCH / r.best, gflops = r.image_flops / 1e9;
    printf("  %-34s %8.1f img/s   %6.0f GFLOP/s   %3.0f %% of %.0f img/s\n", what, rate, rate * gflops,
           100.0 * rate * gflops / bound, bound / gflops);
    arena_destroy(arena);
}

int main(int argc, char **argv)
{
    struct world *world = world_start(&argc, &argv);
    int threads = world_threads(world, argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0);
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 3.0;
    struct arena *arena = arena_create("bench", 1 << 20);
    printf("%s, %s, %d threads\n\n", network_library(), network_isa(), threads);
    struct bench_rates rates = bench_convolutions(arena, VALUE_F32, BATCH, seconds / 2);
    print_rates(&rates);
    printf("\nresnet18, batch %d, fp32; bound: its arithmetic at the rate above\n", BATCH);
    report(world, "train 224x224, 1 shard", 1, SIZE, rates.train, seconds);
    report(world, "train 224x224, 4 shards", 4, SIZE, rates.train, seconds);
    report(world, "train 64x64, 1 shard", 1, 64, rates.train, seconds);
    report(world, "train 64x64, 4 shards", 4, 64, rates.train, seconds);
    report(world, "embed 224x224", 0, SIZE, rates.forward, seconds);
    arena_destroy(arena);
    return world_end(world, 0);
}
