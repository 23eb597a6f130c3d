/* labels.csv: one row per image. Columns path, label, split, id, report and the
 * group column have a meaning; other numeric columns become attributes; without
 * a column `label`, several columns of 1, 0, -1 or nothing are the labels of a
 * multi-label corpus (docs/data.md). */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "image/corpus.h"
#include "image/manifest.h"
#include "image/table.h"

enum { FILE_LIMIT = 2000000000, CLASS_LIMIT = 100000 };
static const char LABEL_PREFIX[] = "label:";

struct columns {
    int path, id, label, split, group, report;
    int *labels, label_count; /* of a multi-label table */
    int *attributes, attribute_count;
};

static bool find_columns(struct arena *arena, struct columns *c, const struct table *t,
                         const struct manifest_request *request, struct manifest_problem *problem);
static const char **column_texts(struct arena *arena, const struct table *t, int column);
static bool take_splits(struct arena *arena, struct manifest *out, const struct table *t, const struct columns *c,
                        const struct manifest_request *request, struct manifest_problem *problem);
static bool take_label(struct arena *arena, struct manifest *out, const struct table *t, const struct columns *c,
                       struct manifest_problem *problem);
static bool take_labels(struct arena *arena, struct manifest *out, const struct table *t, const struct columns *c,
                        struct manifest_problem *problem);
static void take_attributes(struct arena *arena, struct manifest *out, const struct table *t, const struct columns *c);

bool manifest_from_table(struct arena *arena, struct manifest *out, const struct manifest_request *request,
                         struct manifest_problem *problem)
{
    const char *path = path_join(arena, request->root, request->labels), *why;
    size_t size;
    struct table table;
    struct columns columns;
    if (!file_exists(path))
        return manifest_fail(problem, EXIT_NO_INPUT, "%s: missing; expected a table of images (pack.labels)", path);
    char *bytes = file_read(arena, path, FILE_LIMIT, &size, &why);
    if (!bytes)
        return manifest_fail(problem, EXIT_NO_INPUT, "%s: %s", path, why);
    if (!table_parse(arena, &table, request->labels, bytes, size, &why))
        return manifest_fail(problem, EXIT_BAD_DATA, "%s", why);
    if (!find_columns(arena, &columns, &table, request, problem))
        return false;

    *out = (struct manifest){ .rows = table.rows, .source = request->labels, .multi_label = columns.label_count > 0 };
    out->path = column_texts(arena, &table, columns.path >= 0 ? columns.path : columns.id);
    out->id = columns.id >= 0 ? column_texts(arena, &table, columns.id) : out->path;
    out->report = columns.report >= 0 ? column_texts(arena, &table, columns.report) : NULL;
    out->line = arena_array(arena, int64_t, table.rows);
    memcpy(out->line, table.line, (size_t)table.rows * sizeof *out->line);
    if (columns.group >= 0)
        out->group = manifest_number_groups(arena, column_texts(arena, &table, columns.group), table.rows);
    take_attributes(arena, out, &table, &columns);
    if (!take_splits(arena, out, &table, &columns, request, problem))
        return false;
    if (columns.label >= 0)
        return take_label(arena, out, &table, &columns, problem);
    if (columns.label_count > 0)
        return take_labels(arena, out, &table, &columns, problem);
    out->label = arena_array(arena, int32_t, table.rows); /* by_id: there are none */
    return true;
}

/* What a column holds. */

static bool is_state(const char *cell)
{
    double value;
    return *cell == '\0' || (table_number(cell, &value) && (value == 1.0 || value == 0.0 || value == -1.0));
}

static bool all_states(const struct table *t, int column)
{
    bool any = false;
    for (int64_t i = 0; i < t->rows; i++) {
        if (!is_state(table_cell(t, i, column)))
            return false;
        any |= *table_cell(t, i, column) != '\0';
    }
    return any;
}

static bool all_numbers(const struct table *t, int column)
{
    bool any = false;
    double value;
    for (int64_t i = 0; i < t->rows; i++) {
        const char *cell = table_cell(t, i, column);
        if (*cell && !table_number(cell, &value))
            return false;
        any |= *cell != '\0';
    }
    return any;
}

/* Labels are the columns named "label:..."; without any, all that hold nothing but 1, 0, -1 and blanks. */
static void find_label_columns(struct arena *arena, struct columns *c, const struct table *t, const bool *taken)
{
    bool named = false;
    for (int i = 0; i < t->columns; i++)
        named |= text_starts(t->header[i], LABEL_PREFIX);
    c->labels = arena_array(arena, int, t->columns);
    for (int i = 0; i < t->columns; i++)
        if (!taken[i] && (named ? text_starts(t->header[i], LABEL_PREFIX) : all_states(t, i)))
            c->labels[c->label_count++] = i;
}

static bool find_columns(struct arena *arena, struct columns *c, const struct table *t,
                         const struct manifest_request *request, struct manifest_problem *problem)
{
    *c = (struct columns){ table_column(t, "path"),
                           table_column(t, "id"),
                           table_column(t, "label"),
                           table_column(t, "split"),
                           -1,
                           table_column(t, "report"),
                           NULL,
                           0,
                           NULL,
                           0 };
    if (c->path < 0 && (!request->by_id || c->id < 0))
        return manifest_fail(problem, EXIT_BAD_DATA, "%s:1: no column '%s'; expected %s[,split][,...]", t->path,
                             request->by_id ? "id" : "path", request->by_id ? "id[,label]" : "path,label");
    if (request->group && *request->group) {
        c->group = table_column(t, request->group);
        if (c->group < 0) {
            const char *near = text_suggest(request->group, t->header, (size_t)t->columns);
            return manifest_fail(problem, EXIT_BAD_CONFIG, "pack.group: %s has no column '%s'%s%s%s", t->path,
                                 request->group, near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
        }
    }
    bool *taken = arena_array(arena, bool, t->columns);
    int fixed[] = { c->path, c->id, c->label, c->split, c->group, c->report };
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        if (fixed[i] >= 0)
            taken[fixed[i]] = true;
    if (c->label < 0) {
        find_label_columns(arena, c, t, taken);
        if (c->label_count == 0 && !request->by_id)
            return manifest_fail(problem, EXIT_BAD_DATA,
                                 "%s:1: no column 'label', and none that holds only 1, 0, -1 or nothing; expected "
                                 "path,label[,split][,...]",
                                 t->path);
        for (int k = 0; k < c->label_count; k++)
            taken[c->labels[k]] = true;
    }
    c->attributes = arena_array(arena, int, t->columns);
    for (int i = 0; i < t->columns; i++)
        if (!taken[i] && all_numbers(t, i))
            c->attributes[c->attribute_count++] = i;
        else if (!taken[i])
            log_verbose("%s: column '%s' is not numeric and is left out", t->path, t->header[i]);
    return true;
}

static const char **column_texts(struct arena *arena, const struct table *t, int column)
{
    const char **texts = arena_array(arena, const char *, t->rows);
    for (int64_t i = 0; i < t->rows; i++)
        texts[i] = table_cell(t, i, column);
    return texts;
}

/* Splits: as given, or by the hash of the group (of the path without groups). */
static bool take_splits(struct arena *arena, struct manifest *out, const struct table *t, const struct columns *c,
                        const struct manifest_request *request, struct manifest_problem *problem)
{
    out->split = arena_array(arena, uint8_t, t->rows);
    for (int64_t i = 0; i < t->rows; i++) {
        if (c->split < 0) {
            const char *group = c->group >= 0 ? table_cell(t, i, c->group) : "";
            const char *name = *group ? group : table_cell(t, i, c->path >= 0 ? c->path : c->id);
            out->split[i] = manifest_hash_split(name, request->val_fraction, request->test_fraction);
            continue;
        }
        int split = manifest_split(table_cell(t, i, c->split));
        if (split < 0)
            return manifest_fail(problem, EXIT_BAD_DATA, "%s:%lld: split '%.80s'; expected train, val or test", t->path,
                                 (long long)t->line[i], table_cell(t, i, c->split));
        out->split[i] = (uint8_t)split;
    }
    return true;
}

/* Distinct texts of a column, by bytes, or by value when all are whole numbers. */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_value(const void *a, const void *b)
{
    long long x = strtoll(*(const char *const *)a, NULL, 10), y = strtoll(*(const char *const *)b, NULL, 10);
    return x != y ? (x > y) - (x < y) : by_text(a, b);
}

static bool is_whole(const char *text)
{
    size_t sign = *text == '-', digits = strspn(text + sign, "0123456789");
    return digits > 0 && digits < 18 && text[sign + digits] == '\0';
}

static int64_t distinct(const char **sorted, int64_t count)
{
    int64_t kept = 0;
    bool whole = true;
    for (int64_t i = 0; i < count; i++)
        whole = whole && is_whole(sorted[i]);
    if (count)
        qsort(sorted, (size_t)count, sizeof *sorted, whole ? by_value : by_text);
    for (int64_t i = 0; i < count; i++)
        if (kept == 0 || strcmp(sorted[i], sorted[kept - 1]) != 0)
            sorted[kept++] = sorted[i];
    return kept;
}

static int find_class(const struct manifest *out, const char *const *by_bytes, const int *index, const char *name)
{
    const char *const *found = bsearch(&name, by_bytes, (size_t)out->classes, sizeof *by_bytes, by_text);
    return found ? index[found - by_bytes] : -1;
}

static bool unknown_label(struct manifest *out, const struct table *t, int64_t row, const char *label,
                          struct manifest_problem *problem)
{
    const char *near = text_suggest(label, out->class_names, (size_t)out->classes);
    return manifest_fail(problem, EXIT_BAD_DATA,
                         "%s:%lld: unknown label '%.80s'; expected one of the %d labels of the train rows%s%.80s%s",
                         t->path, (long long)t->line[row], label, out->classes, near ? " (did you mean '" : "",
                         near ? near : "", near ? "'?)" : "");
}

/* Classes are the labels of the train rows; with splits by hash, of all rows. */
static bool take_label(struct arena *arena, struct manifest *out, const struct table *t, const struct columns *c,
                       struct manifest_problem *problem)
{
    const char **names = arena_array(arena, const char *, t->rows + 1);
    int64_t count = 0;
    for (int64_t i = 0; i < t->rows; i++) {
        const char *label = table_cell(t, i, c->label);
        if (*label == '\0')
            return manifest_fail(problem, EXIT_BAD_DATA, "%s:%lld: an image without label; expected a class name",
                                 t->path, (long long)t->line[i]);
        if (c->split < 0 || out->split[i] == SPLIT_TRAIN)
            names[count++] = label;
    }
    count = distinct(names, count);
    if (count == 0 || count > CLASS_LIMIT)
        return manifest_fail(problem, EXIT_BAD_DATA, "%s: %lld classes in the train rows; expected 1 to %d", t->path,
                             (long long)count, CLASS_LIMIT);
    out->classes = (int)count;
    out->class_names = names;

    const char **by_bytes = arena_array(arena, const char *, count);
    int *index = arena_array(arena, int, count);
    memcpy(by_bytes, names, (size_t)count * sizeof *names);
    qsort(by_bytes, (size_t)count, sizeof *by_bytes, by_text);
    for (int64_t i = 0; i < count; i++) {
        const char *const *found = bsearch(&names[i], by_bytes, (size_t)count, sizeof *by_bytes, by_text);
        index[found - (const char *const *)by_bytes] = (int)i;
    }
    out->label = arena_array(arena, int32_t, t->rows);
    for (int64_t i = 0; i < t->rows; i++) {
        out->label[i] = find_class(out, by_bytes, index, table_cell(t, i, c->label));
        if (out->label[i] < 0)
            return unknown_label(out, t, i, table_cell(t, i, c->label), problem);
    }
    return true;
}

static bool take_labels(struct arena *arena, struct manifest *out, const struct table *t, const struct columns *c,
                        struct manifest_problem *problem)
{
    out->classes = c->label_count;
    out->class_names = arena_array(arena, const char *, out->classes);
    out->labels = arena_array(arena, int8_t, t->rows * out->classes);
    for (int k = 0; k < out->classes; k++) {
        const char *name = t->header[c->labels[k]];
        out->class_names[k] = text_starts(name, LABEL_PREFIX) ? name + sizeof LABEL_PREFIX - 1 : name;
    }
    for (int64_t i = 0; i < t->rows; i++)
        for (int k = 0; k < out->classes; k++) {
            const char *cell = table_cell(t, i, c->labels[k]);
            double value = LABEL_BLANK;
            if (!is_state(cell))
                return manifest_fail(problem, EXIT_BAD_DATA,
                                     "%s:%lld: label '%.80s' is '%.80s'; expected 1, 0, -1 or "
                                     "nothing",
                                     t->path, (long long)t->line[i], out->class_names[k], cell);
            if (*cell)
                table_number(cell, &value);
            out->labels[i * out->classes + k] = (int8_t)value;
        }
    return true;
}

/* Names that can be part of a dataset's path. */
static const char *attribute_name(struct arena *arena, const char *column)
{
    char *name = arena_strdup(arena, column);
    for (char *at = name; *at; at++)
        if (*at == '/' || *at == '.' || (unsigned char)*at < ' ')
            *at = '_';
    return name;
}

static void take_attributes(struct arena *arena, struct manifest *out, const struct table *t, const struct columns *c)
{
    out->attributes = c->attribute_count;
    out->attribute_names = arena_array(arena, const char *, c->attribute_count + 1);
    out->attribute = arena_array(arena, float *, c->attribute_count + 1);
    for (int a = 0; a < c->attribute_count; a++) {
        out->attribute_names[a] = attribute_name(arena, t->header[c->attributes[a]]);
        out->attribute[a] = arena_array(arena, float, t->rows);
        for (int64_t i = 0; i < t->rows; i++) {
            double value = 0.0;
            bool known = table_number(table_cell(t, i, c->attributes[a]), &value);
            out->attribute[a][i] = known ? (float)value : NAN;
        }
    }
}
