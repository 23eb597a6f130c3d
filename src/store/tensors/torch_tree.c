/* What the pickle of a PyTorch file holds: the tensors in its dictionaries and lists, however deep, under the path that
 * leads to them. Made by the functions of `globals` from storages kept in the file; everything else is left over. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "store/tensors/pickle_machine.h"
#include "store/tensors/tensors_parts.h"

/* Names longer than KEY are not those of parameters. A hostile file lets dictionaries share dictionaries: the work is
 * bounded by WORK bytes of names for each byte of the pickle. */
enum { PARAMETER_DEPTH = 4, DEPTH = 8, KEY = 200, WORK = 64, VISIT = 64 };

static const char *const globals[] = {
    "collections.OrderedDict",
    "collections.defaultdict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._tensor._rebuild_from_type_v2",
    "torch.Tensor",
    "torch.nn.parameter.Parameter",
    "torch.nn.parameter.Buffer",
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
const struct pickle_rules torch_rules = { globals };

struct tree {
    struct tensor_reader *r;
    const struct storages *storages;
    size_t work, limit;
};

/* ---- what a persistent identity says ---- */

static enum tensor_type type_of(const char *global)
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
        if (strcmp(known[i].name, global) == 0)
            return known[i].type;
    return TENSOR_TYPES;
}

/* ('storage', type, key, location, elements, view or nothing) */
static bool describe(struct tensor_reader *r, const struct pickle *persistent, struct storage *out)
{
    const struct pickle *id = persistent->items[0];
    bool fine = id->type == PICKLE_TUPLE && id->count >= 5 && id->count <= 6;
    fine = fine && id->items[0]->type == PICKLE_TEXT && strcmp(id->items[0]->text, "storage") == 0 &&
           (id->items[1]->type == PICKLE_GLOBAL || id->items[1]->type == PICKLE_OPAQUE) &&
           id->items[2]->type == PICKLE_TEXT && id->items[4]->type == PICKLE_INTEGER && id->items[4]->integer >= 0;
    *out = (struct storage){ 0 };
    if (!fine)
        return tensor_fail(r, "a persistent identity that is not a storage of tensors");
    out->type_name = id->items[1]->text;
    out->type = type_of(out->type_name);
    out->key = id->items[2]->text;
    out->numel = id->items[4]->integer;
    return true;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct storage *)a)->key, ((const struct storage *)b)->key);
}

bool torch_storages(struct tensor_reader *r, const struct pickle *last, struct storages *s)
{
    size_t room = 0;
    for (const struct pickle *p = last; p; p = p->items[1]) {
        s->list = pickle_grown(r->arena, s->list, s->count, &room, sizeof *s->list);
        if (!describe(r, p, &s->list[s->count++]))
            return false;
    }
    if (s->count == 0)
        return true;
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

struct storage *torch_storage(const struct storages *s, const char *key)
{
    struct storage wanted = { .key = key };
    return s->count ? bsearch(&wanted, s->list, s->count, sizeof *s->list, by_key) : NULL;
}

/* ---- one tensor ---- */

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

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata) */
static bool add_tensor(struct tree *tree, struct tensor *t, const struct pickle *arguments)
{
    struct tensor_reader *r = tree->r;
    struct pickle **a = arguments->items;
    int64_t first, count;
    const char *shown = tensor_shown(r->arena, t->name);
    if (arguments->count < 4 || a[0]->type != PICKLE_PERSISTENT || a[1]->type != PICKLE_INTEGER ||
        !take_extents(a[2], a[3], t))
        return tensor_fail(r, "tensor \"%s\": its description is not one of PyTorch", shown);
    const struct pickle *id = a[0]->items[0];
    const struct storage *s = torch_storage(tree->storages, id->items[2]->text);
    if (s && s->type == TENSOR_TYPES)
        tensor_leave(r, t->name, s->type_name);
    else if (arguments->count > 6 && a[6]->type == PICKLE_DICT && a[6]->count > 0) /* to be negated or conjugated */
        tensor_leave(r, t->name, "a tensor that is a view of another kind");
    else if (!s || !s->bytes)
        return tensor_fail(r, "tensor \"%s\": its storage is missing", shown);
    else if (!take_view(id, s, &first, &count))
        return tensor_fail(r, "tensor \"%s\": a view beyond its storage", shown);
    else {
        t->type = s->type;
        size_t width = tensor_bytes(t->type);
        return tensor_add(r, t, s->bytes + (size_t)first * width, (size_t)count * width, a[1]->integer);
    }
    return true;
}

/* A tensor, a parameter made from one, or _rebuild_from_type_v2(function, type, arguments, state). */
static bool add_call(struct tree *tree, struct tensor *t, const struct pickle *value)
{
    for (int depth = 0; depth < PARAMETER_DEPTH && value->type == PICKLE_CALL; depth++) {
        const struct pickle *function = value->items[0], *arguments = value->items[1];
        if (text_ends(function->text, "._rebuild_from_type_v2") && arguments->count >= 3 &&
            arguments->items[0]->type == PICKLE_GLOBAL && arguments->items[1]->type == PICKLE_GLOBAL &&
            arguments->items[2]->type == PICKLE_TUPLE) {
            function = arguments->items[0];
            arguments = arguments->items[2];
        }
        if (text_starts(function->text, "torch._utils._rebuild_tensor"))
            return add_tensor(tree, t, arguments);
        if (arguments->count == 0)
            break;
        value = arguments->items[0];
    }
    tensor_leave(tree->r, t->name, value->type == PICKLE_OPAQUE ? value->text : "an object without a tensor");
    return true;
}

/* ---- the containers ---- */

static bool visit(struct tree *tree, const char *name, int stem, const struct pickle *value, int depth);

/* What `key` leads to below `path`. Values whose key is neither text nor a whole number are of no model. */
static bool visit_member(struct tree *tree, const char *path, const struct pickle *key, const struct pickle *value,
                         int depth)
{
    struct arena *arena = tree->r->arena;
    const char *own = key->type == PICKLE_TEXT      ? key->text
                      : key->type == PICKLE_INTEGER ? arena_printf(arena, "%lld", (long long)key->integer)
                                                    : NULL;
    if (!own || strnlen(own, KEY + 1) > KEY)
        return true;
    size_t stem = strlen(path);
    tree->work += VISIT + stem + strlen(own);
    if (tree->work > tree->limit)
        return tensor_fail(tree->r, "its dictionaries hold each other too often");
    return visit(tree, stem ? arena_printf(arena, "%s%s", path, own) : own, (int)stem, value, depth);
}

static bool visit_all(struct tree *tree, const char *path, const struct pickle *value, int depth)
{
    bool is_dict = value->type == PICKLE_DICT;
    for (int64_t i = 0; i < value->count; i += is_dict ? 2 : 1) {
        const struct pickle index = { .type = PICKLE_INTEGER, .integer = i };
        const struct pickle *key = is_dict ? value->items[i] : &index;
        if (!visit_member(tree, path, key, value->items[is_dict ? i + 1 : i], depth))
            return false;
    }
    return true;
}

static bool visit(struct tree *tree, const char *name, int stem, const struct pickle *value, int depth)
{
    struct tensor t = { .name = name, .stem = stem };
    switch (value->type) {
    case PICKLE_CALL:
        return add_call(tree, &t, value);
    case PICKLE_OPAQUE:
        tensor_leave(tree->r, name, value->text);
        return true;
    case PICKLE_DICT:
    case PICKLE_LIST:
    case PICKLE_TUPLE:
        if (depth == DEPTH || value->count == 0)
            return true;
        return visit_all(tree, *name ? arena_printf(tree->r->arena, "%s.", name) : "", value, depth + 1);
    default:
        return true;
    }
}

bool torch_tree(struct tensor_reader *r, const struct storages *storages, const struct pickle *top, size_t size)
{
    struct tree tree = { .r = r, .storages = storages, .limit = WORK * (size + 1024) };
    if (!visit(&tree, "", 0, top, 0))
        return false;
    if (r->count > 0)
        return true;
    if (r->left_count == 0)
        return tensor_fail(r, "it holds no tensor");
    return tensor_fail(r,
                       "it holds no tensor that can be read, but an object of class %s%s%s; nothing in a file is "
                       "executed: save model.state_dict() instead",
                       r->left[0].what, *r->left[0].name ? " under " : "", r->left[0].name);
}
