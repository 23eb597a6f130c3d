/* Scores of weights imported by cfn: logits WEIGHTS.h5 OUT.bin [IMAGES] writes the logits [IMAGES x classes], in single
 * precision, of images made by a formula (tests/support/formula.h); tests/cli/test_weights.sh compares them. */
#include <stdio.h>
#include <stdlib.h>

#include "formula.h"
#include "math/blas.h"
#include "stage/backbone/backbone.h"

enum { BATCH = 4, SALT = 901 };

int main(int argc, char **argv)
{
    struct world *world = world_start(&argc, &argv);
    require(argc >= 3, EXIT_USAGE, "usage: logits WEIGHTS.h5 OUT.bin [IMAGES]");
    const int images = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 20;
    struct arena *arena = arena_create("run", (size_t)1 << 20);
    blas_start(world_threads(world, 0));
    struct store *store = store_open(world, arena, argv[1]);
    const char *backbone = "";
    int64_t classes = 0, size = 0;
    bool known = store_get_text(store, "/", "backbone", &backbone) && store_get_i64(store, "/", "classes", &classes) &&
                 store_get_i64(store, "/", "image_size", &size);
    require(known, EXIT_BAD_DATA, "%s: not weights of a backbone", argv[1]);
    struct network_spec spec = {
        .backbone = backbone, .classes = (int)classes, .image_size = (int)size, .batch = BATCH, .shards = 1
    };
    struct network *net = network_create(world, arena, &spec);
    backbone_read(net, store, false);
    const int64_t pixels = 3 * size * size;
    float *batch = arena_array(arena, float, BATCH *pixels), *logits = arena_array(arena, float, BATCH *classes);
    FILE *out = fopen(argv[2], "wb");
    require(out, EXIT_CANNOT_CREATE, "%s: cannot be written", argv[2]);
    for (int first = 0; first < images; first += BATCH) {
        for (int64_t i = 0; i < BATCH * pixels; i++)
            batch[i] = formula(first * pixels + i, SALT);
        network_infer(net, NULL, logits, batch);
        const int count = images - first < BATCH ? images - first : BATCH;
        require(fwrite(logits, sizeof(float) * (size_t)classes, (size_t)count, out) == (size_t)count, EXIT_IO,
                "%s: cannot be written", argv[2]);
    }
    require(fclose(out) == 0, EXIT_IO, "%s: cannot be written", argv[2]);
    network_close(net);
    return world_end(world, EXIT_DONE);
}
