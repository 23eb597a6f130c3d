/* CheXpert as downloaded: train.csv and valid.csv (and the labels of the test set, released later), whose column Path
 * begins with the name of the archive. */
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "image/reader/sets/chest.h"
#include "image/reader/sets/collection.h"

enum { TABLES = 4, OFFICIAL_TRAIN = 223414, OFFICIAL_VALID = 234 };
static const struct {
    const char *name;
    enum split split;
} tables[TABLES] = { { "train.csv", SPLIT_TRAIN },
                     { "valid.csv", SPLIT_VAL },
                     { "test.csv", SPLIT_TEST },
                     { "test_labels.csv", SPLIT_TEST } };

/* The table of this name that has columns of CheXpert. */
static const char *find_table(const struct reading *reading, const char *name)
{
    static const char *const words[] = { "Path", "Atelectasis", "Pleural Other", NULL };
    const char *path = collection_file(reading, name);
    return path && collection_begins(reading, path, words) ? path : NULL;
}

static const char *recognise(struct reading *reading)
{
    const char *train = find_table(reading, tables[SPLIT_TRAIN].name);
    return train ? train : find_table(reading, tables[SPLIT_VAL].name);
}

/* Path of the k-th table, NULL when it is not there; pack.labels may name another for training. */
static const char *table_path(const struct reading *reading, int k)
{
    const char *stated = k == 0 ? collection_stated(reading) : NULL;
    return stated ? stated : find_table(reading, tables[k].name);
}

/* All tables as one; *split [rows] by the table. */
static bool read_tables(struct reading *reading, struct table *out, uint8_t **split)
{
    int64_t end[TABLES] = { 0 };
    *out = (struct table){ 0 };
    for (int k = 0; k < TABLES; k++) {
        struct table one;
        const char *path = table_path(reading, k);
        bool second_test = k == TABLES - 1 && table_path(reading, k - 1);
        if (path && !second_test) {
            if (!reading_table(reading, &one, path))
                return false;
            *out = out->rows ? collection_joined(reading->arena, out, &one) : one;
        }
        end[k] = out->rows;
    }
    if (out->rows == 0)
        return reading_fail(reading, EXIT_NO_INPUT, "%s: train.csv of CheXpert is missing, and valid.csv",
                            reading->request->root);
    if (!end[SPLIT_TRAIN])
        reading_note(reading, "train.csv is missing: there is no train split");
    *split = arena_array(reading->arena, uint8_t, out->rows + 1);
    for (int64_t i = 0, k = 0; i < out->rows; i++) {
        while (i >= end[k])
            k++;
        (*split)[i] = (uint8_t)tables[k].split;
    }
    return true;
}

/* ---- rows ---- */

/* "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg": from the patient on, NULL when there is none. */
static const char *patient_part(const char *path)
{
    const char *at = strstr(path, "patient");
    while (at && at > path && at[-1] != '/')
        at = strstr(at + 1, "patient");
    return at && strchr(at, '/') ? at : NULL;
}

/* The file of a row whose path names a patient: as written, with folders left away at its beginning, below the folder
 * of the tables, or the only one of this patient, study and view. -1 when there is none, -2 when there are several. */
static int64_t find_file(const struct reading *reading, const struct text_index *by_view, const char *folder,
                         const char *path)
{
    const struct tree *tree = reading->tree;
    const char *view = patient_part(path);
    for (const char *rest = path; rest && rest <= view; rest = strchr(rest, '/') ? strchr(rest, '/') + 1 : NULL) {
        struct arena_mark mark = arena_mark(reading->arena);
        int64_t here = tree_image(tree, rest);
        if (here < 0 && *folder)
            here = tree_image(tree, path_join(reading->arena, folder, rest));
        arena_release(reading->arena, mark);
        if (here >= 0)
            return here;
    }
    int64_t first, count = text_rows(by_view, view, &first);
    return count == 0 ? -1 : count > 1 ? -2 : by_view->list[first].row;
}

static struct text_index index_views(const struct reading *reading)
{
    const struct tree *tree = reading->tree;
    const char **views = arena_array(reading->arena, const char *, tree->images + 1);
    for (int64_t i = 0; i < tree->images; i++) {
        const char *view = patient_part(tree->image[i]);
        views[i] = view ? view : "";
    }
    return text_index(reading->arena, views, tree->images);
}

/* Paths of the files; a row whose file is not there keeps what is written, and packing says so. */
static bool find_images(struct reading *reading, struct manifest *out, const struct table *t, int column)
{
    struct text_index by_view = index_views(reading);
    const char *train = table_path(reading, SPLIT_TRAIN), *valid = table_path(reading, SPLIT_VAL);
    const char *folder = collection_folder(reading->arena, train ? train : valid ? valid : "");
    for (int64_t i = 0; i < t->rows; i++) {
        const char *path = table_cell(t, i, column);
        int64_t file = find_file(reading, &by_view, folder, path);
        if (file == -2)
            return reading_fail(
                reading, EXIT_BAD_DATA,
                "%s:%lld: several images may be meant by '%.200s'\nset root: to the folder of one of them", t->path,
                (long long)t->line[i], path);
        out->path[i] = file >= 0 ? reading->tree->image[file] : path;
    }
    return true;
}

static bool take_groups(struct reading *reading, struct manifest *out, const struct table *t, int column)
{
    const char **patients = arena_array(reading->arena, const char *, t->rows + 1);
    for (int64_t i = 0; i < t->rows; i++) {
        const char *part = patient_part(table_cell(t, i, column));
        if (!part)
            return reading_fail(reading, EXIT_BAD_DATA,
                                "%s:%lld: Path '%.200s'; expected .../patientNNNNN/studyN/viewN_frontal.jpg", t->path,
                                (long long)t->line[i], table_cell(t, i, column));
        patients[i] = arena_printf(reading->arena, "%.*s", (int)strcspn(part, "/"), part);
    }
    out->group = reading_groups(reading, patients, t->rows);
    reading->group_kind = "patient";
    return true;
}

/* Rows of the wanted views. */
static bool keep_views(struct reading *reading, struct table *t, uint8_t *split)
{
    int column = table_column(t, "Frontal/Lateral");
    bool *keep = arena_array(reading->arena, bool, t->rows + 1);
    int64_t kept = 0, rows = t->rows;
    if (column < 0 && reading->request->pack->views != VIEWS_ALL)
        return reading_fail(reading, EXIT_BAD_DATA, "%s: no column 'Frontal/Lateral'; pack.views needs it", t->path);
    for (int64_t i = 0; i < rows; i++) {
        const char *view = column < 0 ? "" : table_cell(t, i, column);
        bool blank = column < 0 || table_missing(view, reading->request->pack->missing);
        keep[i] = column < 0 || chest_view_wanted(reading, blank ? "" : view);
        if (keep[i])
            split[kept++] = split[i];
    }
    if (kept == rows)
        return true;
    reading_note(reading, "%lld images of other views are left out (pack.views)", (long long)(rows - kept));
    *t = collection_rows(reading->arena, t, keep);
    return kept || reading_fail(reading, EXIT_BAD_DATA, "%s: no image of the views that pack.views wants", t->path);
}

static bool take_labels(struct reading *reading, struct manifest *out, const struct table *t)
{
    struct chest chest;
    bool blank;
    int64_t blanks = 0;
    if (!chest_columns(reading, &chest, t))
        return false;
    chest_start(reading, out);
    for (int64_t i = 0; i < t->rows; i++) {
        if (!chest_states(reading, &chest, i, out->labels + i * out->classes, &blank))
            return false;
        blanks += blank;
    }
    if (blanks)
        reading_note(reading, "%lld images are blank in all observations of their row", (long long)blanks);
    return true;
}

/* ---- the manifest ---- */

static void note_splits(struct reading *reading, const struct manifest *out, const char *const *ignored)
{
    int64_t counts[SPLITS] = { 0 };
    bool as_test = reading->request->pack->chexpert_valid == CHEXPERT_VALID_TEST;
    for (int64_t i = 0; i < out->rows; i++)
        counts[out->split[i]]++;
    if (as_test)
        reading_note(reading, "valid.csv is the test split, val is made of train.csv by patient (pack.chexpert_valid: "
                              "test, pack.val_fraction)");
    else if (!counts[SPLIT_TEST])
        reading_note(reading,
                     "valid.csv is val, and there is no test split: the labels of CheXpert's test set are not "
                     "here; pack.chexpert_valid: test tests on valid.csv and makes val of train.csv by patient");
    if (counts[SPLIT_TRAIN] > OFFICIAL_TRAIN / 2)
        reading_note(reading, "found %lld images of train.csv and valid.csv; expected %d of the whole collection",
                     (long long)(out->rows - (as_test ? 0 : counts[SPLIT_TEST])), OFFICIAL_TRAIN + OFFICIAL_VALID);
    for (; *ignored; ignored++)
        if (collection_file(reading, *ignored) && !collection_stated(reading))
            reading_note(reading,
                         "%s is not used: labels of another labeler (pack.reader: chexpert with pack.labels: %s "
                         "takes them)",
                         *ignored, *ignored);
}

static bool read_chexpert(struct reading *reading, struct manifest *out)
{
    static const char *const ignored[] = { "train_cheXbert.csv", "train_visualCheXbert.csv", NULL };
    static const char *const attributes[] = { "Sex", "Age", "Frontal/Lateral", "AP/PA" };
    struct table t;
    uint8_t *split = NULL;
    if (!read_tables(reading, &t, &split))
        return false;
    int path = collection_column(reading, &t, "Path");
    if (path < 0 || !keep_views(reading, &t, split))
        return false;
    manifest_start(reading, out, t.path, t.rows, false);
    memcpy(out->split, split, (size_t)t.rows);
    if (reading->request->pack->chexpert_valid == CHEXPERT_VALID_TEST)
        for (int64_t i = 0; i < t.rows; i++)
            out->split[i] = split[i] == SPLIT_VAL ? SPLIT_TEST : split[i];
    if (!take_groups(reading, out, &t, path) || !find_images(reading, out, &t, path) || !take_labels(reading, out, &t))
        return false;
    if (reading->request->pack->chexpert_valid == CHEXPERT_VALID_TEST)
        collection_cut(reading, out, false);
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
        int column = table_column(&t, attributes[i]);
        if (column >= 0)
            manifest_add_column(reading, out, &t, column);
    }
    note_splits(reading, out, ignored);
    return true;
}

const struct manifest_reader reader_chexpert = {
    .name = "chexpert",
    .help = "CheXpert: train.csv and valid.csv of the archive, also one folder above it",
    .recognise = recognise,
    .tables = (const char *const[]){ "train*.csv*", "valid*.csv*", "test*.csv*", NULL },
    .takes_table = true,
    .read = read_chexpert,
};
