/* Tensors in the files of other programs, read without running anything of them: PyTorch's .pth (the zip and the
 * older stream of pickles), .safetensors, .npy; and written again.
 *
 * Bytes in, tensors out; all local. Every number of a file is checked before it is used: a tensor that comes back
 * lies inside the file and no product of its extents overflows; tensors may share their places, as PyTorch's do. */
#ifndef STORE_TENSORS_H
#define STORE_TENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

enum tensor_type {
    TENSOR_F64,
    TENSOR_F32,
    TENSOR_F16,
    TENSOR_BF16,
    TENSOR_I64,
    TENSOR_I32,
    TENSOR_I16,
    TENSOR_I8,
    TENSOR_U8,
    TENSOR_BOOL,
    TENSOR_TYPES
};
enum { TENSOR_RANKS = 8 };

struct tensor {
    const char *name; /* "layer1.0.conv1.weight", of nested dictionaries "model.conv1.weight"; empty in .npy */
    int stem;         /* of the name: bytes that are the path of its dictionary, "model." */
    enum tensor_type type;
    int rank;
    int64_t dims[TENSOR_RANKS], strides[TENSOR_RANKS]; /* strides in elements, not negative */
    int64_t count;                                     /* product of dims */
    const uint8_t *data;                               /* first element; bytes of the file, which may not be aligned */
};

/* A value of the file that is no tensor this program reads. */
struct leftover {
    const char *name; /* "hyper_parameters.optimizer" */
    const char *what; /* its class or type: "argparse.Namespace", "F8_E4M3" */
};
enum { LEFTOVERS = 256 }; /* the first are kept */

struct tensors {
    const char *format; /* "PyTorch zip", "PyTorch pickles", "safetensors", "NumPy array" */
    struct tensor *list;
    int count;
    struct leftover *left;
    int left_count;
};

/* What `bytes` holds, in the order of the file; the format is told by the first bytes, `name` is for messages. The
 * result points into `bytes` (.pth zip: into the arena). NULL with *why when the file is damaged, hostile or of
 * another kind. Of a checkpoint, the tensors of all its dictionaries are found; what is not a tensor is left over. */
const struct tensors *tensors_read(struct arena *arena, const char *name, const uint8_t *bytes, size_t size,
                                   const char **why);

/* out [count]: the values in row-major order, as float (rounded to nearest from double and integers). */
void tensor_floats(float *out, const struct tensor *tensor);
/* out [count x tensor_bytes]: the values in row-major order, as they are. */
void tensor_packed(void *out, const struct tensor *tensor);
size_t tensor_bytes(enum tensor_type type);          /* of one element */
const char *tensor_type_name(enum tensor_type type); /* "f32" */
bool tensor_is_real(enum tensor_type type);          /* floating point */

/* SHA-256 of `bytes` as 64 hex digits and a NUL. */
void sha256_hex(char out[65], const void *bytes, size_t size);

#endif
