/* What the readers of public collections share. */
#include "image/reader/sets/sets.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/file.h"

enum { NAMES_SHOWN = 400 }; /* bytes */

/* ---- names of files ---- */

const char *set_stem(struct arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return arena_printf(arena, "%.*s", (int)tree_stem_length(name), name);
}

const char *set_file(const struct reading *reading, const char *name, int64_t *count)
{
    const char *found = NULL;
    size_t length = strlen(name);
    *count = 0;
    for (int64_t i = 0; i < reading->tree->others; i++) {
        const char *path = reading->tree->other[i], *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
        if (strncmp(file, name, length) != 0 || (file[length] && strcmp(file + length, ".gz") != 0))
            continue;
        found = found ? found : path;
        ++*count;
    }
    return found;
}

bool set_is_in(const char *path, const char *part, bool any_case)
{
    size_t length = strlen(part);
    for (const char *at = path, *slash; (slash = strchr(at, '/')) != NULL; at = slash + 1)
        if ((size_t)(slash - at) == length && (any_case ? strncasecmp : strncmp)(at, part, length) == 0)
            return true;
    return false;
}

/* ---- columns of tables ---- */

int set_needed_column(struct reading *reading, const struct table *table, const char *name, const char *expected)
{
    int column = reading_column(reading, table, name);
    if (column < 0)
        reading_fail(reading, EXIT_BAD_DATA, "%s:1: no column '%s'; expected %s", table->path, name, expected);
    return column;
}

const char **set_column(struct arena *arena, const struct table *table, int column)
{
    const char **texts = arena_array(arena, const char *, table->rows + 1);
    for (int64_t i = 0; i < table->rows; i++)
        texts[i] = table_cell(table, i, column);
    return texts;
}

struct table set_reordered(struct arena *arena, const struct table *table, const int64_t *row, int64_t rows)
{
    struct table out = *table;
    const size_t columns = (size_t)table->columns;
    const char **cells = arena_array(arena, const char *, (size_t)rows *columns + 1);
    int64_t *line = arena_array(arena, int64_t, rows + 1);
    for (int64_t i = 0; i < rows; i++) {
        line[i] = row[i] < 0 ? 0 : table->line[row[i]];
        for (int c = 0; c < table->columns; c++)
            cells[(size_t)i * columns + (size_t)c] = row[i] < 0 ? "" : table_cell(table, row[i], c);
    }
    out.rows = rows;
    out.cells = cells;
    out.line = line;
    return out;
}

/* ---- images ---- */

bool set_image(struct reading *reading, const char *stem, set_rank *rank, const void *context, const char **path,
               int64_t *copies)
{
    const struct tree *tree = reading->tree;
    int64_t first, count = tree_images_of_stem(tree, stem, strlen(stem), &first);
    const char *other = NULL;
    int best = 0;
    *path = NULL;
    for (int64_t i = first; i < first + count; i++) {
        const char *here = tree->image[tree->by_stem[i]];
        int place = rank(here, context);
        if (*path && place == best)
            other = here;
        if (*path && place >= best)
            continue;
        *path = here;
        best = place;
        other = NULL;
    }
    if (*path)
        *copies += count - 1;
    return !other ||
           reading_fail(reading, EXIT_BAD_DATA,
                        "two images may be '%.80s': %.300s and %.300s; expected one\ntake one of them out of the "
                        "data folder",
                        stem, *path, other);
}

static bool has_folder(const struct tree *tree, const char *name)
{
    for (int64_t i = 0; i < tree->folders; i++) {
        const char *slash = strrchr(tree->folder[i], '/');
        if (strcasecmp(slash ? slash + 1 : tree->folder[i], name) == 0)
            return true;
    }
    return false;
}

bool set_check_missing(struct reading *reading, const struct manifest *out, int64_t missing, const char *const *folders,
                       int count)
{
    struct text absent = text_new(reading->arena);
    for (int k = 0; k < count; k++)
        if (!has_folder(reading->tree, folders[k]))
            text_add(&absent, "%s%s", absent.length ? ", " : "", folders[k]);
    if (missing == 0 || absent.length == 0 || reading->request->pack->on_bad == ON_BAD_SKIP)
        return true;
    return reading_fail(reading, EXIT_NO_INPUT,
                        "%s: %lld of its %lld images are not in the data folder; expected a folder %s\n"
                        "unpack it into the data folder, or set pack.on_bad: skip and pack.max_bad_fraction",
                        out->source, (long long)missing, (long long)out->rows, absent.data);
}

static int by_pointer_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void set_note_unused(struct reading *reading, const struct manifest *out, int64_t copies, const char *source)
{
    const char **paths = arena_array(reading->arena, const char *, out->rows + 1);
    int64_t used = 0;
    memcpy(paths, out->path, (size_t)out->rows * sizeof *paths);
    qsort(paths, (size_t)out->rows, sizeof *paths, by_pointer_text);
    for (int64_t i = 0; i < out->rows; i++)
        used += tree_image(reading->tree, paths[i]) >= 0 && (i == 0 || strcmp(paths[i], paths[i - 1]) != 0);
    int64_t unused = reading->tree->images - used - copies;
    if (unused > 0)
        reading_note(reading, "%lld images of the data folder are not in %s: not read", (long long)unused, source);
}

static bool is_input(const struct reading *reading, const char *path)
{
    const char *full = path_join(reading->arena, reading->request->root, path);
    for (int k = 0; k < reading->inputs; k++)
        if (strcmp(reading->input[k], full) == 0)
            return true;
    return false;
}

/* Adds a name to a list of them, once. */
static void add_name(struct text *names, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *there = names->length ? strstr(names->data, name) : NULL;
    if (!there && names->length < NAMES_SHOWN)
        text_add(names, "%s%s", names->length ? ", " : "", name);
}

void set_note_others(struct reading *reading, int64_t arrays)
{
    const struct tree *tree = reading->tree;
    struct text names = text_new(reading->arena);
    int64_t count = 0;
    for (int64_t i = 0; i < tree->others; i++) {
        if (text_ends(tree->other[i], ".npz")) {
            arrays--; /* below 0: more are there than are read */
        } else if (!is_input(reading, tree->other[i])) {
            add_name(&names, tree->other[i]);
            count++;
        }
    }
    if (count > 0)
        reading_note(reading, "%lld other files are not read: %s", (long long)count, names.data);
    if (arrays < 0)
        reading_note(reading, "%lld files .npz are not read", -(long long)arrays);
}

/* ---- columns of the manifest ---- */

void set_classes(struct arena *arena, struct manifest *out, const int32_t *place, const char *const *names, int count)
{
    int32_t *number = arena_array(arena, int32_t, count + 1);
    out->class_names = arena_array(arena, const char *, count + 1);
    out->label = arena_array(arena, int32_t, out->rows + 1);
    for (int64_t i = 0; i < out->rows; i++)
        number[place[i]] = 1;
    for (int k = 0; k < count; k++)
        if (number[k]) {
            number[k] = out->classes;
            out->class_names[out->classes++] = names[k];
        }
    for (int64_t i = 0; i < out->rows; i++)
        out->label[i] = number[place[i]];
}

bool set_groups(struct reading *reading, struct manifest *out, const struct table *table, const char *usual)
{
    const char *wanted = reading->request->pack->group;
    const bool is_stated = wanted && *wanted;
    const char *name = is_stated ? wanted : usual;
    int column = name ? table_column(table, name) : -1;
    if (is_stated && column < 0)
        return reading_fail(reading, EXIT_BAD_CONFIG, "pack.group: %s has no column '%.80s'", table->path, wanted);
    if (column < 0)
        return true;
    if (usual && column == table_column(table, usual))
        reading->group_kind = "lesion";
    out->group = reading_groups(reading, set_column(reading->arena, table, column), out->rows);
    return true;
}

void set_attributes(struct reading *reading, struct manifest *out, const struct table *table, const int *used,
                    int count)
{
    for (int c = 0; c < table->columns; c++) {
        bool is_used = false;
        for (int k = 0; k < count; k++)
            is_used = is_used || used[k] == c;
        if (!is_used)
            manifest_add_column(reading, out, table, c);
    }
}

/* ---- the published split ---- */

bool set_is_published(const struct reading *reading)
{
    return tree_has(reading->tree, "class2images_train.p");
}

const char **set_align(struct arena *arena, const struct manifest *out, const struct text_index *names,
                       const char *(*key_of)(struct arena *, const char *), int64_t *row, int64_t *unknown)
{
    const char **key = arena_array(arena, const char *, out->rows + 1);
    *unknown = 0;
    for (int64_t i = 0; i < out->rows; i++) {
        key[i] = key_of(arena, out->path[i]);
        row[i] = key[i] ? text_find(names, key[i]) : -1;
        *unknown += row[i] < 0;
    }
    return key;
}
