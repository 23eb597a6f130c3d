/* Manifests: which reader, checks that all three share, splits by hash, opening
 * a file without leaving the root, and the way from rank 0 to the others. */
#include "image/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "dist/world.h"
#include "image/corpus.h"

static bool choose(struct arena *arena, struct manifest *out, const struct manifest_request *request,
                   struct manifest_problem *problem);
static bool check(struct arena *arena, struct manifest *out, struct manifest_problem *problem);

bool manifest_read(struct arena *arena, struct manifest *out, const struct manifest_request *request,
                   enum exit_code *code, const char **why)
{
    struct manifest_problem problem = { .arena = arena };
    struct stat status;
    *out = (struct manifest){ 0 };
    bool ok = false;
    if (!request->root || !*request->root)
        manifest_fail(&problem, EXIT_NO_INPUT, "no data folder was given\nset root: in the configuration, or --root");
    else if (stat(request->root, &status) != 0 || !S_ISDIR(status.st_mode))
        manifest_fail(&problem, EXIT_NO_INPUT,
                      "%s: expected a folder of images\nset root: in the configuration, or --root", request->root);
    else
        ok = choose(arena, out, request, &problem) && check(arena, out, &problem) &&
             (out->group || !request->group || !*request->group || manifest_join_groups(arena, out, request, &problem));
    *code = problem.code;
    *why = problem.why;
    return ok;
}

static bool choose(struct arena *arena, struct manifest *out, const struct manifest_request *request,
                   struct manifest_problem *problem)
{
    static const struct {
        const char *name;
        bool (*read)(struct arena *, struct manifest *, const struct manifest_request *, struct manifest_problem *);
    } readers[] = { { "class2images", manifest_from_classes },
                    { "labels_csv", manifest_from_table },
                    { "class_folders", manifest_from_folders } };
    const char *wanted = request->reader;
    if (strcmp(wanted, "auto") == 0)
        wanted = file_exists(path_join(arena, request->root, "class2images_train.p")) ? "class2images"
                 : file_exists(path_join(arena, request->root, request->labels))      ? "labels_csv"
                                                                                      : "class_folders";
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++)
        if (strcmp(readers[i].name, wanted) == 0)
            return readers[i].read(arena, out, request, problem);
    return manifest_fail(problem, EXIT_BAD_CONFIG, "pack.reader: '%s' is not a reader", wanted);
}

bool manifest_fail(struct manifest_problem *problem, enum exit_code code, const char *fmt, ...)
{
    char line[2000];
    va_list arguments;
    va_start(arguments, fmt);
    vsnprintf(line, sizeof line, fmt, arguments);
    va_end(arguments);
    if (!problem->why) {
        problem->code = code;
        problem->why = text_printable(arena_strdup(problem->arena, line), "\n");
    }
    return false;
}

const char *manifest_place(struct arena *arena, const struct manifest *manifest, int64_t row)
{
    if (manifest->line)
        return arena_printf(arena, "%s:%lld", manifest->source, (long long)manifest->line[row]);
    return arena_printf(arena, "%s, row %lld", manifest->source, (long long)row);
}

struct named {
    const char *name;
    int64_t row;
};
static int by_name(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->row > y->row) - (x->row < y->row);
}

/* First row (lowest) whose name occurs in an earlier row, which goes to *earlier; -1 when all differ. */
static int64_t first_repeated(struct arena *arena, const char *const *names, int64_t rows, int64_t *earlier,
                              int64_t *repeats)
{
    struct arena_mark mark = arena_mark(arena);
    struct named *sorted = arena_array(arena, struct named, rows);
    int64_t found = -1;
    *repeats = 0;
    for (int64_t i = 0; i < rows; i++)
        sorted[i] = (struct named){ names[i], i };
    qsort(sorted, (size_t)rows, sizeof *sorted, by_name);
    for (int64_t i = 1; i < rows; i++)
        if (strcmp(sorted[i].name, sorted[i - 1].name) == 0) {
            ++*repeats;
            if (found < 0 || sorted[i].row < found) {
                found = sorted[i].row;
                *earlier = sorted[i - 1].row;
            }
        }
    arena_release(arena, mark);
    return found;
}

/* What must hold whatever the source: rows, paths below the root, ids once. */
static bool check(struct arena *arena, struct manifest *out, struct manifest_problem *problem)
{
    if (out->rows == 0)
        return manifest_fail(problem, EXIT_NO_INPUT, "%s: no images\nthree kinds of folder are read: docs/data.md",
                             out->source);
    for (int64_t i = 0; i < out->rows; i++)
        if (!path_is_safe(out->path[i]) || strlen(out->path[i]) >= PATH_MAX / 2)
            return manifest_fail(
                problem, EXIT_BAD_DATA,
                "%s: the path leaves the data folder, is empty or too long; expected a path below root "
                "without '..'",
                manifest_place(arena, out, i));
    const char **lists[2] = { out->path, out->id };
    for (int k = 0; k < (out->id == out->path ? 1 : 2); k++) {
        int64_t earlier, repeats, row = first_repeated(arena, lists[k], out->rows, &earlier, &repeats);
        if (row >= 0 && out->line)
            return manifest_fail(
                problem, EXIT_BAD_DATA, "%s: %s of an earlier row (line %lld); expected each image once",
                manifest_place(arena, out, row), k == 0 ? "the path" : "the id", (long long)out->line[earlier]);
        if (row >= 0 && k == 0)
            log_warn("%s: %lld images are listed more than once", out->source, (long long)repeats);
    }
    return true;
}

int manifest_split(const char *name)
{
    static const char *const validation[] = { "valid", "validate", "validation", "dev" };
    for (size_t i = 0; i < sizeof validation / sizeof validation[0]; i++)
        if (strcmp(name, validation[i]) == 0)
            return SPLIT_VAL;
    return split_find(name);
}

uint8_t manifest_hash_split(const char *name, double val_fraction, double test_fraction)
{
    double u = (double)(XXH3_64bits(name, strlen(name)) >> 11) * 0x1p-53;
    return u < val_fraction ? SPLIT_VAL : u < val_fraction + test_fraction ? SPLIT_TEST : SPLIT_TRAIN;
}

/* Reads an open regular file; false with errno 0 when it shrank meanwhile. */
static bool read_whole(int file, uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t got = read(file, bytes + at, size - at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got < 0 ? errno : 0;
            return false;
        }
        at += (size_t)got;
    }
    return true;
}

uint8_t *manifest_open(struct arena *arena, const char *root, const char *path, size_t limit_bytes, size_t *size,
                       const char **why)
{
    char real[PATH_MAX];
    struct stat status;
    const char *full = path_join(arena, root, path);
    size_t below = strlen(root);
    *why = NULL;
    if (!realpath(full, real)) {
        *why = errno == ENOENT ? "the file is missing" : arena_printf(arena, "cannot be opened: %s", strerror(errno));
        return NULL;
    }
    if (strcmp(root, "/") != 0 && (strncmp(real, root, below) != 0 || real[below] != '/')) {
        *why = "a link that leads out of the data folder";
        return NULL;
    }
    if (stat(real, &status) == 0 && !S_ISREG(status.st_mode)) {
        *why = S_ISDIR(status.st_mode) ? "a folder, expected a file" : "not a regular file";
        return NULL;
    }
    int file = open(real, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY);
    if (file < 0) {
        *why = arena_printf(arena, "cannot be opened: %s", strerror(errno));
        return NULL;
    }
    uint8_t *bytes = NULL;
    if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
        *why = "not a regular file";
    } else if ((uint64_t)status.st_size > limit_bytes) {
        *why = arena_printf(arena, "%lld bytes, %zu at most", (long long)status.st_size, limit_bytes);
    } else {
        *size = (size_t)status.st_size;
        bytes = arena_take_raw(arena, *size + 1, 1);
        if (!read_whole(file, bytes, *size)) {
            *why = arena_printf(arena, "cannot be read: %s", errno ? strerror(errno) : "the file became shorter");
            bytes = NULL;
        }
    }
    close(file);
    return bytes;
}

/* From rank 0 to all. */

static void *share_bytes(struct world *world, struct arena *arena, void *data, size_t bytes)
{
    if (world->rank != 0)
        data = arena_take_raw(arena, bytes ? bytes : 1, 1);
    if (bytes)
        world_broadcast(world, data, bytes, 0);
    return data;
}

/* Texts travel as one block, each with its NUL. */
static const char **share_texts(struct world *world, struct arena *arena, const char **texts, int64_t count)
{
    int64_t bytes = 0;
    if (world->rank == 0)
        for (int64_t i = 0; i < count; i++)
            bytes += (int64_t)strlen(texts[i]) + 1;
    world_broadcast(world, &bytes, sizeof bytes, 0);
    char *block = arena_take_raw(arena, (size_t)bytes + 1, 1), *at = block;
    if (world->rank == 0)
        for (int64_t i = 0; i < count; i++)
            at = stpcpy(at, texts[i]) + 1;
    if (bytes)
        world_broadcast(world, block, (size_t)bytes, 0);
    if (world->rank == 0)
        return texts;
    texts = arena_take_raw(arena, (size_t)count + 1, sizeof *texts);
    for (int64_t i = 0; i < count; i++) {
        texts[i] = block;
        block += strlen(block) + 1;
    }
    return texts;
}

void manifest_share(struct world *world, struct arena *arena, struct manifest *m)
{
    if (world->size == 1)
        return;
    struct {
        int64_t rows;
        int classes, attributes;
        bool multi_label, own_ids, reports, lines, groups;
    } head = { m->rows, m->classes, m->attributes, m->multi_label, m->id != m->path, m->report, m->line, m->group };
    world_broadcast(world, &head, sizeof head, 0);
    m->rows = head.rows;
    m->classes = head.classes;
    m->attributes = head.attributes;
    m->multi_label = head.multi_label;
    size_t rows = (size_t)m->rows;

    m->source = world_broadcast_text(world, arena, m->source, 0);
    m->path = share_texts(world, arena, m->path, m->rows);
    m->id = head.own_ids ? share_texts(world, arena, m->id, m->rows) : m->path;
    if (head.reports)
        m->report = share_texts(world, arena, m->report, m->rows);
    m->class_names = share_texts(world, arena, m->class_names, m->classes);
    m->split = share_bytes(world, arena, m->split, rows);
    if (head.multi_label)
        m->labels = share_bytes(world, arena, m->labels, rows * (size_t)m->classes);
    else
        m->label = share_bytes(world, arena, m->label, rows * sizeof *m->label);
    if (head.lines)
        m->line = share_bytes(world, arena, m->line, rows * sizeof *m->line);
    if (head.groups)
        m->group = share_bytes(world, arena, m->group, rows * sizeof *m->group);
    m->attribute_names = share_texts(world, arena, m->attribute_names, m->attributes);
    if (world->rank != 0)
        m->attribute = arena_array(arena, float *, m->attributes + 1);
    for (int a = 0; a < m->attributes; a++)
        m->attribute[a] = share_bytes(world, arena, m->attribute[a], rows * sizeof(float));
}
