/* What readers fill a manifest with: rows, and attributes of numbers or of text. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "image/reader/reader.h"

enum { VALUE_LIMIT = 256 }; /* different values of a column of text that is an attribute */

void manifest_start(struct reading *reading, struct manifest *out, const char *source, int64_t rows, bool lines)
{
    *out = (struct manifest){ .source = source, .rows = rows };
    out->path = arena_array(reading->arena, const char *, rows + 1);
    out->id = out->path;
    out->split = arena_array(reading->arena, uint8_t, rows + 1);
    if (lines)
        out->line = arena_array(reading->arena, int64_t, rows + 1);
}

/* ---- attributes ---- */

static void add_attribute(struct arena *arena, struct manifest *out, struct manifest_attribute one)
{
    int count = out->attributes;
    if ((count & (count - 1)) == 0) { /* full at 0, 1, 2, 4, ...: room for twice as many */
        struct manifest_attribute *bigger = arena_array(arena, struct manifest_attribute, 2 * count + 1);
        if (count)
            memcpy(bigger, out->attribute, (size_t)count * sizeof *bigger);
        out->attribute = bigger;
    }
    out->attribute[out->attributes++] = one;
}

void manifest_add_numbers(struct arena *arena, struct manifest *out, const char *name, double *value)
{
    add_attribute(arena, out, (struct manifest_attribute){ .name = name, .value = value });
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Different known texts, sorted, into `sorted` [rows]. */
static int64_t distinct(const char **sorted, const char *const *texts, int64_t rows)
{
    int64_t known = 0, kept = 0;
    for (int64_t i = 0; i < rows; i++)
        if (*texts[i])
            sorted[known++] = texts[i];
    if (known)
        qsort(sorted, (size_t)known, sizeof *sorted, by_text);
    for (int64_t i = 0; i < known; i++)
        if (kept == 0 || strcmp(sorted[i], sorted[kept - 1]) != 0)
            sorted[kept++] = sorted[i];
    return kept;
}

bool manifest_add_texts(struct reading *reading, struct manifest *out, const char *name, const char *const *texts)
{
    struct arena *arena = reading->arena;
    const char **value = arena_array(arena, const char *, out->rows + 1);
    const char **sorted = arena_array(arena, const char *, out->rows + 1);
    for (int64_t i = 0; i < out->rows; i++)
        value[i] = reading_value(reading, texts[i]);
    int64_t values = distinct(sorted, value, out->rows);
    if (values == 0 || values > VALUE_LIMIT)
        return false;
    double *code = arena_array(arena, double, out->rows + 1);
    for (int64_t i = 0; i < out->rows; i++) {
        const char *const *found = bsearch(&value[i], sorted, (size_t)values, sizeof *sorted, by_text);
        code[i] = found ? (double)(found - (const char *const *)sorted) : NAN;
    }
    add_attribute(arena, out, (struct manifest_attribute){ name, code, (int)values, sorted });
    return true;
}

/* What the cells of a column are, before one of them is kept. */
struct column {
    const char **value;                                /* [rows] */
    int64_t known, numbers, booleans, commas, grouped; /* grouped: "1,000" and the like */
    int64_t words, huge, long_whole; /* words of pack.missing; beyond float; more digits than a double keeps */
    const char *word, *odd;          /* the first of the words; a cell that is no number */
    int64_t first_huge;
};

/* "40,5": a decimal comma. "1,000" may be one too. */
static bool comma_number(const char *cell, double *value, bool *grouped)
{
    char copy[32];
    const char *comma = strchr(cell, ',');
    if (!comma || strchr(comma + 1, ',') || strchr(cell, '.') || strlen(cell) >= sizeof copy)
        return false;
    *grouped = strlen(comma + 1) == 3;
    memcpy(copy, cell, strlen(cell) + 1);
    copy[comma - cell] = '.';
    return table_number(copy, value);
}

static bool is_boolean(const char *cell)
{
    return strcasecmp(cell, "true") == 0 || strcasecmp(cell, "false") == 0;
}

static double cell_value(const char *cell)
{
    double value = NAN;
    bool grouped;
    if (is_boolean(cell))
        return strcasecmp(cell, "true") == 0;
    return table_number(cell, &value) || comma_number(cell, &value, &grouped) ? value : NAN;
}

static void look_at(struct column *c, const char *cell, int64_t row)
{
    double value;
    bool grouped = false;
    c->known++;
    if (table_number(cell, &value)) {
        size_t sign = *cell == '-' || *cell == '+';
        bool whole = strspn(cell + sign, "0123456789") == strlen(cell + sign);
        c->numbers++;
        c->long_whole += whole && fabs(value) > 0x1p53;
        if (!(fabs(value) <= FLT_MAX) && c->huge++ == 0)
            c->first_huge = row;
    } else if (is_boolean(cell)) {
        c->booleans++;
    } else if (comma_number(cell, &value, &grouped)) {
        c->commas++;
        c->grouped += grouped;
    } else if (!c->odd) {
        c->odd = cell;
    }
}

static struct column look_through(struct reading *reading, const struct table *t, int column, int64_t rows)
{
    struct column c = { .value = arena_array(reading->arena, const char *, rows + 1) };
    for (int64_t i = 0; i < rows; i++) {
        const char *cell = reading_text(reading, table_cell(t, i, column));
        c.value[i] = table_missing(cell, reading->request->pack->missing) ? "" : cell;
        if (*cell && !*c.value[i] && c.words++ == 0)
            c.word = cell;
        if (*c.value[i])
            look_at(&c, c.value[i], i);
    }
    return c;
}

static void add_values(struct reading *reading, struct manifest *out, const char *name, const struct column *c)
{
    double *value = arena_array(reading->arena, double, out->rows + 1);
    for (int64_t i = 0; i < out->rows; i++)
        value[i] = *c->value[i] ? cell_value(c->value[i]) : NAN;
    manifest_add_numbers(reading->arena, out, name, value);
}

static void add_text_column(struct reading *reading, struct manifest *out, const struct table *t, const char *name,
                            const struct column *c)
{
    int64_t different = distinct(arena_array(reading->arena, const char *, out->rows + 1), c->value, out->rows);
    if (different > out->rows / 2 || !manifest_add_texts(reading, out, name, c->value))
        reading_note(reading,
                     "%s: column '%s' is left out: %lld different texts in %lld rows are no categories ('%.40s')",
                     t->path, name, (long long)different, (long long)out->rows, c->odd ? c->odd : "");
    else
        reading_note(reading, "%s: attribute '%s' is text of %lld values", t->path, name, (long long)different);
}

void manifest_add_column(struct reading *reading, struct manifest *out, const struct table *t, int column)
{
    struct column c = look_through(reading, t, column, out->rows);
    const char *name = t->header[column];
    if (c.words)
        reading_note(reading, "%s: column '%s': %lld of %lld cells are '%s' or another word of pack.missing: not known",
                     t->path, name, (long long)c.words, (long long)out->rows, c.word);
    if (c.known == 0)
        reading_note(reading, "%s: column '%s' is left out: no row has a value", t->path, name);
    else if (c.huge)
        reading_note(reading, "%s:%lld: column '%s' is left out: %.40s is beyond the numbers that are kept (3.4e38)",
                     t->path, (long long)t->line[c.first_huge], name, c.value[c.first_huge]);
    else if (c.commas && c.commas + c.numbers == c.known && c.grouped == c.commas)
        reading_note(reading,
                     "%s: column '%s' is left out: a comma before three digits may be decimal or not; write 1000 "
                     "or 1.000",
                     t->path, name);
    else if ((c.numbers + c.commas == c.known && c.long_whole == 0) || c.booleans == c.known) {
        if (c.commas)
            reading_note(reading, "%s: column '%s': commas are read as decimal points", t->path, name);
        if (c.booleans)
            reading_note(reading, "%s: column '%s': True is 1, False is 0", t->path, name);
        add_values(reading, out, name, &c);
    } else {
        if (c.long_whole)
            reading_note(reading, "%s: column '%s' holds numbers of more digits than are kept: taken as text", t->path,
                         name);
        add_text_column(reading, out, t, name, &c);
    }
}

/* ---- names of attributes ---- */

/* As part of a dataset's path: no '/', no '.' alone; each name once. */
void manifest_check_names(struct reading *reading, struct manifest *out)
{
    for (int a = 0; a < out->attributes; a++) {
        const char *column = out->attribute[a].name;
        char *name = arena_strdup(reading->arena, column);
        for (char *at = name; *at; at++)
            if (*at == '/' || *at == '.' || (unsigned char)*at < ' ')
                *at = '_';
        int copy = 1;
        for (int b = 0; b < a; b++)
            if (strcmp(out->attribute[b].name, name) == 0) {
                name = arena_printf(reading->arena, "%s_%d", name, ++copy);
                b = -1;
            }
        if (strcmp(name, column) != 0)
            reading_note(reading, "column '%s' is stored as attribute '%s'", column, name);
        out->attribute[a].name = name;
    }
}
