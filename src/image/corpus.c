/* corpus.h5 without its pixels: labels, splits, groups, attributes. */
#include "image/corpus.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "dist/world.h"
#include "store/store.h"

static const char *const split_names[SPLITS] = { "train", "val", "test" };
static const char attribute_prefix[] = "/attributes/";

static void load_labels(struct store *store, struct arena *arena, struct corpus *corpus);
static void load_attributes(struct store *store, struct arena *arena, struct corpus *corpus);

const char *split_name(enum split split)
{
    return split_names[split];
}

int split_find(const char *name)
{
    for (int i = 0; i < SPLITS; i++)
        if (strcmp(name, split_names[i]) == 0)
            return i;
    return -1;
}

int64_t corpus_rows_of(const struct corpus *corpus, enum split split, int64_t *out)
{
    int64_t count = 0;
    for (int64_t i = 0; i < corpus->rows; i++)
        if (corpus->split[i] == split)
            out[count++] = i;
    return count;
}

/* "white" of files that state no bits, "white_sbit_12" of those that state 12. */
static const char *white_name(struct arena *arena, int bits)
{
    return bits ? arena_printf(arena, "white_sbit_%d", bits) : "white";
}

struct image_reading corpus_reading(struct store *store, struct arena *arena, int max_megapixels)
{
    struct image_reading reading = { .max_megapixels = max_megapixels };
    int64_t exif = 1; /* of corpora from before there was a choice */
    store_get_i64(store, "/", "exif", &exif);
    reading.stored = !exif;
    for (int bits = 0; bits <= IMAGE_BITS; bits++) {
        int64_t white = 0;
        store_get_i64(store, "/", white_name(arena, bits), &white);
        reading.white[bits] = white > 0 && white < 65536 ? (int32_t)white : 0;
    }
    return reading;
}

void corpus_keep_reading(struct store *store, struct arena *arena, const struct image_reading *reading)
{
    store_set_i64(store, "/", "exif", !reading->stored);
    for (int bits = 0; bits <= IMAGE_BITS; bits++)
        if (reading->white[bits])
            store_set_i64(store, "/", white_name(arena, bits), reading->white[bits]);
}

struct corpus *corpus_load(struct store *store, struct arena *arena)
{
    struct corpus *corpus = corpus_load_any(store, arena);
    require(corpus->classes > 0, EXIT_BAD_DATA, "%s: no labels; expected /label or /labels", store_path(store));
    return corpus;
}

struct corpus *corpus_load_any(struct store *store, struct arena *arena)
{
    struct corpus *corpus = arena_array(arena, struct corpus, 1);
    const char *path = store_path(store);
    int64_t any[1] = { -1 };
    store_expect(store, "/split", STORE_U8, 1, any);
    corpus->rows = store_rows(store, "/split");
    bool labelled = store_has(store, "/label") || store_has(store, "/labels");
    require(!labelled || (store_get_texts(store, "/", "class_names", &corpus->class_names, &corpus->classes) &&
                          corpus->classes > 0),
            EXIT_BAD_DATA, "%s: attribute class_names is missing; expected the names of the classes", path);

    uint8_t *split = arena_array(arena, uint8_t, corpus->rows + 1);
    store_read_all(store, "/split", split);
    for (int64_t i = 0; i < corpus->rows; i++)
        require(split[i] < SPLITS, EXIT_BAD_DATA, "%s: /split, row %lld: %d; expected 0, 1 or 2", path, (long long)i,
                split[i]);
    corpus->split = split;
    if (labelled)
        load_labels(store, arena, corpus);
    if (store_has(store, "/group")) {
        store_expect(store, "/group", STORE_I64, 1, &corpus->rows);
        int64_t *group = arena_array(arena, int64_t, corpus->rows + 1);
        store_read_all(store, "/group", group);
        corpus->group = group;
    }
    load_attributes(store, arena, corpus);
    return corpus;
}

static void load_labels(struct store *store, struct arena *arena, struct corpus *corpus)
{
    int64_t rows = corpus->rows, shape[2] = { rows, corpus->classes };
    corpus->multi_label = !store_has(store, "/label");
    if (corpus->multi_label) {
        store_expect(store, "/labels", STORE_I8, 2, shape);
        int8_t *labels = arena_array(arena, int8_t, rows * corpus->classes + 1);
        store_read_all(store, "/labels", labels);
        for (int64_t i = 0; i < rows * corpus->classes; i++)
            require(labels[i] >= LABEL_BLANK && labels[i] <= LABEL_POSITIVE, EXIT_BAD_DATA,
                    "%s: /labels, row %lld: %d; expected 1, 0, -1 or -2", store_path(store),
                    (long long)(i / corpus->classes), labels[i]);
        corpus->labels = labels;
        return;
    }
    store_expect(store, "/label", STORE_I32, 1, shape);
    int32_t *label = arena_array(arena, int32_t, rows + 1);
    store_read_all(store, "/label", label);
    for (int64_t i = 0; i < rows; i++)
        require(label[i] >= 0 && label[i] < corpus->classes, EXIT_BAD_DATA,
                "%s: /label, row %lld: %d; expected 0 to %d", store_path(store), (long long)i, label[i],
                corpus->classes - 1);
    corpus->label = label;
}

/* Room doubles: it is full at 0, 1, 2, 4, ... */
static float *new_attribute(struct corpus *corpus, struct arena *arena, const char *name)
{
    int count = corpus->attributes;
    if ((count & (count - 1)) == 0) {
        const char **names = arena_array(arena, const char *, 2 * count + 1);
        const float **values = arena_array(arena, const float *, 2 * count + 1);
        for (int a = 0; a < count; a++) {
            names[a] = corpus->attribute_names[a];
            values[a] = corpus->attribute[a];
        }
        corpus->attribute_names = names;
        corpus->attribute = values;
    }
    float *column = arena_array(arena, float, corpus->rows + 1);
    ((const char **)corpus->attribute_names)[count] = name;
    ((const float **)corpus->attribute)[count] = column;
    corpus->attributes++;
    return column;
}

void corpus_add_attribute(struct corpus *corpus, struct arena *arena, const char *name, const double *value, int values,
                          const char *const *value_names)
{
    float *column = values ? NULL : new_attribute(corpus, arena, name);
    for (int64_t i = 0; column && i < corpus->rows; i++)
        column[i] = (float)value[i];
    for (int k = 0; k < values; k++) {
        char *one = arena_printf(arena, "%s = %s", name, value_names[k]);
        for (char *at = one; *at; at++)
            *at = *at == '/' ? '_' : *at; /* it may become part of a dataset's path */
        column = new_attribute(corpus, arena, one);
        for (int64_t i = 0; i < corpus->rows; i++)
            column[i] = isnan(value[i]) ? NAN : value[i] == k ? 1.0F : 0.0F;
    }
}

/* Numbers in single or double precision, or codes of the texts in attribute `values`. */
static void load_attribute(struct store *store, struct arena *arena, struct corpus *corpus, const char *name)
{
    struct arena_mark mark;
    const char *const *texts = NULL;
    int values = 0;
    int64_t rows = corpus->rows;
    double *value = arena_array(arena, double, rows + 1);
    enum store_type type = store_typeof(store, name);
    store_expect(store, name, type == STORE_I32 || type == STORE_F64 ? type : STORE_F32, 1, &rows);
    if (type == STORE_F64) {
        store_read_all(store, name, value);
    } else {
        mark = arena_mark(arena);
        void *raw = arena_array(arena, float, rows + 1);
        store_read_all(store, name, raw);
        for (int64_t i = 0; i < rows; i++)
            if (type == STORE_F32)
                value[i] = (double)((float *)raw)[i];
            else
                value[i] = ((int32_t *)raw)[i] < 0 ? (double)NAN : ((int32_t *)raw)[i];
        arena_release(arena, mark);
    }
    if (type == STORE_I32)
        require(store_get_texts(store, name, "values", &texts, &values) && values > 0, EXIT_BAD_DATA,
                "%s: %s: attribute values is missing; expected the texts of its codes", store_path(store), name);
    corpus_add_attribute(corpus, arena, name + sizeof attribute_prefix - 1, value, values, texts);
}

static void load_attributes(struct store *store, struct arena *arena, struct corpus *corpus)
{
    const char *const *names;
    int count = store_names(store, &names);
    for (int i = 0; i < count; i++)
        if (text_starts(names[i], attribute_prefix))
            load_attribute(store, arena, corpus, names[i]);
}
