/* Labels are read whole, images only looked at: their pixels are taken when they are packed. */
#include "image/reader/sets/arrays.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "image/reader/sets/collection.h"
#include "store/array_file.h"

enum { CLASS_LIMIT = 100000, COLUMN_LIMIT = 10000 };
static const int64_t labels_limit = 1 << 28; /* numbers */

/* A file that may be asked for several times is noted as an input once. */
static void note_input(struct reading *reading, const char *path)
{
    const char *full = path_join(reading->arena, reading->request->root, path);
    for (int i = 0; i < reading->inputs; i++)
        if (strcmp(reading->input[i], full) == 0)
            return;
    reading_input(reading, path);
}

static struct array_file *open_array(struct reading *reading, const char *path, const char *member)
{
    const char *why = NULL;
    note_input(reading, path);
    int file = manifest_open_file(reading->arena, reading->tree->root, path, &why);
    if (file < 0) {
        reading_fail(reading, EXIT_NO_INPUT, "%s: %s", path, why);
        return NULL;
    }
    struct array_file *array = array_file_open(reading->arena, path, file, member, &why);
    if (!array)
        reading_fail(reading, EXIT_BAD_DATA, "%s", why);
    return array;
}

static const char *extents(struct arena *arena, const struct tensor *t)
{
    struct text text = text_new(arena);
    for (int d = 0; d < t->rank; d++)
        text_add(&text, "%s%lld", d ? " x " : "", (long long)t->dims[d]);
    return text.data;
}

static bool look_at_images(struct reading *reading, struct array_split *s)
{
    struct array_file *array = open_array(reading, s->file, s->images);
    if (!array)
        return false;
    const struct tensor t = *array_file_shape(array);
    bool grey = t.rank == 3 && t.dims[2] != 1 && t.dims[2] != 3;
    bool colour = t.rank == 4 && (t.dims[3] == 1 || t.dims[3] == 3);
    array_file_close(array);
    s->rows = t.rank ? t.dims[0] : 0;
    return (t.type == TENSOR_U8 && (grey || colour)) ||
           reading_fail(reading, EXIT_BAD_DATA,
                        "%s: %s holds %s values of type %s; expected images of bytes: N x H x W, or N x H x W x 3 "
                        "(volumes are not read)",
                        s->file, *s->images ? s->images : "the array", extents(reading->arena, &t),
                        tensor_type_name(t.type));
}

static int64_t value_at(const struct tensor *t, const uint8_t *at)
{
    int64_t value = 0;
    size_t bytes = tensor_bytes(t->type);
    bool is_signed = t->type == TENSOR_I64 || t->type == TENSOR_I32 || t->type == TENSOR_I16 || t->type == TENSOR_I8;
    memcpy(&value, at, bytes);
    if (is_signed && bytes < sizeof value && value >> (8 * bytes - 1) & 1)
        value -= (int64_t)1 << (8 * bytes);
    return value;
}

static bool read_labels(struct reading *reading, struct array_split *s)
{
    struct array_file *array = open_array(reading, s->labels_file, s->labels);
    const char *why = NULL;
    if (!array)
        return false;
    const struct tensor t = *array_file_shape(array);
    const size_t bytes = tensor_bytes(t.type);
    s->columns = t.rank == 2 && t.dims[1] <= COLUMN_LIMIT ? (int)t.dims[1] : t.rank == 1;
    bool fits = !tensor_is_real(t.type) && s->columns >= 1 && t.dims[0] == s->rows && t.count <= labels_limit &&
                (t.rank == 1 || t.strides[1] == 1);
    if (!fits)
        reading_fail(reading, EXIT_BAD_DATA,
                     "%s: %s holds %s values of type %s; expected a whole number for each of the "
                     "%lld images, or several",
                     s->labels_file, *s->labels ? s->labels : "the array", extents(reading->arena, &t),
                     tensor_type_name(t.type), (long long)s->rows);
    uint8_t *raw = fits ? arena_take_raw(reading->arena, (size_t)t.count + 1, bytes) : NULL;
    if (fits && !array_file_read(array, raw, 0, (size_t)t.count * bytes, &why))
        fits = reading_fail(reading, EXIT_BAD_DATA, "%s", why);
    array_file_close(array);
    int64_t *label = arena_array(reading->arena, int64_t, fits ? t.count + 1 : 1);
    for (int64_t i = 0; fits && i < t.count; i++)
        label[i] = value_at(&t, raw + (size_t)i * bytes);
    s->label = label;
    return fits;
}

bool array_split_read(struct reading *reading, struct array_split *split)
{
    return look_at_images(reading, split) && read_labels(reading, split);
}

/* ---- the manifest ---- */

static void fill_rows(struct reading *reading, struct manifest *out, const struct array_split *splits, int count)
{
    int64_t row = 0;
    const char **id = arena_array(reading->arena, const char *, out->rows + 1);
    for (int k = 0; k < count; k++)
        for (int64_t i = 0; i < splits[k].rows; i++, row++) {
            const struct array_split *s = &splits[k];
            out->path[row] = s->file;
            out->member[row] = s->images;
            out->index[row] = i;
            id[row] = arena_printf(reading->arena, "%s/%06lld", s->word, (long long)i);
            out->split[row] = (uint8_t)s->split;
        }
    out->id = id;
}

static int by_value(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Different labels of the training images, sorted; `sorted` has room for all. */
static int64_t numbers_of(int64_t *sorted, const struct array_split *splits, int count)
{
    int64_t all = 0, kept = 0;
    for (int k = 0; k < count; k++)
        for (int64_t i = 0; splits[k].split == SPLIT_TRAIN && i < splits[k].rows; i++)
            sorted[all++] = splits[k].label[i];
    qsort(sorted, (size_t)all, sizeof *sorted, by_value);
    for (int64_t i = 0; i < all; i++)
        if (kept == 0 || sorted[i] != sorted[kept - 1])
            sorted[kept++] = sorted[i];
    return kept;
}

static bool unknown(struct reading *reading, const struct array_split *s, int64_t row, int64_t value, const char *known)
{
    return reading_fail(reading, EXIT_BAD_DATA, "%s: label %lld of image %lld (%s) is none of %s", s->labels_file,
                        (long long)value, (long long)row, s->word, known);
}

/* Classes named by the numbers that the training images have. */
static bool classes_by_number(struct reading *reading, struct manifest *out, const struct array_split *splits,
                              int count)
{
    int64_t *number = arena_array(reading->arena, int64_t, out->rows + 1), row = 0;
    int64_t classes = numbers_of(number, splits, count);
    if (classes > CLASS_LIMIT)
        return reading_fail(reading, EXIT_BAD_DATA, "%s: %lld different labels; expected at most %d classes",
                            out->source, (long long)classes, CLASS_LIMIT);
    out->classes = (int)classes;
    out->class_names = arena_array(reading->arena, const char *, classes + 1);
    for (int64_t k = 0; k < classes; k++)
        out->class_names[k] = arena_printf(reading->arena, "%lld", (long long)number[k]);
    for (int k = 0; k < count; k++)
        for (int64_t i = 0; i < splits[k].rows; i++) {
            const int64_t *found = bsearch(&splits[k].label[i], number, (size_t)classes, sizeof *number, by_value);
            if (!found)
                return unknown(reading, &splits[k], i, splits[k].label[i], "the labels of the training images");
            out->label[row++] = (int32_t)(found - number);
        }
    return true;
}

static bool classes_by_name(struct reading *reading, struct manifest *out, const struct array_split *splits, int count)
{
    int64_t row = 0;
    for (int k = 0; k < count; k++)
        for (int64_t i = 0; i < splits[k].rows; i++) {
            int64_t value = splits[k].label[i];
            if (value < 0 || value >= out->classes)
                return unknown(reading, &splits[k], i, value,
                               arena_printf(reading->arena, "0 to %d", out->classes - 1));
            out->label[row++] = (int32_t)value;
        }
    return true;
}

static bool several_labels(struct reading *reading, struct manifest *out, const struct array_split *splits, int count)
{
    int64_t place = 0;
    out->labels = arena_array(reading->arena, int8_t, out->rows * out->classes + 1);
    for (int k = 0; k < count; k++)
        for (int64_t i = 0; i < splits[k].rows * splits[k].columns; i++) {
            int64_t value = splits[k].label[i];
            if (value != 0 && value != 1)
                return unknown(reading, &splits[k], i / splits[k].columns, value, "0 and 1");
            out->labels[place++] = (int8_t)value;
        }
    return true;
}

/* Names of classes, or of the labels of one image; numbers when there are no names. */
static void name_classes(struct reading *reading, struct manifest *out, const char *const *names)
{
    out->class_names = arena_array(reading->arena, const char *, out->classes + 1);
    for (int c = 0; c < out->classes; c++)
        out->class_names[c] = names ? names[c] : arena_printf(reading->arena, "%d", c);
}

static bool fill_labels(struct reading *reading, struct manifest *out, const struct array_split *splits, int count,
                        const char *const *names, int classes)
{
    out->multi_label = splits[0].columns > 1;
    if (!out->multi_label)
        out->label = arena_array(reading->arena, int32_t, out->rows + 1);
    if (!out->multi_label && !names)
        return classes_by_number(reading, out, splits, count);
    out->classes = out->multi_label ? splits[0].columns : classes;
    name_classes(reading, out, classes == out->classes ? names : NULL);
    return (out->multi_label ? several_labels : classes_by_name)(reading, out, splits, count);
}

bool arrays_fill(struct reading *reading, struct manifest *out, const struct array_split *splits, int count,
                 const char *const *names, int classes)
{
    int64_t rows = 0;
    int columns = splits[0].columns;
    bool has_val = false;
    for (int k = 0; k < count; k++) {
        rows += splits[k].rows;
        has_val |= splits[k].split == SPLIT_VAL && splits[k].rows > 0;
        if (splits[k].rows && splits[k].columns != columns)
            return reading_fail(reading, EXIT_BAD_DATA, "%s: %d labels an image in %s, %d in %s; expected as many",
                                splits[k].labels_file, splits[k].columns, splits[k].word, columns, splits[0].word);
    }
    manifest_start(reading, out, splits[0].file, rows, false);
    out->member = arena_array(reading->arena, const char *, rows + 1);
    out->index = arena_array(reading->arena, int64_t, rows + 1);
    fill_rows(reading, out, splits, count);
    if (!fill_labels(reading, out, splits, count, names, classes))
        return false;
    if (has_val)
        return true;
    reading_note(reading, "there is no val split: it is made of the training images (pack.val_fraction)");
    collection_cut(reading, out, false);
    return true;
}
