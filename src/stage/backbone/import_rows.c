/* Representations and what is known of their images come from different hands: here the rows of the one are found in
 * the other. By id, each once; without ids only where both have as many rows, in their order. Rank 0 matches. */
#include "stage/backbone/import_rows.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "image/manifest.h"
#include "image/table.h"
#include "job/home.h"
#include "store/numpy.h"
#include "store/tensors.h"

enum { FILE_LIMIT = 2000000000 };

/* What describes the rows, before some of them are taken. */
struct reference {
    struct corpus corpus;  /* rows 0: nothing describes them */
    const char *const *id; /* [corpus.rows], rank 0 */
    const char *name;      /* "corpus.h5", "labels.csv" */
};

/* ---- ids in order ---- */

struct keyed {
    const char *id;
    int64_t row;
};

static int by_id(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    int order = strcmp(x->id, y->id);
    return order ? order : (x->row > y->row) - (x->row < y->row);
}

static int by_id_alone(const void *a, const void *b)
{
    return strcmp(((const struct keyed *)a)->id, ((const struct keyed *)b)->id);
}

/* Sorted; NULL with *why when one is empty or occurs twice. */
static struct keyed *sort_ids(struct arena *arena, const char *const *ids, int64_t count, const char *name,
                              const char **why)
{
    struct keyed *sorted = arena_array(arena, struct keyed, count + 1);
    for (int64_t i = 0; i < count; i++)
        sorted[i] = (struct keyed){ ids[i], i };
    qsort(sorted, (size_t)count, sizeof *sorted, by_id);
    for (int64_t i = 0; i < count; i++)
        if (!*sorted[i].id || (i > 0 && by_id_alone(&sorted[i - 1], &sorted[i]) == 0)) {
            bool empty = !*sorted[i].id;
            *why = empty ? arena_printf(arena, "%s: row %lld has an empty id\nrows are found by it", name,
                                        (long long)sorted[i].row)
                         : arena_printf(arena, "%s: rows %lld and %lld have the same id\neach must occur once", name,
                                        (long long)sorted[i - 1].row, (long long)sorted[i].row);
            return NULL;
        }
    return sorted;
}

/* ---- what describes them ---- */

static struct corpus corpus_of(struct arena *arena, const struct manifest *m)
{
    struct corpus corpus = { .rows = m->rows,
                             .classes = m->classes,
                             .multi_label = m->multi_label,
                             .class_names = m->class_names,
                             .label = m->multi_label ? NULL : m->label,
                             .labels = m->labels,
                             .split = m->split,
                             .group = m->group };
    for (int a = 0; a < m->attributes; a++)
        corpus_add_attribute(&corpus, arena, m->attribute[a].name, m->attribute[a].value, m->attribute[a].values,
                             m->attribute[a].value_names);
    return corpus;
}

static struct reference read_table(struct job *job, const char *path)
{
    struct pack_config pack = job->config->pack;
    const char *slash = strrchr(path, '/'), *why = NULL;
    struct manifest_request request = { .pack = &pack, .by_id = true };
    struct manifest m = { 0 };
    enum exit_code code = EXIT_BAD_DATA;
    bool there = job->world->rank != 0 || file_exists(path);
    agree(job->world, there, EXIT_NO_INPUT, "%s: no such file", path);
    job_input_file(job, path);
    pack.labels = slash ? slash + 1 : path;
    request.root = !slash ? "." : slash == path ? "/" : arena_printf(job->run, "%.*s", (int)(slash - path), path);
    bool ok = job->world->rank != 0 || manifest_read_table(job->run, &m, &request, &code, &why);
    if (ok && job->world->rank == 0)
        ok = sort_ids(job->run, m.id, m.rows, pack.labels, &why) != NULL;
    agree(job->world, ok, code, "%s", why ? why : "");
    manifest_share(job->world, job->run, &m);
    for (const char *line = m.notes; *line; line += strcspn(line, "\n") + 1)
        log_info("import: %.*s", (int)strcspn(line, "\n"), line);
    return (struct reference){ corpus_of(job->run, &m), m.id, pack.labels };
}

static struct reference read_corpus(struct job *job)
{
    struct store *store = job_open(job, "corpus.h5", "pack");
    struct reference r = { *corpus_load(store, job->run), NULL, "corpus.h5" };
    r.id = store_read_texts(store, job->run, "/id");
    store_close(store);
    return r;
}

/* ---- ids ---- */

static const char **from_table(struct arena *arena, const char *path, const char *bytes, size_t size, int64_t *count,
                               const char **why)
{
    struct table table;
    if (!table_parse(arena, &table, path, bytes, size, why))
        return NULL;
    int column = table_column(&table, "id");
    column = column >= 0 ? column : table_column(&table, "path");
    column = column < 0 && table.columns == 1 ? 0 : column;
    if (column < 0) {
        *why = arena_printf(arena, "%s:1: no column 'id'; expected one that names the rows", path);
        return NULL;
    }
    const char **ids = arena_array(arena, const char *, table.rows);
    for (int64_t i = 0; i < table.rows; i++)
        ids[i] = table_cell(&table, i, column);
    *count = table.rows;
    return ids;
}

/* A line a row; the last may be without its end. */
static const char **from_lines(struct arena *arena, char *bytes, int64_t *count)
{
    int64_t lines = 0;
    for (char *at = bytes; *at; at++)
        lines += *at == '\n' || !at[1];
    const char **ids = arena_array(arena, const char *, lines + 1);
    *count = 0;
    for (char *at = bytes; *at;) {
        size_t length = strcspn(at, "\n");
        bool more = at[length] == '\n';
        ids[(*count)++] = at;
        at[length] = '\0';
        if (length > 0 && at[length - 1] == '\r')
            at[length - 1] = '\0';
        at += length + more;
    }
    return ids;
}

/* Texts, or whole numbers as they are written. */
static const char **from_numpy(struct arena *arena, const char *path, const char *bytes, size_t size, int64_t *count,
                               const char **why)
{
    const char **ids = NULL, *not_numbers;
    const struct tensors *t = tensors_read(arena, path, (const uint8_t *)bytes, size, &not_numbers);
    if (!t)
        return numpy_texts(arena, path, (const uint8_t *)bytes, size, &ids, count, why) ? ids : NULL;
    const struct tensor *array = &t->list[0];
    bool fits = array->rank == 1 && (array->type == TENSOR_I64 || array->type == TENSOR_I32);
    if (!fits) {
        *why = arena_printf(arena, "%s: %s values with %d extents: expected one extent of texts or of whole numbers",
                            path, tensor_type_name(array->type), array->rank);
        return NULL;
    }
    ids = arena_array(arena, const char *, array->count + 1);
    int64_t *wide = arena_array(arena, int64_t, array->count + 1);
    int32_t *narrow = (int32_t *)wide;
    tensor_packed(wide, array);
    for (int64_t i = 0; i < array->count; i++)
        ids[i] = arena_printf(arena, "%lld", array->type == TENSOR_I64 ? (long long)wide[i] : (long long)narrow[i]);
    *count = array->count;
    return ids;
}

static const char **read_ids(struct arena *arena, const char *path, int64_t *count, const char **why)
{
    size_t size;
    char *bytes = file_read(arena, path, FILE_LIMIT, &size, why);
    if (!bytes) {
        *why = arena_printf(arena, "%s: %s", path, *why);
        return NULL;
    }
    if (text_ends(path, ".npy"))
        return from_numpy(arena, path, bytes, size, count, why);
    if (text_ends(path, ".csv"))
        return from_table(arena, path, bytes, size, count, why);
    if (memchr(bytes, '\0', size)) {
        *why = arena_printf(arena, "%s: expected .npy, .csv or a text with an id a line", path);
        return NULL;
    }
    return from_lines(arena, bytes + (text_starts(bytes, "\xEF\xBB\xBF") ? 3 : 0), count);
}

/* ---- matching ---- */

/* Rank 0: source and place of the rows that have both. Returns what is wrong, or NULL. */
static const char *match(struct job *job, struct import_rows *out, const struct import_request *request,
                         const struct reference *r, const char *const *ids)
{
    const char *why = NULL;
    struct keyed *theirs = sort_ids(job->run, ids, request->rows, request->ids, &why);
    if (!theirs || !sort_ids(job->run, r->id, r->corpus.rows, r->name, &why))
        return why;
    int64_t *source = arena_array(job->run, int64_t, r->corpus.rows + 1),
            *place = arena_array(job->run, int64_t, r->corpus.rows + 1);
    for (int64_t i = 0; i < r->corpus.rows; i++) {
        struct keyed wanted = { r->id[i], 0 };
        const struct keyed *found = bsearch(&wanted, theirs, (size_t)request->rows, sizeof *theirs, by_id_alone);
        if (!found)
            continue;
        source[out->rows] = found->row;
        place[out->rows++] = i;
    }
    out->source = source;
    out->place = place;
    if (out->rows == 0)
        return arena_printf(job->run,
                            "%s: none of its %lld ids is among the %lld of %s\nids are compared letter by letter",
                            request->ids, (long long)request->rows, (long long)r->corpus.rows, r->name);
    return NULL;
}

static void say_matched(const struct import_rows *rows, const struct import_request *request, const struct reference *r)
{
    const int64_t missing = r->corpus.rows - rows->rows, surplus = request->rows - rows->rows;
    log_info("import: matched by id with %s: %lld rows", r->name, (long long)rows->rows);
    if (missing > 0)
        log_warn("import: %lld of %lld rows of %s have no representation: left out", (long long)missing,
                 (long long)r->corpus.rows, r->name);
    if (surplus > 0)
        log_warn("import: %lld of %lld representations have no row in %s: left out", (long long)surplus,
                 (long long)request->rows, r->name);
}

static const int64_t *share_rows(struct job *job, const int64_t *rows, int64_t count)
{
    int64_t *out = arena_array(job->run, int64_t, count + 1);
    if (job->world->rank == 0)
        memcpy(out, rows, (size_t)count * sizeof *out);
    world_broadcast(job->world, out, (size_t)count * sizeof *out, 0);
    return out;
}

static void take_in_order(struct job *job, struct import_rows *out, const struct import_request *request,
                          const struct reference *r)
{
    agree(job->world, r->corpus.rows == request->rows, EXIT_BAD_DATA,
          "%s has %lld rows, %s %lld: which belong together cannot be told\n--ids FILE names the rows of the "
          "representations, by the ids of %s",
          request->file, (long long)request->rows, r->name, (long long)r->corpus.rows, r->name);
    int64_t *rows = arena_array(job->run, int64_t, request->rows + 1);
    for (int64_t i = 0; i < request->rows; i++)
        rows[i] = i;
    out->rows = request->rows;
    out->source = out->place = rows;
    if (r->name)
        log_info("import: no --ids: the %lld rows are taken in the order of %s, which has as many",
                 (long long)out->rows, r->name);
}

/* ---- what is known of the rows taken ---- */

static void *pick(struct arena *arena, const void *column, const int64_t *rows, int64_t count, size_t bytes)
{
    if (!column)
        return NULL;
    char *out = arena_take_raw(arena, (size_t)count + 1, bytes);
    for (int64_t i = 0; i < count; i++)
        memcpy(out + (size_t)i * bytes, (const char *)column + (size_t)rows[i] * bytes, bytes);
    return out;
}

static struct corpus taken(struct arena *arena, const struct corpus *all, const int64_t *rows, int64_t count)
{
    struct corpus c = *all;
    const float **attribute = arena_array(arena, const float *, c.attributes + 1);
    for (int a = 0; a < c.attributes; a++)
        attribute[a] = pick(arena, all->attribute[a], rows, count, sizeof(float));
    c.rows = count;
    c.label = pick(arena, all->label, rows, count, sizeof *all->label);
    c.labels = pick(arena, all->labels, rows, count, (size_t)all->classes);
    c.split = pick(arena, all->split, rows, count, sizeof *all->split);
    c.group = pick(arena, all->group, rows, count, sizeof *all->group);
    c.attribute = attribute;
    return c;
}

/* Rows nothing describes: splits by the hash of their id, or of their number. */
static struct reference describe_alone(struct job *job, const struct import_request *request, const char *const *ids)
{
    const struct pack_config *pack = &job->config->pack;
    uint8_t *split = arena_array(job->run, uint8_t, request->rows + 1);
    for (int64_t i = 0; i < request->rows && job->world->rank == 0; i++) {
        struct arena_mark mark = arena_mark(job->scratch);
        split[i] = manifest_hash_split(ids ? ids[i] : arena_printf(job->scratch, "row %lld", (long long)i),
                                       pack->val_fraction, pack->test_fraction);
        arena_release(job->scratch, mark);
    }
    world_broadcast(job->world, split, (size_t)request->rows, 0);
    log_warn("import: no --labels and no corpus.h5: rows without labels, split by the hash of their %s; classify needs "
             "labels",
             request->ids ? "ids" : "numbers");
    return (struct reference){ { .rows = request->rows, .split = split }, ids, NULL };
}

static void keep_ids(struct job *job, struct import_rows *out, const char *const *ids, bool any)
{
    const char **kept = arena_array(job->run, const char *, out->rows + 1);
    for (int64_t i = 0; i < out->rows && any && job->world->rank == 0; i++) {
        kept[i] = ids[out->place[i]];
        int64_t bytes = (int64_t)strlen(kept[i]);
        out->id_bytes = bytes > out->id_bytes ? bytes : out->id_bytes;
    }
    out->id = any && job->world->rank == 0 ? kept : NULL;
    world_broadcast(job->world, &out->id_bytes, sizeof out->id_bytes, 0);
}

/* ids of the representations on rank 0; NULL without --ids. */
static const char *const *ids_of(struct job *job, const struct import_request *request)
{
    const char *why = NULL, **ids = NULL;
    int64_t count = request->rows;
    if (!request->ids)
        return NULL;
    bool there = true;
    job_input_file(job, request->ids);
    if (job->world->rank == 0 && (there = file_exists(request->ids)))
        ids = read_ids(job->run, request->ids, &count, &why);
    agree(job->world, there, EXIT_NO_INPUT, "%s: no such file", request->ids);
    agree(job->world, !why, EXIT_BAD_DATA, "%s", why ? text_printable(arena_strdup(job->run, why), "\n") : "");
    agree(job->world, count == request->rows, EXIT_BAD_DATA, "%s: %lld ids, but %s has %lld rows", request->ids,
          (long long)count, request->file, (long long)request->rows);
    if (job->world->rank == 0)
        sort_ids(job->run, ids, count, request->ids, &why);
    agree(job->world, !why, EXIT_BAD_DATA, "%s", why ? why : "");
    return ids;
}

struct import_rows *import_rows_find(struct job *job, const struct import_request *request)
{
    struct import_rows *out = arena_array(job->run, struct import_rows, 1);
    const char *const *ids = ids_of(job, request), *why = NULL;
    const bool there = home_has(job, job_path(job, "corpus.h5")), corpus = there && !request->labels;
    if (there && !corpus)
        log_info("import: %s is not looked at: --labels says what the rows are", job_path(job, "corpus.h5"));
    struct reference r = request->labels ? read_table(job, request->labels)
                         : corpus        ? read_corpus(job)
                                         : describe_alone(job, request, ids);
    if (request->ids && r.name) {
        if (job->world->rank == 0)
            why = match(job, out, request, &r, ids);
        agree(job->world, !why, EXIT_BAD_DATA, "%s", why ? why : "");
        world_broadcast(job->world, &out->rows, sizeof out->rows, 0);
        out->source = share_rows(job, out->source, out->rows);
        out->place = share_rows(job, out->place, out->rows);
        say_matched(out, request, &r);
    } else {
        take_in_order(job, out, request, &r);
    }
    out->known = taken(job->run, &r.corpus, out->place, out->rows);
    out->pictures = corpus;
    keep_ids(job, out, r.id, r.name || request->ids);
    return out;
}
