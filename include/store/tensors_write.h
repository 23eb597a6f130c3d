/* Tensors for other programs: .npy, .safetensors, and the zip .pth that torch.load reads. Local. */
#ifndef STORE_TENSORS_WRITE_H
#define STORE_TENSORS_WRITE_H

#include "base/output.h"
#include "store/tensors.h"

/* The header of a .npy of `descr` ("<f4", "|S16") and shape; the elements follow, row-major. */
void numpy_header(struct output *output, const char *descr, int rank, const int64_t *dims);
/* Tensors in row-major order with their data; `metadata` is kept as one text. */
void safetensors_write(struct output *output, const struct tensor *list, int count, const char *metadata);
/* A state_dict: F32 and I64 tensors. The archive's folder is `folder`. Fails at 4 GiB. */
void torch_write(struct output *output, const struct tensor *list, int count, const char *folder);

#endif
