/* A table with a row per image (docs/data.md): what its columns are, by name, by pack.columns, or by what they hold.
 * Labels and splits of the rows: labels_columns.c. Everything guessed is noted. */
#include "image/reader/labels_csv.h"

#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/file.h"

static bool find_columns(struct reading *reading, struct columns *c, const struct table *t);
static bool take_rows(struct reading *reading, struct manifest *out, const struct table *t, const struct columns *c);
static void say_columns(struct reading *reading, const struct table *t, const struct columns *c);

static const char *recognise(struct reading *reading)
{
    const char *name = reading->request->pack->labels;
    const char *packed = arena_printf(reading->arena, "%s.gz", name);
    if (*name == '/')
        return file_exists(name) ? name : NULL;
    return tree_has(reading->tree, name) ? name : tree_has(reading->tree, packed) ? packed : NULL;
}

static bool read_table(struct reading *reading, struct manifest *out)
{
    struct table table;
    struct columns columns;
    if (!reading_table(reading, &table, reading->request->pack->labels) || !find_columns(reading, &columns, &table))
        return false;
    say_columns(reading, &table, &columns);
    if (!take_rows(reading, out, &table, &columns) || !labels_take(reading, out, &table, &columns))
        return false;
    for (int i = 0; i < table.columns; i++)
        if (!columns.taken[i])
            manifest_add_column(reading, out, &table, i);
    return true;
}

const struct manifest_reader reader_labels_csv = {
    .name = "labels_csv",
    .help = "a table with a row per image (pack.labels, pack.columns)",
    .recognise = recognise,
    .read = read_table,
};

/* ---- columns ---- */

/* Every word before a sign in pack.columns must mean something. */
static bool check_renaming(struct reading *reading)
{
    static const char *const words[] = { "path", "label", "split", "id", "report" };
    const char *list = reading->request->pack->columns;
    for (const char *at = list; *at;) {
        size_t end = strcspn(at, ","), sign = strcspn(at, "="), k = 0;
        while (k < sizeof words / sizeof words[0] && !(strlen(words[k]) == sign && strncmp(at, words[k], sign) == 0))
            k++;
        if (sign >= end || k == sizeof words / sizeof words[0])
            return reading_fail(
                reading, EXIT_BAD_CONFIG,
                "pack.columns: '%.*s'; expected NAME=COLUMN, NAME one of path, label, split, id, report", (int)end, at);
        at += end + (at[end] == ',');
        at += strspn(at, " ");
    }
    return true;
}

/* The column of one meaning, under its own name or another usual one. */
static int find_usual(struct reading *reading, const struct table *t, const char *name, const char *const *others)
{
    int column = reading_column(reading, t, name);
    for (; *others && column < 0; others++)
        column = table_column(t, *others);
    return column;
}

static bool all_splits(struct reading *reading, const struct table *t, int column)
{
    for (int64_t i = 0; i < t->rows; i++)
        if (manifest_split(reading_text(reading, table_cell(t, i, column))) < 0)
            return false;
    return true;
}

static bool find_columns(struct reading *reading, struct columns *c, const struct table *t)
{
    static const char *const labels[] = { "class", "dx", "diagnosis", "class_name", "category", "target", NULL };
    static const char *const splits[] = { "set", "subset", "partition", "use", NULL }, *const none[] = { NULL };
    const struct manifest_request *request = reading->request;
    const char *group = request->pack->group;
    if (!check_renaming(reading))
        return false;
    *c = (struct columns){ .group = -1 };
    c->path = reading_image_column(reading, t, &c->path_is_file);
    c->id = reading_column(reading, t, "id");
    c->label = find_usual(reading, t, "label", labels);
    c->report = find_usual(reading, t, "report", none);
    c->split = reading_column(reading, t, "split");
    for (int i = 0; splits[i] && c->split < 0; i++)
        if (table_column(t, splits[i]) >= 0 && all_splits(reading, t, table_column(t, splits[i])))
            c->split = table_column(t, splits[i]);
    if (reading->why)
        return false;
    if (c->path < 0)
        return reading_fail(reading, EXIT_BAD_DATA,
                            "%s:1: no column '%s'; expected %s[,split][,...]\nname it by "
                            "pack.columns: path=NAME",
                            t->path, request->by_id ? "id" : "path", request->by_id ? "id[,label]" : "path,label");
    if (group && *group && (c->group = table_column(t, group)) < 0) {
        const char *near = text_suggest(group, t->header, (size_t)t->columns);
        return reading_fail(reading, EXIT_BAD_CONFIG, "pack.group: %s has no column '%s'%s%s%s", t->path, group,
                            near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    }
    c->taken = arena_array(reading->arena, bool, t->columns + 1);
    int fixed[] = { c->path, c->id, c->label, c->split, c->group, c->report };
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        if (fixed[i] >= 0)
            c->taken[fixed[i]] = true;
    return labels_find(reading, c, t);
}

/* Names that are not those of docs/data.md. */
static void say_columns(struct reading *reading, const struct table *t, const struct columns *c)
{
    const struct {
        const char *what;
        int column;
    } roles[] = { { "path", c->path }, { "label", c->label }, { "split", c->split } };
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (roles[i].column >= 0 && strcmp(t->header[roles[i].column], roles[i].what) != 0)
            reading_note(reading, "%s: column '%s' is taken as '%s'", t->path, t->header[roles[i].column],
                         roles[i].what);
}

static const char **column_texts(struct reading *reading, const struct table *t, int column)
{
    const char **texts = arena_array(reading->arena, const char *, t->rows + 1);
    for (int64_t i = 0; i < t->rows; i++)
        texts[i] = table_cell(t, i, column);
    return texts;
}

static bool take_rows(struct reading *reading, struct manifest *out, const struct table *t, const struct columns *c)
{
    const char **texts = column_texts(reading, t, c->path);
    manifest_start(reading, out, t->path, t->rows, true);
    memcpy(out->line, t->line, (size_t)t->rows * sizeof *out->line);
    if (!reading->tree)
        memcpy(out->path, texts, (size_t)t->rows * sizeof *texts);
    else if (!manifest_find_images(reading, out, texts))
        return false;
    out->id = c->id >= 0 ? column_texts(reading, t, c->id) : c->path_is_file ? out->path : texts;
    out->report = c->report >= 0 ? column_texts(reading, t, c->report) : NULL;
    if (c->group >= 0)
        out->group = reading_groups(reading, column_texts(reading, t, c->group), t->rows);
    return labels_take_splits(reading, out, t, c);
}
