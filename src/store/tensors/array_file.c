/* Arrays of an .npz: a zip archive whose member NAME.npy is the array NAME. The header is read, the data left where it
 * is until somebody asks for a piece of it. */
#include "store/array_file.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "store/tensors/tensors_parts.h"

enum { HEADER_LIMIT = 66000 }; /* what numpy.c takes, and the bytes before it */

struct array_file {
    struct tensor_reader reader;
    struct zip_stream *stream;
    struct tensor shape;
    size_t data; /* where the elements begin in the member */
};

/* The header, from as much of the member as it can be long; then the member must end where the array does. */
static bool read_shape(struct array_file *array, size_t size)
{
    struct tensor_reader *r = &array->reader;
    size_t head = size < HEADER_LIMIT ? size : HEADER_LIMIT;
    uint8_t *bytes = arena_take_raw(r->arena, head + 1, 1);
    if (!zip_stream_read(r, array->stream, bytes, 0, head))
        return false;
    if (head < 6 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return tensor_fail(r, "the member is no array of NumPy");
    struct tensor_reader header = { .arena = r->arena, .name = r->name, .bytes = bytes, .size = head };
    if (!read_numpy_shape(&header, &array->shape, &array->data)) {
        r->why = header.why;
        return false;
    }
    return (size_t)array->shape.count * tensor_bytes(array->shape.type) == size - array->data ||
           tensor_fail(r, "%zu bytes of data, which is not its shape", size - array->data);
}

struct array_file *array_file_open(struct arena *arena, const char *name, int file, const char *member,
                                   const char **why)
{
    struct array_file *array = arena_array(arena, struct array_file, 1);
    struct stat status;
    size_t size = 0;
    bool is_known = fstat(file, &status) == 0;
    array->reader =
        (struct tensor_reader){ .arena = arena,
                                .name = arena_printf(arena, "%s%sarray \"%s\"", name, *name ? ": " : "", member),
                                .size = is_known ? (size_t)status.st_size : 0 };
    array->stream = zip_stream_open(&array->reader, file);
    if (array->stream &&
        zip_stream_start(&array->reader, array->stream, arena_printf(arena, "%s.npy", member), &size) &&
        read_shape(array, size))
        return array;
    *why = array->reader.why;
    zip_stream_close(array->stream);
    return NULL;
}

const struct tensor *array_file_shape(const struct array_file *array)
{
    return &array->shape;
}

bool array_file_read(struct array_file *array, uint8_t *out, size_t at, size_t bytes, const char **why)
{
    bool fine =
        !__builtin_add_overflow(at, array->data, &at) && zip_stream_read(&array->reader, array->stream, out, at, bytes);
    if (!fine && !array->reader.why)
        tensor_fail(&array->reader, "a piece beyond its end");
    *why = array->reader.why;
    return fine;
}

void array_file_close(struct array_file *array)
{
    zip_stream_close(array->stream);
}
