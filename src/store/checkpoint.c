/* Checkpoints: written by rank 0, named by the checksum of their bytes, read by rank 0 and broadcast. What goes into
 * the file is in checkpoint_file.c; here are names, the choice among several, and removal. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/phase.h"
#include "base/text.h"
#include "dist/world.h"
#include "store/checkpoint_file.h"

enum { HASH_DIGITS = 16, SCRATCH_BYTES = 1 << 20 };

/* A file of the directory that bears a checkpoint's name. */
struct entry {
    const char *path;
    int64_t step;
    uint64_t hash;
};

/* "<stage>-<step>-<hash>.h5", nothing else. */
static bool parse_name(const char *name, const char *stage, struct entry *entry)
{
    const size_t length = strlen(stage);
    if (strncmp(name, stage, length) != 0 || name[length] != '-' || name[length + 1] < '0' || name[length + 1] > '9')
        return false;
    char *end;
    errno = 0;
    entry->step = strtoll(name + length + 1, &end, 10);
    if (errno || *end != '-' || strspn(end + 1, "0123456789abcdef") != HASH_DIGITS)
        return false;
    entry->hash = strtoull(end + 1, &end, 16);
    return strcmp(end, ".h5") == 0;
}

static int newest_first(const void *a, const void *b)
{
    const int64_t x = ((const struct entry *)a)->step, y = ((const struct entry *)b)->step;
    return (x < y) - (x > y);
}

/* Checkpoints of `stage` in `dir`, newest first; 0 when there is no directory. */
static int list(struct arena *arena, const char *dir, const char *stage, struct entry **out)
{
    int count = 0, room = 16;
    struct entry *entries = arena_array(arena, struct entry, room), found;
    DIR *open_dir = opendir(dir);
    for (struct dirent *d; open_dir && (d = readdir(open_dir));) {
        if (!parse_name(d->d_name, stage, &found))
            continue;
        if (count == room) {
            struct entry *more = arena_array(arena, struct entry, room * 2);
            memcpy(more, entries, (size_t)room * sizeof *more);
            entries = more;
            room *= 2;
        }
        found.path = path_join(arena, dir, d->d_name);
        entries[count++] = found;
    }
    if (open_dir)
        closedir(open_dir);
    qsort(entries, (size_t)count, sizeof *entries, newest_first);
    *out = entries;
    return count;
}

static const char *part_path(struct arena *arena, const char *dir, const char *stage)
{
    return arena_printf(arena, "%s/%s.part", dir, stage);
}

/* After a save: this one and the newest before it stay. Later ones belong to a future this run did not take. */
static void remove_old(struct arena *arena, const char *dir, const char *stage, const char *kept_path, int64_t step)
{
    struct entry *entries;
    const int count = list(arena, dir, stage, &entries);
    int earlier = 0;
    for (int i = 0; i < count; i++) {
        if (strcmp(entries[i].path, kept_path) == 0)
            continue;
        if (entries[i].step >= step || ++earlier > 1)
            unlink(entries[i].path);
    }
}

static void save_here(struct arena *arena, const char *dir, const char *stage, int64_t step, const char *identity,
                      const struct checkpoint_field *fields, int count, struct failure *failure)
{
    const char *why = NULL, *part = part_path(arena, dir, stage);
    uint64_t hash = 0;
    if (!path_make_dirs(arena, dir, &why)) {
        failure_set(failure, EXIT_CANNOT_CREATE, "%s: %s", dir, why);
        return;
    }
    unlink(part);
    if (checkpoint_file_write(part, step, identity, fields, count, failure)) {
        const char *digest = checkpoint_file_hash(part, &hash) ? "" : NULL;
        const char *path =
            arena_printf(arena, "%s/%s-%lld-%016llx.h5", dir, stage, (long long)step, (unsigned long long)hash);
        if (!digest || rename(part, path) != 0 || !sync_parent(arena, path))
            failure_set(failure, EXIT_IO, "%s: cannot be read back, renamed or synced: %s", part, strerror(errno));
        else
            remove_old(arena, dir, stage, path, step);
    }
    if (failure->failed)
        unlink(part);
}

void checkpoint_save(struct world *world, const char *dir, const char *stage, int64_t step, const char *identity,
                     const struct checkpoint_field *fields, int count)
{
    const enum phase before = phase_enter(PHASE_CHECKPOINT);
    struct failure failure = { 0 };
    if (world->rank == 0) {
        struct arena *arena = arena_create("checkpoint", SCRATCH_BYTES);
        save_here(arena, dir, stage, step, identity, fields, count, &failure);
        arena_destroy(arena);
    }
    failure_agree(world, &failure);
    phase_enter(before);
}

/* Fills the fields from the newest valid file; its step, or -1. Rank 0. */
static int64_t load_here(struct arena *arena, const char *dir, const char *stage, const char *identity,
                         const struct checkpoint_field *fields, int count, struct failure *failure)
{
    struct entry *entries;
    const int files = list(arena, dir, stage, &entries);
    for (int i = 0; i < files; i++) {
        uint64_t hash = 0;
        if (!checkpoint_file_hash(entries[i].path, &hash) || hash != entries[i].hash)
            log_warn("checkpoint %s is cut off or altered; trying the one before", entries[i].path);
        else {
            checkpoint_file_read(arena, entries[i].path, identity, fields, count, failure);
            return entries[i].step;
        }
    }
    if (files > 0)
        failure_set(failure, EXIT_BAD_DATA,
                    "%s: none of %d checkpoints of %s is whole\nremove them to start from the beginning", dir, files,
                    stage);
    return -1;
}

static size_t field_bytes(const struct checkpoint_field *field)
{
    return (size_t)field->count * h5_width(field->type, 1);
}

int64_t checkpoint_load(struct world *world, const char *dir, const char *stage, const char *identity,
                        const struct checkpoint_field *fields, int count)
{
    const enum phase before = phase_enter(PHASE_CHECKPOINT);
    struct failure failure = { 0 };
    int64_t step = -1;
    if (world->rank == 0) {
        struct arena *arena = arena_create("checkpoint", SCRATCH_BYTES);
        step = load_here(arena, dir, stage, identity, fields, count, &failure);
        arena_destroy(arena);
    }
    failure_agree(world, &failure);
    world_broadcast(world, &step, sizeof step, 0);
    for (int f = 0; step >= 0 && f < count; f++)
        world_broadcast(world, fields[f].data, field_bytes(&fields[f]), 0);
    phase_enter(before);
    return step;
}

void checkpoint_clear(struct world *world, const char *dir, const char *stage)
{
    if (world->rank == 0) {
        struct arena *arena = arena_create("checkpoint", SCRATCH_BYTES);
        struct entry *entries;
        const int files = list(arena, dir, stage, &entries);
        for (int i = 0; i < files; i++)
            unlink(entries[i].path);
        unlink(part_path(arena, dir, stage));
        arena_destroy(arena);
    }
    world_barrier(world);
}
