/* .npy: "\x93NUMPY", version, length of the header, a Python dictionary as text, the elements. Read here: plain
 * little-endian numbers in row- or column-major order, and texts; objects (pickles) and structures are refused. */
#include "store/numpy.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "store/tensors/tensors_parts.h"

struct header {
    const char *at;
    char type[12];
    bool has_type, has_order, has_shape, is_fortran;
};

static void skip(struct header *h, const char *blanks)
{
    h->at += strspn(h->at, blanks);
}

static bool eat(struct header *h, const char *word)
{
    skip(h, " \n");
    if (strncmp(h->at, word, strlen(word)) != 0)
        return false;
    h->at += strlen(word);
    return true;
}

static bool take_type(struct header *h)
{
    if (!eat(h, "'"))
        return false;
    size_t length = strcspn(h->at, "'");
    if (length >= sizeof h->type || h->at[length] != '\'')
        return false;
    memcpy(h->type, h->at, length);
    h->type[length] = '\0';
    h->at += length + 1;
    return h->has_type = true;
}

static bool take_order(struct header *h)
{
    h->is_fortran = eat(h, "True");
    return h->has_order = h->is_fortran || eat(h, "False");
}

/* "(2, 3)", "(2,)", "()" */
static bool take_shape(struct header *h, struct tensor *t)
{
    if (!eat(h, "("))
        return false;
    while (!eat(h, ")")) {
        skip(h, " \n");
        size_t digits = strspn(h->at, "0123456789");
        if (t->rank == TENSOR_RANKS || digits == 0 || digits > 18)
            return false;
        t->dims[t->rank++] = strtoll(h->at, NULL, 10);
        h->at += digits;
        skip(h, "L"); /* Python 2 */
        if (!eat(h, ",") && *h->at != ')')
            return false;
    }
    return h->has_shape = true;
}

static bool take_header(struct header *h, struct tensor *t)
{
    if (!eat(h, "{"))
        return false;
    while (!eat(h, "}")) {
        bool fine = false;
        if (!h->has_type && eat(h, "'descr':"))
            fine = take_type(h);
        else if (!h->has_order && eat(h, "'fortran_order':"))
            fine = take_order(h);
        else if (!h->has_shape && eat(h, "'shape':"))
            fine = take_shape(h, t);
        if (!fine || (!eat(h, ",") && *h->at != '}'))
            return false;
    }
    skip(h, " \n");
    return *h->at == '\0' && h->has_type && h->has_order && h->has_shape;
}

static bool type_of(const char *text, enum tensor_type *type)
{
    static const struct {
        const char *name;
        enum tensor_type type;
    } known[] = {
        { "<f8", TENSOR_F64 }, { "<f4", TENSOR_F32 }, { "<f2", TENSOR_F16 },
        { "<i8", TENSOR_I64 }, { "<i4", TENSOR_I32 }, { "<i2", TENSOR_I16 },
        { "|i1", TENSOR_I8 },  { "|u1", TENSOR_U8 },  { "|b1", TENSOR_BOOL },
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, text) == 0) {
            *type = known[i].type;
            return true;
        }
    return false;
}

/* Where the header's text starts and its length, by the version of the format. */
static bool locate(struct tensor_reader *r, size_t *start, size_t *length)
{
    bool is_first = r->size > 6 && r->bytes[6] == 1;
    *start = is_first ? 10 : 12;
    if (r->size < *start || r->bytes[6] < 1 || r->bytes[6] > 3)
        return tensor_fail(r, "the file is cut off, or a version of .npy that is not known");
    *length = 0;
    for (size_t i = *start; i-- > 8;)
        *length = *length << 8 | r->bytes[i];
    return *length <= r->size - *start || tensor_fail(r, "the file is cut off in its header");
}

/* The header of the file, and where the elements begin. */
static bool read_header(struct tensor_reader *r, struct header *h, struct tensor *t, size_t *data)
{
    size_t start = 0, length = 0;
    if (!locate(r, &start, &length))
        return false;
    if (length > 65535 || memchr(r->bytes + start, '\0', length))
        return tensor_fail(r, "its header is not text");
    h->at = arena_printf(r->arena, "%.*s", (int)length, (const char *)r->bytes + start);
    *data = start + length;
    return take_header(h, t) || tensor_fail(r, "its header is not one of an array");
}

bool read_numpy_shape(struct tensor_reader *r, struct tensor *t, size_t *data)
{
    struct header h = { 0 };
    size_t bytes;
    *t = (struct tensor){ .name = "" };
    if (!read_header(r, &h, t, data))
        return false;
    if (!type_of(h.type, &t->type))
        return tensor_fail(r, "type '%s' is not read: expected little-endian numbers", tensor_shown(r->arena, h.type));
    bool holds = tensor_contiguous(t);
    t->count = 1;
    for (int d = 0; holds && d < t->rank; d++)
        t->count *= t->dims[d];
    if (!holds || __builtin_mul_overflow((size_t)t->count, tensor_bytes(t->type), &bytes))
        return tensor_fail(r, "extents that no memory holds");
    if (h.is_fortran) {
        int64_t step = 1;
        for (int d = 0; d < t->rank; d++) {
            t->strides[d] = step;
            step *= t->dims[d] > 0 ? t->dims[d] : 1;
        }
    }
    return true;
}

bool read_numpy(struct tensor_reader *r)
{
    struct tensor t;
    size_t data = 0;
    if (!read_numpy_shape(r, &t, &data))
        return false;
    size_t room = r->size - data;
    if (!tensor_add(r, &t, r->bytes + data, room, 0))
        return false;
    return (size_t)r->list[0].count * tensor_bytes(t.type) == room ||
           tensor_fail(r, "%zu bytes of data, which is not its shape", room);
}

/* ---- texts ---- */

/* UTF-8 of one character; returns its bytes, 0 when it is none. */
static int put_utf8(char *out, uint32_t c)
{
    const uint8_t tail[3] = { (uint8_t)(0x80 | (c >> 12 & 63)), (uint8_t)(0x80 | (c >> 6 & 63)),
                              (uint8_t)(0x80 | (c & 63)) };
    if (c >= 0x110000 || (c >= 0xd800 && c < 0xe000))
        return 0;
    int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = { 0, 0xc0, 0xe0, 0xf0 };
    out[0] = (char)(lead[more] | c >> 6 * more);
    memcpy(out + 1, tail + 3 - more, (size_t)more);
    return more + 1;
}

/* One text of `width` characters, padded by NUL; NULL when a character is none. */
static const char *take_text(struct arena *arena, const uint8_t *at, size_t width, bool wide)
{
    char *out = arena_take_raw(arena, (wide ? 4 : 1) * width + 1, 1), *to = out;
    for (size_t i = 0; i < width; i++) {
        uint32_t c = at[i];
        if (wide)
            memcpy(&c, at + 4 * i, sizeof c);
        if (c == 0)
            break;
        int bytes = wide ? put_utf8(to, c) : 1;
        if (bytes == 0)
            return NULL;
        if (!wide)
            *to = (char)c;
        to += bytes;
    }
    *to = '\0';
    return out;
}

static bool read_texts(struct tensor_reader *r, const char ***texts, int64_t *count)
{
    struct tensor t = { .name = "" };
    struct header h = { 0 };
    size_t data = 0, bytes;
    if (r->size < 6 || memcmp(r->bytes, "\x93NUMPY", 6) != 0)
        return tensor_fail(r, "expected a .npy array");
    if (!read_header(r, &h, &t, &data))
        return false;
    const bool wide = strncmp(h.type, "<U", 2) == 0;
    const size_t digits = strspn(h.type + 2, "0123456789");
    if ((!wide && strncmp(h.type, "|S", 2) != 0) || digits == 0 || digits > 6 || h.type[2 + digits] || t.rank != 1)
        return tensor_fail(r, "type '%s' with %d extents: expected one extent of texts or of whole numbers",
                           tensor_shown(r->arena, h.type), t.rank);
    const size_t width = (size_t)strtoul(h.type + 2, NULL, 10), unit = (wide ? 4 : 1) * width;
    if (__builtin_mul_overflow((size_t)t.dims[0], unit, &bytes) || bytes != r->size - data)
        return tensor_fail(r, "%zu bytes of data, which is not its shape", r->size - data);
    *count = unit > 0 ? t.dims[0] : 0;
    *texts = arena_array(r->arena, const char *, *count + 1);
    for (int64_t i = 0; i < *count; i++)
        if (!((*texts)[i] = take_text(r->arena, r->bytes + data + (size_t)i * unit, width, wide)))
            return tensor_fail(r, "text %lld is not Unicode", (long long)i);
    return true;
}

bool numpy_texts(struct arena *arena, const char *name, const uint8_t *bytes, size_t size, const char ***texts,
                 int64_t *count, const char **why)
{
    struct tensor_reader r = { .arena = arena, .name = name, .bytes = bytes, .size = size };
    bool fine = read_texts(&r, texts, count);
    *why = r.why;
    return fine;
}
