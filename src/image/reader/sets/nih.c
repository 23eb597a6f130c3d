/* ChestX-ray14 of the NIH: a table with the findings of an image joined by '|', images in a dozen folders, two lists
 * for the official test split. What remains is cut into train and val by patient. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "image/reader/sets/collection.h"

/* In the order of the paper (Wang et al. 2017). */
static const char *const findings[] = {
    "Atelectasis", "Cardiomegaly", "Effusion",           "Infiltration",  "Mass",
    "Nodule",      "Pneumonia",    "Pneumothorax",       "Consolidation", "Edema",
    "Emphysema",   "Fibrosis",     "Pleural_Thickening", "Hernia",
};
enum {
    FINDINGS = sizeof findings / sizeof *findings,
    LIST_LIMIT = 100 << 20,
    OFFICIAL = 112120,
    OFFICIAL_TEST = 25596
};
static const char none[] = "No Finding", revised[] = "Data_Entry_2017_v2020.csv",
                  first_release[] = "Data_Entry_2017.csv";

static const char *recognise(struct reading *reading)
{
    const char *path = collection_file(reading, revised);
    return path ? path : collection_file(reading, first_release);
}

static const char *choose_table(struct reading *reading)
{
    const char *stated = collection_stated(reading);
    const char *newer = collection_file(reading, revised), *older = collection_file(reading, first_release);
    if (stated)
        return stated;
    if (newer && older)
        reading_note(reading, "%s is taken, the revised labels; pack.labels: %s takes the first release", newer, older);
    if (!newer && !older)
        reading_fail(reading, EXIT_NO_INPUT, "%s: %s is missing; expected the table of ChestX-ray14",
                     reading->request->root, revised);
    return newer ? newer : older;
}

/* ---- labels ---- */

static int find_finding(const char *name, size_t length)
{
    for (int k = 0; k < FINDINGS; k++)
        if (strlen(findings[k]) == length && strncmp(findings[k], name, length) == 0)
            return k;
    return -1;
}

/* "Effusion|Mass" */
static bool take_findings(struct reading *reading, const struct table *t, int64_t row, int column, int8_t *labels)
{
    const char *cell = table_cell(t, row, column);
    memset(labels, LABEL_NEGATIVE, FINDINGS);
    for (const char *at = cell;; at++) {
        size_t length = strcspn(at, "|");
        int k = find_finding(at, length);
        if (k >= 0)
            labels[k] = LABEL_POSITIVE;
        else if (strcmp(cell, none) != 0)
            return reading_fail(reading, EXIT_BAD_DATA,
                                "%s:%lld: finding '%.*s'; expected some of the 14 findings joined by '|', or '%s'",
                                t->path, (long long)t->line[row], (int)(length < 80 ? length : 80), at, none);
        at += length;
        if (*at == '\0')
            return true;
    }
}

static bool take_labels(struct reading *reading, struct manifest *out, const struct table *t, int column)
{
    out->multi_label = true;
    out->classes = FINDINGS;
    out->class_names = arena_array(reading->arena, const char *, FINDINGS);
    memcpy(out->class_names, findings, sizeof findings);
    out->labels = arena_array(reading->arena, int8_t, t->rows * FINDINGS + 1);
    for (int64_t i = 0; i < t->rows; i++)
        if (!take_findings(reading, t, i, column, out->labels + i * FINDINGS))
            return false;
    return true;
}

/* ---- splits ---- */

/* The names of a list, one a line; *out is empty when there is no such file. */
static bool read_list(struct reading *reading, const char *name, struct text_index *out)
{
    const char *path = collection_file(reading, name), *why = NULL;
    size_t size, count = 0;
    *out = (struct text_index){ 0 };
    if (!path)
        return true;
    char *text = file_read(reading->arena, reading_input(reading, path), LIST_LIMIT, &size, &why);
    if (!text)
        return reading_fail(reading, EXIT_NO_INPUT, "%s: %s", path, why);
    for (size_t i = 0; i < size; i++)
        count += text[i] == '\n';
    const char **names = arena_array(reading->arena, const char *, count + 2);
    count = 0;
    for (char *rest = text, *line; (line = strsep(&rest, "\r\n")) != NULL;)
        if (*line)
            names[count++] = line;
    *out = text_index(reading->arena, names, (int64_t)count);
    return true;
}

/* Of an image's name: 1 in the list, 0 not, -1 there is no list. */
static int listed(const struct text_index *list, const char *name)
{
    return list->count ? text_find(list, name) >= 0 : -1;
}

/* As the lists have it; of one list what it does not name. SPLITS when an image is in neither, -1 when in both. */
static int split_of(const struct text_index *train, const struct text_index *test, const char *name)
{
    int in_train = listed(train, name), in_test = listed(test, name);
    if (in_train == 1 && in_test == 1)
        return -1;
    if (in_test == 1 || (in_test < 0 && in_train == 0))
        return SPLIT_TEST;
    return in_train == 0 && in_test == 0 ? SPLITS : SPLIT_TRAIN;
}

static void note_splits(struct reading *reading, const struct text_index *train, const struct text_index *test)
{
    if (!train->count && !test->count)
        reading_note(reading, "no train_val_list.txt and test_list.txt: train, val and test are made by patient "
                              "(pack.val_fraction, pack.test_fraction)");
    else if (!train->count)
        reading_note(reading, "no train_val_list.txt: all that test_list.txt does not name is for training");
    else if (!test->count)
        reading_note(reading, "no test_list.txt: all that train_val_list.txt does not name is test");
    if (train->count || test->count)
        reading_note(reading, "val is made of the official train_val images, by patient (pack.val_fraction)");
}

/* The split of every row [rows], SPLITS for those that no list names; *official: is there a list? */
static bool find_splits(struct reading *reading, const struct table *t, int name, uint8_t *split, bool *official)
{
    struct text_index train, test;
    if (!read_list(reading, "train_val_list.txt", &train) || !read_list(reading, "test_list.txt", &test))
        return false;
    for (int64_t i = 0; i < t->rows; i++) {
        int one = split_of(&train, &test, table_cell(t, i, name));
        if (one < 0)
            return reading_fail(
                reading, EXIT_BAD_DATA,
                "%s:%lld: the image is in train_val_list.txt and in test_list.txt; expected one of them", t->path,
                (long long)t->line[i]);
        split[i] = (uint8_t)one;
    }
    note_splits(reading, &train, &test);
    *official = train.count || test.count;
    return true;
}

/* Without the rows that no list names. */
static void drop_unlisted(struct reading *reading, struct table *t, uint8_t *split)
{
    bool *keep = arena_array(reading->arena, bool, t->rows + 1);
    int64_t kept = 0, rows = t->rows;
    for (int64_t i = 0; i < rows; i++) {
        keep[i] = split[i] < SPLITS;
        if (keep[i])
            split[kept++] = split[i];
    }
    if (kept == rows)
        return;
    reading_note(reading, "%s: %lld images are left out: neither train_val_list.txt nor test_list.txt names them",
                 t->path, (long long)(rows - kept));
    *t = collection_rows(reading->arena, t, keep);
}

/* ---- the manifest ---- */

/* "58", or "058Y", "011M", "006D" of the first release: years. */
static bool years(const char *cell, double *age)
{
    char number[16];
    size_t digits = strspn(cell, "0123456789");
    const char *unit = cell + digits;
    if (digits == 0 || digits >= sizeof number || (*unit && (!strchr("YMD", *unit) || unit[1])))
        return false;
    memcpy(number, cell, digits);
    number[digits] = '\0';
    *age = strtod(number, NULL) / (*unit == 'M' ? 12.0 : *unit == 'D' ? 365.25 : 1.0);
    return true;
}

static void add_ages(struct reading *reading, struct manifest *out, const struct table *t, int column)
{
    double *age = arena_array(reading->arena, double, t->rows + 1);
    for (int64_t i = 0; i < t->rows; i++)
        if (!years(table_cell(t, i, column), &age[i]))
            age[i] = NAN;
    manifest_add_numbers(reading->arena, out, t->header[column], age);
}

static void add_attributes(struct reading *reading, struct manifest *out, const struct table *t)
{
    static const char *const columns[] = { "Follow-up #", "Patient Gender", "View Position" };
    int age = table_column(t, "Patient Age");
    if (age >= 0)
        add_ages(reading, out, t, age);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        int column = table_column(t, columns[i]);
        if (column >= 0)
            manifest_add_column(reading, out, t, column);
    }
}

static const char **texts_of(struct arena *arena, const struct table *t, int column)
{
    const char **texts = arena_array(arena, const char *, t->rows + 1);
    for (int64_t i = 0; i < t->rows; i++)
        texts[i] = table_cell(t, i, column);
    return texts;
}

static void note_counts(struct reading *reading, const struct manifest *out)
{
    int64_t test = 0;
    for (int64_t i = 0; i < out->rows; i++)
        test += out->split[i] == SPLIT_TEST;
    if (out->rows > OFFICIAL / 2)
        reading_note(reading, "found %lld images, %lld of them test; expected %d and %d of the whole collection",
                     (long long)out->rows, (long long)test, OFFICIAL, OFFICIAL_TEST);
    if (collection_file(reading, "BBox_List_2017.csv"))
        reading_note(reading, "BBox_List_2017.csv is not used: boxes are no labels of images");
}

static bool read_nih(struct reading *reading, struct manifest *out)
{
    struct table t;
    const char *path = choose_table(reading);
    if (!path || !reading_table(reading, &t, path))
        return false;
    int name = collection_column(reading, &t, "Image Index"), labels = collection_column(reading, &t, "Finding Labels");
    int patient = collection_column(reading, &t, "Patient ID");
    uint8_t *split = arena_array(reading->arena, uint8_t, t.rows + 1);
    bool official = false;
    if (reading->why || !find_splits(reading, &t, name, split, &official))
        return false;
    drop_unlisted(reading, &t, split);
    manifest_start(reading, out, t.path, t.rows, true);
    memcpy(out->split, split, (size_t)t.rows);
    memcpy(out->line, t.line, (size_t)t.rows * sizeof *out->line);
    const char **names = texts_of(reading->arena, &t, name);
    out->group = reading_groups(reading, texts_of(reading->arena, &t, patient), t.rows);
    reading->group_kind = "patient";
    if (!manifest_find_images(reading, out, names) || !take_labels(reading, out, &t, labels))
        return false;
    collection_cut(reading, out, !official);
    add_attributes(reading, out, &t);
    note_counts(reading, out);
    return true;
}

const struct manifest_reader reader_nih = {
    .name = "nih",
    .help = "ChestX-ray14: Data_Entry_2017*.csv, images_0NN folders, train_val_list.txt and test_list.txt",
    .recognise = recognise,
    .tables = (const char *const[]){ "Data_Entry_2017*", NULL },
    .takes_table = true,
    .read = read_nih,
};
