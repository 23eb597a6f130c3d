/* Tensor files: which format it is, the checks all of them share, and values in row-major order. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "store/tensors/pickle_machine.h"
#include "store/tensors/tensors_parts.h"

enum { REPEATED = 1 << 22 }; /* values of an expanded tensor, at most: those of real ones are statistics */

static const struct {
    const char *name;
    size_t bytes;
    bool is_real;
} types[TENSOR_TYPES] = {
    [TENSOR_F64] = { "f64", 8, true },    [TENSOR_F32] = { "f32", 4, true },  [TENSOR_F16] = { "f16", 2, true },
    [TENSOR_BF16] = { "bf16", 2, true },  [TENSOR_I64] = { "i64", 8, false }, [TENSOR_I32] = { "i32", 4, false },
    [TENSOR_I16] = { "i16", 2, false },   [TENSOR_I8] = { "i8", 1, false },   [TENSOR_U8] = { "u8", 1, false },
    [TENSOR_BOOL] = { "bool", 1, false },
};

size_t tensor_bytes(enum tensor_type type)
{
    return types[type].bytes;
}

const char *tensor_type_name(enum tensor_type type)
{
    return types[type].name;
}

bool tensor_is_real(enum tensor_type type)
{
    return types[type].is_real;
}

/* ---- reading ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct tensor *const *)a)->name, (*(const struct tensor *const *)b)->name);
}

/* No two of one name. */
static bool check_names(struct tensor_reader *r)
{
    struct tensor **order = arena_array(r->arena, struct tensor *, r->count + 1);
    for (size_t i = 0; i < r->count; i++)
        order[i] = &r->list[i];
    qsort(order, r->count, sizeof *order, by_name);
    for (size_t i = 1; i < r->count; i++)
        if (strcmp(order[i]->name, order[i - 1]->name) == 0)
            return tensor_fail(r, "two tensors of the name \"%s\"", tensor_shown(r->arena, order[i]->name));
    return true;
}

static const struct {
    const char *format;
    bool (*read)(struct tensor_reader *r);
} formats[] = {
    { "PyTorch zip", read_torch_zip },
    { "PyTorch pickles", read_torch_pickles },
    { "NumPy array", read_numpy },
    { "safetensors", read_safetensors },
};
enum { IS_ZIP, IS_PICKLES, IS_NUMPY, IS_SAFETENSORS, IS_UNKNOWN };

static int format_of(const uint8_t *bytes, size_t size)
{
    if (size >= 4 && memcmp(bytes, "PK\003\004", 4) == 0)
        return IS_ZIP;
    if (is_torch_pickles(bytes, size))
        return IS_PICKLES;
    if (size >= 6 && memcmp(bytes, "\x93NUMPY", 6) == 0)
        return IS_NUMPY;
    return size >= 9 && bytes[8] == '{' ? IS_SAFETENSORS : IS_UNKNOWN;
}

/* What files that are given in place of weights begin with. */
static const struct {
    const char *start, *what;
} mistaken[] = {
    { "version https://git-lfs.github.com/spec/",
      ": it is a Git LFS pointer, the weights are elsewhere: `git lfs pull` "
      "fetches them" },
    { "<", ": it is a web page, not what its address promised: fetch the weights again" },
    { "\x89HDF\r\n", ": it is an HDF5 file: only those of this program are read, as train.weights" },
    { "\x1f\x8b", ": it is compressed by gzip: unpack it first" },
    { "BZh", ": it is compressed by bzip2: unpack it first" },
    { "\xfd"
      "7zXZ",
      ": it is compressed by xz: unpack it first" },
    { "\x80", ": it is a pickle, but not one of torch.save: save model.state_dict() by it" },
};

/* What a file that is none of the formats seems to be. */
static const char *mistaken_for(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return ": it is empty";
    for (; size > 0 && *bytes && strchr(" \t\r\n", *bytes); size--)
        bytes++;
    for (size_t i = 0; i < sizeof mistaken / sizeof mistaken[0]; i++) {
        size_t length = strlen(mistaken[i].start);
        if (size >= length && memcmp(bytes, mistaken[i].start, length) == 0)
            return mistaken[i].what;
    }
    if (size > 0 && *bytes == '{' && memmem(bytes, size, "\"weight_map\"", 12))
        return ": it is the index of weights that lie in several files: join them into one";
    return "";
}

const struct tensors *tensors_read(struct arena *arena, const char *name, const uint8_t *bytes, size_t size,
                                   const char **why)
{
    struct tensor_reader r = { .arena = arena, .name = name, .bytes = bytes, .size = size };
    int format = format_of(bytes, size);
    if (format == IS_UNKNOWN)
        tensor_fail(&r, "expected weights of PyTorch (.pth), .safetensors or .npy, found another kind of file%s",
                    mistaken_for(bytes, size));
    else if (formats[format].read(&r))
        check_names(&r);
    *why = r.why;
    if (r.why)
        return NULL;
    struct tensors *tensors = arena_array(arena, struct tensors, 1);
    *tensors = (struct tensors){ formats[format].format, r.list, (int)r.count, r.left, (int)r.left_count };
    return tensors;
}

bool tensor_fail(struct tensor_reader *r, const char *fmt, ...)
{
    char reason[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    if (!r->why)
        r->why = text_printable(arena_printf(r->arena, "%s: %s", r->name, reason), "");
    return false;
}

const char *tensor_shown(struct arena *arena, const char *name)
{
    return text_printable(arena_printf(arena, "%.120s", name), "");
}

void tensor_leave(struct tensor_reader *r, const char *name, const char *what)
{
    if (!r->left)
        r->left = arena_array(r->arena, struct leftover, LEFTOVERS);
    if (r->left_count < LEFTOVERS)
        r->left[r->left_count++] = (struct leftover){ tensor_shown(r->arena, name), tensor_shown(r->arena, what) };
}

bool tensor_contiguous(struct tensor *tensor)
{
    int64_t step = 1;
    for (int d = tensor->rank - 1; d >= 0; d--) {
        tensor->strides[d] = step;
        if (tensor->dims[d] < 0 || __builtin_mul_overflow(step, tensor->dims[d] > 0 ? tensor->dims[d] : 1, &step))
            return false;
    }
    return true;
}

/* The number of elements, and the last one's place from the first; false when a number overflows. */
static bool measure(struct tensor *t, int64_t *last)
{
    t->count = 1;
    *last = 0;
    for (int d = 0; d < t->rank; d++) {
        int64_t way;
        if (t->dims[d] < 0 || t->strides[d] < 0 || __builtin_mul_overflow(t->count, t->dims[d], &t->count))
            return false;
        if (t->dims[d] > 0 &&
            (__builtin_mul_overflow(t->dims[d] - 1, t->strides[d], &way) || __builtin_add_overflow(*last, way, last)))
            return false;
    }
    return true;
}

bool tensor_add(struct tensor_reader *r, struct tensor *tensor, const uint8_t *storage, size_t room, int64_t offset)
{
    int64_t last, end, elements = (int64_t)(room / tensor_bytes(tensor->type));
    const char *shown = tensor_shown(r->arena, tensor->name);
    if (!measure(tensor, &last) || offset < 0 || __builtin_add_overflow(offset, last, &end))
        return tensor_fail(r, "tensor \"%s\": extents that no memory holds", shown);
    if (tensor->count > 0 ? end >= elements : offset > elements)
        return tensor_fail(r, "tensor \"%s\" ends at element %lld of a storage that has %lld", shown,
                           (long long)end + (end < INT64_MAX), (long long)elements);
    for (int d = 0; d < tensor->rank; d++)
        if (tensor->dims[d] <= 1)
            tensor->strides[d] = 0; /* never stepped along, so it may be any number */
    if (tensor->count > elements && tensor->count > REPEATED)
        return tensor_fail(r, "tensor \"%s\": %lld values made of %lld", shown, (long long)tensor->count,
                           (long long)elements);
    tensor->data = storage + (size_t)offset * tensor_bytes(tensor->type);
    r->list = pickle_grown(r->arena, r->list, r->count, &r->room, sizeof *r->list);
    r->list[r->count++] = *tensor;
    return true;
}

/* ---- values ---- */

static float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ff, bits;
    if (exponent == 31) {
        bits = sign | 0x7f800000 | fraction << 13; /* infinity, NaN */
    } else if (exponent > 0) {
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    } else {
        float tiny = (float)fraction * 0x1p-24f; /* zero and subnormals, exactly */
        memcpy(&bits, &tiny, sizeof bits);
        bits |= sign;
    }
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

#define READ(type)                                                                                                     \
    type v;                                                                                                            \
    memcpy(&v, at, sizeof v)

static float float_at(enum tensor_type type, const uint8_t *at)
{
    switch (type) {
    case TENSOR_F64: {
        READ(double);
        return (float)v;
    }
    case TENSOR_F32: {
        READ(float);
        return v;
    }
    case TENSOR_F16: {
        READ(uint16_t);
        return half_to_float(v);
    }
    case TENSOR_BF16: {
        READ(uint16_t);
        uint32_t bits = (uint32_t)v << 16;
        float out;
        memcpy(&out, &bits, sizeof out);
        return out;
    }
    case TENSOR_I64: {
        READ(int64_t);
        return (float)v;
    }
    case TENSOR_I32: {
        READ(int32_t);
        return (float)v;
    }
    case TENSOR_I16: {
        READ(int16_t);
        return (float)v;
    }
    case TENSOR_I8:
        return (float)(int8_t)*at;
    case TENSOR_BOOL:
        return *at != 0;
    default:
        return (float)*at;
    }
}

/* Calls `put` for every element in row-major order. */
static void walk(const struct tensor *t, void *out,
                 void (*put)(void *out, int64_t i, enum tensor_type, const uint8_t *))
{
    int64_t index[TENSOR_RANKS] = { 0 }, place = 0;
    for (int64_t i = 0; i < t->count; i++) {
        put(out, i, t->type, t->data + (size_t)place * types[t->type].bytes);
        for (int d = t->rank - 1; d >= 0; d--) {
            place += t->strides[d];
            if (++index[d] < t->dims[d])
                break;
            place -= t->strides[d] * t->dims[d];
            index[d] = 0;
        }
    }
}

static bool is_contiguous(const struct tensor *t)
{
    int64_t step = 1;
    for (int d = t->rank - 1; d >= 0; d--) {
        if (t->dims[d] != 1 && t->strides[d] != step)
            return false;
        step *= t->dims[d];
    }
    return true;
}

static void put_float(void *out, int64_t i, enum tensor_type type, const uint8_t *at)
{
    ((float *)out)[i] = float_at(type, at);
}

static void put_packed(void *out, int64_t i, enum tensor_type type, const uint8_t *at)
{
    memcpy((uint8_t *)out + (size_t)i * types[type].bytes, at, types[type].bytes);
}

void tensor_floats(float *out, const struct tensor *tensor)
{
    if (tensor->type == TENSOR_F32)
        tensor_packed(out, tensor);
    else
        walk(tensor, out, put_float);
}

void tensor_packed(void *out, const struct tensor *tensor)
{
    if (tensor->count > 0 && is_contiguous(tensor))
        memcpy(out, tensor->data, (size_t)tensor->count * types[tensor->type].bytes);
    else
        walk(tensor, out, put_packed);
}
