/* IDX files and .npy, plain and compressed by gzip, by pieces. */
#include <string.h>

#include <zlib.h>

#include "arrays.h"
#include "base/arena.h"
#include "base/file.h"

const size_t fuzz_memory = 1 << 20, fuzz_memory_per_byte = 256;

void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size)
{
    fuzz_array(arena, "a-idx3-ubyte", "", bytes, size);
}

static void add_compressed(struct arena *arena, const char *name, const void *bytes, unsigned size,
                           void (*add)(const char *name, const void *bytes, size_t size))
{
    const char *path = arena_printf(arena, "%s/seed.gz", fuzz_folder()), *why = "";
    size_t length;
    gzFile gz = gzopen(path, "wb");
    if (!gz || gzwrite(gz, bytes, size) != (int)size || gzclose(gz) != Z_OK)
        fuzz_finding("%s cannot be written", path);
    const char *packed = file_read(arena, path, 0, &length, &why);
    if (!packed)
        fuzz_finding("%s: %s", path, why);
    add(name, packed, length);
}

void fuzz_seeds(struct arena *arena, void (*add)(const char *name, const void *bytes, size_t size))
{
    static uint8_t images[16 + 5 * 28 * 28] = { 0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 28, 0, 0, 0, 28 };
    static const uint8_t labels[] = { 0, 0, 8, 1, 0, 0, 0, 5, 1, 0, 9, 3, 3 };
    static const char head[] = "\x93NUMPY\1\0v\0{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }";
    char numpy[128 + 6];
    for (size_t i = 16; i < sizeof images; i++)
        images[i] = (uint8_t)(i * i >> 4);
    memset(numpy, ' ', sizeof numpy);
    memcpy(numpy, head, sizeof head - 1);
    numpy[127] = '\n';
    add("images", images, sizeof images);
    add("labels", labels, sizeof labels);
    add("numpy", numpy, sizeof numpy);
    add_compressed(arena, "images.gz", images, sizeof images, add);
    add_compressed(arena, "labels.gz", labels, sizeof labels, add);
}
