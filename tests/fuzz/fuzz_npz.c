/* .npz: an array by pieces. */
#include <fcntl.h>

#include "base/arena.h"
#include "base/file.h"
#include "npz.h"
#include "store/array_file.h"
#include "target.h"

const size_t fuzz_memory = 1 << 20, fuzz_memory_per_byte = 256;

static void read_pieces(struct arena *arena, struct array_file *array)
{
    const struct tensor *shape = array_file_shape(array);
    size_t bytes = (size_t)shape->count * tensor_bytes(shape->type), piece = bytes < 64 ? bytes : 64;
    uint8_t *out = arena_take_raw(arena, piece + 1, 1);
    const size_t places[] = { 0, bytes - piece, bytes / 2 < bytes - piece ? bytes / 2 : 0, bytes };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *why = NULL;
        bool is_past = piece > bytes - places[i];
        bool fine = array_file_read(array, out, places[i], piece, &why);
        if (fine && is_past)
            fuzz_finding("%zu bytes at %zu of an array of %zu", piece, places[i], bytes);
        if (!fine)
            fuzz_message(why, 0);
    }
}

void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size)
{
    const char *why = NULL;
    fuzz_file("a.npz", bytes, size);
    int file = open(arena_printf(arena, "%s/a.npz", fuzz_folder()), O_RDONLY | O_CLOEXEC);
    if (file < 0)
        fuzz_finding("the file of the input cannot be opened");
    struct array_file *array = array_file_open(arena, "a.npz", file, "slo", &why);
    if (array) {
        read_pieces(arena, array);
        array_file_close(array);
    } else {
        fuzz_message(why, 0);
    }
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
