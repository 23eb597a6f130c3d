/* MIMIC-CXR-JPG as downloaded: a table of splits or R2Gen's annotation.json lists the images, a table by study has the
 * labels, another the views. And the published class2images files with keys of 13 digits (mimic_published.c). */
#include "image/reader/sets/mimic/mimic.h"

#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "image/reader/sets/chest.h"
#include "image/reader/sets/collection.h"
#include "image/reader/sets/mimic/sections.h"

enum { FILE_LIMIT = 2000000000, LOOKS_WHOLE = 100000 };
static const char annotation_name[] = "annotation.json";

/* The images that a source lists. */
struct listing {
    const char *source;
    struct mimic_image *images;
    int64_t count;
    bool annotated;
};

const char *mimic_table(const struct reading *reading, const char *what)
{
    return collection_version(reading, "mimic-cxr-", arena_printf(reading->arena, "-%s.csv", what));
}

static const char *annotation_path(const struct reading *reading)
{
    static const char *const words[] = { "\"study_id\"", "\"image_path\"", NULL };
    const char *path = collection_file(reading, annotation_name);
    return path && collection_begins(reading, path, words) ? path : NULL;
}

static const char *recognise(struct reading *reading)
{
    static const char *const tables[] = { "split", "chexpert", "negbio", "metadata", "test-set-labeled" };
    const char *annotated = annotation_path(reading);
    struct text seen = text_new(reading->arena);
    if (tree_has(reading->tree, "class2images_train.p"))
        return mimic_has_published(reading) ? "class2images_train.p with 13 digits a key" : NULL;
    text_add(&seen, "%s", annotated ? annotated : "");
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        const char *path = mimic_table(reading, tables[i]);
        text_add(&seen, "%s%s", path && seen.length ? ", " : "", path ? path : "");
    }
    return seen.length ? seen.data : NULL;
}

/* ---- what is listed ---- */

static const char *stem(struct arena *arena, const char *path)
{
    const char *name = collection_name(path);
    return arena_printf(arena, "%.*s", (int)tree_stem_length(name), name);
}

bool mimic_annotation(struct reading *reading, struct annotation *out)
{
    const char *path = annotation_path(reading), *why = NULL;
    size_t size;
    *out = (struct annotation){ 0 };
    if (!path)
        return true;
    char *bytes = file_read(reading->arena, reading_input(reading, path), FILE_LIMIT, &size, &why);
    if (!bytes)
        return reading_fail(reading, EXIT_NO_INPUT, "%s: %s", path, why);
    return annotation_read(reading->arena, out, path, bytes, size, &why) ||
           reading_fail(reading, EXIT_BAD_DATA, "%s", why);
}

static bool list_annotation(struct reading *reading, struct listing *out)
{
    struct annotation found;
    if (!mimic_annotation(reading, &found))
        return false;
    out->count = found.count;
    out->images = arena_array(reading->arena, struct mimic_image, found.count + 1);
    for (int64_t i = 0; i < found.count; i++) {
        const struct annotated *row = &found.list[i];
        out->images[i] = (struct mimic_image){ .dicom = stem(reading->arena, row->path),
                                               .path = row->path,
                                               .report = row->report,
                                               .study = row->study,
                                               .subject = row->subject,
                                               .split = row->split };
    }
    return true;
}

static bool bad_cell(struct reading *reading, const struct table *t, int64_t row, int column, const char *expected)
{
    return reading_fail(reading, EXIT_BAD_DATA, "%s:%lld: %s is '%.80s'; expected %s", t->path, (long long)t->line[row],
                        t->header[column], table_cell(t, row, column), expected);
}

/* "files/p10/p10000032/s50414267/DICOM.jpg", without the folder. */
static const char *official_path(struct arena *arena, const struct mimic_image *image)
{
    const char *subject = arena_printf(arena, "%lld", (long long)image->subject);
    return arena_printf(arena, "p%.2s/p%s/s%lld/%s.jpg", subject, subject, (long long)image->study, image->dicom);
}

static bool list_splits(struct reading *reading, struct listing *out)
{
    struct table t;
    if (!reading_table(reading, &t, out->source))
        return false;
    int dicom = collection_column(reading, &t, "dicom_id"), study = collection_column(reading, &t, "study_id");
    int subject = collection_column(reading, &t, "subject_id"), split = collection_column(reading, &t, "split");
    if (reading->why)
        return false;
    out->count = t.rows;
    out->images = arena_array(reading->arena, struct mimic_image, t.rows + 1);
    for (int64_t i = 0; i < t.rows; i++) {
        struct mimic_image *image = &out->images[i];
        int known = manifest_split(table_cell(&t, i, split));
        *image = (struct mimic_image){ .dicom = table_cell(&t, i, dicom), .line = t.line[i], .split = (uint8_t)known };
        if (known < 0)
            return bad_cell(reading, &t, i, split, "train, validate or test");
        if (!collection_whole(table_cell(&t, i, study), &image->study))
            return bad_cell(reading, &t, i, study, "a number");
        if (!collection_whole(table_cell(&t, i, subject), &image->subject))
            return bad_cell(reading, &t, i, subject, "a number");
        image->path = official_path(reading->arena, image);
    }
    return true;
}

static bool list_images(struct reading *reading, struct listing *out)
{
    const char *annotated = annotation_path(reading), *splits = mimic_table(reading, "split");
    *out = (struct listing){ .source = annotated ? annotated : splits, .annotated = annotated };
    if (annotated && splits)
        reading_note(reading, "%s gives images, splits and reports; %s is not used", annotated, splits);
    if (!out->source)
        return reading_fail(
            reading, EXIT_NO_INPUT,
            "%s: mimic-cxr-2.0.0-split.csv.gz is missing, and there is no annotation.json: nothing says "
            "which images there are\nput the table into the folder; a split of your own: pack.reader: "
            "labels_csv",
            reading->request->root);
    return annotated ? list_annotation(reading, out) : list_splits(reading, out);
}

/* ---- which of them are there ---- */

/* Number of the image's file in the tree: the only one of its name, else the one in its place; -1 when there is none.
 */
static int64_t find_file(const struct tree *tree, struct arena *arena, const char *base,
                         const struct mimic_image *image)
{
    static const char *const folders[] = { "files/", "images/", "" };
    int64_t first, count = tree_images_of_stem(tree, image->dicom, strlen(image->dicom), &first), found = -1;
    if (count == 1)
        return tree->by_stem[first];
    struct arena_mark mark = arena_mark(arena);
    for (size_t i = 0; count > 1 && found < 0 && i < sizeof folders / sizeof *folders; i++)
        found = tree_image(tree, arena_printf(arena, "%s%s%s%s", base, *base ? "/" : "", folders[i], image->path));
    arena_release(arena, mark);
    return count > 1 && found < 0 ? -2 : found;
}

static bool ambiguous(struct reading *reading, const struct mimic_image *image)
{
    const struct tree *tree = reading->tree;
    int64_t first;
    tree_images_of_stem(tree, image->dicom, strlen(image->dicom), &first);
    return reading_fail(reading, EXIT_BAD_DATA, "two images of one id: %s and %s\nleave one of them in the data folder",
                        tree->image[tree->by_stem[first]], tree->image[tree->by_stem[first + 1]]);
}

static bool keep_found(struct reading *reading, struct listing *list)
{
    const char *base = collection_folder(reading->arena, list->source);
    int64_t listed = list->count, found = 0;
    for (int64_t i = 0; i < listed; i++) {
        struct mimic_image *image = &list->images[i];
        int64_t file = find_file(reading->tree, reading->arena, base, image);
        if (file == -2)
            return ambiguous(reading, image);
        if (file < 0)
            continue;
        image->path = reading->tree->image[file];
        list->images[found++] = *image;
    }
    list->count = found;
    if (found == 0)
        return reading_fail(
            reading, EXIT_NO_INPUT,
            "%s: none of the %lld images of %s is there; found %lld images and %s\nexpected "
            "files/p10/p10000032/s50414267/DICOM_ID.jpg below it, or the same below images/ or at its root",
            reading->request->root, (long long)listed, list->source, (long long)reading->tree->images,
            tree_kinds(reading->arena, reading->tree));
    if (found < listed)
        reading_note(reading, "%lld of the %lld images of %s are not there and are left out",
                     (long long)(listed - found), (long long)listed, list->source);
    return true;
}

/* Of the whole collection, how many images each split has. */
static void note_expected(struct reading *reading, const struct listing *list)
{
    static const int64_t official[SPLITS] = { 368960, 2991, 5159 }, r2gen[SPLITS] = { 270790, 2130, 3858 };
    const int64_t *expected = list->annotated ? r2gen : official;
    int64_t found[SPLITS] = { 0 };
    for (int64_t i = 0; i < list->count; i++)
        found[list->images[i].split]++;
    if (list->count >= LOOKS_WHOLE)
        reading_note(reading, "%s: found %lld train, %lld val, %lld test images; expected %lld, %lld, %lld of %s",
                     list->source, (long long)found[SPLIT_TRAIN], (long long)found[SPLIT_VAL],
                     (long long)found[SPLIT_TEST], (long long)expected[SPLIT_TRAIN], (long long)expected[SPLIT_VAL],
                     (long long)expected[SPLIT_TEST], list->annotated ? "R2Gen's set" : "the official split");
}

/* ---- views ---- */

static bool read_views(struct reading *reading, struct listing *list)
{
    struct table t;
    const char *path = mimic_table(reading, "metadata");
    const struct pack_config *pack = reading->request->pack;
    if (!path && (pack->views != VIEWS_ALL || pack->blank_views == BLANK_VIEWS_DROP))
        return reading_fail(
            reading, EXIT_NO_INPUT,
            "%s: mimic-cxr-2.0.0-metadata.csv.gz is missing; it says which view an image shows\nput it into "
            "the folder, or set pack.views: all and pack.blank_views: auto",
            reading->request->root);
    if (!path)
        return true;
    if (!reading_table(reading, &t, path))
        return false;
    int dicom = collection_column(reading, &t, "dicom_id"), view = collection_column(reading, &t, "ViewPosition");
    if (reading->why)
        return false;
    const char **ids = arena_array(reading->arena, const char *, t.rows + 1);
    for (int64_t i = 0; i < t.rows; i++)
        ids[i] = table_cell(&t, i, dicom);
    struct text_index by_id = text_index(reading->arena, ids, t.rows);
    for (int64_t i = 0; i < list->count; i++) {
        int64_t row = text_find(&by_id, list->images[i].dicom);
        const char *word = row < 0 ? "" : table_cell(&t, row, view);
        list->images[i].view = table_missing(word, pack->missing) ? "" : word;
    }
    return true;
}

static bool keep_views(struct reading *reading, struct listing *list)
{
    int64_t kept = 0, blank = 0, kept_blank = 0, others = 0;
    for (int64_t i = 0; i < list->count; i++) {
        const struct mimic_image image = list->images[i];
        bool wanted = !image.view || chest_view_wanted(reading, image.view), is_blank = image.view && !*image.view;
        blank += is_blank;
        kept_blank += is_blank && wanted;
        others += !wanted && !is_blank;
        if (wanted)
            list->images[kept++] = image;
    }
    list->count = kept;
    if (others)
        reading_note(reading, "%lld images of other views are left out (pack.views)", (long long)others);
    if (blank)
        reading_note(reading, "%lld images without a recorded view are %s (pack.blank_views)", (long long)blank,
                     kept_blank ? "kept" : "left out");
    return kept || reading_fail(reading, EXIT_BAD_DATA, "%s: no image of the views that pack.views wants",
                                reading->request->root);
}

/* ---- the manifest ---- */

static void take_reports(struct reading *reading, struct manifest *out, const struct mimic_image *images)
{
    out->report = arena_array(reading->arena, const char *, out->rows + 1);
    for (int k = 0; k < SECTIONS; k++)
        out->section[k] = arena_array(reading->arena, const char *, out->rows + 1);
    for (int64_t i = 0; i < out->rows; i++) {
        out->report[i] = images[i].report ? images[i].report : "";
        struct report_sections found = report_sections(reading->arena, out->report[i]);
        out->section[SECTION_FINDINGS][i] = found.findings;
        out->section[SECTION_IMPRESSION][i] = found.impression;
    }
}

bool mimic_finish(struct reading *reading, struct manifest *out, const struct mimic_image *images)
{
    const char **subjects = arena_array(reading->arena, const char *, out->rows + 1);
    const char **views = arena_array(reading->arena, const char *, out->rows + 1);
    double *studies = arena_array(reading->arena, double, out->rows + 1);
    bool reports = false, has_views = false;
    for (int64_t i = 0; i < out->rows; i++) {
        subjects[i] = arena_printf(reading->arena, "%lld", (long long)images[i].subject);
        studies[i] = (double)images[i].study;
        views[i] = images[i].view ? images[i].view : "";
        reports |= images[i].report != NULL;
        has_views |= *views[i] != '\0';
    }
    out->group = reading_groups(reading, subjects, out->rows);
    reading->group_kind = "patient";
    manifest_add_numbers(reading->arena, out, "study_id", studies);
    if (has_views)
        manifest_add_texts(reading, out, "ViewPosition", views);
    if (reports)
        take_reports(reading, out, images);
    return true;
}

static void start(struct reading *reading, struct manifest *out, const struct listing *list)
{
    manifest_start(reading, out, list->source, list->count, !list->annotated);
    for (int64_t i = 0; i < list->count; i++) {
        out->path[i] = list->images[i].path;
        out->split[i] = list->images[i].split;
        if (out->line)
            out->line[i] = list->images[i].line;
    }
    chest_start(reading, out);
}

static bool read_mimic(struct reading *reading, struct manifest *out)
{
    struct listing list;
    if (mimic_has_published(reading))
        return mimic_read_published(reading, out);
    if (!list_images(reading, &list))
        return false;
    const struct mimic_labels *labels = mimic_labels_open(reading);
    if (!labels || !keep_found(reading, &list))
        return false;
    note_expected(reading, &list);
    if (!read_views(reading, &list) || !keep_views(reading, &list))
        return false;
    list.count = mimic_labelled(reading, labels, list.images, list.count);
    start(reading, out, &list);
    return mimic_labels_take(reading, labels, out, list.images) && mimic_reports(reading, list.images, list.count) &&
           mimic_finish(reading, out, list.images);
}

const struct manifest_reader reader_mimic = {
    .name = "mimic",
    .help = "MIMIC-CXR-JPG as downloaded, R2Gen's annotation.json with its labels, the published pickles of 13 digits",
    .recognise = recognise,
    .tables = (const char *const[]){ "mimic-cxr-*", "annotation.json", NULL },
    .takes_table = true,
    .read = read_mimic,
};
