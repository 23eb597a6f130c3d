/* Groups (patients, lesions, slides): numbering, and the join with a table of
 * metadata for corpora whose splits come from elsewhere. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "image/manifest.h"
#include "image/table.h"

enum { FILE_LIMIT = 2000000000 };

struct keyed {
    const char *text;
    int64_t row;
};

static int by_text(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order ? order : (x->row > y->row) - (x->row < y->row);
}

static int by_text_alone(const void *a, const void *b)
{
    return strcmp(((const struct keyed *)a)->text, ((const struct keyed *)b)->text);
}

int64_t *manifest_number_groups(struct arena *arena, const char *const *texts, int64_t rows)
{
    struct keyed *sorted = arena_array(arena, struct keyed, rows + 1);
    int64_t *first = arena_array(arena, int64_t, rows + 1); /* first row of the same text */
    int64_t *group = arena_array(arena, int64_t, rows + 1), groups = 0;
    for (int64_t i = 0; i < rows; i++)
        sorted[i] = (struct keyed){ texts[i], i };
    qsort(sorted, (size_t)rows, sizeof *sorted, by_text);
    for (int64_t i = 0; i < rows; i++) {
        bool same = i > 0 && *sorted[i].text && strcmp(sorted[i].text, sorted[i - 1].text) == 0;
        first[sorted[i].row] = same ? first[sorted[i - 1].row] : sorted[i].row;
    }
    for (int64_t i = 0; i < rows; i++)
        group[i] = first[i] == i ? groups++ : group[first[i]];
    return group;
}

/* "images/p10/a.jpg" -> "a" */
static const char *stem(struct arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    return arena_printf(arena, "%.*s", (int)(dot && dot > name ? dot - name : (ptrdiff_t)strlen(name)), name);
}

static bool find_columns(const struct table *table, const char *wanted, int *key, int *group,
                         struct manifest_problem *problem)
{
    static const char *const keys[] = { "path", "id", "image_id" };
    *key = -1;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && *key < 0; i++)
        *key = table_column(table, keys[i]);
    *group = table_column(table, wanted);
    if (*group < 0)
        return manifest_fail(problem, EXIT_BAD_CONFIG, "pack.group: %s has no column '%s'", table->path, wanted);
    return *key >= 0 ||
           manifest_fail(problem, EXIT_BAD_DATA,
                         "%s:1: none of the columns path, id, image_id; expected one that names the images",
                         table->path);
}

bool manifest_join_groups(struct arena *arena, struct manifest *out, const struct manifest_request *request,
                          struct manifest_problem *problem)
{
    const char *path = path_join(arena, request->root, request->labels), *why;
    size_t size;
    struct table table;
    int key, group;
    char *bytes = file_exists(path) ? file_read(arena, path, FILE_LIMIT, &size, &why) : NULL;
    if (!bytes)
        return manifest_fail(problem, EXIT_NO_INPUT,
                             "%s: missing; pack.group takes the groups from it (pack.labels names the table)", path);
    if (!table_parse(arena, &table, request->labels, bytes, size, &why))
        return manifest_fail(problem, EXIT_BAD_DATA, "%s", why);
    if (!find_columns(&table, request->group, &key, &group, problem))
        return false;

    struct keyed *sorted = arena_array(arena, struct keyed, table.rows);
    const char **texts = arena_array(arena, const char *, out->rows + 1);
    for (int64_t i = 0; i < table.rows; i++)
        sorted[i] = (struct keyed){ stem(arena, table_cell(&table, i, key)), i };
    qsort(sorted, (size_t)table.rows, sizeof *sorted, by_text);
    for (int64_t i = 0; i < out->rows; i++) {
        struct keyed wanted = { stem(arena, out->path[i]), 0 };
        const struct keyed *found = bsearch(&wanted, sorted, (size_t)table.rows, sizeof *sorted, by_text_alone);
        if (!found)
            return manifest_fail(problem, EXIT_BAD_DATA, "%s: %s does not hold this image; expected its group",
                                 manifest_place(arena, out, i), table.path);
        texts[i] = table_cell(&table, found->row, group);
    }
    out->group = manifest_number_groups(arena, texts, out->rows);
    return true;
}
