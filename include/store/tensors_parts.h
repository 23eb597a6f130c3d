/* Inside the tensor files: readers of one format each, and the checks they share (src/store/tensors.c). */
#ifndef STORE_TENSORS_PARTS_H
#define STORE_TENSORS_PARTS_H

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
};

/* Notes the first problem, as "name: reason"; the value is false, for `return`. */
bool tensor_fail(struct tensor_reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A name for a message: short, without control characters. */
const char *tensor_shown(struct arena *arena, const char *name);
/* Adds a tensor whose dims, strides, type, name are set: `offset` elements into a storage of `room` bytes at `storage`.
 * Fails when it does not lie inside, or when it meets itself (a stride of 0). */
bool tensor_add(struct tensor_reader *r, struct tensor *tensor, const uint8_t *storage, size_t room, int64_t offset);
/* Row-major strides from dims; false when their product overflows. */
bool tensor_contiguous(struct tensor *tensor);

/* One file's member of a zip archive, in the arena. */
struct zip_member {
    const char *name;
    const uint8_t *bytes;
    size_t size;
};
/* All members of an archive that are stored without compression. False and r->why when anything about it is not plain:
 * compression, encryption, two members of one name, names that leave the archive, sizes that do not add up. */
bool zip_members(struct tensor_reader *r, struct zip_member **members, int *count);

bool read_torch_zip(struct tensor_reader *r);
bool read_torch_pickles(struct tensor_reader *r);
bool read_safetensors(struct tensor_reader *r);
bool read_numpy(struct tensor_reader *r);
bool is_torch_pickles(const uint8_t *bytes, size_t size);

#endif
