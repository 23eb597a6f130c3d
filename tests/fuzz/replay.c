/* Runs a fuzz target without libFuzzer: over its seeds and damaged copies of them (make check), over given files (what
 * make fuzz kept), or writes the seeds into a folder (where libFuzzer starts).
 *   fuzz_NAME [FILE...]    fuzz_NAME --write DIR */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/text.h"
#include "target.h"

enum { COPIES = 150, FILE_LIMIT = 1 << 28 };

static const char *write_to;
static int seeds;
static long runs;

/* In a block of its own, so that a sanitizer sees its end. */
static void run_once(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

/* Damage `n`: the end cut off, a piece cut out, a number put over eight bytes, or up to four bytes changed. */
static size_t damage(uint8_t *bytes, size_t size, uint64_t n)
{
    static const uint64_t numbers[] = { 0, 1, 0x7f, 0xff, 0x7fffffff, 0xffffffff, INT64_MAX, UINT64_MAX };
    const struct rng rng = { 3, RNG_TEST, (uint32_t)seeds };
    uint64_t kind = rng_below(&rng, n, 0, 8);
    size_t at = rng_below(&rng, n, 1, size);
    if (kind == 0)
        return at;
    if (kind == 1) {
        size_t length = rng_below(&rng, n, 2, size - at) + 1;
        memmove(bytes + at, bytes + at + length, size - at - length);
        return size - length;
    }
    if (kind == 2) {
        size_t width = (size_t)1 << rng_below(&rng, n, 2, 4);
        if (at + width <= size)
            memcpy(bytes + at, &numbers[rng_below(&rng, n, 3, 8)], width);
        return size;
    }
    for (uint32_t k = 0; k < (uint32_t)kind - 2 && k < 4; k++)
        bytes[rng_below(&rng, n, 4 + 2 * k, size)] = (uint8_t)rng_below(&rng, n, 5 + 2 * k, 256);
    return size;
}

static void write_seed(const char *name, const void *bytes, size_t size)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", write_to, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(74);
    }
}

static void replay_seed(const char *name, const void *bytes, size_t size)
{
    if (write_to) {
        write_seed(name, bytes, size);
        return;
    }
    uint8_t *copy = malloc(size + 1);
    run_once(bytes, size);
    for (uint64_t n = 0; n < COPIES && size > 0; n++) {
        memcpy(copy, bytes, size);
        run_once(copy, damage(copy, size, n));
    }
    free(copy);
    seeds++;
}

static int replay_file(struct arena *arena, const char *path)
{
    size_t size;
    const char *why = "";
    const char *bytes = file_read(arena, path, FILE_LIMIT, &size, &why);
    if (!bytes) {
        fprintf(stderr, "%s: %s\n", path, why);
        return 66;
    }
    run_once((const uint8_t *)bytes, size);
    printf("ok - %s\n", path);
    return 0;
}

int main(int argc, char **argv)
{
    struct arena *arena = arena_create("seeds", 1 << 20);
    int code = 0;
    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        write_to = argv[2];
        fuzz_seeds(arena, replay_seed);
    } else if (argc > 1) {
        for (int i = 1; i < argc && code == 0; i++)
            code = replay_file(arena, argv[i]);
    } else {
        fuzz_seeds(arena, replay_seed);
        run_once((const uint8_t *)"", 0);
        printf("%s - %d seeds, %ld inputs\n", seeds > 0 ? "ok" : "not ok", seeds, runs);
        code = seeds == 0;
    }
    arena_destroy(arena);
    return code;
}
