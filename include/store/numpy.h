/* .npy arrays of texts; numbers are in store/tensors.h. */
#ifndef STORE_NUMPY_H
#define STORE_NUMPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

/* The texts of a .npy file in memory, one extent of '<U' (as UTF-8) or '|S' values; in the arena. False with *why when
 * it is damaged or holds something else. Local. */
bool numpy_texts(struct arena *arena, const char *name, const uint8_t *bytes, size_t size, const char ***texts,
                 int64_t *count, const char **why);

#endif
