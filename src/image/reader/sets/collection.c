/* Files of a download stand at its root or some folders below, plain or compressed. */
#include "image/reader/sets/collection.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "image/reader/sets/split.h"
#include "image/reader/table_text.h"
#include "store/text_archive.h"

enum { HEAD_BYTES = 4096 };

const char *collection_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *collection_folder(struct arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? arena_printf(arena, "%.*s", (int)(slash - path), path) : "";
}

static int depth(const char *path)
{
    int slashes = 0;
    for (; *path; path++)
        slashes += *path == '/';
    return slashes;
}

/* Length of the name without .gz. */
static size_t plain_length(const char *name)
{
    size_t length = strlen(name);
    return text_ends(name, ".gz") ? length - 3 : length;
}

const char *collection_file(const struct reading *reading, const char *name)
{
    const char *best = NULL;
    for (int64_t i = 0; i < reading->tree->others; i++) {
        const char *path = reading->tree->other[i], *last = collection_name(path);
        bool same =
            strcmp(last, name) == 0 || (plain_length(last) == strlen(name) && strncmp(last, name, strlen(name)) == 0);
        if (same && (!best || depth(path) < depth(best)))
            best = path;
    }
    return best;
}

/* Length of the version in "PREFIX2.0.0SUFFIX"; 0 when the name is not of this form. */
static size_t version_length(const char *name, const char *prefix, const char *suffix)
{
    if (!text_starts(name, prefix))
        return 0;
    const char *version = name + strlen(prefix);
    size_t length = strspn(version, "0123456789."), tail = strlen(suffix);
    bool fits = strncmp(version + length, suffix, tail) == 0;
    return fits && plain_length(name) == strlen(prefix) + length + tail ? length : 0;
}

const char *collection_version(const struct reading *reading, const char *prefix, const char *suffix)
{
    const char *best = NULL;
    for (int64_t i = 0; i < reading->tree->others; i++) {
        const char *path = reading->tree->other[i], *last = collection_name(path);
        if (version_length(last, prefix, suffix) == 0)
            continue;
        int newer = best ? strverscmp(last, collection_name(best)) : 1;
        if (newer > 0 || (newer == 0 && depth(path) < depth(best)))
            best = path;
    }
    return best;
}

size_t collection_head(const struct reading *reading, const char *path, char *head, size_t most)
{
    int file = open(path_join(reading->arena, reading->tree->root, path), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (file < 0)
        return 0;
    ssize_t got = read(file, head, most);
    close(file);
    return got > 0 ? (size_t)got : 0;
}

bool collection_begins(const struct reading *reading, const char *path, const char *const *words)
{
    char head[HEAD_BYTES], packed[HEAD_BYTES];
    size_t got = collection_head(reading, path, head, sizeof head);
    if (got > 2 && memcmp(head, "\x1f\x8b", 2) == 0) {
        memcpy(packed, head, got);
        got = table_inflate_head(head, sizeof head, packed, got);
    }
    for (; got > 0 && *words; words++)
        if (!memmem(head, got, *words, strlen(*words)))
            return false;
    return got > 0;
}

bool collection_holds_array(const struct reading *reading, const char *path, const char *name)
{
    const char *why = NULL;
    struct text_archive *archive =
        text_archive_open(reading->arena, path, path_join(reading->arena, reading->tree->root, path), &why);
    bool holds = archive && text_archive_has(archive, arena_printf(reading->arena, "%s.npy", name));
    if (archive)
        text_archive_close(archive);
    return holds;
}

const char *collection_stated(const struct reading *reading)
{
    const char *labels = reading->request->pack->labels;
    return *labels && strcmp(labels, "labels.csv") != 0 ? labels : NULL;
}

int collection_column(struct reading *reading, const struct table *table, const char *name)
{
    int column = reading_column(reading, table, name);
    if (column >= 0 || reading->why)
        return column;
    struct text seen = text_new(reading->arena);
    for (int i = 0; i < table->columns && i < 20; i++)
        text_add(&seen, "%s%s", i ? ", " : "", table->header[i]);
    reading_fail(reading, EXIT_BAD_DATA,
                 "%s: no column '%s'; found %s%s\nset pack.columns: %s=NAME if it has another name", table->path, name,
                 seen.data, table->columns > 20 ? ", ..." : "", name);
    return -1;
}

struct table collection_rows(struct arena *arena, const struct table *table, const bool *keep)
{
    size_t columns = (size_t)table->columns;
    const char **cells = arena_array(arena, const char *, (size_t)table->rows *columns + 1);
    int64_t *line = arena_array(arena, int64_t, table->rows + 1);
    struct table out = *table;
    out.rows = 0;
    for (int64_t i = 0; i < table->rows; i++)
        if (keep[i]) {
            memcpy(cells + (size_t)out.rows * columns, table->cells + (size_t)i * columns, columns * sizeof *cells);
            line[out.rows++] = table->line[i];
        }
    out.cells = cells;
    out.line = line;
    return out;
}

struct table collection_joined(struct arena *arena, const struct table *a, const struct table *b)
{
    struct table out = *a;
    size_t columns = (size_t)a->columns;
    out.rows = a->rows + b->rows;
    const char **cells = arena_array(arena, const char *, (size_t)out.rows *columns + 1);
    int64_t *line = arena_array(arena, int64_t, out.rows + 1);
    memcpy(cells, a->cells, (size_t)a->rows * columns * sizeof *cells);
    memcpy(line, a->line, (size_t)a->rows * sizeof *line);
    memcpy(line + a->rows, b->line, (size_t)b->rows * sizeof *line);
    for (int c = 0; c < a->columns; c++) {
        int other = table_column(b, a->header[c]);
        for (int64_t i = 0; i < b->rows; i++)
            cells[(size_t)(a->rows + i) * columns + (size_t)c] = other < 0 ? "" : table_cell(b, i, other);
    }
    out.cells = cells;
    out.line = line;
    out.path = arena_printf(arena, "%s, %s", a->path, b->path);
    return out;
}

void collection_cut(struct reading *reading, struct manifest *out, bool with_test)
{
    struct arena *arena = reading->arena;
    int64_t *row = arena_array(arena, int64_t, out->rows + 1), rows = 0;
    int64_t *number = arena_array(arena, int64_t, out->rows + 1),
            groups = 0; /* of a group among the rows that are cut */
    const char **id = arena_array(arena, const char *, out->rows + 1);
    int64_t *group = arena_array(arena, int64_t, out->rows + 1);
    int32_t *label = arena_array(arena, int32_t, out->rows + 1);
    uint8_t *split = arena_array(arena, uint8_t, out->rows + 1);
    for (int64_t i = 0; i < out->rows; i++) {
        if (out->split[i] != SPLIT_TRAIN)
            continue;
        if (out->group && number[out->group[i]] == 0)
            number[out->group[i]] = ++groups;
        group[rows] = out->group ? number[out->group[i]] - 1 : 0;
        label[rows] = out->label ? out->label[i] : 0;
        id[rows] = out->id[i];
        row[rows++] = i;
    }
    const struct pack_config *pack = reading->request->pack;
    bool shared = out->label && (double)rows * pack->val_fraction >= out->classes; /* else no class gives an image */
    const struct split_request request = { .rows = rows,
                                           .id = id,
                                           .group = out->group ? group : NULL,
                                           .label = shared ? label : NULL,
                                           .classes = shared ? out->classes : 0,
                                           .val_fraction = pack->val_fraction,
                                           .test_fraction = with_test ? pack->test_fraction : 0.0 };
    if (rows)
        split_grouped(arena, split, &request);
    for (int64_t i = 0; i < rows; i++)
        out->split[row[i]] = split[i];
}

bool collection_whole(const char *cell, int64_t *number)
{
    double value;
    if (!table_number(cell, &value) || value != floor(value) || fabs(value) > 0x1p53)
        return false;
    *number = (int64_t)value;
    return true;
}

bool collection_state(const struct reading *reading, const char *cell, int8_t *state)
{
    double value = LABEL_BLANK;
    if (table_missing(cell, reading->request->pack->missing)) {
        *state = LABEL_BLANK;
        return true;
    }
    if (!table_number(cell, &value) || (value != 1.0 && value != 0.0 && value != -1.0))
        return false;
    *state = (int8_t)value;
    return true;
}
