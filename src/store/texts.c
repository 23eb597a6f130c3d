/* One text a row: of fixed width, padded by NUL, or as one stream of bytes with the place where each begins, which a
 * single long text does not make large. */
#include <string.h>

#include "base/arena.h"
#include "dist/world.h"
#include "store/internal.h"

static const char *offset_name(struct arena *arena, const char *name)
{
    return arena_printf(arena, "%s_offset", name);
}

void store_write_texts(struct store *store, struct arena *scratch, const char *name, const char *const *texts,
                       int64_t count)
{
    const struct arena_mark mark = arena_mark(scratch);
    const char *places = offset_name(scratch, name);
    const int64_t rows = store_rows(store, places) - 1;
    int64_t *offset = arena_array(scratch, int64_t, rows + 1), *length = arena_array(scratch, int64_t, count + 1);
    int64_t bytes = 0, first = 0;
    for (int64_t i = 0; i < count; i++)
        bytes += length[i] = (int64_t)strlen(texts[i]);
    /* Where this rank's bytes begin: after those of lower ranks. */
    int64_t *of_rank = arena_array(scratch, int64_t, store->world->size);
    world_allgather_rows(store->world, of_rank, &bytes, 1, sizeof bytes);
    for (int r = 0; r < store->world->rank; r++)
        first += of_rank[r];
    world_allgather_rows(store->world, offset + 1, length, count, sizeof *length);
    for (int64_t i = 0; i < rows; i++)
        offset[i + 1] += offset[i];
    char *packed = arena_take_raw(scratch, (size_t)bytes + 1, 1), *at = packed;
    for (int64_t i = 0; i < count; at += length[i++])
        memcpy(at, texts[i], (size_t)length[i]);
    store_write_rows(store, name, first, bytes, packed);
    store_write_all(store, places, offset);
    arena_release(scratch, mark);
}

static const char **read_fixed(struct store *store, struct arena *arena, const struct dataset *set)
{
    const int64_t rows = set->dims[0];
    const size_t width = set->width;
    const char **texts = arena_array(arena, const char *, rows + 1);
    char *packed = arena_array(arena, char, store_bytes(set, rows) + 1);
    char *ended = arena_take(arena, (size_t)rows + 1, width + 1);
    store_read_all(store, set->name, packed);
    for (int64_t i = 0; i < rows; i++) {
        char *text = ended + (size_t)i * (width + 1);
        memcpy(text, packed + (size_t)i * width, width);
        texts[i] = text;
    }
    return texts;
}

static const char **read_stream(struct store *store, struct arena *arena, const struct dataset *set)
{
    const char *places = offset_name(arena, set->name);
    const int64_t any = -1, bytes = set->dims[0];
    store_expect(store, places, STORE_I64, 1, &any);
    const int64_t rows = store_rows(store, places) - 1;
    int64_t *offset = arena_array(arena, int64_t, rows + 2);
    store_read_all(store, places, offset);
    bool rising = rows >= 0 && offset[0] == 0 && offset[rows] == bytes;
    for (int64_t i = 0; rising && i < rows; i++)
        rising = offset[i] <= offset[i + 1];
    agree(store->world, rising, EXIT_BAD_DATA, "%s: %s: expected rising offsets from 0 to %lld", store->path, places,
          (long long)bytes);
    char *packed = arena_array(arena, char, bytes + 1), *ended = arena_array(arena, char, bytes + rows + 1);
    const char **texts = arena_array(arena, const char *, rows + 1);
    store_read_all(store, set->name, packed);
    for (int64_t i = 0; i < rows; i++) { /* each moved up by the NULs before it */
        char *text = ended + offset[i] + i;
        memcpy(text, packed + offset[i], (size_t)(offset[i + 1] - offset[i]));
        texts[i] = text;
    }
    return texts;
}

const char **store_read_texts(struct store *store, struct arena *arena, const char *name)
{
    const struct dataset *set = store_find(store, name);
    const bool fixed = set && set->type == STORE_TEXT && set->rank == 1;
    const bool stream = set && set->type == STORE_U8 && set->rank == 1 && store_has(store, offset_name(arena, name));
    agree(store->world, fixed || stream, EXIT_BAD_DATA, "%s: %s: expected one text a row", store->path, name);
    return fixed ? read_fixed(store, arena, set) : read_stream(store, arena, set);
}
