/* Arrays of an .npz: a zip archive whose member NAME.npy is the array NAME; and files that are one array. The header is
 * read, the data left where it is until somebody asks for a piece of it. */
#include "store/array_file.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "store/tensors/tensors_parts.h"

enum { HEADER_LIMIT = 66000 }; /* what numpy.c takes, and the bytes before it */

struct array_file {
    struct tensor_reader reader;
    struct zip_stream *stream; /* of an .npz, otherwise NULL */
    struct gz_stream *file;    /* of a file that is one array, otherwise NULL */
    struct tensor shape;
    size_t data; /* where the elements begin in the member or file */
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

static bool open_member(struct array_file *array, int file, const char *member)
{
    struct tensor_reader *r = &array->reader;
    size_t size = 0;
    array->stream = zip_stream_open(r, file);
    return array->stream && zip_stream_start(r, array->stream, arena_printf(r->arena, "%s.npy", member), &size) &&
           read_shape(array, size);
}

/* A .npy or IDX file. */
static bool open_whole(struct array_file *array, int file)
{
    struct tensor_reader *r = &array->reader;
    uint8_t *bytes = arena_take_raw(r->arena, HEADER_LIMIT, 1);
    size_t head;
    array->file = gz_stream_open(r, file);
    if (!array->file || !gz_stream_some(r, array->file, bytes, 0, HEADER_LIMIT, &head))
        return false;
    struct tensor_reader header = { .arena = r->arena, .name = r->name, .bytes = bytes, .size = head };
    bool numpy = head >= 6 && memcmp(bytes, "\x93NUMPY", 6) == 0;
    if (!numpy && !is_idx(bytes, head))
        return tensor_fail(r, "neither a .npy nor an IDX file");
    if (!(numpy ? read_numpy_shape : read_idx_shape)(&header, &array->shape, &array->data)) {
        r->why = header.why;
        return false;
    }
    return gz_stream_fits(r, array->file, array->data + (size_t)array->shape.count * tensor_bytes(array->shape.type));
}

struct array_file *array_file_open(struct arena *arena, const char *name, int file, const char *member,
                                   const char **why)
{
    struct array_file *array = arena_array(arena, struct array_file, 1);
    struct stat status;
    bool is_known = fstat(file, &status) == 0;
    array->reader = (struct tensor_reader){
        .arena = arena,
        .name = *member ? arena_printf(arena, "%s%sarray \"%s\"", name, *name ? ": " : "", member) : name,
        .size = is_known ? (size_t)status.st_size : 0
    };
    if (*member ? open_member(array, file, member) : open_whole(array, file))
        return array;
    *why = array->reader.why;
    array_file_close(array);
    return NULL;
}

const struct tensor *array_file_shape(const struct array_file *array)
{
    return &array->shape;
}

/* The piece that reaches the end of a file finds that it is one. */
static bool read_whole(struct array_file *array, uint8_t *out, size_t at, size_t bytes)
{
    size_t end = array->data + (size_t)array->shape.count * tensor_bytes(array->shape.type);
    if (at > end || bytes > end - at)
        return tensor_fail(&array->reader, "a piece beyond its end");
    return gz_stream_read(&array->reader, array->file, out, at, bytes) &&
           (at + bytes < end || gz_stream_ends(&array->reader, array->file, end));
}

bool array_file_read(struct array_file *array, uint8_t *out, size_t at, size_t bytes, const char **why)
{
    bool fine = !__builtin_add_overflow(at, array->data, &at) &&
                (array->file ? read_whole(array, out, at, bytes)
                             : zip_stream_read(&array->reader, array->stream, out, at, bytes));
    if (!fine && !array->reader.why)
        tensor_fail(&array->reader, "a piece beyond its end");
    *why = array->reader.why;
    return fine;
}

void array_file_close(struct array_file *array)
{
    zip_stream_close(array->stream);
    gz_stream_close(array->file);
}
