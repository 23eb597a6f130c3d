/* PyTorch's .pth: a pickle whose tensors name storages, and the storages - as members of a zip archive (since 1.6), or
 * behind a stream of pickles in one file (before). torch/serialization.py describes both.
 *
 * Read here: dictionaries of tensors, made by the functions of `globals` from storages kept in the file. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "store/pickle_machine.h"
#include "store/tensors_parts.h"

enum { PICKLE_LIMIT = 16 << 20, PARAMETER_DEPTH = 4 };

static const char *const globals[] = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.nn.parameter.Parameter",
    "torch.DoubleStorage",
    "torch.FloatStorage",
    "torch.HalfStorage",
    "torch.BFloat16Storage",
    "torch.LongStorage",
    "torch.IntStorage",
    "torch.ShortStorage",
    "torch.CharStorage",
    "torch.ByteStorage",
    "torch.BoolStorage",
    NULL,
};
static const struct pickle_rules rules = { globals };

struct storage {
    const char *key;
    enum tensor_type type;
    int64_t numel;
    const uint8_t *bytes; /* NULL until found in the file */
};
struct storages {
    struct storage *list; /* by key */
    size_t count;
};

/* ---- what a persistent identity says ---- */

static bool type_of(const char *global, enum tensor_type *type)
{
    static const struct {
        const char *name;
        enum tensor_type type;
    } known[] = {
        { "torch.DoubleStorage", TENSOR_F64 }, { "torch.FloatStorage", TENSOR_F32 },
        { "torch.HalfStorage", TENSOR_F16 },   { "torch.BFloat16Storage", TENSOR_BF16 },
        { "torch.LongStorage", TENSOR_I64 },   { "torch.IntStorage", TENSOR_I32 },
        { "torch.ShortStorage", TENSOR_I16 },  { "torch.CharStorage", TENSOR_I8 },
        { "torch.ByteStorage", TENSOR_U8 },    { "torch.BoolStorage", TENSOR_BOOL },
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, global) == 0) {
            *type = known[i].type;
            return true;
        }
    return false;
}

/* ('storage', type, key, location, elements, view or nothing) */
static bool describe(struct tensor_reader *r, const struct pickle *persistent, struct storage *out)
{
    const struct pickle *id = persistent->items[0];
    bool fine = id->type == PICKLE_TUPLE && id->count >= 5 && id->count <= 6;
    fine = fine && id->items[0]->type == PICKLE_TEXT && strcmp(id->items[0]->text, "storage") == 0 &&
           id->items[1]->type == PICKLE_GLOBAL && id->items[2]->type == PICKLE_TEXT &&
           id->items[4]->type == PICKLE_INTEGER && id->items[4]->integer >= 0;
    *out = (struct storage){ 0 };
    if (!fine || !type_of(id->items[1]->text, &out->type))
        return tensor_fail(r, "a persistent identity that is not a storage of tensors");
    out->key = id->items[2]->text;
    out->numel = id->items[4]->integer;
    return true;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct storage *)a)->key, ((const struct storage *)b)->key);
}

/* All storages the pickle names, each once. */
static bool gather(struct tensor_reader *r, const struct pickle *last, struct storages *s)
{
    size_t room = 0;
    for (const struct pickle *p = last; p; p = p->items[1]) {
        s->list = pickle_grown(r->arena, s->list, s->count, &room, sizeof *s->list);
        if (!describe(r, p, &s->list[s->count++]))
            return false;
    }
    if (s->count == 0)
        return tensor_fail(r, "it holds no tensor");
    qsort(s->list, s->count, sizeof *s->list, by_key);
    size_t kept = 1;
    for (size_t i = 1; i < s->count; i++) {
        const struct storage *a = &s->list[kept - 1], *b = &s->list[i];
        if (strcmp(a->key, b->key) != 0)
            s->list[kept++] = *b;
        else if (a->type != b->type || a->numel != b->numel)
            return tensor_fail(r, "storage \"%s\" has two types or sizes", tensor_shown(r->arena, a->key));
    }
    s->count = kept;
    return true;
}

static struct storage *find(const struct storages *s, const char *key)
{
    struct storage wanted = { .key = key };
    return bsearch(&wanted, s->list, s->count, sizeof *s->list, by_key);
}

static bool storage_bytes(const struct storage *s, size_t *bytes)
{
    return !__builtin_mul_overflow((size_t)s->numel, tensor_bytes(s->type), bytes);
}

/* ---- the dictionary ---- */

static bool take_extents(const struct pickle *sizes, const struct pickle *strides, struct tensor *t)
{
    if (sizes->type != PICKLE_TUPLE || strides->type != PICKLE_TUPLE || sizes->count != strides->count ||
        sizes->count > TENSOR_RANKS)
        return false;
    t->rank = (int)sizes->count;
    for (int d = 0; d < t->rank; d++) {
        if (sizes->items[d]->type != PICKLE_INTEGER || strides->items[d]->type != PICKLE_INTEGER)
            return false;
        t->dims[d] = sizes->items[d]->integer;
        t->strides[d] = strides->items[d]->integer;
    }
    return true;
}

/* Old files may cut a view out of a storage: (key, first element, elements). */
static bool take_view(const struct pickle *id, const struct storage *s, int64_t *first, int64_t *count)
{
    const struct pickle *view = id->count == 6 ? id->items[5] : NULL;
    *first = 0;
    *count = s->numel;
    if (!view || view->type == PICKLE_NONE)
        return true;
    if (view->type != PICKLE_TUPLE || view->count != 3 || view->items[1]->type != PICKLE_INTEGER ||
        view->items[2]->type != PICKLE_INTEGER)
        return false;
    *first = view->items[1]->integer;
    *count = view->items[2]->integer;
    return *first >= 0 && *count >= 0 && *first <= s->numel && *count <= s->numel - *first;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, ...) */
static bool add_tensor(struct tensor_reader *r, const struct storages *storages, const char *name,
                       const struct pickle *arguments)
{
    struct tensor t = { .name = name };
    struct pickle **a = arguments->items;
    int64_t first, count;
    if (arguments->count < 4 || a[0]->type != PICKLE_PERSISTENT || a[1]->type != PICKLE_INTEGER ||
        !take_extents(a[2], a[3], &t))
        return tensor_fail(r, "tensor \"%s\": its description is not one of PyTorch", tensor_shown(r->arena, name));
    const struct pickle *id = a[0]->items[0];
    const struct storage *s = find(storages, id->items[2]->text);
    if (!s || !s->bytes)
        return tensor_fail(r, "tensor \"%s\": its storage is missing", tensor_shown(r->arena, name));
    if (!take_view(id, s, &first, &count))
        return tensor_fail(r, "tensor \"%s\": a view beyond its storage", tensor_shown(r->arena, name));
    t.type = s->type;
    size_t width = tensor_bytes(t.type);
    return tensor_add(r, &t, s->bytes + (size_t)first * width, (size_t)count * width, a[1]->integer);
}

/* A tensor, or a parameter made from one. */
static bool add_value(struct tensor_reader *r, const struct storages *storages, const char *name,
                      const struct pickle *value)
{
    for (int depth = 0; depth < PARAMETER_DEPTH && value->type == PICKLE_CALL; depth++) {
        const char *function = value->items[0]->text;
        const struct pickle *arguments = value->items[1];
        if (strncmp(function, "torch._utils._rebuild_tensor", 28) == 0)
            return add_tensor(r, storages, name, arguments);
        if (arguments->count == 0)
            break;
        value = arguments->items[0];
    }
    return tensor_fail(r, "\"%s\" is not a tensor", tensor_shown(r->arena, name));
}

/* The dictionary of tensors: the file's value, or a member of a checkpoint. */
static const struct pickle *state_dict(const struct pickle *top)
{
    static const char *const members[] = { "state_dict", "model_state_dict", "model" };
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const struct pickle *inner = pickle_member(top, members[i]);
        if (inner && inner->type == PICKLE_DICT)
            return inner;
    }
    return top;
}

static bool add_all(struct tensor_reader *r, const struct storages *storages, const struct pickle *top)
{
    const struct pickle *dict = state_dict(top);
    if (dict->type != PICKLE_DICT)
        return tensor_fail(r, "expected a dictionary of tensors (a state_dict), found something else");
    for (int64_t i = 0; i < dict->count; i += 2) {
        if (dict->items[i]->type != PICKLE_TEXT)
            return tensor_fail(r, "a tensor whose name is not a text");
        if (!add_value(r, storages, dict->items[i]->text, dict->items[i + 1]))
            return false;
    }
    return true;
}

/* ---- the zip archive ---- */

static int by_member(const void *a, const void *b)
{
    return strcmp(((const struct zip_member *)a)->name, ((const struct zip_member *)b)->name);
}

static const struct zip_member *member(const struct zip_member *list, int count, const char *name)
{
    struct zip_member wanted = { .name = name };
    return bsearch(&wanted, list, (size_t)count, sizeof *list, by_member);
}

/* "archive/data.pkl": its folder is the prefix of all members. */
static const struct zip_member *main_pickle(struct tensor_reader *r, const struct zip_member *list, int count)
{
    for (int i = 0; i < count; i++) {
        const char *slash = strchr(list[i].name, '/');
        if (slash && strcmp(slash, "/data.pkl") == 0)
            return &list[i];
    }
    tensor_fail(r, "a zip archive without data.pkl: not weights of PyTorch");
    return NULL;
}

static bool check_order(struct tensor_reader *r, const struct zip_member *order)
{
    if (!order || (order->size == 6 && memcmp(order->bytes, "little", 6) == 0))
        return true;
    return tensor_fail(r, "its numbers are not little-endian");
}

bool read_torch_zip(struct tensor_reader *r)
{
    struct zip_member *list;
    int count;
    if (!zip_members(r, &list, &count))
        return false;
    qsort(list, (size_t)count, sizeof *list, by_member);
    const struct zip_member *data = main_pickle(r, list, count);
    if (!data)
        return false;
    int prefix = (int)strcspn(data->name, "/");
    if (!check_order(r, member(list, count, arena_printf(r->arena, "%.*s/byteorder", prefix, data->name))))
        return false;
    if (data->size > PICKLE_LIMIT)
        return tensor_fail(r, "data.pkl has %zu bytes, expected at most %d", data->size, PICKLE_LIMIT);
    struct pickle_end end;
    struct storages storages = { 0 };
    const struct pickle *top = pickle_read_rules(r->arena, arena_printf(r->arena, "%s: data.pkl", r->name), data->bytes,
                                                 data->size, &rules, &end, &r->why);
    if (!top || !gather(r, end.persistent, &storages))
        return false;
    for (size_t i = 0; i < storages.count; i++) {
        struct storage *s = &storages.list[i];
        size_t bytes;
        const struct zip_member *m =
            member(list, count, arena_printf(r->arena, "%.*s/data/%s", prefix, data->name, s->key));
        if (m && (!storage_bytes(s, &bytes) || bytes != m->size))
            return tensor_fail(r, "storage \"%s\" has %zu bytes, expected %lld elements of %s",
                               tensor_shown(r->arena, s->key), m->size, (long long)s->numel, tensor_type_name(s->type));
        s->bytes = m ? m->bytes : NULL;
    }
    return add_all(r, &storages, top);
}

/* ---- the stream of pickles ---- */

/* PROTO p, LONG1 with torch's magic number, STOP. */
static const uint8_t magic[] = { 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.' };

bool is_torch_pickles(const uint8_t *bytes, size_t size)
{
    return size > sizeof magic + 2 && bytes[0] == 0x80 && memcmp(bytes + 2, magic, sizeof magic) == 0;
}

static const struct pickle *next_pickle(struct tensor_reader *r, size_t *at, const char *what,
                                        const struct pickle **persistent)
{
    struct pickle_end end;
    size_t left = r->size - *at;
    const struct pickle *value =
        pickle_read_rules(r->arena, arena_printf(r->arena, "%s: %s at byte %zu", r->name, what, *at), r->bytes + *at,
                          left < PICKLE_LIMIT ? left : PICKLE_LIMIT, &rules, &end, &r->why);
    *at += end.used;
    if (persistent)
        *persistent = end.persistent;
    return value;
}

/* One storage: the number of its elements in 8 bytes, then their bytes. */
static bool take_storage(struct tensor_reader *r, struct storage *s, size_t *at)
{
    const char *key = tensor_shown(r->arena, s->key);
    int64_t numel;
    size_t bytes;
    if (s->bytes)
        return tensor_fail(r, "storage \"%s\" comes twice", key);
    if (r->size - *at < sizeof numel)
        return tensor_fail(r, "the file is cut off at storage \"%s\"", key);
    memcpy(&numel, r->bytes + *at, sizeof numel);
    *at += sizeof numel;
    if (numel != s->numel)
        return tensor_fail(r, "storage \"%s\" has %lld elements, expected %lld", key, (long long)numel,
                           (long long)s->numel);
    if (!storage_bytes(s, &bytes) || bytes > r->size - *at)
        return tensor_fail(r, "the file is cut off in storage \"%s\": %lld elements of %s, but %zu bytes are left", key,
                           (long long)numel, tensor_type_name(s->type), r->size - *at);
    s->bytes = r->bytes + *at;
    *at += bytes;
    return true;
}

bool read_torch_pickles(struct tensor_reader *r)
{
    size_t at = sizeof magic + 2;
    struct storages storages = { 0 };
    const struct pickle *persistent = NULL, *protocol, *system, *top, *keys;
    if (!(protocol = next_pickle(r, &at, "protocol", NULL)) || !(system = next_pickle(r, &at, "system", NULL)) ||
        !(top = next_pickle(r, &at, "dictionary", &persistent)) || !(keys = next_pickle(r, &at, "keys", NULL)))
        return false;
    const struct pickle *little = pickle_member(system, "little_endian");
    if (protocol->type != PICKLE_INTEGER || protocol->integer != 1001)
        return tensor_fail(r, "expected PyTorch's protocol 1001");
    if (!little || little->type != PICKLE_BOOL || !little->integer)
        return tensor_fail(r, "its numbers are not little-endian");
    if (keys->type != PICKLE_LIST)
        return tensor_fail(r, "expected a list of storages");
    if (!gather(r, persistent, &storages))
        return false;
    for (int64_t i = 0; i < keys->count; i++) {
        struct storage *s = keys->items[i]->type == PICKLE_TEXT ? find(&storages, keys->items[i]->text) : NULL;
        if (!s)
            return tensor_fail(r, "a storage in the file that no tensor names");
        if (!take_storage(r, s, &at))
            return false;
    }
    return add_all(r, &storages, top);
}
