/* Class folders: train, val and test with one folder per class in each, or class
 * folders alone, split by the hash of the name. Classes and files in byte order. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "image/corpus.h"
#include "image/decode.h"
#include "image/manifest.h"

struct names {
    const char **name;
    int64_t count, room;
};
struct scan {
    struct arena *arena;
    struct manifest_problem *problem;
    const char *root;
    struct names classes, paths;
    int32_t *label; /* as paths; rooms grow together */
    uint8_t *split;
    int64_t room, ignored;
};

static bool list_folder(struct scan *scan, struct names *out, const char *folder, bool folders);
static bool scan_split(struct scan *scan, const char *folder, int split);
static int64_t find_name(const struct names *names, const char *name);
static bool classes_are_used(const struct scan *scan);

bool manifest_from_folders(struct arena *arena, struct manifest *out, const struct manifest_request *request,
                           struct manifest_problem *problem)
{
    struct scan scan = { .arena = arena, .problem = problem, .root = request->root };
    struct names top = { 0 };
    if (!list_folder(&scan, &top, "", true))
        return false;
    bool split_folders = find_name(&top, "train") >= 0;
    if (split_folders) {
        if (!list_folder(&scan, &scan.classes, "train", true))
            return false;
        for (int split = 0; split < SPLITS; split++)
            for (int64_t i = 0; i < top.count; i++)
                if (manifest_split(top.name[i]) == split && !scan_split(&scan, top.name[i], split))
                    return false;
    } else {
        scan.classes = top;
        if (!scan_split(&scan, "", -1))
            return false;
        for (int64_t i = 0; i < scan.paths.count; i++)
            scan.split[i] = manifest_hash_split(scan.paths.name[i], request->val_fraction, request->test_fraction);
    }
    if (scan.ignored)
        log_warn("%s: %lld files that are not named as images (%s) are left out", request->root,
                 (long long)scan.ignored, image_endings(arena));
    *out = (struct manifest){ .rows = scan.paths.count,
                              .source = request->root,
                              .path = scan.paths.name,
                              .id = scan.paths.name,
                              .split = scan.split,
                              .label = scan.label,
                              .classes = (int)scan.classes.count,
                              .class_names = scan.classes.name };
    return out->rows == 0 || classes_are_used(&scan);
}

/* A class without a single image is more likely a folder that does not belong here. */
static bool classes_are_used(const struct scan *scan)
{
    bool *used = arena_array(scan->arena, bool, scan->classes.count + 1);
    for (int64_t i = 0; i < scan->paths.count; i++)
        used[scan->label[i]] = true;
    for (int64_t k = 0; k < scan->classes.count; k++)
        if (!used[k])
            return manifest_fail(scan->problem, EXIT_BAD_DATA,
                                 "%s: class folder '%s' holds no image (%s); expected images in every class folder",
                                 scan->root, scan->classes.name[k], image_endings(scan->arena));
    return true;
}

static int64_t find_name(const struct names *names, const char *name)
{
    for (int64_t i = 0; i < names->count; i++)
        if (strcmp(names->name[i], name) == 0)
            return i;
    return -1;
}

static void add_name(struct arena *arena, struct names *names, const char *name)
{
    if (names->count == names->room) {
        int64_t room = names->room ? 2 * names->room : 64;
        const char **bigger = arena_array(arena, const char *, room);
        if (names->count)
            memcpy(bigger, names->name, (size_t)names->count * sizeof *bigger);
        names->name = bigger;
        names->room = room;
    }
    names->name[names->count++] = name;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_folder(const char *path, const struct dirent *entry)
{
    struct stat status;
    if (entry->d_type == DT_DIR || entry->d_type == DT_REG)
        return entry->d_type == DT_DIR;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* Sorted names in root/folder: its folders, or its images. Hidden names are passed over. */
static bool list_folder(struct scan *scan, struct names *out, const char *folder, bool folders)
{
    const char *path = *folder ? path_join(scan->arena, scan->root, folder) : scan->root;
    DIR *dir = opendir(path);
    if (!dir)
        return manifest_fail(scan->problem, EXIT_NO_INPUT, "%s: cannot be listed: %s", path, strerror(errno));
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        struct arena_mark mark = arena_mark(scan->arena);
        bool inner = is_folder(path_join(scan->arena, path, entry->d_name), entry);
        arena_release(scan->arena, mark);
        if (inner == folders && (folders || image_is_named(entry->d_name)))
            add_name(scan->arena, out, arena_strdup(scan->arena, entry->d_name));
        else if (!folders)
            scan->ignored++;
    }
    closedir(dir);
    if (out->count)
        qsort(out->name, (size_t)out->count, sizeof *out->name, by_bytes);
    return true;
}

static void add_image(struct scan *scan, const char *path, int32_t label, int split)
{
    add_name(scan->arena, &scan->paths, path);
    if (scan->paths.room != scan->room) {
        int32_t *bigger_label = arena_array(scan->arena, int32_t, scan->paths.room);
        uint8_t *bigger_split = arena_array(scan->arena, uint8_t, scan->paths.room);
        if (scan->room) {
            memcpy(bigger_label, scan->label, (size_t)scan->room * sizeof *bigger_label);
            memcpy(bigger_split, scan->split, (size_t)scan->room);
        }
        scan->label = bigger_label;
        scan->split = bigger_split;
        scan->room = scan->paths.room;
    }
    scan->label[scan->paths.count - 1] = label;
    scan->split[scan->paths.count - 1] = (uint8_t)(split < 0 ? 0 : split);
}

static bool scan_split(struct scan *scan, const char *folder, int split)
{
    struct names classes = { 0 };
    if (!list_folder(scan, &classes, folder, true))
        return false;
    for (int64_t k = 0; k < classes.count; k++) {
        int64_t label = find_name(&scan->classes, classes.name[k]);
        const char *class_folder = *folder ? path_join(scan->arena, folder, classes.name[k]) : classes.name[k];
        struct names files = { 0 };
        if (label < 0)
            return manifest_fail(scan->problem, EXIT_BAD_DATA,
                                 "%s/%s: unknown class '%s'; expected one of the folders of %s/train", scan->root,
                                 class_folder, classes.name[k], scan->root);
        if (!list_folder(scan, &files, class_folder, false))
            return false;
        for (int64_t i = 0; i < files.count; i++)
            add_image(scan, path_join(scan->arena, class_folder, files.name[i]), (int32_t)label, split);
    }
    return true;
}
