/* Which kernels the library offers for every backbone at every size, training and inference: a line each with the
 * primitives, how many of them are reference code, and how many passes are convolutions of ours. Runs none of them.
 * tests/cli/test_kernels.sh asks for several instruction sets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "dist/world.h"
#include "nn/bench.h"
#include "nn/graph.h"

enum { BATCH = 8, SHARDS = 2, CLASSES = 8 };

static int own_passes(const struct bench_result *r)
{
    int count = 0;
    for (int i = 0; i < r->count; i++)
        for (int pass = 0; pass < 3; pass++)
            count += r->nodes[i].kernels[pass] && strcmp(r->nodes[i].kernels[pass], "gemm:blis") == 0;
    return count;
}

static void look(struct world *world, const char *backbone, int size, bool train)
{
    struct arena *arena = arena_create("kernels", (size_t)1 << 20);
    struct bench_result r = bench_kernels(world, arena,
                                          &(struct network_spec){ .backbone = backbone,
                                                                  .classes = CLASSES,
                                                                  .image_size = size,
                                                                  .batch = BATCH,
                                                                  .shards = train ? SHARDS : 1,
                                                                  .train = train });
    printf("%s %d %s: %d primitives, %d references, %d ours\n", backbone, size, train ? "train" : "embed", r.primitives,
           r.references, own_passes(&r));
    arena_destroy(arena);
}

int main(int argc, char **argv)
{
    static const int sizes[] = { 32, 64, 96, 128, 224, 256, 384 };
    struct world *world = world_start(&argc, &argv);
    const char *names[ZOO_ROWS];
    const int count = zoo_names(names);
    for (int i = 0; i < count; i++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            look(world, names[i], sizes[s], true);
            look(world, names[i], sizes[s], false);
        }
    printf("kernels of %s, %s\n", network_library(), network_isa());
    return world_end(world, 0);
}
