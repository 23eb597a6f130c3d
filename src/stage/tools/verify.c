/* `cfn verify FILE`: reads every value back and holds it to what the layout promises: descriptions and extents, finite
 * numbers, unit rows, indices that point at something, offsets that rise. Ranks share the rows; the first problem in
 * the order of datasets and rows ends the command with EXIT_BAD_DATA. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "math/vec.h"
#include "stage/stage.h"

enum { BLOCK_BYTES = 16 << 20, MESSAGE_BYTES = 512 };
static const double UNIT_TOLERANCE = 1e-4; /* a row of 2048 floats, rounded, is within 1e-6 */

/* What is checked, of one dataset in blocks of rows. */
struct check {
    struct store *store;
    const char *name, *description;
    enum store_type type;
    int64_t dims[4];
    int64_t row_values, row_bytes;
    double low, high; /* range of whole numbers; low > high: any */
    bool unit_rows, rising, may_be_nan;
    char problem[MESSAGE_BYTES]; /* empty: none so far */
};

/* Indices: value >= low, and below the rows of `below` plus `more`. */
static const struct range {
    const char *name;
    int low;
    const char *below; /* dataset whose rows bound it; NULL: `more` alone */
    int more;
} RANGES[] = {
    { "/split", 0, NULL, 3 },
    { "/labels", -2, NULL, 2 },
    { "/codes/index", 0, "/encoder", 0 },
    { "/codes/indptr", 0, "/codes/value", 1 },
    { "/top/index", -1, "/codes/indptr", -1 },
    { "/encoded_offset", 0, "/encoded", 1 },
};
/* Without a bound in the same file: only not below. */
static const struct {
    const char *name;
    int low;
} LOWEST[] = { { "/label", -1 }, { "/neuron", 0 }, { "/index", 0 }, { "/atom", -1 }, { "/contribution/concept", -1 } };
static const char *const RISING[] = { "/codes/indptr", "/encoded_offset" };

static void find_range(struct check *c)
{
    c->low = 1;
    c->high = 0;
    for (size_t i = 0; i < sizeof LOWEST / sizeof *LOWEST; i++)
        if (strcmp(LOWEST[i].name, c->name) == 0) {
            c->low = LOWEST[i].low;
            c->high = INFINITY;
        }
    for (size_t i = 0; i < sizeof RANGES / sizeof *RANGES; i++) {
        const struct range *r = &RANGES[i];
        if (strcmp(r->name, c->name) == 0 && (!r->below || store_has(c->store, r->below))) {
            c->low = r->low;
            c->high = (double)((r->below ? store_rows(c->store, r->below) : 0) + r->more - 1);
        }
    }
    const char *const *classes;
    int count;
    if (strcmp(c->name, "/label") == 0 && store_get_texts(c->store, "/", "class_names", &classes, &count))
        c->high = count - 1;
    for (size_t i = 0; i < sizeof RISING / sizeof *RISING; i++)
        c->rising = c->rising || strcmp(RISING[i], c->name) == 0;
}

static struct check check_of(struct store *store, const char *name)
{
    struct check c = { .store = store, .name = name, .type = store_typeof(store, name), .description = "" };
    const int rank = store_dims(store, name, c.dims);
    c.row_values = 1;
    for (int d = 1; d < rank; d++)
        c.row_values *= c.dims[d];
    c.row_bytes = c.row_values * (int64_t)store_width(store, name);
    store_get_text(store, name, "description", &c.description);
    c.unit_rows = c.type == STORE_F32 && strstr(c.description, "unit rows");
    c.may_be_nan = strstr(c.description, "NaN");
    find_range(&c);
    return c;
}

/* ---- structure ---- */

/* Size of the extent called `wanted` in the dims of `name`, -1 when it has none. Capital letters (N, D, K, "N+1") are
 * sizes of the whole file; other names belong to their dataset. */
static int64_t extent_of(struct store *store, const char *name, const char *wanted, size_t length)
{
    const char *dims;
    int64_t sizes[4];
    if (!store_get_text(store, name, "dims", &dims))
        return -1;
    store_dims(store, name, sizes);
    for (int d = 0; d < 4; d++) {
        const size_t here = strcspn(dims, ",");
        if (here == length && strncmp(dims, wanted, here) == 0)
            return sizes[d];
        if (!dims[here])
            return -1;
        dims += here + 1;
    }
    return -1;
}

static int names_in(const char *dims)
{
    int count = 1;
    for (; *dims; dims++)
        count += *dims == ',';
    return count;
}

/* The same letter is the same size in every dataset before this one. */
static void check_letters(struct check *c, const char *const *names, int before, const char *dims)
{
    for (int d = 0; d < 4 && *dims; d++) {
        const size_t length = strcspn(dims, ",");
        const bool letter = length == 1 && *dims >= 'A' && *dims <= 'Z';
        for (int i = 0; letter && i < before && !*c->problem; i++) {
            const int64_t other = extent_of(c->store, names[i], dims, length);
            if (other >= 0 && other != c->dims[d])
                snprintf(c->problem, MESSAGE_BYTES, "extent %c is %" PRId64 ", but %" PRId64 " in %s", *dims,
                         c->dims[d], other, names[i]);
        }
        dims += length + (dims[length] == ',');
    }
}

static void check_structure(struct check *c, const char *const *names, int before)
{
    const char *dims = "", *unit;
    int64_t sizes[4];
    const int rank = store_dims(c->store, c->name, sizes);
    if (!*c->description)
        snprintf(c->problem, MESSAGE_BYTES, "has no attribute \"description\"");
    else if (!store_get_text(c->store, c->name, "unit", &unit))
        snprintf(c->problem, MESSAGE_BYTES, "has no attribute \"unit\"");
    else if (!store_get_text(c->store, c->name, "dims", &dims))
        snprintf(c->problem, MESSAGE_BYTES, "has no attribute \"dims\"");
    else if (names_in(dims) != rank)
        snprintf(c->problem, MESSAGE_BYTES, "has %d extents, its attribute \"dims\" names \"%s\"", rank, dims);
    else
        check_letters(c, names, before, dims);
}

/* ---- values ---- */

static double value_at(const struct check *c, const void *block, int64_t i)
{
    switch (c->type) {
    case STORE_U8:
        return ((const uint8_t *)block)[i];
    case STORE_I8:
        return ((const int8_t *)block)[i];
    case STORE_I32:
        return ((const int32_t *)block)[i];
    case STORE_I64:
        return (double)((const int64_t *)block)[i];
    case STORE_F32:
        return (double)((const float *)block)[i];
    case STORE_F64:
        return ((const double *)block)[i];
    case STORE_TEXT:
        break;
    }
    return 0;
}

static void check_finite(struct check *c, const void *block, int64_t first, int64_t count)
{
    const int64_t n = count * c->row_values;
    if (c->type == STORE_F32 && vec_all_finite(block, n))
        return;
    for (int64_t i = 0; i < n; i++) {
        const double v = value_at(c, block, i);
        if (isinf(v) || (isnan(v) && !c->may_be_nan)) {
            snprintf(c->problem, MESSAGE_BYTES, "row %" PRId64 " holds %g, expected finite numbers",
                     first + i / c->row_values, v);
            return;
        }
    }
}

static void check_unit_rows(struct check *c, const void *block, int64_t first, int64_t count)
{
    for (int64_t r = 0; r < count; r++) {
        const double norm = vec_norm((const float *)block + r * c->row_values, c->row_values);
        if (!(fabs(norm - 1) <= UNIT_TOLERANCE)) {
            snprintf(c->problem, MESSAGE_BYTES, "row %" PRId64 " has norm %.6g, expected 1", first + r, norm);
            return;
        }
    }
}

static void check_whole_numbers(struct check *c, const void *block, int64_t first, int64_t count)
{
    for (int64_t i = 0; c->low <= c->high && i < count * c->row_values; i++) {
        const double v = value_at(c, block, i);
        if (v < c->low || v > c->high) {
            snprintf(c->problem, MESSAGE_BYTES, "row %" PRId64 " holds %.0f, expected %.0f to %.0f",
                     first + i / c->row_values, v, c->low, c->high);
            return;
        }
    }
    for (int64_t i = 1; c->rising && i < count; i++)
        if (value_at(c, block, i) < value_at(c, block, i - 1)) {
            snprintf(c->problem, MESSAGE_BYTES, "row %" PRId64 " holds %.0f after %.0f, expected it to rise", first + i,
                     value_at(c, block, i), value_at(c, block, i - 1));
            return;
        }
}

/* Nothing but padding after the first NUL. */
static void check_texts(struct check *c, const char *block, int64_t first, int64_t count)
{
    const int64_t width = c->row_bytes / c->row_values;
    for (int64_t i = 0; i < count * c->row_values; i++) {
        const char *text = block + i * width;
        const size_t length = strnlen(text, (size_t)width);
        for (size_t b = length; b < (size_t)width; b++)
            if (text[b]) {
                snprintf(c->problem, MESSAGE_BYTES, "row %" PRId64 " has bytes after the end of its text",
                         first + i / c->row_values);
                return;
            }
    }
}

static void check_block(struct check *c, const void *block, int64_t first, int64_t count)
{
    if (c->type == STORE_TEXT)
        check_texts(c, block, first, count);
    else if (c->type == STORE_F32 || c->type == STORE_F64)
        check_finite(c, block, first, count);
    else
        check_whole_numbers(c, block, first, count);
    if (c->unit_rows && !*c->problem)
        check_unit_rows(c, block, first, count);
}

/* This rank's rows; a rising dataset is read from one row before. */
static void check_values(struct check *c, struct job *job)
{
    const struct span mine = shard_rows(c->dims[0], job->world->size, job->world->rank);
    if (mine.count == 0 || c->row_bytes == 0)
        return;
    const struct arena_mark mark = arena_mark(job->scratch);
    const int64_t most = c->row_bytes < BLOCK_BYTES ? BLOCK_BYTES / c->row_bytes : 1;
    void *block =
        arena_take_raw(job->scratch, (size_t)(most < mine.count ? most : mine.count) + 1, (size_t)c->row_bytes);
    for (int64_t done = 0; done < mine.count && !*c->problem; done += most) {
        const int64_t before = c->rising && mine.first + done > 0;
        const int64_t first = mine.first + done - before;
        const int64_t count = (mine.count - done < most ? mine.count - done : most) + before;
        store_read_rows(c->store, c->name, first, count, block);
        check_block(c, block, first, count);
    }
    arena_release(job->scratch, mark);
}

static bool has_provenance(const struct store *store)
{
    const struct store_attribute *a = store_attributes(store);
    while (a && strcmp(a->object, "/run") != 0)
        a = a->next;
    return a;
}

int stage_verify(struct job *job)
{
    agree(job->world, job->argc == 1, EXIT_USAGE, "verify: expected one file, found %d\nusage: cfn verify FILE",
          job->argc);
    const char *path = job->argv[0];
    struct store *store = store_open(job->world, job->run, path);
    const char *const *names;
    const int count = store_names(store, &names);
    double bytes = 0;
    for (int i = 0; i < count; i++) {
        struct check c = check_of(store, names[i]);
        check_structure(&c, names, i);
        if (!*c.problem)
            check_values(&c, job);
        /* Blocks are in rank order: the lowest failing rank has the first row. */
        agree(job->world, !*c.problem, EXIT_BAD_DATA, "%s: %s %s\nmake the file again", path, c.name, c.problem);
        bytes += (double)(c.row_bytes * c.dims[0]);
    }
    agree(job->world, has_provenance(store), EXIT_BAD_DATA, "%s: group /run is missing or empty\nwas it made by cfn?",
          path);
    store_close(store);
    log_info("%s: %d datasets, %s of values, no problem found", path, count, text_bytes(job->run, bytes));
    log_info("xxh3-128 %s", store_checksum(job->world, job->run, path));
    return EXIT_DONE;
}
