/* Class folders: train, val and test with one folder per class in each, or class folders alone, split by the hash of
 * the name. Images anywhere below a class folder are of that class. A folder's name becomes a label only when nothing
 * speaks against it: names of splits and of parts of archives, tables that nobody read, and single classes are refused.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/file.h"
#include "image/reader/reader.h"

struct names {
    const char **name;
    int64_t count;
};
struct layout_found {
    const char *base;     /* folder below root that holds classes or splits: "" or "chest_xray/" */
    struct names top;     /* folders of it that hold images */
    bool splits;          /* they are train, val, test */
    struct names classes; /* in byte order */
};

static bool find_layout(struct reading *reading, struct layout_found *found);
static bool refuse(struct reading *reading, const struct layout_found *found);
static bool check_others(struct reading *reading);
static bool take_images(struct reading *reading, struct manifest *out, const struct layout_found *found);

static bool asked_for(const struct reading *reading)
{
    return strcmp(reading->request->pack->reader, "class_folders") == 0;
}

static const char *recognise(struct reading *reading)
{
    return reading->tree->images ? arena_printf(reading->arena, "%lld images in folders, and no table or list of them",
                                                (long long)reading->tree->images)
                                 : NULL;
}

/* What to do with files that are not read; docs/data.md when they are of no known kind. */
static const char *remedy(const struct tree *tree)
{
    static const struct {
        const char *ending, *remedy;
    } kinds[] = {
        { ".dcm", "DICOM is not read: convert it to PNG or TIFF of 16 bits (docs/data.md)" },
        { ".nii.gz", "volumes are not read: export slices as PNG (docs/data.md)" },
        { ".nii", "volumes are not read: export slices as PNG (docs/data.md)" },
        { ".zip", "unpack the archives (docs/data.md)" },
        { ".tar", "unpack the archives (docs/data.md)" },
        { ".gz", "unpack the archives (docs/data.md)" },
        { ".tgz", "unpack the archives (docs/data.md)" },
        { ".parquet", "export the images as files, with a table of their labels (docs/data.md)" },
        { ".arrow", "export the images as files, with a table of their labels (docs/data.md)" },
        { ".npy",
          "arrays are not read as images, but those of .npz files that a reader knows: save PNG (docs/data.md)" },
        { ".gif", "convert the files to PNG (docs/data.md)" },
        { ".jp2", "convert the files to PNG (docs/data.md)" },
    };
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        for (int64_t i = 0; i < tree->others; i++)
            if (text_ends(tree->other[i], kinds[k].ending))
                return kinds[k].remedy;
    return "docs/data.md says which folders are read";
}

static bool read_folders(struct reading *reading, struct manifest *out)
{
    const struct tree *tree = reading->tree;
    const char *root = reading->request->root;
    struct layout_found found;
    if (tree->outside)
        return reading_fail(reading, EXIT_BAD_DATA,
                            "%s/%s: a link that leads out of the data folder; only %s/images may be one", root,
                            tree->outer[0], root);
    if (tree->images == 0)
        return reading_fail(reading, EXIT_NO_INPUT, "%s: no images%s%s\n%s", root, tree->others ? "; seen: " : "",
                            tree->others ? tree_kinds(reading->arena, tree) : "", remedy(tree));
    return check_others(reading) && find_layout(reading, &found) && refuse(reading, &found) &&
           take_images(reading, out, &found);
}

const struct manifest_reader reader_class_folders = {
    .name = "class_folders",
    .help = "folders named by class, below train/, val/ and test/ or alone",
    .recognise = recognise,
    .read = read_folders,
};

/* ---- which folders are the classes ---- */

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool has_name(const struct names *names, const char *name, size_t length)
{
    for (int64_t i = 0; i < names->count; i++)
        if (strncmp(names->name[i], name, length) == 0 && names->name[i][length] == '\0')
            return true;
    return false;
}

/* Folders right below `base` that hold images, in byte order; images beside them are counted in *beside. */
static struct names folders_of(struct reading *reading, const char *base, const char **beside)
{
    const struct tree *tree = reading->tree;
    size_t skip = strlen(base);
    int64_t room = 0, first, count;
    struct names out = { 0 };
    *beside = NULL;
    count = tree_images_below(tree, arena_printf(reading->arena, "%.*s", skip ? (int)skip - 1 : 0, base), &first);
    for (int64_t i = first; i < first + count; i++) {
        const char *name = tree->image[i] + skip, *slash = strchr(name, '/');
        if (!slash)
            *beside = *beside ? *beside : tree->image[i];
        size_t length = slash ? (size_t)(slash - name) : 0;
        const char *last = out.count ? out.name[out.count - 1] : "";
        if (!slash || (strncmp(last, name, length) == 0 && last[length] == '\0') || has_name(&out, name, length))
            continue;
        if (out.count == room) {
            const char **bigger = arena_array(reading->arena, const char *, room = 2 * room + 16);
            if (out.count)
                memcpy(bigger, out.name, (size_t)out.count * sizeof *bigger);
            out.name = bigger;
        }
        out.name[out.count++] = arena_printf(reading->arena, "%.*s", (int)length, name);
    }
    if (out.count)
        qsort(out.name, (size_t)out.count, sizeof *out.name, by_bytes);
    return out;
}

static bool any_split(const struct names *names)
{
    for (int64_t i = 0; i < names->count; i++)
        if (manifest_split(names->name[i]) >= 0)
            return true;
    return false;
}

static bool no_class(struct reading *reading, const char *image)
{
    return reading_fail(reading, EXIT_BAD_DATA,
                        "%s/%s: an image that lies in no class folder\nput it into one, or name a table by pack.labels",
                        reading->request->root, image);
}

/* Classes are the folders of the training split. */
static bool find_classes(struct reading *reading, struct layout_found *found)
{
    const char *beside, *train = NULL, *root = reading->request->root;
    struct text odd = text_new(reading->arena);
    for (int64_t i = 0; i < found->top.count; i++) {
        int split = manifest_split(found->top.name[i]);
        if (split < 0)
            text_add(&odd, "%s%s", odd.length ? ", " : "", found->top.name[i]);
        if (split == SPLIT_TRAIN && train)
            return reading_fail(reading, EXIT_BAD_DATA, "%s: both %s and %s mean the training split", root, train,
                                found->top.name[i]);
        if (split == SPLIT_TRAIN)
            train = found->top.name[i];
    }
    if (odd.length && reading->request->pack->on_bad != ON_BAD_SKIP)
        return reading_fail(reading, EXIT_BAD_DATA,
                            "%s/%s: beside folders of splits there are others with images: %s\n"
                            "take them away, or set pack.on_bad: skip to leave them out",
                            root, found->base, odd.data);
    if (odd.length)
        reading_note(reading, "images in folders beside the splits are left out: %s", odd.data);
    if (!train)
        return reading_fail(reading, EXIT_BAD_DATA, "%s/%s: folders of splits without one for training", root,
                            found->base);
    found->classes = folders_of(reading, arena_printf(reading->arena, "%s%s/", found->base, train), &beside);
    return !beside || no_class(reading, beside);
}

static bool find_layout(struct reading *reading, struct layout_found *found)
{
    const char *beside;
    *found = (struct layout_found){ .base = "", .top = folders_of(reading, "", &beside) };
    /* One folder too many, as archives unpack: chest_xray/train, chest_xray/test. */
    for (;;) {
        if (found->top.count != 1 || beside || manifest_split(found->top.name[0]) >= 0)
            break;
        const char *below = arena_printf(reading->arena, "%s%s/", found->base, found->top.name[0]), *there;
        struct names inner = folders_of(reading, below, &there);
        if (there || inner.count == 0 || (inner.count > 1 && !any_split(&inner)))
            break;
        found->base = below;
        found->top = inner;
    }
    if (beside)
        return no_class(reading, beside);
    if (*found->base)
        reading_note(reading, "the splits are those below %s", found->base);
    found->splits = any_split(&found->top);
    found->classes = found->top;
    return !found->splits || find_classes(reading, found);
}

/* ---- what is no class ---- */

/* "HAM10000_images_part_1", "images_001", "patient00012": parts of an archive, or people. */
static bool is_part(const char *name)
{
    static const char *const words[] = { "part",   "images", "image", "img",     "imgs",    "archive", "chunk", "batch",
                                         "folder", "fold",   "shard", "patient", "subject", "study",   "series" };
    size_t length = strlen(name), end = length;
    while (end > 0 && name[end - 1] >= '0' && name[end - 1] <= '9')
        end--;
    if (end == length)
        return false;
    while (end > 0 && strchr(" _-.", name[end - 1]))
        end--;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t word = strlen(words[i]);
        if (end >= word && strncasecmp(name + end - word, words[i], word) == 0 &&
            (end == word || strchr(" _-.", name[end - word - 1])))
            return true;
    }
    return false;
}

/* "ISIC2018_Task3_Training_Input": a word of the name means a split. */
static bool names_split(struct arena *arena, const char *name)
{
    while (*name) {
        size_t length = strcspn(name, " _-.,()");
        if (manifest_split(arena_printf(arena, "%.*s", (int)length, name)) >= 0)
            return true;
        name += length + (name[length] != '\0');
    }
    return false;
}

static bool class_holds(struct reading *reading, const struct layout_found *found, const char *name)
{
    int64_t first;
    for (int64_t i = 0; i < found->top.count; i++)
        if (!found->splits || manifest_split(found->top.name[i]) == SPLIT_TRAIN) {
            const char *folder = found->splits
                                     ? arena_printf(reading->arena, "%s%s/%s", found->base, found->top.name[i], name)
                                     : arena_printf(reading->arena, "%s%s", found->base, name);
            if (tree_images_below(reading->tree, folder, &first))
                return true;
        }
    return false;
}

/* A folder beside the classes without a single image is more likely one that does not belong here. */
static bool classes_are_used(struct reading *reading, const struct layout_found *found)
{
    const struct tree *tree = reading->tree;
    const char *base = found->base;
    for (int64_t i = 0; found->splits && i < found->top.count; i++)
        if (manifest_split(found->top.name[i]) == SPLIT_TRAIN)
            base = arena_printf(reading->arena, "%s%s/", found->base, found->top.name[i]);
    for (int64_t i = 0; i < tree->folders; i++) {
        if (!text_starts(tree->folder[i], base))
            continue;
        const char *name = tree->folder[i] + strlen(base);
        if (*name && !strchr(name, '/') && !class_holds(reading, found, name))
            return reading_fail(reading, EXIT_BAD_DATA,
                                "%s: class folder '%s' holds no images; expected images in every class folder",
                                reading->request->root, name);
    }
    return true;
}

static bool refuse_class(struct reading *reading, const struct layout_found *found, const char *name)
{
    const char *root = reading->request->root, *beside;
    if (manifest_split(name) >= 0 || (names_split(reading->arena, name) && !asked_for(reading)))
        return reading_fail(reading, EXIT_BAD_DATA,
                            "%s: folder '%s' would become a class, but its name means a split\n"
                            "expected train/CLASS/..., or name a table of labels by pack.labels",
                            root, name);
    if (is_part(name))
        return reading_fail(
            reading, EXIT_BAD_DATA,
            "%s: folder '%s' would become a class, but it looks like a part of an archive or a patient\n"
            "name the table of labels by pack.labels; its images are found in all folders",
            root, name);
    const char *folder = arena_printf(reading->arena, "%s%s/", found->base, name);
    struct names inner = found->splits ? (struct names){ 0 } : folders_of(reading, folder, &beside);
    return !any_split(&inner) ||
           reading_fail(reading, EXIT_BAD_DATA,
                        "%s: class folder '%s' holds folders of splits\nexpected train/%s/..., not %s/train/...", root,
                        name, name, name);
}

static bool refuse(struct reading *reading, const struct layout_found *found)
{
    for (int64_t i = 0; i < found->classes.count; i++)
        if (!refuse_class(reading, found, found->classes.name[i]))
            return false;
    if (found->classes.count < 2)
        return reading_fail(reading, EXIT_BAD_DATA,
                            "%s: one class only%s%s; expected a folder for each of several classes\n"
                            "set root: to the folder that holds the classes, or name a table by pack.labels",
                            reading->request->root, found->classes.count ? ", folder " : "",
                            found->classes.count ? found->classes.name[0] : "");
    return classes_are_used(reading, found);
}

/* Files that may say what the images are. */
static const char *unread_source(struct arena *arena, const struct tree *tree)
{
    static const char *const endings[] = { ".csv",     ".tsv", ".tab", ".xls", ".xlsx",   ".ods",    ".json",
                                           ".jsonl",   ".npz", ".npy", ".gz",  ".bz2",    ".xz",     ".zip",
                                           ".tar",     ".tgz", ".7z",  ".rar", ".h5",     ".hdf5",   ".arrow",
                                           ".parquet", ".mat", ".p",   ".pkl", ".pickle", ".sqlite", ".db" };
    for (int64_t i = 0; i < tree->others; i++) {
        const char *slash = strrchr(tree->other[i], '/'), *name = slash ? slash + 1 : tree->other[i];
        if (text_ends(name, ".txt") &&
            (names_split(arena, name) || strcasestr(name, "label") || strcasestr(name, "annot")))
            return tree->other[i]; /* train.txt, labels.txt: a list */
        for (size_t k = 0; k < sizeof endings / sizeof endings[0]; k++) {
            size_t length = strlen(tree->other[i]), tail = strlen(endings[k]);
            if (length > tail && strcasecmp(tree->other[i] + length - tail, endings[k]) == 0)
                return tree->other[i];
        }
    }
    return NULL;
}

static bool check_others(struct reading *reading)
{
    const struct tree *tree = reading->tree;
    const struct pack_config *pack = reading->request->pack;
    const char *root = reading->request->root, *source = unread_source(reading->arena, tree);
    if (source && !asked_for(reading))
        return reading_fail(
            reading, EXIT_BAD_DATA,
            "%s: folder names would become labels, but there is %s, which no reader knows\n"
            "name a table by pack.labels; set pack.reader: class_folders if the folders are the classes",
            root, source);
    const char *kinds = tree_kinds(reading->arena, tree);
    int64_t others = tree->others - tree_has(tree, pack->labels); /* which groups may be joined from */
    if (others * 10 > tree->images + others && pack->on_bad != ON_BAD_SKIP)
        return reading_fail(reading, EXIT_BAD_DATA,
                            "%s: %lld images, but also files that are not read as images: %s\n"
                            "set pack.on_bad: skip to leave them out",
                            root, (long long)tree->images, kinds);
    if (others)
        reading_note(reading, "%s: files of other kinds are left out: %s", root, kinds);
    return true;
}

/* ---- the rows ---- */

/* Images of the class folders below `folder` ("train/"); split -1: by the hash of the path. */
static bool take_folder(struct reading *reading, struct manifest *out, const char *folder, int split)
{
    const struct pack_config *pack = reading->request->pack;
    const struct tree *tree = reading->tree;
    const char *beside;
    struct names here = folders_of(reading, folder, &beside);
    if (beside)
        return no_class(reading, beside);
    for (int64_t k = 0; k < here.count; k++) {
        const char *class_folder = arena_printf(reading->arena, "%s%s", folder, here.name[k]);
        int64_t first, count = tree_images_below(tree, class_folder, &first), label = 0;
        while (label < out->classes && strcmp(out->class_names[label], here.name[k]) != 0)
            label++;
        if (label == out->classes)
            return reading_fail(reading, EXIT_BAD_DATA,
                                "%s/%s: unknown class '%s'; expected one of the folders of the training split",
                                reading->request->root, class_folder, here.name[k]);
        for (int64_t i = first; i < first + count; i++) {
            const char *path = tree->image[i];
            out->path[out->rows] = path;
            out->split[out->rows] =
                split >= 0 ? (uint8_t)split : manifest_hash_split(path, pack->val_fraction, pack->test_fraction);
            out->label[out->rows++] = (int32_t)label;
        }
    }
    return true;
}

static bool take_images(struct reading *reading, struct manifest *out, const struct layout_found *found)
{
    manifest_start(reading, out, reading->request->root, reading->tree->images, false);
    out->rows = 0;
    out->classes = (int)found->classes.count;
    out->class_names = found->classes.name;
    out->label = arena_array(reading->arena, int32_t, reading->tree->images + 1);
    reading->split_made = !found->splits;
    if (!found->splits)
        return take_folder(reading, out, found->base, -1);
    for (int split = 0; split < SPLITS; split++)
        for (int64_t i = 0; i < found->top.count; i++)
            if (manifest_split(found->top.name[i]) == split &&
                !take_folder(reading, out, arena_printf(reading->arena, "%s%s/", found->base, found->top.name[i]),
                             split))
                return false;
    return true;
}
