/* ISIC 2018, Task 3: ISIC2018_Task3_{Training,Validation,Test}_Input with images, ..._GroundTruth.csv with one column
 * of 1.0 and 0.0 for each class, and the lesions of the training images in LesionGroupings.csv. Of the last part the
 * ground truth came later than the images: a part without it is left out. */
#include <string.h>

#include "base/arena.h"
#include "image/reader/sets/collection.h"
#include "image/reader/sets/sets.h"
#include "image/reader/sets/skin.h"
#include "image/reader/sets/split.h"

static const struct {
    const char *name;
    enum split split;
} parts[] = { { "Training", SPLIT_TRAIN }, { "Validation", SPLIT_VAL }, { "Test", SPLIT_TEST } };
enum { PARTS = sizeof parts / sizeof parts[0] };
static const char columns_text[] = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC";

struct part {
    const char *file; /* NULL: no ground truth */
    const char *folder;
    struct table table;
    int64_t first; /* row of the manifest */
};
struct isic {
    struct reading *reading;
    struct part part[PARTS];
    const char **stems; /* [rows] */
    int32_t *place;     /* [rows] in skin_names */
    int64_t rows, copies, missing;
};

static const char *truth_name(struct reading *reading, int k)
{
    return arena_printf(reading->arena, "ISIC2018_Task3_%s_GroundTruth.csv", parts[k].name);
}

static const char *folder_name(struct reading *reading, int k)
{
    return arena_printf(reading->arena, "ISIC2018_Task3_%s_Input", parts[k].name);
}

static bool has_folder(const struct reading *reading, const char *name)
{
    for (int64_t i = 0; i < reading->tree->folders; i++)
        if (set_is_in(arena_printf(reading->arena, "%s/", reading->tree->folder[i]), name, false))
            return true;
    return false;
}

static const char *recognise(struct reading *reading)
{
    int64_t count;
    const char *file = set_file(reading, truth_name(reading, 0), &count);
    return file ? file : has_folder(reading, folder_name(reading, 0)) ? folder_name(reading, 0) : NULL;
}

static bool open_part(struct isic *isic, int k)
{
    struct reading *reading = isic->reading;
    struct part *part = &isic->part[k];
    int64_t count;
    part->first = isic->rows;
    part->folder = folder_name(reading, k);
    part->file = set_file(reading, truth_name(reading, k), &count);
    bool has_images = has_folder(reading, part->folder);
    if (count > 1)
        return reading_fail(reading, EXIT_BAD_DATA, "%s: %lld files of that name in the data folder; expected one",
                            truth_name(reading, k), (long long)count);
    if (!part->file && k == 0)
        return reading_fail(reading, EXIT_NO_INPUT, "%s: no %s; expected it beside %s", reading->request->root,
                            truth_name(reading, k), part->folder);
    if (!part->file) {
        reading_note(reading, "no %s: no %s split%s", truth_name(reading, k), split_name(parts[k].split),
                     has_images ? ", and its images are left out" : "");
        return true;
    }
    if (!reading_table(reading, &part->table, part->file))
        return false;
    isic->rows += part->table.rows;
    return true;
}

/* The one column of a row that is 1. */
static bool take_class(struct isic *isic, const struct table *t, const int *columns, int64_t i, int32_t *place)
{
    int found = 0;
    for (int k = 0; k < SKIN_CLASSES; k++) {
        double value;
        if (!table_number(table_cell(t, i, columns[k]), &value) || (value != 0.0 && value != 1.0))
            return reading_fail(isic->reading, EXIT_BAD_DATA, "%s:%lld: %s is '%.80s'; expected 1.0 or 0.0", t->path,
                                (long long)t->line[i], t->header[columns[k]], table_cell(t, i, columns[k]));
        if (value == 1.0) {
            *place = k;
            found++;
        }
    }
    return found == 1 || reading_fail(isic->reading, EXIT_BAD_DATA, "%s:%lld: %d classes are 1.0; expected one",
                                      t->path, (long long)t->line[i], found);
}

static int rank_folder(const char *path, const void *context)
{
    return set_is_in(path, context, false) ? 0 : SET_COPY;
}

static bool read_part(struct isic *isic, struct manifest *out, int k)
{
    struct reading *reading = isic->reading;
    const struct part *part = &isic->part[k];
    const struct table *t = &part->table;
    int columns[SKIN_CLASSES], image = set_needed_column(reading, t, "image", columns_text);
    for (int c = 0; c < SKIN_CLASSES; c++)
        columns[c] = set_needed_column(reading, t, skin_codes[c], columns_text);
    if (reading->why)
        return false;
    for (int64_t i = 0; i < t->rows; i++) {
        int64_t row = part->first + i;
        const char *path;
        isic->stems[row] = set_stem(reading->arena, table_cell(t, i, image));
        if (!take_class(isic, t, columns, i, &isic->place[row]) ||
            !set_image(reading, isic->stems[row], rank_folder, part->folder, &path, &isic->copies))
            return false;
        isic->missing += path == NULL;
        out->path[row] = path ? path : arena_printf(reading->arena, "%s/%s.jpg", part->folder, isic->stems[row]);
        out->split[row] = (uint8_t)parts[k].split;
    }
    return true;
}

/* Lesions and how their diagnosis was confirmed, for the images that the table holds. */
static bool read_lesions(struct isic *isic, struct manifest *out)
{
    static const char expected[] = "image,lesion_id,diagnosis_confirm_type";
    struct reading *reading = isic->reading;
    struct arena *arena = reading->arena;
    int64_t count, known = 0;
    struct table table;
    const char *file = set_file(reading, "ISIC2018_Task3_Training_LesionGroupings.csv", &count);
    if (!file) {
        reading_note(reading,
                     "no ISIC2018_Task3_Training_LesionGroupings.csv: which images show one lesion is not known");
        return true;
    }
    if (!reading_table(reading, &table, file))
        return false;
    const int used[] = { set_needed_column(reading, &table, "image", expected),
                         set_needed_column(reading, &table, "lesion_id", expected) };
    if (reading->why)
        return false;
    const struct text_index names = text_index(arena, set_column(arena, &table, used[0]), table.rows);
    const int64_t repeated = text_repeated(&names);
    if (repeated >= 0)
        return reading_fail(reading, EXIT_BAD_DATA, "%s:%lld: the image of an earlier row; expected each once", file,
                            (long long)table.line[repeated]);
    int64_t *row = arena_array(arena, int64_t, out->rows + 1);
    for (int64_t i = 0; i < out->rows; i++) {
        row[i] = text_find(&names, isic->stems[i]);
        known += row[i] >= 0;
    }
    const struct table aligned = set_reordered(arena, &table, row, out->rows);
    out->group = reading_groups(reading, set_column(arena, &aligned, used[1]), out->rows);
    set_attributes(reading, out, &aligned, used, 2);
    reading_note(reading, "%s: the lesion of %lld of %lld images; each other image is a lesion of its own", file,
                 (long long)known, (long long)out->rows);
    reading->group_kind = "lesion";
    return true;
}

/* Splits as published: a part each. With the training part alone there is none. */
static bool read_splits(struct isic *isic, struct manifest *out)
{
    return isic->rows > isic->part[0].table.rows || reading_split(isic->reading, out);
}

static bool read_isic(struct reading *reading, struct manifest *out)
{
    struct isic isic = { .reading = reading };
    const char *folders[PARTS];
    int wanted = 0;
    for (int k = 0; k < PARTS; k++) {
        if (!open_part(&isic, k))
            return false;
        if (isic.part[k].file)
            folders[wanted++] = isic.part[k].folder;
    }
    isic.stems = arena_array(reading->arena, const char *, isic.rows + 1);
    isic.place = arena_array(reading->arena, int32_t, isic.rows + 1);
    manifest_start(reading, out, "ISIC2018_Task3", isic.rows, false);
    for (int k = 0; k < PARTS; k++)
        if (isic.part[k].file && !read_part(&isic, out, k))
            return false;
    out->id = isic.stems;
    set_classes(reading->arena, out, isic.place, skin_names, SKIN_CLASSES);
    reading_note(reading,
                 "ISIC 2018 Task 3: %lld training, %lld validation, %lld test images (published: 10,015, 193, "
                 "1,512)",
                 (long long)isic.part[0].table.rows, (long long)isic.part[1].table.rows,
                 (long long)isic.part[2].table.rows);
    if (!set_check_missing(reading, out, isic.missing, folders, wanted) || !read_lesions(&isic, out))
        return false;
    set_note_unused(reading, out, isic.copies, "the tables of ground truth");
    set_note_others(reading, 0);
    return read_splits(&isic, out);
}

const struct manifest_reader reader_isic = {
    .name = "isic",
    .help = "ISIC 2018 Task 3: ISIC2018_Task3_{Training,Validation,Test}_{Input,GroundTruth}",
    .recognise = recognise,
    .tables = (const char *const[]){ "ISIC2018_Task3_*", NULL },
    .read = read_isic,
};
