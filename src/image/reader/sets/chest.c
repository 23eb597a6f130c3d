/* Columns of the CheXpert labeler by name, in whatever order a table has them. */
#include "image/reader/sets/chest.h"

#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "image/reader/sets/collection.h"

enum { NO_FINDING = 8, LUNG_OPACITY = 7 };

/* The 14 in alphabetical order. */
static const char *label_of(int k)
{
    return k == NO_FINDING ? "No Finding" : reading_observations[k - (k > NO_FINDING)];
}

static int find_column(struct reading *reading, const struct table *table, int label)
{
    static const char other_name[] = "Airspace Opacity";
    int column = table_column(table, label_of(label));
    if (column < 0 && label == LUNG_OPACITY && (column = table_column(table, other_name)) >= 0)
        reading_note(reading, "%s: '%s' is taken for '%s'", table->path, other_name, label_of(label));
    return column;
}

bool chest_columns(struct reading *reading, struct chest *out, const struct table *table)
{
    bool all = reading->request->pack->no_finding;
    *out = (struct chest){ .table = table, .no_finding = find_column(reading, table, NO_FINDING) };
    for (int k = 0; k < CHEST_LABELS; k++) {
        int column = find_column(reading, table, k);
        if (k == NO_FINDING && !all)
            continue;
        if (column < 0)
            return reading_fail(reading, EXIT_BAD_DATA,
                                "%s: no column '%s'; expected the 14 observations of the CheXpert labeler", table->path,
                                label_of(k));
        out->names[out->count] = label_of(k);
        out->column[out->count++] = column;
    }
    return true;
}

bool chest_states(struct reading *reading, const struct chest *chest, int64_t row, int8_t *states, bool *blank)
{
    int8_t finding = LABEL_BLANK;
    if (chest->no_finding >= 0)
        collection_state(reading, table_cell(chest->table, row, chest->no_finding), &finding);
    *blank = finding == LABEL_BLANK;
    for (int k = 0; k < chest->count; k++) {
        const char *cell = table_cell(chest->table, row, chest->column[k]);
        if (!collection_state(reading, cell, &states[k]))
            return reading_fail(reading, EXIT_BAD_DATA, "%s:%lld: %s is '%.80s'; expected 1.0, 0.0, -1.0 or nothing",
                                chest->table->path, (long long)chest->table->line[row], chest->names[k], cell);
        *blank = *blank && states[k] == LABEL_BLANK;
    }
    return true;
}

void chest_start(struct reading *reading, struct manifest *out)
{
    bool all = reading->request->pack->no_finding;
    out->multi_label = true;
    out->classes = all ? CHEST_LABELS : CHEST_LABELS - 1;
    out->class_names = arena_array(reading->arena, const char *, CHEST_LABELS);
    for (int k = 0, to = 0; k < CHEST_LABELS; k++)
        if (all || k != NO_FINDING)
            out->class_names[to++] = label_of(k);
    size_t states = (size_t)out->rows * (size_t)out->classes;
    out->labels = arena_array(reading->arena, int8_t, states + 1);
    memset(out->labels, LABEL_BLANK, states);
}

/* ---- views ---- */

enum view { VIEW_BLANK, VIEW_FRONTAL, VIEW_LATERAL, VIEW_OTHER };

/* Words of MIMIC-CXR (PA, AP, AP AXIAL, LATERAL, LL, XTABLE LATERAL, LAO, SWIMMERS, ...) and of CheXpert. */
static enum view view_of(const char *word)
{
    if (*word == '\0')
        return VIEW_BLANK;
    if (strcasecmp(word, "LL") == 0 || strcasecmp(word, "RL") == 0 || strcasestr(word, "LATERAL"))
        return VIEW_LATERAL;
    if (strncasecmp(word, "AP", 2) == 0 || strncasecmp(word, "PA", 2) == 0 || strcasecmp(word, "FRONTAL") == 0)
        return VIEW_FRONTAL;
    return VIEW_OTHER;
}

bool chest_view_wanted(const struct reading *reading, const char *view)
{
    const struct pack_config *pack = reading->request->pack;
    enum view is = view_of(view);
    if (is == VIEW_BLANK)
        return pack->blank_views == BLANK_VIEWS_KEEP ||
               (pack->blank_views == BLANK_VIEWS_AUTO && pack->views == VIEWS_ALL);
    return pack->views == VIEWS_ALL || (pack->views == VIEWS_FRONTAL ? is == VIEW_FRONTAL : is == VIEW_LATERAL);
}
