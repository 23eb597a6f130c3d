/* .npz: an array by pieces. */
#include "arrays.h"
#include "base/arena.h"
#include "base/file.h"
#include "npz.h"

const size_t fuzz_memory = 1 << 20, fuzz_memory_per_byte = 256;

void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size)
{
    fuzz_array(arena, "a.npz", "slo", bytes, size);
}

void fuzz_seeds(struct arena *arena, void (*add)(const char *name, const void *bytes, size_t size))
{
    static uint8_t grey[48 * 64];
    const struct npz_array arrays[] = { { "age.npy", "<f8", "()", "\0\0\0\0\0\0\xf0\x3f", 8, false },
                                        { "slo.npy", "|u1", "(48, 64)", grey, sizeof grey, false } };
    const char *path = arena_printf(arena, "%s/seed", fuzz_folder()), *why;
    for (size_t i = 0; i < sizeof grey; i++)
        grey[i] = (uint8_t)(i * i >> 3);
    for (int deflate = 0; deflate < 2; deflate++) {
        size_t size;
        const char *bytes = npz_write(path, arrays, 2, deflate) ? file_read(arena, path, 0, &size, &why) : NULL;
        if (!bytes)
            fuzz_finding("%s cannot be written", path);
        add(deflate ? "deflated" : "stored", bytes, size);
    }
}
