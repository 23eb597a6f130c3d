/* The files below a data folder: one walk, then everything is found by bisection. */
#include "image/reader/tree.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "image/decode.h"

enum { DEPTH_LIMIT = 64 };

struct names {
    const char **name;
    int64_t count, room;
};
struct walk {
    struct arena *arena;
    const char *root;
    struct names images, others, folders, outer;
    const char *why;
    dev_t device[DEPTH_LIMIT]; /* of the folders entered: a link back to one of them is a circle */
    ino_t inode[DEPTH_LIMIT];
};

static void walk_folder(struct walk *walk, const char *folder, int depth);
static void sort_names(struct names *names);
static const int64_t *order_stems(struct arena *arena, const struct names *images);

const struct tree *tree_list(struct arena *arena, const char *root, const char **why)
{
    char real[PATH_MAX];
    struct tree *tree = arena_array(arena, struct tree, 1);
    struct walk walk = { .arena = arena };
    if (!realpath(root, real)) {
        *why = arena_printf(arena, "%s: cannot be listed: %s", root, strerror(errno));
        return NULL;
    }
    walk.root = arena_strdup(arena, real);
    walk_folder(&walk, "", 0);
    *why = walk.why;
    if (walk.why)
        return NULL;
    sort_names(&walk.images);
    sort_names(&walk.others);
    sort_names(&walk.folders);
    *tree = (struct tree){
        walk.root,          walk.images.count, walk.images.name, walk.others.count, walk.others.name,
        walk.folders.count, walk.folders.name, walk.outer.count, walk.outer.name,   order_stems(arena, &walk.images)
    };
    return tree;
}

static void add_name(struct arena *arena, struct names *names, const char *name)
{
    if (names->count == names->room) {
        int64_t room = names->room ? 2 * names->room : 64;
        const char **bigger = arena_take_raw(arena, (size_t)room, sizeof *bigger);
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

static void sort_names(struct names *names)
{
    if (names->count)
        qsort(names->name, (size_t)names->count, sizeof *names->name, by_bytes);
}

/* A link to a folder: may it be entered? */
static bool stays_below(const struct walk *walk, const char *path, const char *full)
{
    char real[PATH_MAX];
    size_t below = strlen(walk->root);
    if (strcmp(path, "images") == 0 || strcmp(walk->root, "/") == 0)
        return true;
    return realpath(full, real) && strncmp(real, walk->root, below) == 0 && real[below] == '/';
}

static bool is_circle(struct walk *walk, const struct stat *status, int depth)
{
    for (int i = 0; i < depth; i++)
        if (walk->device[i] == status->st_dev && walk->inode[i] == status->st_ino)
            return true;
    return false;
}

/* What readdir does not say is asked of the file: links, and file systems without types. */
static void add_entry(struct walk *walk, const char *path, int type, int depth)
{
    struct stat status;
    bool folder = type == DT_DIR, out = false;
    if (type != DT_DIR && type != DT_REG) {
        const char *full = path_join(walk->arena, walk->root, path);
        bool link = lstat(full, &status) == 0 && S_ISLNK(status.st_mode);
        folder = stat(full, &status) == 0 && S_ISDIR(status.st_mode);
        out = folder && link && !stays_below(walk, path, full);
    }
    if (!folder) {
        add_name(walk->arena, tree_image_name(path) ? &walk->images : &walk->others, path);
    } else if (out) {
        add_name(walk->arena, &walk->outer, path);
    } else {
        add_name(walk->arena, &walk->folders, path);
        walk_folder(walk, path, depth + 1);
    }
}

static void walk_folder(struct walk *walk, const char *folder, int depth)
{
    struct stat status;
    const char *full = *folder ? path_join(walk->arena, walk->root, folder) : walk->root;
    DIR *dir = walk->why ? NULL : opendir(full);
    if (walk->why)
        return;
    if (!dir || depth == DEPTH_LIMIT || stat(full, &status) != 0) {
        walk->why = depth == DEPTH_LIMIT
                        ? arena_printf(walk->arena, "%s: %d folders deep; %d at most", full, depth, DEPTH_LIMIT)
                        : arena_printf(walk->arena, "%s: cannot be listed: %s", full, strerror(errno));
        if (dir)
            closedir(dir);
        return;
    }
    walk->device[depth] = status.st_dev;
    walk->inode[depth] = status.st_ino;
    for (struct dirent *entry; !is_circle(walk, &status, depth) && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, "__MACOSX") != 0)
            add_entry(walk,
                      *folder ? path_join(walk->arena, folder, entry->d_name)
                              : arena_strdup(walk->arena, entry->d_name),
                      entry->d_type, depth);
    closedir(dir);
}

/* ---- stems ---- */

bool tree_image_name(const char *name)
{
    return name[tree_stem_length(name)] == '.';
}

size_t tree_stem_length(const char *name)
{
    const char *slash = strrchr(name, '/'), *own = slash ? slash + 1 : name;
    return image_is_named(own) ? (size_t)(strrchr(own, '.') - name) : strlen(name);
}

struct stem {
    const char *text;
    size_t length;
    int64_t image;
};

static struct stem stem_of(const char *path, int64_t image)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return (struct stem){ name, tree_stem_length(name), image };
}

static int compare_stems(const struct stem *x, const struct stem *y)
{
    size_t shorter = x->length < y->length ? x->length : y->length;
    int order = memcmp(x->text, y->text, shorter);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

static int by_stem(const void *a, const void *b)
{
    const struct stem *x = a, *y = b;
    int order = compare_stems(x, y);
    return order ? order : (x->image > y->image) - (x->image < y->image);
}

static const int64_t *order_stems(struct arena *arena, const struct names *images)
{
    int64_t *order = arena_array(arena, int64_t, images->count + 1);
    struct arena_mark mark = arena_mark(arena);
    struct stem *stems = arena_array(arena, struct stem, images->count + 1);
    for (int64_t i = 0; i < images->count; i++)
        stems[i] = stem_of(images->name[i], i);
    qsort(stems, (size_t)images->count, sizeof *stems, by_stem);
    for (int64_t i = 0; i < images->count; i++)
        order[i] = stems[i].image;
    arena_release(arena, mark);
    return order;
}

int64_t tree_images_of_stem(const struct tree *tree, const char *stem, size_t length, int64_t *first)
{
    struct stem wanted = { stem, length, 0 };
    int64_t low = 0, high = tree->images;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        struct stem here = stem_of(tree->image[tree->by_stem[middle]], 0);
        if (compare_stems(&here, &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *first = low;
    for (high = low; high < tree->images; high++) {
        struct stem here = stem_of(tree->image[tree->by_stem[high]], 0);
        if (compare_stems(&here, &wanted) != 0)
            break;
    }
    return high - low;
}

/* ---- paths ---- */

/* Place of the first name that is not before `path`. */
static int64_t lower_bound(const char *const *names, int64_t count, const char *path)
{
    int64_t low = 0, high = count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (strcmp(names[middle], path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_among(const char *const *names, int64_t count, const char *path)
{
    int64_t at = lower_bound(names, count, path);
    return at < count && strcmp(names[at], path) == 0;
}

bool tree_has(const struct tree *tree, const char *path)
{
    return is_among(tree->other, tree->others, path) || is_among(tree->image, tree->images, path);
}

bool tree_has_folder(const struct tree *tree, const char *folder)
{
    return is_among(tree->folder, tree->folders, folder);
}

int64_t tree_image(const struct tree *tree, const char *path)
{
    int64_t at = lower_bound(tree->image, tree->images, path);
    return at < tree->images && strcmp(tree->image[at], path) == 0 ? at : -1;
}

/* "a/" and what follows it: '0' is the byte behind '/'. */
int64_t tree_images_below(const struct tree *tree, const char *folder, int64_t *first)
{
    char from[PATH_MAX + 2];
    size_t length = strlen(folder);
    *first = 0;
    if (length == 0)
        return tree->images;
    if (length >= PATH_MAX)
        return 0;
    memcpy(from, folder, length);
    memcpy(from + length, "/", 2);
    *first = lower_bound(tree->image, tree->images, from);
    from[length] = '/' + 1;
    return lower_bound(tree->image, tree->images, from) - *first;
}

/* ---- what else is there ---- */

/* ".nii.gz" and ".csv.gz" are kinds of their own. */
static const char *ending_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    if (!dot || dot == name)
        return "";
    if (strcmp(dot, ".gz") == 0)
        for (const char *at = dot - 1; at > name; at--)
            if (*at == '.')
                return at;
    return dot;
}

struct kind {
    const char *ending;
    int64_t count;
};

static int by_count(const void *a, const void *b)
{
    const struct kind *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count) - (x->count > y->count) : strcmp(x->ending, y->ending);
}

const char *tree_kinds(struct arena *arena, const struct tree *tree)
{
    struct names endings = { 0 };
    struct kind *kinds = arena_array(arena, struct kind, tree->others + 1);
    struct text out = text_new(arena);
    int64_t count = 0, said = 0;
    for (int64_t i = 0; i < tree->others; i++)
        add_name(arena, &endings, ending_of(tree->other[i]));
    sort_names(&endings);
    for (int64_t i = 0; i < endings.count; i++) {
        if (count == 0 || strcmp(kinds[count - 1].ending, endings.name[i]) != 0)
            kinds[count++].ending = endings.name[i];
        kinds[count - 1].count++;
    }
    qsort(kinds, (size_t)count, sizeof *kinds, by_count);
    for (; said < count && said < 8; said++)
        text_add(&out, "%s%lld %s", said ? ", " : "", (long long)kinds[said].count,
                 *kinds[said].ending ? kinds[said].ending : "without ending");
    if (said < count)
        text_add(&out, ", %lld other kinds", (long long)(count - said));
    return out.data;
}
