/* .npy: "\x93NUMPY", version, length of the header, a Python dictionary as text, the elements. Read here: plain
 * little-endian numbers in row- or column-major order; objects (pickles) and structures are refused. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "store/tensors_parts.h"

struct header {
    const char *at;
    char type[8];
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

bool read_numpy(struct tensor_reader *r)
{
    struct tensor t = { .name = "" };
    struct header h = { 0 };
    size_t start = 0, length = 0;
    if (!locate(r, &start, &length))
        return false;
    if (length > 65535 || memchr(r->bytes + start, '\0', length))
        return tensor_fail(r, "its header is not text");
    h.at = arena_printf(r->arena, "%.*s", (int)length, (const char *)r->bytes + start);
    if (!take_header(&h, &t))
        return tensor_fail(r, "its header is not one of an array");
    if (!type_of(h.type, &t.type))
        return tensor_fail(r, "type '%s' is not read: expected little-endian numbers", tensor_shown(r->arena, h.type));
    if (!tensor_contiguous(&t))
        return tensor_fail(r, "extents that no memory holds");
    if (h.is_fortran) {
        int64_t step = 1;
        for (int d = 0; d < t.rank; d++) {
            t.strides[d] = step;
            step *= t.dims[d] > 0 ? t.dims[d] : 1;
        }
    }
    size_t room = r->size - start - length;
    if (!tensor_add(r, &t, r->bytes + start + length, room, 0))
        return false;
    return (size_t)r->list[0].count * tensor_bytes(t.type) == room ||
           tensor_fail(r, "%zu bytes of data, which is not its shape", room);
}
