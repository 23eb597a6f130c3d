/* Reading an array of a file by pieces. */
#include "arrays.h"

#include <fcntl.h>
#include <stdbool.h>

#include "base/arena.h"
#include "store/array_file.h"

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

void fuzz_array(struct arena *arena, const char *name, const char *member, const uint8_t *bytes, size_t size)
{
    const char *why = NULL;
    fuzz_file(name, bytes, size);
    int file = open(arena_printf(arena, "%s/%s", fuzz_folder(), name), O_RDONLY | O_CLOEXEC);
    if (file < 0)
        fuzz_finding("the file of the input cannot be opened");
    struct array_file *array = array_file_open(arena, name, file, member, &why);
    if (array) {
        read_pieces(arena, array);
        array_file_close(array);
    } else {
        fuzz_message(why, 0);
    }
}
