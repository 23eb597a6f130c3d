/* A file that is plain or compressed by gzip, read forward: zlib takes plain files as they are. And IDX, the format of
 * MNIST that usually lies in one: two zero bytes, the type of the elements, the number of extents, the extents as
 * big-endian 32-bit numbers, the elements in row-major order (yann.lecun.com/exdb/mnist). */
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "base/arena.h"
#include "store/tensors/tensors_parts.h"

enum {
    UNSIGNED_BYTES = 8, /* type of IDX */
    EXTENT_BYTES = 4,
    DEFLATE_GROWTH = 1040, /* no stream of deflate grows more */
    PIECE = 1 << 20
};

struct gz_stream {
    gzFile gz;
};

struct gz_stream *gz_stream_open(struct tensor_reader *r, int file)
{
    gzFile gz = gzdopen(file, "rb");
    if (!gz) {
        close(file);
        tensor_fail(r, "cannot be opened by zlib");
        return NULL;
    }
    struct gz_stream *stream = arena_array(r->arena, struct gz_stream, 1);
    stream->gz = gz;
    return stream;
}

bool gz_stream_some(struct tensor_reader *r, struct gz_stream *stream, uint8_t *out, size_t at, size_t most,
                    size_t *got)
{
    *got = 0;
    if (gzseek(stream->gz, (z_off_t)at, SEEK_SET) < 0)
        return tensor_fail(r, "the file is cut off or damaged");
    while (*got < most) {
        size_t piece = most - *got < PIECE ? most - *got : PIECE;
        int bytes = gzread(stream->gz, out + *got, (unsigned)piece);
        if (bytes < 0)
            return tensor_fail(r, "the file is damaged");
        if (bytes == 0)
            break;
        *got += (size_t)bytes;
    }
    return true;
}

bool gz_stream_read(struct tensor_reader *r, struct gz_stream *stream, uint8_t *out, size_t at, size_t bytes)
{
    size_t got;
    return gz_stream_some(r, stream, out, at, bytes, &got) && (got == bytes || tensor_fail(r, "the file is cut off"));
}

bool gz_stream_ends(struct tensor_reader *r, struct gz_stream *stream, size_t at)
{
    uint8_t more;
    size_t got;
    return gz_stream_some(r, stream, &more, at, 1, &got) &&
           (got == 0 || tensor_fail(r, "the file goes on after its last element"));
}

bool gz_stream_fits(struct tensor_reader *r, struct gz_stream *stream, size_t total)
{
    bool fits = gzdirect(stream->gz) ? total == r->size : total / DEFLATE_GROWTH <= r->size;
    return fits || tensor_fail(r, "%zu bytes, but its extents need %zu", r->size, total);
}

void gz_stream_close(struct gz_stream *stream)
{
    if (stream)
        gzclose(stream->gz);
}

/* ---- IDX ---- */

bool is_idx(const uint8_t *bytes, size_t size)
{
    return size >= 4 && bytes[0] == 0 && bytes[1] == 0 && bytes[2] >= UNSIGNED_BYTES && bytes[2] <= 0x0E &&
           bytes[3] >= 1 && bytes[3] <= TENSOR_RANKS;
}

bool read_idx_shape(struct tensor_reader *r, struct tensor *t, size_t *data)
{
    if (r->bytes[2] != UNSIGNED_BYTES)
        return tensor_fail(r, "elements of type 0x%02X; expected unsigned bytes (0x08)", r->bytes[2]);
    *t = (struct tensor){ .name = "", .type = TENSOR_U8, .rank = r->bytes[3] };
    *data = EXTENT_BYTES * (1 + (size_t)t->rank);
    if (r->size < *data)
        return tensor_fail(r, "the file is cut off in its header");
    for (int d = 0; d < t->rank; d++)
        for (int byte = 0; byte < EXTENT_BYTES; byte++)
            t->dims[d] = t->dims[d] << 8 | r->bytes[EXTENT_BYTES * (1 + d) + byte];
    if (!tensor_contiguous(t))
        return tensor_fail(r, "extents that no memory holds");
    t->count = 1;
    for (int d = 0; d < t->rank; d++)
        t->count *= t->dims[d];
    return true;
}
