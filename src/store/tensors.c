/* Tensor files: which format it is, the checks all of them share, and values in row-major order. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "store/pickle_machine.h"
#include "store/tensors_parts.h"

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

static int by_address(const void *a, const void *b)
{
    const struct tensor *x = *(const struct tensor *const *)a, *y = *(const struct tensor *const *)b;
    return x->data < y->data ? -1 : x->data > y->data;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct tensor *const *)a)->name, (*(const struct tensor *const *)b)->name);
}

/* First byte behind the last element. */
static const uint8_t *end_of(const struct tensor *t)
{
    int64_t last = 0;
    for (int d = 0; d < t->rank; d++)
        last += (t->dims[d] - 1) * t->strides[d];
    return t->count == 0 ? t->data : t->data + (size_t)(last + 1) * tensor_bytes(t->type);
}

/* No two of one name, and none that lies over another. */
static bool check_together(struct tensor_reader *r)
{
    struct tensor **order = arena_array(r->arena, struct tensor *, r->count + 1);
    size_t filled = 0;
    for (size_t i = 0; i < r->count; i++)
        order[i] = &r->list[i];
    qsort(order, r->count, sizeof *order, by_name);
    for (size_t i = 1; i < r->count; i++)
        if (strcmp(order[i]->name, order[i - 1]->name) == 0)
            return tensor_fail(r, "two tensors of the name \"%s\"", tensor_shown(r->arena, order[i]->name));
    for (size_t i = 0; i < r->count; i++)
        if (r->list[i].count > 0)
            order[filled++] = &r->list[i];
    qsort(order, filled, sizeof *order, by_address);
    for (size_t i = 1; i < filled; i++)
        if (order[i]->data < end_of(order[i - 1]))
            return tensor_fail(r, "tensor \"%s\" overlaps \"%s\"", tensor_shown(r->arena, order[i]->name),
                               tensor_shown(r->arena, order[i - 1]->name));
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

const struct tensors *tensors_read(struct arena *arena, const char *name, const uint8_t *bytes, size_t size,
                                   const char **why)
{
    struct tensor_reader r = { .arena = arena, .name = name, .bytes = bytes, .size = size };
    int format = format_of(bytes, size);
    if (format == IS_UNKNOWN)
        tensor_fail(&r, "expected weights of PyTorch (.pth), .safetensors or .npy, found another kind of file");
    else if (formats[format].read(&r))
        check_together(&r);
    *why = r.why;
    if (r.why)
        return NULL;
    struct tensors *tensors = arena_array(arena, struct tensors, 1);
    *tensors = (struct tensors){ formats[format].format, r.list, (int)r.count };
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

/* Do two elements share a place? Along strides in rising order each must step over all that the smaller ones span. */
static bool meets_itself(const struct tensor *t)
{
    int order[TENSOR_RANKS], n = 0;
    for (int d = 0; d < t->rank; d++)
        if (t->dims[d] > 1) {
            int at = n++;
            for (; at > 0 && t->strides[order[at - 1]] > t->strides[d]; at--)
                order[at] = order[at - 1];
            order[at] = d;
        }
    int64_t span = 1;
    for (int i = 0; i < n; i++) {
        if (t->strides[order[i]] < span)
            return true;
        span += (t->dims[order[i]] - 1) * t->strides[order[i]];
    }
    return false;
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
    if (tensor->count > 0 && meets_itself(tensor))
        return tensor_fail(r, "tensor \"%s\": two of its elements share a place", shown);
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
