/* .safetensors: 8 bytes with the length of a JSON header, the header, the tensors. The header is read by jansson;
 * its offsets must cover the rest of the file without a gap, as the format demands. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "store/tensors/tensors_parts.h"

enum { HEADER_LIMIT = 100000000 };

struct placed {
    int64_t begin, end;
};

static bool type_of(const char *text, enum tensor_type *type)
{
    static const struct {
        const char *name;
        enum tensor_type type;
    } known[] = {
        { "F64", TENSOR_F64 }, { "F32", TENSOR_F32 },   { "F16", TENSOR_F16 }, { "BF16", TENSOR_BF16 },
        { "I64", TENSOR_I64 }, { "I32", TENSOR_I32 },   { "I16", TENSOR_I16 }, { "I8", TENSOR_I8 },
        { "U8", TENSOR_U8 },   { "BOOL", TENSOR_BOOL },
    };
    for (size_t i = 0; text && i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, text) == 0) {
            *type = known[i].type;
            return true;
        }
    return false;
}

static bool take_shape(const json_t *shape, struct tensor *t)
{
    if (!json_is_array(shape) || json_array_size(shape) > TENSOR_RANKS)
        return false;
    t->rank = (int)json_array_size(shape);
    for (int d = 0; d < t->rank; d++) {
        const json_t *size = json_array_get(shape, (size_t)d);
        if (!json_is_integer(size))
            return false;
        t->dims[d] = json_integer_value(size);
    }
    return tensor_contiguous(t);
}

/* "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} */
static bool add(struct tensor_reader *r, const char *name, const json_t *entry, const uint8_t *data, int64_t room,
                struct placed *place)
{
    struct tensor t = { .name = arena_strdup(r->arena, name) };
    const char *shown = tensor_shown(r->arena, name), *type = json_string_value(json_object_get(entry, "dtype"));
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    bool known = type_of(type, &t.type);
    if (!type)
        return tensor_fail(r, "tensor \"%s\": dtype \"nothing\" is not read", shown);
    if (!take_shape(json_object_get(entry, "shape"), &t))
        return tensor_fail(r, "tensor \"%s\": expected a shape of at most %d extents", shown, TENSOR_RANKS);
    if (!json_is_integer(begin) || !json_is_integer(end) || json_array_size(offsets) != 2)
        return tensor_fail(r, "tensor \"%s\": expected two data_offsets", shown);
    *place = (struct placed){ json_integer_value(begin), json_integer_value(end) };
    if (place->begin < 0 || place->end < place->begin || place->end > room)
        return tensor_fail(r, "tensor \"%s\": bytes %lld to %lld of %lld", shown, (long long)place->begin,
                           (long long)place->end, (long long)room);
    size_t bytes = (size_t)(place->end - place->begin);
    if (!known) {
        tensor_leave(r, name, type);
        return true;
    }
    if (!tensor_add(r, &t, data + place->begin, bytes, 0))
        return false;
    return (size_t)r->list[r->count - 1].count * tensor_bytes(t.type) == bytes ||
           tensor_fail(r, "tensor \"%s\": %zu bytes, which is not its shape", shown, bytes);
}

static int by_begin(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* Every byte belongs to one tensor. */
static bool covers(struct tensor_reader *r, struct placed *places, size_t count, int64_t room)
{
    int64_t at = 0;
    qsort(places, count, sizeof *places, by_begin);
    for (size_t i = 0; i < count; i++) {
        if (places[i].begin != at)
            return tensor_fail(r, "%s at byte %lld of the data", places[i].begin < at ? "tensors overlap" : "a gap",
                               (long long)places[i].begin);
        at = places[i].end;
    }
    return at == room ||
           tensor_fail(r, "%lld bytes of data, but the tensors end at %lld", (long long)room, (long long)at);
}

static bool add_all(struct tensor_reader *r, json_t *header, const uint8_t *data, int64_t room)
{
    struct placed *places = arena_array(r->arena, struct placed, json_object_size(header) + 1);
    const char *name;
    json_t *entry;
    size_t count = 0;
    json_object_foreach(header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        if (!add(r, name, entry, data, room, &places[count++]))
            return false;
    }
    if (!covers(r, places, count, room))
        return false;
    return r->count > 0 || r->left_count == 0 ||
           tensor_fail(r, "it holds no tensor that is read: \"%s\" has dtype \"%s\"", r->left[0].name, r->left[0].what);
}

bool read_safetensors(struct tensor_reader *r)
{
    uint64_t length = 0;
    for (int byte = 7; byte >= 0; byte--)
        length = length << 8 | r->bytes[byte];
    if (length > HEADER_LIMIT || length > r->size - 8)
        return tensor_fail(r, "its header claims %llu bytes of a file of %zu", (unsigned long long)length, r->size);
    json_error_t error;
    json_t *header = json_loadb((const char *)r->bytes + 8, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    bool fine = json_is_object(header);
    if (!fine)
        tensor_fail(r, "its header is not a JSON object: %s", header ? "another value" : error.text);
    else
        fine = add_all(r, header, r->bytes + 8 + length, (int64_t)(r->size - 8 - (size_t)length));
    json_decref(header);
    return fine;
}
