/* The life of a file: created as path.part and published under its name, or opened for reading and closed. Values
 * move in rows.c, attributes in attributes.c.
 *
 * Writers share the file through MPI-IO. Readers each open it serially: reads need no agreement between ranks, so the
 * MPI file layer, with its read-modify-write and its collective hangs, has no part in them. */
#include <errno.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/phase.h"
#include "base/text.h"
#include "dist/handle.h"
#include "dist/world.h"
#include "store/internal.h"

static struct store *store_new(struct world *world, struct arena *arena, const char *path)
{
    struct store *store = arena_array(arena, struct store, 1);
    store->world = world;
    store->arena = arena;
    store->path = arena_strdup(arena, path);
    store->file = -1;
    store->lock = -1;
    store->attributes_end = &store->attributes;
    h5_start();
    return store;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct dataset *)a)->name, ((const struct dataset *)b)->name);
}

static void sort_names(struct store *store)
{
    qsort(store->sets, (size_t)store->count, sizeof *store->sets, by_name);
    store->names = arena_array(store->arena, const char *, store->count + 1);
    for (int i = 0; i < store->count; i++)
        store->names[i] = store->sets[i].name;
}

/* Creating. */

/* "N" by the table of sizes, "3" and "kernel=3" by themselves. */
static int64_t extent_size(const char *name, size_t length, const struct extent *sizes, size_t extents)
{
    const char *given = memchr(name, '=', length);
    const char *number = given ? given + 1 : name;
    if (length > 0 && *number >= '0' && *number <= '9')
        return strtoll(number, NULL, 10);
    for (size_t e = 0; e < extents; e++)
        if (strlen(sizes[e].name) == length && strncmp(sizes[e].name, name, length) == 0)
            return sizes[e].size;
    return -1;
}

/* Shape of a row of the table; false when an optional one has no size. */
static bool shape_from_layout(struct dataset *set, const struct layout *row, const struct extent *sizes, size_t extents,
                              const char *path)
{
    const char *at = row->dims;
    *set = (struct dataset){ .name = row->name, .type = row->type, .id = -1 };
    for (bool more = true; more; at++) {
        const size_t length = strcspn(at, ",");
        const int64_t size = extent_size(at, length, sizes, extents);
        if (size < 0 && row->optional)
            return false;
        require(size >= 0 && set->rank < STORE_RANKS, EXIT_INTERNAL, "%s: dataset %s: extent \"%.*s\" has no size",
                path, row->name, (int)length, at);
        set->dims[set->rank++] = size;
        at += length;
        more = *at == ',';
    }
    int64_t width = 0;
    if (row->type == STORE_TEXT) {
        width = row->width ? extent_size(row->width, strlen(row->width), sizes, extents) : -1;
        if (width < 0 && row->optional)
            return false;
        require(width >= 0, EXIT_INTERNAL, "%s: dataset %s: its width has no size", path, row->name);
    }
    set->width = h5_width(row->type, width > 0 ? (size_t)width : 1);
    return true;
}

/* "out,in=3" -> "out,in". */
static const char *bare_names(struct arena *arena, const char *dims)
{
    char *bare = arena_strdup(arena, dims), *to = bare;
    for (const char *at = dims; *at; at++) {
        if (*at == '=')
            at += strcspn(at, ",");
        *to++ = *at;
        if (!*at)
            return bare;
    }
    *to = '\0';
    return bare;
}

static void plan(struct store *store, const struct layout *layout, size_t datasets, const struct extent *sizes,
                 size_t extents)
{
    store->sets = arena_array(store->arena, struct dataset, datasets + 1);
    for (size_t i = 0; i < datasets; i++)
        if (shape_from_layout(&store->sets[store->count], &layout[i], sizes, extents, store->path)) {
            struct dataset *set = &store->sets[store->count++];
            set->name = arena_strdup(store->arena, set->name);
        }
    sort_names(store);
    for (size_t i = 0; i < datasets; i++)
        if (store_find(store, layout[i].name)) {
            store_set_text(store, layout[i].name, "description", layout[i].description ? layout[i].description : "");
            store_set_text(store, layout[i].name, "unit", layout[i].unit ? layout[i].unit : "1");
            store_set_text(store, layout[i].name, "dims", bare_names(store->arena, layout[i].dims));
        }
}

/* The right to write: nobody else is at it, and the name is free. */
static void claim(struct store *store, bool replace, struct failure *failure)
{
    bool busy;
    store->lock = lock_take(store->arena, store->path, &busy);
    if (busy)
        failure_set(failure, EXIT_CANNOT_CREATE,
                    "%s: another run is writing this file\nwait for it, or choose another trial", store->path);
    else if (store->lock < 0)
        failure_set(failure, EXIT_CANNOT_CREATE, "%s: cannot create: %s", store->path, strerror(errno));
    else if (!replace && file_exists(store->path)) {
        failure_set(failure, EXIT_CANNOT_CREATE, "%s: exists already\ngive --force to replace it", store->path);
        lock_drop(store->arena, store->path, store->lock);
    }
}

struct store *store_create(struct world *world, struct arena *arena, const char *path, const struct layout *layout,
                           size_t datasets, const struct extent *sizes, size_t extents, bool replace)
{
    const enum phase before = phase_enter(PHASE_WRITE);
    struct store *store = store_new(world, arena, path);
    store->part = arena_printf(arena, "%s.part", path);
    plan(store, layout, datasets, sizes, extents);

    struct failure failure = { 0 };
    if (world->rank == 0) {
        claim(store, replace, &failure);
        if (!failure.failed) {
            skeleton_write(store, &failure);
            if (failure.failed)
                lock_drop(arena, path, store->lock);
        }
    }
    failure_agree(world, &failure);

    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fapl_mpio(access, world_handle(world), MPI_INFO_NULL);
    store->file = H5Fopen(store->part, H5F_ACC_RDWR, access);
    const bool opened = h5_ok(store->file);
    H5Pclose(access);
    if (!opened)
        failure_set(&failure, EXIT_IO,
                    "%s: cannot open in parallel: %s\nis the directory on a file system all nodes share?", store->part,
                    h5_why());
    failure_agree(world, &failure);
    phase_enter(before);
    return store;
}

static void close_handles(struct store *store, struct failure *failure)
{
    for (int i = 0; i < store->count; i++)
        if (store->sets[i].id >= 0) {
            H5Dclose(store->sets[i].id);
            store->sets[i].id = -1;
        }
    if (store->file >= 0)
        h5_close(store->file, store->part ? store->part : store->path, failure);
    store->file = -1;
}

/* Rank 0, alone with the whole file: attributes, sync, name. */
static void finish(struct store *store, struct failure *failure)
{
    const hid_t file = h5_open(store->part, true);
    if (file < 0) {
        failure_set(failure, EXIT_IO, "%s: cannot reopen: %s", store->part, h5_why());
        return;
    }
    attributes_write(store, file, failure);
    h5_close(file, store->part, failure);
    if (!failure->failed &&
        (!sync_path(store->part) || rename(store->part, store->path) != 0 || !sync_parent(store->arena, store->path)))
        failure_set(failure, EXIT_IO, "%s: cannot sync or rename: %s", store->part, strerror(errno));
    lock_drop(store->arena, store->path, store->lock);
}

void store_publish(struct store *store)
{
    const enum phase before = phase_enter(PHASE_WRITE);
    struct failure failure = { 0 };
    require(store->part, EXIT_INTERNAL, "%s: published, but it was opened for reading", store->path);
    if (!h5_ok(H5Fflush(store->file, H5F_SCOPE_GLOBAL))) /* every rank syncs what it wrote on its node */
        failure_set(&failure, EXIT_IO, "%s: cannot write: %s (%lld bytes free)", store->part, h5_why(),
                    (long long)disk_free(store->part));
    failure_agree(store->world, &failure);
    close_handles(store, &failure);
    failure_agree(store->world, &failure);
    if (store->world->rank == 0)
        finish(store, &failure);
    failure_agree(store->world, &failure);
    phase_enter(before);
}

void store_discard(struct store *store)
{
    struct failure failure = { 0 };
    close_handles(store, &failure);
    failure_agree(store->world, &failure);
    if (store->world->rank == 0) {
        unlink(store->part);
        lock_drop(store->arena, store->path, store->lock);
    }
}

/* Opening. */

static void open_serially(struct store *store, struct failure *failure)
{
    struct stat status;
    const char *path = store->path;
    if (stat(path, &status) != 0 || access(path, R_OK) != 0)
        failure_set(failure, EXIT_NO_INPUT, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(status.st_mode))
        failure_set(failure, EXIT_NO_INPUT, "%s: not a regular file", path);
    else if (H5Fis_hdf5(path) <= 0)
        failure_set(failure, EXIT_BAD_DATA, "%s: not an HDF5 file (%lld bytes)", path, (long long)status.st_size);
    else if ((store->file = h5_open(path, false)) < 0)
        failure_set(failure, EXIT_BAD_DATA, "%s: damaged HDF5 file: %s\nmake it again", path, h5_why());
}

struct store *store_open(struct world *world, struct arena *arena, const char *path)
{
    const enum phase before = phase_enter(PHASE_READ);
    struct store *store = store_new(world, arena, path);
    struct failure failure = { 0 };
    log_verbose("opens %s", path);
    if (world->rank == 0)
        open_serially(store, &failure);
    catalogue_share(store, &failure);
    sort_names(store);
    if (world->rank != 0)
        open_serially(store, &failure);
    failure_agree(world, &failure);
    phase_enter(before);
    return store;
}

void store_close(struct store *store)
{
    struct failure failure = { 0 };
    require(!store->part, EXIT_INTERNAL, "%s: closed without being published", store->path);
    close_handles(store, &failure);
    failure_agree(store->world, &failure);
}

/* Shape. */

const char *store_path(const struct store *store)
{
    return store->path;
}

struct dataset *store_find(const struct store *store, const char *name)
{
    const struct dataset key = { .name = name };
    return store->count ? bsearch(&key, store->sets, (size_t)store->count, sizeof key, by_name) : NULL;
}

bool store_has(const struct store *store, const char *name)
{
    return store_find(store, name) != NULL;
}

int store_dims(const struct store *store, const char *name, int64_t dims[4])
{
    const struct dataset *set = store_find(store, name);
    for (int d = 0; d < STORE_RANKS; d++)
        dims[d] = set && d < set->rank ? set->dims[d] : 1;
    return set ? set->rank : 0;
}

static const struct dataset *must_find(const struct store *store, const char *name)
{
    const struct dataset *set = store_find(store, name);
    require(set, EXIT_BAD_DATA, "%s: dataset %s is missing", store->path, name);
    return set;
}

int64_t store_rows(const struct store *store, const char *name)
{
    return must_find(store, name)->dims[0];
}

enum store_type store_typeof(const struct store *store, const char *name)
{
    return must_find(store, name)->type;
}

size_t store_width(const struct store *store, const char *name)
{
    return must_find(store, name)->width;
}

int store_names(const struct store *store, const char *const **names)
{
    *names = store->names;
    return store->count;
}

/* "f32 [10 x 3]"; a negative extent is "any". */
static char *shape_text(struct arena *arena, enum store_type type, int rank, const int64_t *dims)
{
    struct text text = text_new(arena);
    text_add(&text, "%s [", store_type_name(type));
    for (int d = 0; d < rank; d++)
        if (dims[d] < 0)
            text_add(&text, "%sany", d ? " x " : "");
        else
            text_add(&text, "%s%lld", d ? " x " : "", (long long)dims[d]);
    text_add(&text, "]");
    return text.data;
}

void store_expect(struct store *store, const char *name, enum store_type type, int rank, const int64_t *dims)
{
    const struct dataset *set = store_find(store, name);
    bool fits = set && set->type == type && set->rank == rank;
    for (int d = 0; fits && d < rank; d++)
        fits = dims[d] < 0 || dims[d] == set->dims[d];
    const char *found = set ? shape_text(store->arena, set->type, set->rank, set->dims) : "no such dataset";
    agree(store->world, fits, EXIT_BAD_DATA, "%s: %s: expected %s, found %s", store->path, name,
          shape_text(store->arena, type, rank, dims), found);
}
