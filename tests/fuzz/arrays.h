/* Arrays in files, read by pieces: what the targets of .npz and IDX share. */
#ifndef FUZZ_ARRAYS_H
#define FUZZ_ARRAYS_H

#include "target.h"

/* The bytes as a file of this name; opens its array `member` and reads pieces from both ends, the middle and past it.
 */
void fuzz_array(struct arena *arena, const char *name, const char *member, const uint8_t *bytes, size_t size);

#endif
