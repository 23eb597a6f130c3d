/* Inside the tensor files: readers of one format each, and the checks they share (src/store/tensors/tensors.c). */
#ifndef STORE_TENSORS_TENSORS_PARTS_H
#define STORE_TENSORS_TENSORS_PARTS_H

#include "store/pickle.h"
#include "store/tensors.h"

/* A file being read. `why` keeps the first problem. */
struct tensor_reader {
    struct arena *arena;
    const char *name;
    const uint8_t *bytes;
    size_t size;
    const char *why;
    struct tensor *list;
    size_t count, room;
    struct leftover *left;
    size_t left_count;
};

/* Notes the first problem, as "name: reason"; the value is false, for `return`. */
bool tensor_fail(struct tensor_reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A name for a message: short, without control characters. */
const char *tensor_shown(struct arena *arena, const char *name);
/* Notes a value that is not read. */
void tensor_leave(struct tensor_reader *r, const char *name, const char *what);
/* Adds a tensor whose dims, strides, type, name are set: `offset` elements into a storage of `room` bytes at `storage`.
 * Fails when it does not lie inside, or repeats few elements into very many. */
bool tensor_add(struct tensor_reader *r, struct tensor *tensor, const uint8_t *storage, size_t room, int64_t offset);
/* Row-major strides from dims; false when their product overflows. */
bool tensor_contiguous(struct tensor *tensor);

/* One file's member of a zip archive, in the arena. */
struct zip_member {
    const char *name;
    const uint8_t *bytes;
    size_t size;
};
/* All members of an archive, stored or deflated. False and r->why when anything about it is not plain: another
 * compression, one that grows beyond reason, encryption, two members of one name, names that leave the archive, sizes
 * that do not add up. */
bool zip_members(struct tensor_reader *r, struct zip_member **members, int *count);

/* One member after the other of an archive in a file that is open, which it owns from here on; r->size is the file's.
 * Nothing of the archive is held but its directory. NULL with r->why. */
struct zip_stream;
struct zip_stream *zip_stream_open(struct tensor_reader *r, int file);
bool zip_stream_has(const struct zip_stream *stream, const char *member);
/* Begins with a member, which has *size bytes; as plain as zip_members wants them. */
bool zip_stream_start(struct tensor_reader *r, struct zip_stream *stream, const char *member, size_t *size);
/* out [bytes]: the member's from `at` on. Going back in a deflated one reads it again from its first byte. */
bool zip_stream_read(struct tensor_reader *r, struct zip_stream *stream, uint8_t *out, size_t at, size_t bytes);
void zip_stream_close(struct zip_stream *stream);

/* A file that is plain or compressed by gzip, which is open as `file` and owned from here on; r->size is the file's, as
 * it lies there. NULL with r->why. */
struct gz_stream;
struct gz_stream *gz_stream_open(struct tensor_reader *r, int file);
/* out [most]: the content from `at` on, as much of it as there is; *got bytes. Going back in a compressed file reads it
 * again from its beginning. */
bool gz_stream_some(struct tensor_reader *r, struct gz_stream *stream, uint8_t *out, size_t at, size_t most,
                    size_t *got);
bool gz_stream_read(struct tensor_reader *r, struct gz_stream *stream, uint8_t *out, size_t at, size_t bytes);
/* Does the content end at `at`, with the checksum that the file says? */
bool gz_stream_ends(struct tensor_reader *r, struct gz_stream *stream, size_t at);
/* Can the content have `total` bytes? A plain file's size is known, of a compressed one how much it can grow. */
bool gz_stream_fits(struct tensor_reader *r, struct gz_stream *stream, size_t total);
void gz_stream_close(struct gz_stream *stream);

/* Tensors in the containers of a pickle (src/store/tensors/torch_tree.c), whose storages are known. */
struct storage {
    const char *key;
    const char *type_name; /* "torch.FloatStorage" */
    enum tensor_type type; /* TENSOR_TYPES: not one that is read */
    int64_t numel;
    const uint8_t *bytes; /* NULL until found in the file */
};
struct storages {
    struct storage *list; /* by key */
    size_t count;
};
extern const struct pickle_rules torch_rules;
/* All storages the pickle names, each once. */
bool torch_storages(struct tensor_reader *r, const struct pickle *last, struct storages *s);
struct storage *torch_storage(const struct storages *s, const char *key);
/* Adds every tensor below `top`, a pickle of `size` bytes. */
bool torch_tree(struct tensor_reader *r, const struct storages *storages, const struct pickle *top, size_t size);

bool read_torch_zip(struct tensor_reader *r);
bool read_torch_pickles(struct tensor_reader *r);
bool read_safetensors(struct tensor_reader *r);
bool read_numpy(struct tensor_reader *r);
/* Type, extents and strides of the array whose .npy begins with the `r->size` bytes, and where its data begins; the
 * extents times the element's size do not overflow, the data itself is not looked at. */
bool read_numpy_shape(struct tensor_reader *r, struct tensor *shape, size_t *data);
/* The same of IDX, of unsigned bytes alone. */
bool is_idx(const uint8_t *bytes, size_t size);
bool read_idx_shape(struct tensor_reader *r, struct tensor *shape, size_t *data);
bool is_torch_pickles(const uint8_t *bytes, size_t size);

#endif
