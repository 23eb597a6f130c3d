/* Labels and splits of a table's rows: one class in a column, lists of labels in a column, or a column per label of 1,
 * 0, -1, True, False and blanks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "image/reader/labels_csv.h"

enum { CLASS_LIMIT = 100000, NO_STATE = 99 };
static const char LABEL_PREFIX[] = "label:";

static bool take_label(struct reading *reading, struct manifest *out, const struct table *t, const struct columns *c);
static bool take_lists(struct reading *reading, struct manifest *out, const struct table *t, const struct columns *c);
static bool take_columns(struct reading *reading, struct manifest *out, const struct table *t, const struct columns *c);
static bool take_one_hot(struct reading *reading, struct manifest *out, const struct table *t, const struct columns *c);

bool labels_take(struct reading *reading, struct manifest *out, const struct table *t, const struct columns *c)
{
    if (c->lists)
        return take_lists(reading, out, t, c);
    if (c->label >= 0)
        return take_label(reading, out, t, c);
    if (c->label_count > 0)
        return c->one_hot ? take_one_hot(reading, out, t, c) : take_columns(reading, out, t, c);
    out->label = arena_array(reading->arena, int32_t, t->rows); /* by_id: there are none */
    return true;
}

/* ---- which columns ---- */

/* enum label_state of a cell, or NO_STATE. */
static int state_of(struct reading *reading, const char *cell)
{
    double value;
    const char *text = reading_value(reading, cell);
    if (*text == '\0')
        return LABEL_BLANK;
    if (strcasecmp(text, "true") == 0 || strcasecmp(text, "false") == 0)
        return strcasecmp(text, "true") == 0;
    return table_number(text, &value) && (value == 1.0 || value == 0.0 || value == -1.0) ? (int)value : NO_STATE;
}

/* Does the column hold states, and not only blanks? One that mostly does is said not to. */
static bool holds_states(struct reading *reading, const struct table *t, int column)
{
    int64_t states = 0, odd = 0, first = -1;
    for (int64_t i = 0; i < t->rows; i++) {
        int state = state_of(reading, table_cell(t, i, column));
        states += state != LABEL_BLANK && state != NO_STATE;
        if (state == NO_STATE && odd++ == 0)
            first = i;
    }
    if (odd > 0 && odd * 10 <= states)
        reading_note(reading, "%s:%lld: column '%s' is no label: it holds '%.80s'", t->path, (long long)t->line[first],
                     t->header[column], table_cell(t, first, column));
    return odd == 0 && states > 0;
}

/* Is exactly one of the columns 1 in every row, and the rest 0? *row <- the first where not. */
static bool is_one_hot(struct reading *reading, const struct columns *c, const struct table *t, int64_t *row)
{
    for (*row = 0; *row < t->rows; ++*row) {
        int ones = 0, zeroes = 0;
        for (int k = 0; k < c->label_count; k++) {
            int state = state_of(reading, table_cell(t, *row, c->labels[k]));
            ones += state == LABEL_POSITIVE;
            zeroes += state == LABEL_NEGATIVE;
        }
        if (ones != 1 || ones + zeroes != c->label_count)
            return false;
    }
    return c->label_count > 1;
}

static const char *label_names(struct reading *reading, const struct columns *c, const struct table *t)
{
    struct text names = text_new(reading->arena);
    for (int k = 0; k < c->label_count && k < 20; k++)
        text_add(&names, "%s%s", k ? ", " : "", t->header[c->labels[k]]);
    if (c->label_count > 20)
        text_add(&names, " and %d more", c->label_count - 20);
    return names.data;
}

static bool find_label_columns(struct reading *reading, struct columns *c, const struct table *t, bool named)
{
    enum label_kind kind = reading->request->pack->label_kind;
    int64_t row;
    c->labels = arena_array(reading->arena, int, t->columns);
    for (int i = 0; i < t->columns; i++)
        if (!c->taken[i] && (named ? text_starts(t->header[i], LABEL_PREFIX) : holds_states(reading, t, i)))
            c->labels[c->label_count++] = i;
    for (int k = 0; k < c->label_count; k++)
        c->taken[c->labels[k]] = true;
    if (c->label_count == 0)
        return reading->request->by_id ||
               reading_fail(reading, EXIT_BAD_DATA,
                            "%s:1: no column 'label', and none that holds only 1, 0, -1, True, False or nothing\n"
                            "name the column of classes by pack.columns: label=NAME",
                            t->path);
    bool one_hot = kind != LABELS_SEVERAL && (!named || kind == LABELS_ONE) && is_one_hot(reading, c, t, &row);
    if (kind == LABELS_ONE && !one_hot)
        return reading_fail(reading, EXIT_BAD_DATA,
                            "%s:%lld: pack.label_kind: one, but not exactly one of these is 1 and the rest 0: %s",
                            t->path, (long long)t->line[row < t->rows ? row : 0], label_names(reading, c, t));
    c->one_hot = one_hot;
    if (one_hot)
        reading_note(reading, "%s: one class per image, as exactly one of these columns is 1 in every row: %s%s",
                     t->path, label_names(reading, c, t),
                     kind == LABELS_AUTO ? " (pack.label_kind: several makes each a label)" : "");
    else if (!named)
        reading_note(reading, "%s: %d labels, the columns that hold only 1, 0, -1, True, False or nothing: %s", t->path,
                     c->label_count, label_names(reading, c, t));
    return true;
}

bool labels_find(struct reading *reading, struct columns *c, const struct table *t)
{
    enum label_kind kind = reading->request->pack->label_kind;
    bool named = false;
    for (int i = 0; i < t->columns; i++)
        named |= text_starts(t->header[i], LABEL_PREFIX);
    if (c->label >= 0 && named && strcmp(t->header[c->label], "label") != 0) { /* a guess against what is said */
        c->taken[c->label] = false;
        c->label = -1;
    }
    if (c->label < 0)
        return find_label_columns(reading, c, t, named);
    for (int64_t i = 0; i < t->rows && kind == LABELS_AUTO && !c->lists; i++)
        c->lists = strchr(table_cell(t, i, c->label), '|') != NULL;
    c->lists |= kind == LABELS_SEVERAL;
    if (c->lists && kind == LABELS_AUTO)
        reading_note(reading,
                     "%s: column '%s' holds lists with |: several labels per image (pack.label_kind: one takes "
                     "them as they are)",
                     t->path, t->header[c->label]);
    return true;
}

/* ---- splits ---- */

/* As given, or by the hash of the group (of the path without groups). */
bool labels_take_splits(struct reading *reading, struct manifest *out, const struct table *t, const struct columns *c)
{
    const struct pack_config *pack = reading->request->pack;
    for (int64_t i = 0; i < t->rows; i++) {
        if (c->split < 0) {
            const char *group = c->group >= 0 ? reading_value(reading, table_cell(t, i, c->group)) : "";
            out->split[i] = manifest_hash_split(*group ? group : out->path[i], pack->val_fraction, pack->test_fraction);
            continue;
        }
        const char *word = reading_text(reading, table_cell(t, i, c->split));
        int split = manifest_split(word);
        if (split < 0)
            return reading_fail(reading, EXIT_BAD_DATA, "%s:%lld: split '%.80s'; expected train, val or test", t->path,
                                (long long)t->line[i], word);
        out->split[i] = (uint8_t)split;
    }
    reading->split_made = c->split < 0;
    if (c->split < 0 && !reading->request->by_id)
        reading_note(reading, "%s: no column of splits: by the hash of the %s", t->path,
                     c->group >= 0 ? "group" : "path");
    return true;
}

/* ---- one class ---- */

/* Distinct texts, by bytes, or by value when all are whole numbers ("10", "10.0"). */

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
    const char *rest = text + sign + digits;
    return digits > 0 && digits < 18 && (*rest == '\0' || (*rest == '.' && strspn(rest + 1, "0") == strlen(rest + 1)));
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

/* Names of the classes, and where to find them. */
struct finder {
    const char *const *by_bytes;
    const int *index;
    int count;
};

static struct finder make_finder(struct arena *arena, const char *const *names, int count)
{
    const char **by_bytes = arena_array(arena, const char *, count + 1);
    int *index = arena_array(arena, int, count + 1);
    if (count)
        memcpy(by_bytes, names, (size_t)count * sizeof *names);
    qsort(by_bytes, (size_t)count, sizeof *by_bytes, by_text);
    for (int i = 0; i < count; i++) {
        const char *const *found = bsearch(&names[i], by_bytes, (size_t)count, sizeof *by_bytes, by_text);
        index[found - (const char *const *)by_bytes] = i;
    }
    return (struct finder){ by_bytes, index, count };
}

static int find_class(const struct finder *finder, const char *name)
{
    const char *const *found =
        bsearch(&name, finder->by_bytes, (size_t)finder->count, sizeof *finder->by_bytes, by_text);
    return found ? finder->index[found - finder->by_bytes] : -1;
}

static bool no_label(struct reading *reading, const struct table *t, int64_t row, const char *cell)
{
    return reading_fail(reading, EXIT_BAD_DATA, "%s:%lld: an image without label%s%.40s%s; expected a class name%s",
                        t->path, (long long)t->line[row], *cell ? ", '" : "", cell, *cell ? "'" : "",
                        *cell ? "\npack.missing lists the words that mean a missing value" : "");
}

static bool unknown_label(struct reading *reading, struct manifest *out, const struct table *t, int64_t row,
                          const char *label)
{
    const char *near = text_suggest(label, out->class_names, (size_t)out->classes);
    return reading_fail(reading, EXIT_BAD_DATA,
                        "%s:%lld: unknown label '%.80s'; expected one of the %d labels of the train rows%s%.80s%s",
                        t->path, (long long)t->line[row], label, out->classes, near ? " (did you mean '" : "",
                        near ? near : "", near ? "'?)" : "");
}

static bool set_classes(struct reading *reading, struct manifest *out, const struct table *t, const char **names,
                        int64_t count)
{
    count = distinct(names, count);
    if (count == 0 || count > CLASS_LIMIT)
        return reading_fail(reading, EXIT_BAD_DATA, "%s: %lld classes in the train rows; expected 1 to %d", t->path,
                            (long long)count, CLASS_LIMIT);
    out->classes = (int)count;
    out->class_names = names;
    return true;
}

/* Classes are the labels of the train rows; with splits by hash, of all rows. */
static bool take_label(struct reading *reading, struct manifest *out, const struct table *t, const struct columns *c)
{
    const char **names = arena_array(reading->arena, const char *, t->rows + 1);
    const char **label = arena_array(reading->arena, const char *, t->rows + 1);
    int64_t count = 0, changed = 0;
    for (int64_t i = 0; i < t->rows; i++) {
        label[i] = reading_value(reading, table_cell(t, i, c->label));
        changed += strcmp(label[i], table_cell(t, i, c->label)) != 0;
        if (*label[i] == '\0')
            return no_label(reading, t, i, table_cell(t, i, c->label));
        if (c->split < 0 || out->split[i] == SPLIT_TRAIN)
            names[count++] = label[i];
    }
    if (changed)
        reading_note(reading,
                     "%s: %lld labels are taken without the spaces around them, their letters in one form (NFC)",
                     t->path, (long long)changed);
    if (!set_classes(reading, out, t, names, count))
        return false;
    struct finder finder = make_finder(reading->arena, out->class_names, out->classes);
    out->label = arena_array(reading->arena, int32_t, t->rows);
    for (int64_t i = 0; i < t->rows; i++) {
        out->label[i] = find_class(&finder, label[i]);
        if (out->label[i] < 0)
            return unknown_label(reading, out, t, i, label[i]);
    }
    return true;
}

static bool take_one_hot(struct reading *reading, struct manifest *out, const struct table *t, const struct columns *c)
{
    int *class_of = arena_array(reading->arena, int, c->label_count);
    out->class_names = arena_array(reading->arena, const char *, c->label_count);
    out->label = arena_array(reading->arena, int32_t, t->rows);
    for (int k = 0; k < c->label_count; k++) {
        bool used = false;
        const char *name = t->header[c->labels[k]];
        for (int64_t i = 0; i < t->rows && !used; i++)
            used = state_of(reading, table_cell(t, i, c->labels[k])) == LABEL_POSITIVE;
        class_of[k] = out->classes;
        if (used)
            out->class_names[out->classes++] = text_starts(name, LABEL_PREFIX) ? name + sizeof LABEL_PREFIX - 1 : name;
        else
            reading_note(reading, "%s: column '%s' is 1 in no row: no class of it", t->path, name);
    }
    for (int64_t i = 0; i < t->rows; i++)
        for (int k = 0; k < c->label_count; k++)
            if (state_of(reading, table_cell(t, i, c->labels[k])) == LABEL_POSITIVE)
                out->label[i] = class_of[k];
    return true;
}

/* ---- several labels ---- */

static bool take_columns(struct reading *reading, struct manifest *out, const struct table *t, const struct columns *c)
{
    out->multi_label = true;
    out->classes = c->label_count;
    out->class_names = arena_array(reading->arena, const char *, out->classes);
    out->labels = arena_array(reading->arena, int8_t, t->rows * out->classes);
    for (int k = 0; k < out->classes; k++) {
        const char *name = t->header[c->labels[k]];
        out->class_names[k] = text_starts(name, LABEL_PREFIX) ? name + sizeof LABEL_PREFIX - 1 : name;
    }
    for (int64_t i = 0; i < t->rows; i++)
        for (int k = 0; k < out->classes; k++) {
            const char *cell = table_cell(t, i, c->labels[k]);
            int state = state_of(reading, cell);
            if (state == NO_STATE)
                return reading_fail(reading, EXIT_BAD_DATA,
                                    "%s:%lld: label '%.80s' is '%.80s'; expected 1, 0, -1 or nothing", t->path,
                                    (long long)t->line[i], out->class_names[k], cell);
            out->labels[i * out->classes + k] = (int8_t)state;
        }
    return true;
}

/* Parts of "Edema|Mass", without the spaces around them; the next one, NULL at the end. */
static const char *next_part(struct reading *reading, const char **list)
{
    if (!*list)
        return NULL;
    size_t length = strcspn(*list, "|");
    const char *part = reading_value(reading, arena_printf(reading->arena, "%.*s", (int)length, *list));
    *list = (*list)[length] ? *list + length + 1 : NULL;
    return part;
}

static bool take_lists(struct reading *reading, struct manifest *out, const struct table *t, const struct columns *c)
{
    int64_t parts = 0, count = 0;
    for (int64_t i = 0; i < t->rows; i++) {
        parts++;
        for (const char *at = table_cell(t, i, c->label); *at; at++)
            parts += *at == '|';
    }
    const char **names = arena_array(reading->arena, const char *, parts + 1), *part;
    for (int64_t i = 0; i < t->rows; i++) {
        const char *list = table_cell(t, i, c->label);
        if (*reading_value(reading, list) == '\0')
            return no_label(reading, t, i, list);
        while ((part = next_part(reading, &list)) != NULL)
            if (*part && (c->split < 0 || out->split[i] == SPLIT_TRAIN))
                names[count++] = part;
    }
    if (!set_classes(reading, out, t, names, count))
        return false;
    struct finder finder = make_finder(reading->arena, out->class_names, out->classes);
    out->multi_label = true;
    out->labels = arena_array(reading->arena, int8_t, t->rows * out->classes);
    for (int64_t i = 0; i < t->rows; i++) {
        const char *list = table_cell(t, i, c->label);
        while ((part = next_part(reading, &list)) != NULL) {
            int k = *part ? find_class(&finder, part) : 0;
            if (k < 0)
                return unknown_label(reading, out, t, i, part);
            if (*part)
                out->labels[i * out->classes + k] = LABEL_POSITIVE;
        }
    }
    return true;
}
