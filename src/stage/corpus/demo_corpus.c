/* cfn demo-corpus DIR: 2,400 labelled images of a real brain (docs/data.md).
 * The ranks share the images; labels.csv comes last, so that a folder with it is
 * complete. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "image/anatomy.h"
#include "image/corpus.h"
#include "image/decode.h"
#include "stage/stage.h"

static const char default_folder[] = "/usr/share/mricron/templates";

static const char *file_name(struct arena *arena, const struct anatomy_sample *s);
static char *labels_table(struct arena *arena, const struct anatomy *anatomy, const struct anatomy_sample *samples,
                          int64_t count, size_t *length);
static bool is_complete(struct arena *arena, const char *dir, const char *table, size_t length,
                        const struct anatomy_sample *samples, int64_t count, bool *other);
static const char *write_image(struct arena *arena, const char *dir, const struct anatomy *anatomy,
                               const struct anatomy_sample *sample);

static void read_volumes(struct job *job, struct anatomy *anatomy)
{
    const char *folder = getenv("CFN_MRICRON_DIR"), *why = "";
    bool missing = false;
    bool ok = anatomy_read(job->run, anatomy, folder ? folder : default_folder, &missing, &why);
    agree(job->world, ok, missing ? EXIT_NO_INPUT : EXIT_BAD_DATA,
          "demo-corpus: %s\nthe Debian package mricron-data brings it: apt-get install mricron-data", why);
}

/* Class folders, on rank 0. */
static void make_folders(struct job *job, const char *dir)
{
    const char *why = "";
    bool ok = true;
    for (int k = 0; k < ANATOMY_CLASSES && ok && job->world->rank == 0; k++)
        ok = path_make_dirs(job->run, path_join(job->run, dir, anatomy_class_names[k]), &why);
    agree(job->world, ok, EXIT_CANNOT_CREATE, "demo-corpus: %s: %s", dir, why);
}

/* This rank's part of the images. */
static void write_images(struct job *job, const char *dir, const struct anatomy *anatomy,
                         const struct anatomy_sample *samples, int64_t count)
{
    struct span mine = shard_rows(count, job->world->size, job->world->rank);
    const char *why = NULL;
    for (int64_t i = 0; i < mine.count && !why; i++) {
        struct arena_mark mark = arena_mark(job->scratch);
        why = write_image(job->scratch, dir, anatomy, &samples[mine.first + i]);
        if (!why)
            arena_release(job->scratch, mark);
        progress("demo-corpus", "", (double)(i + 1) * job->world->size, (double)count, "img");
    }
    progress_end();
    agree(job->world, !why, EXIT_IO, "demo-corpus: %s", why ? why : "");
}

int stage_demo_corpus(struct job *job)
{
    agree(job->world, job->argc == 1, EXIT_USAGE, "demo-corpus: expected one folder to make\ncfn demo-corpus DIR");
    const char *dir = job->argv[0], *why = "";
    struct anatomy anatomy;
    int64_t count;
    size_t length;
    read_volumes(job, &anatomy);
    struct anatomy_sample *samples = anatomy_samples(job->run, &anatomy, &count);
    agree(job->world, count == 2400, EXIT_BAD_DATA, "demo-corpus: the volumes give %lld images; expected 2400",
          (long long)count);
    char *table = labels_table(job->run, &anatomy, samples, count, &length);

    /* Leave a complete corpus alone; never write over another one. */
    char state[2] = { 0, 0 };
    if (job->world->rank == 0) {
        bool other;
        state[0] = is_complete(job->run, dir, table, length, samples, count, &other);
        state[1] = other;
    }
    world_broadcast(job->world, state, sizeof state, 0);
    if (state[0]) {
        log_info("demo-corpus: %s is complete: %lld images", dir, (long long)count);
        return EXIT_DONE;
    }
    agree(job->world, !state[1] || job->force, EXIT_CANNOT_CREATE,
          "demo-corpus: %s: holds another labels.csv\nname another folder, or give --force", dir);
    if (job->dry_run) {
        log_info("demo-corpus: would write %lld images and labels.csv to %s", (long long)count, dir);
        return EXIT_DONE;
    }
    make_folders(job, dir);
    write_images(job, dir, &anatomy, samples, count);
    bool ok =
        job->world->rank != 0 || file_write(job->run, path_join(job->run, dir, "labels.csv"), table, length, &why);
    agree(job->world, ok, EXIT_IO, "demo-corpus: %s/labels.csv: %s", dir, why);
    log_info("demo-corpus: %lld images of 64 x 64 in %d classes in %s", (long long)count, ANATOMY_CLASSES, dir);
    return EXIT_DONE;
}

static const char *file_name(struct arena *arena, const struct anatomy_sample *s)
{
    return arena_printf(arena, "%s/%s_x%03d_y%03d_z%03d.png", anatomy_class_names[s->class_index],
                        split_name((enum split)s->split), s->x, s->y, s->z);
}

static char *labels_table(struct arena *arena, const struct anatomy *anatomy, const struct anatomy_sample *samples,
                          int64_t count, size_t *length)
{
    struct text out = text_new(arena);
    uint8_t pixels[ANATOMY_SIDE * ANATOMY_SIDE];
    double share[ANATOMY_CLASSES];
    text_add(&out, "path,label,split,aal_region");
    for (int k = 0; k < ANATOMY_CLASSES; k++)
        text_add(&out, ",frac_%s", anatomy_class_names[k]);
    text_add(&out, "\n");
    for (int64_t i = 0; i < count; i++) {
        const struct anatomy_sample *s = &samples[i];
        const char *name = file_name(arena, s);
        int region = anatomy->region[s->x + (int64_t)anatomy->nx * (s->y + (int64_t)anatomy->ny * s->z)];
        anatomy_window(pixels, share, anatomy, s);
        text_add(&out, "%s,%s,%s,%s", name, anatomy_class_names[s->class_index], split_name((enum split)s->split),
                 anatomy->region_name[region]);
        for (int k = 0; k < ANATOMY_CLASSES; k++)
            text_add(&out, ",%.4f", share[k]);
        text_add(&out, "\n");
    }
    *length = out.length;
    return out.data;
}

/* The table is the expected one and every image is there (they are renamed into place when whole). *other: a table of
 * something else. */
static bool is_complete(struct arena *arena, const char *dir, const char *table, size_t length,
                        const struct anatomy_sample *samples, int64_t count, bool *other)
{
    const char *path = path_join(arena, dir, "labels.csv"), *why;
    size_t size;
    *other = file_exists(path);
    char *found = *other ? file_read(arena, path, 64 << 20, &size, &why) : NULL;
    if (!found || size != length || memcmp(found, table, length) != 0)
        return false;
    *other = false;
    for (int64_t i = 0; i < count; i++)
        if (!file_exists(path_join(arena, dir, file_name(arena, &samples[i]))))
            return false;
    return true;
}

/* Writes under a name of its own, then renames: no fsync for each of 2,400 small files, labels.csv tells completeness.
 * Returns NULL or the reason. */
static const char *write_image(struct arena *arena, const char *dir, const struct anatomy *anatomy,
                               const struct anatomy_sample *sample)
{
    uint8_t pixels[ANATOMY_SIDE * ANATOMY_SIDE];
    double share[ANATOMY_CLASSES];
    const char *why;
    size_t size;
    struct image picture = { ANATOMY_SIDE, ANATOMY_SIDE, 1, pixels };
    anatomy_window(pixels, share, anatomy, sample);
    uint8_t *bytes = image_encode_png(arena, &picture, &size, &why);
    if (!bytes)
        return why;
    const char *path = path_join(arena, dir, file_name(arena, sample)), *part = arena_printf(arena, "%s.part", path);
    int file = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool ok = file >= 0;
    for (size_t at = 0; ok && at < size;) {
        ssize_t done = write(file, bytes + at, size - at);
        ok = done > 0 || (done < 0 && errno == EINTR);
        at += done > 0 ? (size_t)done : 0;
    }
    ok = (file < 0 || close(file) == 0) && ok && rename(part, path) == 0;
    return ok ? NULL : arena_printf(arena, "%s: %s", path, strerror(errno));
}
