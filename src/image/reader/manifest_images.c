/* Which file a table means. As written first; else what its text ends with or leaves away must lead to one image of the
 * folder, in the same way for all rows: a file that is missing is not replaced by one of the same name elsewhere. */
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/file.h"
#include "image/reader/reader.h"

/* How a row was found; the higher, the more was guessed. */
enum way { AS_WRITTEN, ENDING, IN_FOLDER, LESS_FOLDERS, NOWHERE, WAYS };

struct hit {
    enum way way;
    int64_t image, other; /* of the tree; another that fits as well, or -1 */
    size_t dropped;       /* bytes of the text before what was matched */
};

/* "img\a.png", "./img//a.png" and "/data/root/img/a.png" -> "img/a.png". */
static const char *plain_path(struct reading *reading, const char *text)
{
    const char *root = reading->tree->root, *given = reading->request->root;
    char *path = arena_strdup(reading->arena, text), *to = path;
    if (!strchr(path, '/'))
        for (char *at = path; *at; at++)
            *at = *at == '\\' ? '/' : *at;
    for (const char *at = path; *at; at++) {
        bool start = at == path || at[-1] == '/';
        if (*at == '/' && to > path && to[-1] == '/')
            continue;
        if (start && at[0] == '.' && at[1] == '/') {
            at++;
            continue;
        }
        *to++ = *at;
    }
    *to = '\0';
    const char *roots[] = { root, given };
    for (int i = 0; i < 2; i++) {
        size_t length = strlen(roots[i]);
        while (length > 1 && roots[i][length - 1] == '/')
            length--;
        if (*roots[i] == '/' && strncmp(path, roots[i], length) == 0 && path[length] == '/')
            return path + length + 1;
    }
    return path;
}

/* Does the name of the image agree with the text's: the same, or its ending missing or of another case? */
static bool same_name(const char *text, const char *image)
{
    size_t stem = tree_stem_length(text);
    return text[stem] == '\0' || strcasecmp(text + stem, image + tree_stem_length(image)) == 0;
}

/* Bytes at the end of `text` without its ending that are whole parts of the end of `path` without its ending. */
static size_t common_tail(const char *text, const char *path)
{
    size_t n = tree_stem_length(text), m = tree_stem_length(path), same = 0, whole = 0;
    while (same < n && same < m && text[n - 1 - same] == path[m - 1 - same]) {
        same++;
        if ((same == n || text[n - 1 - same] == '/') && (same == m || path[m - 1 - same] == '/'))
            whole = same;
    }
    return whole;
}

static struct hit find(const struct tree *tree, const char *text)
{
    int64_t exact = tree_image(tree, text), first;
    if (exact >= 0 || tree_has(tree, text))
        return (struct hit){ AS_WRITTEN, exact, -1, 0 };
    struct hit best = { NOWHERE, -1, -1, 0 };
    if (!path_is_below(text + (*text == '/')))
        return best;
    const char *slash = strrchr(text, '/'), *name = slash ? slash + 1 : text;
    size_t stem = tree_stem_length(text), most = 0;
    int64_t count = tree_images_of_stem(tree, name, stem - (size_t)(name - text), &first);
    for (int64_t i = first; i < first + count; i++) {
        const char *path = tree->image[tree->by_stem[i]];
        size_t tail = common_tail(text, path);
        if (!same_name(text, path) || tail < most)
            continue;
        enum way way = tail < stem ? LESS_FOLDERS : tail == tree_stem_length(path) ? ENDING : IN_FOLDER;
        bool tie = tail == most && best.way == way;
        if (tail == most && best.way < way)
            continue;
        best = (struct hit){ way, tie ? best.image : tree->by_stem[i], tie ? tree->by_stem[i] : -1, stem - tail };
        most = tail;
    }
    return best;
}

static void say_found(struct reading *reading, const struct manifest *out, const int64_t *counts, const char *prefix,
                      size_t dropped)
{
    if (counts[ENDING])
        reading_note(reading,
                     "%s: %lld of %lld images are found with an ending that is not written, or in another case",
                     out->source, (long long)counts[ENDING], (long long)out->rows);
    if (counts[IN_FOLDER])
        reading_note(reading, "%s: %lld of %lld images are found by name in folders that are not written", out->source,
                     (long long)counts[IN_FOLDER], (long long)out->rows);
    if (counts[LESS_FOLDERS])
        reading_note(reading, "%s: paths begin with '%.*s', which is left away", out->source, (int)dropped, prefix);
}

static bool ambiguous(struct reading *reading, const struct manifest *out, int64_t row, const char *text,
                      const struct hit *hit)
{
    const struct tree *tree = reading->tree;
    return reading_fail(reading, EXIT_BAD_DATA, "%s: '%.200s' may mean %s or %s\nwrite the path below the data folder",
                        manifest_place(reading->arena, out, row), text, tree->image[hit->image],
                        tree->image[hit->other]);
}

/* The loosest way that is allowed: when a path is right as written, no other is taken apart; and all that leave folders
 * away leave the same. */
static enum way loosest(const struct hit *hits, const char *const *texts, int64_t rows)
{
    int64_t model = -1;
    for (int64_t i = 0; i < rows; i++)
        if (hits[i].way <= ENDING)
            return ENDING;
    for (int64_t i = 0; i < rows; i++) {
        if (hits[i].way == IN_FOLDER)
            return IN_FOLDER;
        if (hits[i].way != LESS_FOLDERS)
            continue;
        if (model < 0)
            model = i;
        if (hits[i].dropped != hits[model].dropped || strncmp(texts[i], texts[model], hits[i].dropped) != 0)
            return IN_FOLDER;
    }
    return LESS_FOLDERS;
}

bool manifest_find_images(struct reading *reading, struct manifest *out, const char *const *texts)
{
    const struct tree *tree = reading->tree;
    int64_t rows = out->rows, counts[WAYS] = { 0 }, model = -1;
    struct hit *hits = arena_array(reading->arena, struct hit, rows + 1);
    const char **plain = arena_array(reading->arena, const char *, rows + 1);
    for (int64_t i = 0; i < rows; i++) {
        plain[i] = plain_path(reading, texts[i]);
        hits[i] = find(tree, plain[i]);
    }
    enum way limit = loosest(hits, plain, rows);
    for (int64_t i = 0; i < rows; i++) {
        bool taken = hits[i].way <= limit && hits[i].image >= 0;
        if (taken && hits[i].other >= 0)
            return ambiguous(reading, out, i, texts[i], &hits[i]);
        out->path[i] = taken ? tree->image[hits[i].image] : plain[i];
        counts[taken ? hits[i].way : NOWHERE]++;
        if (taken && hits[i].way == LESS_FOLDERS)
            model = i;
    }
    int64_t used = rows - counts[NOWHERE];
    if (used < tree->images)
        reading_note(reading, "%s: %lld of %lld images of the folder are in no row: left out", out->source,
                     (long long)(tree->images - used), (long long)tree->images);
    say_found(reading, out, counts, model >= 0 ? plain[model] : "", model >= 0 ? hits[model].dropped : 0);
    return true;
}
