/* HAM10000 (Tschandl et al., Scientific Data 2018): HAM10000_metadata, comma-separated from Kaggle and as the authors
 * wrote it, or the quoted .tab of Harvard Dataverse, with 7 or 8 columns; images by their ids in HAM10000_images_part_1
 * and _2, which Kaggle's archive holds once more in lower case, or in images/. The published split when its files are
 * there, else whole lesions. */
#include <string.h>

#include "base/arena.h"
#include "image/reader/sets/collection.h"
#include "image/reader/sets/sets.h"
#include "image/reader/sets/skin.h"
#include "image/reader/sets/split.h"

static const char *const parts[] = { "HAM10000_images_part_1", "HAM10000_images_part_2" };
enum { PARTS = sizeof parts / sizeof parts[0] };
static const char columns_text[] = "lesion_id,image_id,dx,dx_type,age,sex,localization[,dataset]";

struct ham {
    struct reading *reading;
    const char *file;
    struct table table;
    int lesion, image, dx;
    int32_t *place;     /* [table rows] of dx in skin_names */
    const char **stems; /* [table rows] */
    int64_t copies, missing;
};

/* The metadata, of the forms it comes in the first that is there. */
static const char *find_metadata(const struct reading *reading, int64_t *count)
{
    static const char *const names[] = { "HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab",
                                         "HAM10000_metadata.tsv" };
    const char *found = NULL;
    *count = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int64_t here;
        const char *path = set_file(reading, names[i], &here);
        found = found ? found : path;
        *count += here;
    }
    return found;
}

static const char *recognise(struct reading *reading)
{
    int64_t count;
    const char *file = find_metadata(reading, &count);
    return !file || !set_is_published(reading)
               ? file
               : arena_printf(reading->arena, "%s with the published split files", file);
}

static bool open_metadata(struct ham *ham)
{
    struct reading *reading = ham->reading;
    int64_t count;
    ham->file = find_metadata(reading, &count);
    if (!ham->file)
        return reading_fail(reading, EXIT_NO_INPUT,
                            "%s: no HAM10000_metadata; expected it as .csv, .tab or without ending",
                            reading->request->root);
    if (count > 1)
        reading_note(reading, "%s is read; there are %lld more tables of that name", ham->file, (long long)count - 1);
    if (!reading_table(reading, &ham->table, ham->file))
        return false;
    ham->lesion = set_needed_column(reading, &ham->table, "lesion_id", columns_text);
    ham->image = set_needed_column(reading, &ham->table, "image_id", columns_text);
    ham->dx = set_needed_column(reading, &ham->table, "dx", columns_text);
    return reading->why == NULL;
}

/* Class and stem of every row, each image once. */
static bool read_rows(struct ham *ham)
{
    struct arena *arena = ham->reading->arena;
    const struct table *t = &ham->table;
    ham->place = arena_array(arena, int32_t, t->rows + 1);
    ham->stems = arena_array(arena, const char *, t->rows + 1);
    for (int64_t i = 0; i < t->rows; i++) {
        const char *dx = reading_text(ham->reading, table_cell(t, i, ham->dx));
        ham->place[i] = skin_class(dx);
        if (ham->place[i] < 0)
            return reading_fail(ham->reading, EXIT_BAD_DATA,
                                "%s:%lld: dx is '%.80s'; expected akiec, bcc, bkl, df, mel, nv or vasc", t->path,
                                (long long)t->line[i], dx);
        ham->stems[i] = set_stem(arena, table_cell(t, i, ham->image));
    }
    return true;
}

/* Exact folders first, then images/, then any other; Kaggle's second copies last. */
static int rank_folder(const char *path, const void *context)
{
    (void)context;
    for (int k = 0; k < PARTS; k++) {
        if (set_is_in(path, parts[k], false))
            return 0;
        if (set_is_in(path, parts[k], true))
            return SET_COPY;
    }
    return set_is_in(path, "images", false) ? 1 : 2;
}

static bool place_images(struct ham *ham, struct manifest *out, const char *const *stems)
{
    for (int64_t i = 0; i < out->rows; i++) {
        const char *path = NULL;
        if (out->path[i] && tree_image(ham->reading->tree, out->path[i]) >= 0)
            continue;
        if (!set_image(ham->reading, stems[i], rank_folder, NULL, &path, &ham->copies))
            return false;
        ham->missing += path == NULL;
        out->path[i] = path           ? path
                       : out->path[i] ? out->path[i]
                                      : arena_printf(ham->reading->arena, "%s.jpg", stems[i]);
    }
    if (ham->copies)
        reading_note(ham->reading,
                     "%lld images lie in a second folder too (Kaggle's archive holds each folder twice): "
                     "the copies are not read",
                     (long long)ham->copies);
    return set_check_missing(ham->reading, out, ham->missing, parts, PARTS);
}

/* Rows of the split files: the table gives what is known beside the class. */
static bool read_published(struct ham *ham, struct manifest *out, struct table *aligned)
{
    struct reading *reading = ham->reading;
    struct arena *arena = reading->arena;
    int64_t unknown = 0, differ = 0;
    if (!reader_class2images.read(reading, out))
        return false;
    int64_t *row = arena_array(arena, int64_t, out->rows + 1);
    const struct text_index names = text_index(arena, ham->stems, ham->table.rows);
    const char **stems = set_align(arena, out, &names, set_stem, row, &unknown);
    for (int64_t i = 0; i < out->rows; i++)
        differ += row[i] >= 0 && out->label && skin_class(out->class_names[out->label[i]]) != ham->place[row[i]];
    if (unknown)
        reading_note(reading, "%s does not hold %lld of the %lld images of the split files: no lesion, no attributes",
                     ham->file, (long long)unknown, (long long)out->rows);
    if (differ)
        reading_note(reading, "%s gives another class to %lld images: the split files hold", ham->file,
                     (long long)differ);
    *aligned = set_reordered(arena, &ham->table, row, out->rows);
    return place_images(ham, out, stems);
}

static bool read_all(struct ham *ham, struct manifest *out, struct table *aligned)
{
    struct reading *reading = ham->reading;
    manifest_start(reading, out, ham->file, ham->table.rows, true);
    memcpy(out->line, ham->table.line, (size_t)out->rows * sizeof *out->line);
    set_classes(reading->arena, out, ham->place, skin_names, SKIN_CLASSES);
    out->id = ham->stems;
    *aligned = ham->table;
    return place_images(ham, out, ham->stems);
}

static int64_t count_groups(const struct manifest *out)
{
    int64_t groups = 0;
    for (int64_t i = 0; i < out->rows; i++)
        groups = out->group[i] >= groups ? out->group[i] + 1 : groups;
    return groups;
}

static bool read_ham(struct reading *reading, struct manifest *out)
{
    struct ham ham = { .reading = reading };
    struct table aligned;
    bool is_published = set_is_published(reading);
    if (!open_metadata(&ham) || !read_rows(&ham) || !(is_published ? read_published : read_all)(&ham, out, &aligned))
        return false;
    const int used[] = { ham.lesion, ham.image, ham.dx };
    if (!set_groups(reading, out, &aligned, "lesion_id"))
        return false;
    set_attributes(reading, out, &aligned, used, 3);
    reading_note(reading, "HAM10000: %lld images of %lld lesions (published: 10,015 of 7,470)", (long long)out->rows,
                 (long long)count_groups(out));
    set_note_unused(reading, out, ham.copies, ham.file);
    set_note_others(reading, 0);
    return is_published || reading_split(reading, out);
}

const struct manifest_reader reader_ham = {
    .name = "ham",
    .help = "HAM10000 as Kaggle, Harvard Dataverse or its authors give it: HAM10000_metadata and folders of images",
    .recognise = recognise,
    .tables = (const char *const[]){ "HAM10000_metadata*", NULL },
    .read = read_ham,
};
