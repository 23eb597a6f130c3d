/* IDX, the format of MNIST: NAME-images-idx3-ubyte beside NAME-labels-idx1-ubyte, plain or compressed, where NAME ends
 * with train or t10k. */
#include <string.h>

#include "base/arena.h"
#include "image/reader/sets/arrays.h"
#include "image/reader/sets/collection.h"

static const struct {
    const char *word;
    enum split split;
} parts[] = { { "train", SPLIT_TRAIN }, { "val", SPLIT_VAL }, { "t10k", SPLIT_TEST }, { "test", SPLIT_TEST } };
enum { PARTS = sizeof parts / sizeof *parts };

/* Length of what stands before "train-images-idx3-ubyte" in a file's name; -1 when the name is of another form. */
static int64_t prefix_length(const char *name)
{
    static const char *const ends[] = { "train-images-idx3-ubyte", "train-images.idx3-ubyte",
                                        "train-images-idx4-ubyte" };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const char *at = strstr(name, ends[i]);
        if (at && (at[strlen(ends[i])] == '\0' || strcmp(at + strlen(ends[i]), ".gz") == 0))
            return at - name;
    }
    return -1;
}

/* Prefixes of the collections below root, each once: how many; paths of the first's training images in *path. */
static int find_sets(const struct reading *reading, const char **path, struct text *all)
{
    const char *stated = collection_stated(reading);
    int found = 0;
    *path = NULL;
    for (int64_t i = 0; i < reading->tree->others; i++) {
        const char *one = reading->tree->other[i], *name = collection_name(one);
        int64_t length = prefix_length(name);
        size_t whole = (size_t)(name - one) + (size_t)(length < 0 ? 0 : length);
        bool again = *path && strncmp(*path, one, whole) == 0 && prefix_length(collection_name(*path)) == length;
        bool wanted = !stated || strncmp(stated, one, whole + strlen("train-")) == 0;
        if (length < 0 || again || !wanted)
            continue;
        if (found++ == 0)
            *path = one;
        text_add(all, "%s%s", found > 1 ? ", " : "", one);
    }
    return found;
}

static const char *recognise(struct reading *reading)
{
    const char *path;
    struct text all = text_new(reading->arena);
    return find_sets(reading, &path, &all) ? all.data : NULL;
}

/* The file "FOLDER/PREFIXtrain-labels-idx1-ubyte" in any of its spellings; NULL. */
static const char *find_part(const struct reading *reading, const char *folder_and_prefix, const char *part,
                             const char *what)
{
    static const char *const signs[] = { "-", "." }, *const ends[] = { "", ".gz" };
    for (char extents = '1'; extents <= '4'; extents++)
        for (int k = 0; k < 4; k++) {
            const char *path = arena_printf(reading->arena, "%s%s-%s%sidx%c-ubyte%s", folder_and_prefix, part, what,
                                            signs[k / 2], extents, ends[k % 2]);
            if (tree_has(reading->tree, path))
                return path;
        }
    return NULL;
}

static bool read_parts(struct reading *reading, const char *prefix, struct array_split *splits)
{
    for (int k = 0; k < PARTS; k++) {
        struct array_split *s = &splits[k];
        *s = (struct array_split){ .split = parts[k].split, .word = parts[k].word, .images = "", .labels = "" };
        s->file = find_part(reading, prefix, parts[k].word, "images");
        s->labels_file = find_part(reading, prefix, parts[k].word, "labels");
        if (s->file && !s->labels_file)
            return reading_fail(reading, EXIT_NO_INPUT, "%s: its labels are missing: %s%s-labels-idx1-ubyte", s->file,
                                prefix, parts[k].word);
        if (s->file && !array_split_read(reading, s))
            return false;
    }
    return true;
}

static bool read_idx(struct reading *reading, struct manifest *out)
{
    struct text all = text_new(reading->arena);
    struct array_split splits[PARTS];
    const char *path;
    int found = find_sets(reading, &path, &all);
    if (found == 0)
        return reading_fail(reading, EXIT_NO_INPUT, "%s: no train-images-idx3-ubyte", reading->request->root);
    if (found > 1)
        return reading_fail(
            reading, EXIT_BAD_DATA,
            "%s: several collections: %s\nset pack.reader: idx and pack.labels: to the train-labels file of "
            "one of them",
            reading->request->root, all.data);
    const char *name = collection_name(path);
    int length = (int)(name - path + prefix_length(name));
    return read_parts(reading, arena_printf(reading->arena, "%.*s", length, path), splits) &&
           arrays_fill(reading, out, splits, PARTS, NULL, 0);
}

const struct manifest_reader reader_idx = {
    .name = "idx",
    .help = "IDX, as MNIST and Debian's dataset-fashion-mnist: train-images-idx3-ubyte, t10k-images-idx3-ubyte, labels",
    .recognise = recognise,
    .tables = (const char *const[]){ "*-ubyte*", NULL },
    .takes_table = true,
    .read = read_idx,
};
