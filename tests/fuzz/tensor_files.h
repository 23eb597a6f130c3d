/* What the targets of weight files share. */
#ifndef FUZZ_TENSOR_FILES_H
#define FUZZ_TENSOR_FILES_H

#include "base/output.h"
#include "target.h"

/* Reads the bytes as a weight file and every value of its tensors; a tensor beyond the file is a finding. */
void fuzz_tensors(struct arena *arena, const uint8_t *bytes, size_t size);
/* Adds the file that a writer writes of three tensors: F32 (2, 3), I64 (), F32 (4). */
struct tensor;
void fuzz_written(struct arena *arena, const char *name,
                  void (*write)(struct output *output, const struct tensor *list, int count),
                  void (*add)(const char *name, const void *bytes, size_t size));

#endif
