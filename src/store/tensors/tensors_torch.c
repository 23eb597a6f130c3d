/* PyTorch's .pth: a pickle whose tensors name storages, and the storages - as members of a zip archive (since 1.6), or
 * behind a stream of pickles in one file (before). torch/serialization.py describes both.
 * What the pickle holds is src/store/tensors/torch_tree.c's. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "store/tensors/pickle_machine.h"
#include "store/tensors/tensors_parts.h"

enum { PICKLE_LIMIT = 16 << 20 };

static bool storage_bytes(const struct storage *s, size_t *bytes)
{
    return !__builtin_mul_overflow((size_t)s->numel, tensor_bytes(s->type), bytes);
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

/* "archive/data.pkl", or deeper in an archive that was packed again: its folder is the prefix of all members. Of
 * several the first is taken that lies highest. */
static const struct zip_member *main_pickle(struct tensor_reader *r, const struct zip_member *list, int count)
{
    static const char name[] = "data.pkl";
    const struct zip_member *best = NULL;
    for (int i = 0; i < count; i++) {
        const char *slash = strrchr(list[i].name, '/');
        bool shorter = !best || strlen(list[i].name) < strlen(best->name);
        if (strcmp(slash ? slash + 1 : list[i].name, name) == 0 && shorter)
            best = &list[i];
    }
    if (!best)
        tensor_fail(r, "a zip archive without data.pkl: not weights of PyTorch");
    return best;
}

/* torch.jit.save writes programs: their code lies beside the weights. */
static bool is_script(const struct zip_member *list, int count, int prefix, const char *folder)
{
    for (int i = 0; i < count; i++)
        if (strncmp(list[i].name, folder, (size_t)prefix) == 0 &&
            (strcmp(list[i].name + prefix, "constants.pkl") == 0 || text_starts(list[i].name + prefix, "code/")))
            return true;
    return false;
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
    int prefix = (int)(strlen(data->name) - strlen("data.pkl"));
    if (is_script(list, count, prefix, data->name))
        return tensor_fail(r, "a TorchScript program (torch.jit.save), which is not run here: save its weights by "
                              "torch.save(model.state_dict(), ...)");
    if (!check_order(r, member(list, count, arena_printf(r->arena, "%.*sbyteorder", prefix, data->name))))
        return false;
    if (data->size > PICKLE_LIMIT)
        return tensor_fail(r, "data.pkl has %zu bytes, expected at most %d", data->size, PICKLE_LIMIT);
    struct pickle_end end;
    struct storages storages = { 0 };
    const struct pickle *top = pickle_read_rules(r->arena, arena_printf(r->arena, "%s: data.pkl", r->name), data->bytes,
                                                 data->size, &torch_rules, &end, &r->why);
    if (!top || !torch_storages(r, end.persistent, &storages))
        return false;
    for (size_t i = 0; i < storages.count; i++) {
        struct storage *s = &storages.list[i];
        size_t bytes;
        const struct zip_member *m =
            member(list, count, arena_printf(r->arena, "%.*sdata/%s", prefix, data->name, s->key));
        if (m && s->type < TENSOR_TYPES && (!storage_bytes(s, &bytes) || bytes != m->size))
            return tensor_fail(r, "storage \"%s\" has %zu bytes, expected %lld elements of %s",
                               tensor_shown(r->arena, s->key), m->size, (long long)s->numel, tensor_type_name(s->type));
        s->bytes = m ? m->bytes : NULL;
    }
    return torch_tree(r, &storages, top, data->size);
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
                          left < PICKLE_LIMIT ? left : PICKLE_LIMIT, &torch_rules, &end, &r->why);
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
    if (s->type == TENSOR_TYPES)
        return tensor_fail(r, "storage \"%s\" names '%s', whose size is not known here", key,
                           tensor_shown(r->arena, s->type_name));
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
    if (!torch_storages(r, persistent, &storages))
        return false;
    for (int64_t i = 0; i < keys->count; i++) {
        struct storage *s = keys->items[i]->type == PICKLE_TEXT ? torch_storage(&storages, keys->items[i]->text) : NULL;
        if (!s)
            return tensor_fail(r, "a storage in the file that no tensor names");
        if (!take_storage(r, s, &at))
            return false;
    }
    return torch_tree(r, &storages, top, at);
}
