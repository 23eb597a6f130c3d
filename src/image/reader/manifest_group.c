/* Groups (patients, lesions, slides): numbering, and the join with a table of
 * metadata for corpora whose splits come from elsewhere. */
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "image/reader/reader.h"

int64_t *manifest_number_groups(struct arena *arena, const char *const *texts, int64_t rows)
{
    const struct text_index sorted = text_index(arena, texts, rows);
    int64_t *first = arena_array(arena, int64_t, rows + 1); /* first row of the same text */
    int64_t *group = arena_array(arena, int64_t, rows + 1), groups = 0;
    for (int64_t i = 0; i < rows; i++) {
        const struct text_key *key = &sorted.list[i];
        bool same = i > 0 && *key->text && strcmp(key->text, key[-1].text) == 0;
        first[key->row] = same ? first[key[-1].row] : key->row;
    }
    for (int64_t i = 0; i < rows; i++)
        group[i] = first[i] == i ? groups++ : group[first[i]];
    return group;
}

int64_t *reading_groups(struct reading *reading, const char *const *texts, int64_t rows)
{
    const char **values = arena_array(reading->arena, const char *, rows + 1);
    int64_t words = 0;
    for (int64_t i = 0; i < rows; i++) {
        values[i] = reading_value(reading, texts[i]);
        words += *texts[i] && !*values[i];
    }
    if (words)
        reading_note(reading, "the group of %lld of %lld rows is a word of pack.missing: each is a group of its own",
                     (long long)words, (long long)rows);
    return manifest_number_groups(reading->arena, values, rows);
}

/* ---- the join ---- */

struct join {
    const struct table *table;
    int key, group;
    struct text_index by_stem; /* of the keys */
    int64_t *user;             /* [table rows] manifest row that took it, or -1 */
};

static const char *stem(struct arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return arena_printf(arena, "%.*s", (int)tree_stem_length(name), name);
}

/* Without their endings: is one the end of the other, from a folder's name on? Length of the shorter, else 0. */
static size_t agreement(const char *a, const char *b)
{
    size_t n = tree_stem_length(a), m = tree_stem_length(b), least = n < m ? n : m;
    if (memcmp(a + n - least, b + m - least, least) != 0)
        return 0;
    bool whole = n == m || (n > m ? a[n - least - 1] : b[m - least - 1]) == '/';
    return whole ? least : 0;
}

/* Row of the table for a path: the one that agrees longest. -1 when there is none; -2 after reading_fail. */
static int64_t find_row(struct reading *reading, const struct manifest *out, const struct join *join, int64_t row)
{
    const struct table *t = join->table;
    int64_t best = -1, first, count = text_rows(&join->by_stem, stem(reading->arena, out->path[row]), &first);
    size_t most = 0;
    for (const struct text_key *at = join->by_stem.list + first; at < join->by_stem.list + first + count; at++) {
        size_t here = agreement(out->path[row], table_cell(t, at->row, join->key));
        if (here > 0 && here == most &&
            strcmp(table_cell(t, at->row, join->group), table_cell(t, best, join->group)) != 0) {
            reading_fail(reading, EXIT_BAD_DATA,
                         "%s: lines %lld and %lld of %s both name this image, with groups '%.80s' and '%.80s'",
                         out->path[row], (long long)t->line[best], (long long)t->line[at->row], t->path,
                         table_cell(t, best, join->group), table_cell(t, at->row, join->group));
            return -2;
        }
        if (here > most) {
            most = here;
            best = at->row;
        }
    }
    return best;
}

static bool open_join(struct reading *reading, struct join *join, struct table *table)
{
    const char *wanted = reading->request->pack->group, *near;
    bool file;
    if (!reading_table(reading, table, reading->request->pack->labels))
        return false;
    *join = (struct join){ .table = table, .key = reading_image_column(reading, table, &file) };
    if (reading->why)
        return false;
    join->group = table_column(table, wanted);
    near = text_suggest(wanted, table->header, (size_t)table->columns);
    if (join->group < 0)
        return reading_fail(reading, EXIT_BAD_CONFIG, "pack.group: %s has no column '%s'%s%s%s", table->path, wanted,
                            near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    if (join->key < 0)
        return reading_fail(
            reading, EXIT_BAD_DATA,
            "%s:1: no column that names images (path, image_id, ...)\nname it by pack.columns: path=NAME", table->path);
    const char **stems = arena_array(reading->arena, const char *, table->rows + 1);
    join->user = arena_array(reading->arena, int64_t, table->rows);
    for (int64_t i = 0; i < table->rows; i++) {
        stems[i] = stem(reading->arena, table_cell(table, i, join->key));
        join->user[i] = -1;
    }
    join->by_stem = text_index(reading->arena, stems, table->rows);
    return true;
}

bool manifest_join_groups(struct reading *reading, struct manifest *out)
{
    struct table table;
    struct join join;
    const char **texts = arena_array(reading->arena, const char *, out->rows + 1);
    if (!open_join(reading, &join, &table))
        return false;
    for (int64_t i = 0; i < out->rows; i++) {
        int64_t row = find_row(reading, out, &join, i);
        if (row == -2)
            return false;
        if (row < 0)
            return reading_fail(reading, EXIT_BAD_DATA, "%s (%s): %s does not hold this image; expected its group",
                                manifest_place(reading->arena, out, i), out->path[i], table.path);
        if (join.user[row] >= 0)
            return reading_fail(reading, EXIT_BAD_DATA,
                                "%s:%lld: '%.80s' may mean %s or %s\nname the images by their paths", table.path,
                                (long long)table.line[row], table_cell(&table, row, join.key),
                                out->path[join.user[row]], out->path[i]);
        join.user[row] = i;
        texts[i] = table_cell(&table, row, join.group);
    }
    reading_note(reading, "groups are those of column '%s' of %s, found by '%s'", table.header[join.group], table.path,
                 table.header[join.key]);
    out->group = reading_groups(reading, texts, out->rows);
    return true;
}
