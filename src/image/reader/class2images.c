/* class2images_{train,val,test}.p: pickles of dict[class name, list of file
 * names below images/], as the published scripts use them. The order of the
 * keys of the train file is the class index. Keys that are all so many digits 0
 * or 1 are labels, several an image: the 13 of MIMIC-CXR, whatever the data is called. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "image/reader/reader.h"
#include "store/pickle.h"

const char *const reading_observations[OBSERVATIONS] = {
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
};
enum { SURELY_LABELS = 8, FILE_LIMIT = 1 << 30 };

static const struct pickle *read_split(struct reading *reading, int split, const char **name);
static bool take_split(struct arena *arena, struct manifest *out, const struct pickle *dict, int split,
                       const char *file, struct reading *reading);
static void set_classes(struct reading *reading, struct manifest *out, const struct pickle *train, int labels);
static bool count_labels(struct reading *reading, const struct pickle *const *dicts, const char *const *files,
                         int *labels);
static void note_new_keys(struct reading *reading, const struct pickle *const *dicts);

static const char *recognise(struct reading *reading)
{
    return tree_has(reading->tree, "class2images_train.p") ? "class2images_train.p" : NULL;
}

static bool read_classes(struct reading *reading, struct manifest *out)
{
    struct arena *arena = reading->arena;
    const struct pickle *dicts[SPLITS];
    const char *files[SPLITS];
    int64_t rows = 0;
    for (int split = 0; split < SPLITS; split++) {
        dicts[split] = read_split(reading, split, &files[split]);
        if (!dicts[split])
            return false;
        for (int64_t i = 1; i < dicts[split]->count; i += 2)
            rows += dicts[split]->items[i]->count;
    }
    if (dicts[SPLIT_TRAIN]->count == 0)
        return reading_fail(reading, EXIT_BAD_DATA, "%s: an empty dictionary; expected class name -> file names",
                            files[SPLIT_TRAIN]);
    int labels = 0;
    if (!count_labels(reading, dicts, files, &labels))
        return false;
    *out = (struct manifest){ .source = files[SPLIT_TRAIN], .multi_label = labels > 0 };
    set_classes(reading, out, dicts[SPLIT_TRAIN], labels);
    out->path = arena_array(arena, const char *, rows + 1);
    out->id = arena_array(arena, const char *, rows + 1);
    out->split = arena_array(arena, uint8_t, rows + 1);
    if (out->multi_label)
        out->labels = arena_array(arena, int8_t, rows * out->classes + 1);
    else
        out->label = arena_array(arena, int32_t, rows + 1);
    for (int split = 0; split < SPLITS; split++)
        if (!take_split(arena, out, dicts[split], split, files[split], reading))
            return false;
    return true;
}

const struct manifest_reader reader_class2images = {
    .name = "class2images",
    .help = "class2images_{train,val,test}.p of the published code, images below images/",
    .recognise = recognise,
    .read = read_classes,
};

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* dict[str, list or tuple of str], each key once. */
static bool check_shape(struct arena *arena, const struct pickle *dict, const char *file, struct reading *reading)
{
    if (dict->type != PICKLE_DICT)
        return reading_fail(reading, EXIT_BAD_DATA, "%s: expected a dictionary of class name -> file names", file);
    const char **keys = arena_array(arena, const char *, dict->count / 2 + 1);
    for (int64_t i = 0; i < dict->count; i += 2) {
        const struct pickle *key = dict->items[i], *names = dict->items[i + 1];
        if (key->type != PICKLE_TEXT)
            return reading_fail(reading, EXIT_BAD_DATA, "%s: key %lld is not a text; expected class names", file,
                                (long long)(i / 2));
        if (names->type != PICKLE_LIST && names->type != PICKLE_TUPLE)
            return reading_fail(reading, EXIT_BAD_DATA, "%s: class '%.80s' has no list; expected file names", file,
                                key->text);
        for (int64_t j = 0; j < names->count; j++)
            if (names->items[j]->type != PICKLE_TEXT)
                return reading_fail(reading, EXIT_BAD_DATA,
                                    "%s: class '%.80s', element %lld is not a text; expected file names", file,
                                    key->text, (long long)j);
        keys[i / 2] = key->text;
    }
    qsort(keys, (size_t)(dict->count / 2), sizeof *keys, by_text);
    for (int64_t i = 1; i < dict->count / 2; i++)
        if (strcmp(keys[i], keys[i - 1]) == 0)
            return reading_fail(reading, EXIT_BAD_DATA, "%s: class '%.80s' appears twice", file, keys[i]);
    return true;
}

static const struct pickle *read_split(struct reading *reading, int split, const char **name)
{
    struct arena *arena = reading->arena;
    const char *why;
    size_t size;
    *name = arena_printf(arena, "class2images_%s.p", split_name((enum split)split));
    const char *path = path_join(arena, reading->request->root, *name);
    if (!file_exists(path)) {
        reading_fail(reading, EXIT_NO_INPUT, "%s: missing; expected class2images_{train,val,test}.p in the data folder",
                     path);
        return NULL;
    }
    char *bytes = file_read(arena, reading_input(reading, *name), FILE_LIMIT, &size, &why);
    if (!bytes) {
        reading_fail(reading, EXIT_NO_INPUT, "%s: %s", path, why);
        return NULL;
    }
    const struct pickle *dict = pickle_read(arena, *name, (const uint8_t *)bytes, size, &why);
    if (!dict) {
        reading_fail(reading, EXIT_BAD_DATA, "%s", why);
        return NULL;
    }
    return check_shape(arena, dict, *name, reading) ? dict : NULL;
}

/* Digits of a key that is nothing but 0 and 1; 0 of any other. */
static size_t digits_of(const char *key)
{
    size_t length = strlen(key);
    return strspn(key, "01") == length ? length : 0;
}

static bool odd_key(struct reading *reading, const char *file, const char *key, size_t digits)
{
    return reading_fail(reading, EXIT_BAD_DATA,
                        "%s: key '%.80s'; expected %zu digits 0 or 1, a label each, as the other keys have", file, key,
                        digits);
}

/* *labels <- how many labels an image has when the keys are digits, one per label; 0 when they are names of classes. A
 * single digit is a name; that some keys are many digits and others are not is a mistake. */
static bool count_labels(struct reading *reading, const struct pickle *const *dicts, const char *const *files,
                         int *labels)
{
    size_t most = 0;
    for (int split = 0; split < SPLITS; split++)
        for (int64_t i = 0; i < dicts[split]->count; i += 2) {
            size_t digits = digits_of(dicts[split]->items[i]->text);
            most = digits > most ? digits : most;
        }
    *labels = most > 1 && most < 10000 ? (int)most : 0;
    for (int split = 0; split < SPLITS; split++)
        for (int64_t i = 0; i < dicts[split]->count; i += 2) {
            const char *key = dicts[split]->items[i]->text;
            if (digits_of(key) == most)
                continue;
            *labels = 0;
            if (most >= SURELY_LABELS)
                return odd_key(reading, files[split], key, most);
        }
    if (*labels)
        note_new_keys(reading, dicts);
    return true;
}

/* The published loader looks keys up among those of the train file. */
static void note_new_keys(struct reading *reading, const struct pickle *const *dicts)
{
    const struct pickle *train = dicts[SPLIT_TRAIN];
    int64_t rows = 0, keys = 0;
    for (int split = SPLIT_VAL; split < SPLITS; split++)
        for (int64_t i = 0; i < dicts[split]->count; i += 2)
            if (!pickle_member(train, dicts[split]->items[i]->text)) {
                keys++;
                rows += dicts[split]->items[i + 1]->count;
            }
    if (rows)
        reading_note(reading,
                     "%lld val and test images of %lld keys that no training image has are kept; the published loader "
                     "drops them",
                     (long long)rows, (long long)keys);
}

static void set_classes(struct reading *reading, struct manifest *out, const struct pickle *train, int labels)
{
    out->classes = labels ? labels : (int)(train->count / 2);
    out->class_names = arena_array(reading->arena, const char *, out->classes);
    for (int k = 0; k < out->classes; k++)
        out->class_names[k] = !labels                  ? train->items[2 * k]->text
                              : labels == OBSERVATIONS ? reading_observations[k]
                                                       : arena_printf(reading->arena, "label %d", k + 1);
    if (labels)
        reading_note(reading, "keys of %d digits are %d labels an image, %s", labels, labels,
                     labels == OBSERVATIONS ? "those of MIMIC-CXR" : "which have no names here: label 1, label 2, ...");
}

static int class_of(const struct manifest *out, const char *name)
{
    for (int k = 0; k < out->classes; k++)
        if (strcmp(out->class_names[k], name) == 0)
            return k;
    return -1;
}

/* Below images/, whether the name says so or not, as the published code has it; elsewhere when only there is an image.
 */
static const char *image_path(struct arena *arena, const struct tree *tree, const char *name)
{
    const char *rest = text_starts(name, "images/") ? name + 7 : name;
    const char *path = arena_printf(arena, "images/%s", rest), *twice = arena_printf(arena, "images/%s", name);
    if (tree_image(tree, path) >= 0)
        return path;
    return tree_image(tree, twice) >= 0 ? twice : tree_image(tree, rest) >= 0 ? rest : path;
}

static bool take_split(struct arena *arena, struct manifest *out, const struct pickle *dict, int split,
                       const char *file, struct reading *reading)
{
    for (int64_t i = 0; i < dict->count; i += 2) {
        const char *key = dict->items[i]->text;
        const struct pickle *names = dict->items[i + 1];
        int label = out->multi_label ? 0 : class_of(out, key);
        if (label < 0)
            return reading_fail(reading, EXIT_BAD_DATA,
                                "%s: unknown class '%.80s'; expected one of the keys of class2images_train.p", file,
                                key);
        for (int64_t j = 0; j < names->count; j++) {
            int64_t row = out->rows++;
            out->id[row] = names->items[j]->text;
            out->path[row] = image_path(arena, reading->tree, names->items[j]->text);
            out->split[row] = (uint8_t)split;
            if (!out->multi_label)
                out->label[row] = label;
            else
                for (int k = 0; k < out->classes; k++)
                    out->labels[row * out->classes + k] = key[k] == '1' ? LABEL_POSITIVE : LABEL_NEGATIVE;
        }
    }
    return true;
}
