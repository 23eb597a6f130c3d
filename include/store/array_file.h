/* One array of an .npz (numpy.savez, stored or deflated), or that of a .npy or IDX file (plain or compressed by gzip),
 * piece by piece: images that lie in files of arrays. Neither the file nor the array is held, so an array may be larger
 * than memory. Local; one reader belongs to one thread. */
#ifndef STORE_ARRAY_FILE_H
#define STORE_ARRAY_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/tensors.h"

struct arena;
struct array_file;

/* Opens `member` ("slo_fundus") of the .npz that is open as `file`, or with "" the one array of a .npy or IDX file; it
 * owns `file` from here on, also when it fails. `name` is for messages ("": none); the reader is the arena's, and the
 * caller ends it with array_file_close. NULL with *why when the archive or the array is damaged, hostile, or holds no
 * such member. */
struct array_file *array_file_open(struct arena *arena, const char *name, int file, const char *member,
                                   const char **why);
/* Type, rank, extents and strides; `data` is NULL. The member has as many bytes as they say. */
const struct tensor *array_file_shape(const struct array_file *array);
/* out [bytes]: the array's bytes from `at` on, in the order of the file. Forward is cheap; going back in a deflated
 * member reads it again from its beginning. False with *why. */
bool array_file_read(struct array_file *array, uint8_t *out, size_t at, size_t bytes, const char **why);
void array_file_close(struct array_file *array);

#endif
