/* Harvard-FairVLMed (Luo et al., CVPR 2024): data_summary.csv, a row for each patient; the fundus image is
 * slo_fundus_NNNNN.jpg or, where there is none, the array slo_fundus in data_NNNNN.npz. Label, split, report and
 * demographics are those of the table: the arrays beside the image hold less. */
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "image/reader/sets/collection.h"
#include "image/reader/sets/sets.h"
#include "image/reader/sets/split.h"

static const char table_name[] = "data_summary.csv", array_name[] = "slo_fundus";
static const char columns_text[] =
    "filename,age,gender,race,ethnicity,language,maritalstatus,note,gpt4_summary,glaucoma,use";
static const char *const answers[] = { "no", "yes" };
static const char *const folders[] = { "Training", "Validation", "Test" };
enum { FOLDERS = sizeof folders / sizeof folders[0] };

struct fundus {
    struct reading *reading;
    const char *file;
    struct table table;
    int filename, glaucoma, use, report;
    const char **number;      /* [table rows] "00001" of data_00001.npz */
    struct text_index arrays; /* numbers of the .npz files below root */
    const char **array;       /* [arrays] their paths */
    int64_t copies, missing, from_arrays;
};

static const char *recognise(struct reading *reading)
{
    int64_t count, arrays = 0;
    const char *file = set_file(reading, table_name, &count);
    for (int64_t i = 0; i < reading->tree->images && !arrays; i++)
        arrays = strstr(reading->tree->image[i], "slo_fundus_") != NULL;
    for (int64_t i = 0; i < reading->tree->others && !arrays; i++)
        arrays = text_ends(reading->tree->other[i], ".npz");
    return file && arrays ? file : NULL;
}

/* ---- the table ---- */

/* "00001" of "data_00001.npz" and of "Training/slo_fundus_00001.jpg": digits before the ending; NULL without any. */
static const char *number_of(struct arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    const char *end = dot ? dot : name + strlen(name), *at = end;
    while (at > name && at[-1] >= '0' && at[-1] <= '9')
        at--;
    return at < end ? arena_printf(arena, "%.*s", (int)(end - at), at) : NULL;
}

/* The column of the report: that of pack.columns, else the summary, else the note. */
static bool find_report(struct fundus *fundus)
{
    struct reading *reading = fundus->reading;
    const char *wanted = reading_renamed(reading, "report");
    fundus->report = wanted && *wanted ? reading_column(reading, &fundus->table, "report") : -1;
    if (!wanted)
        fundus->report = table_column(&fundus->table, "gpt4_summary");
    if (!wanted && fundus->report < 0)
        fundus->report = table_column(&fundus->table, "note");
    if (fundus->report >= 0)
        reading_note(reading,
                     "reports: column %s of %s (pack.columns: report=note, report=gpt4_summary, report= for none)",
                     fundus->table.header[fundus->report], fundus->file);
    return reading->why == NULL;
}

static bool open_table(struct fundus *fundus)
{
    struct reading *reading = fundus->reading;
    int64_t count;
    fundus->file = set_file(reading, table_name, &count);
    if (!fundus->file)
        return reading_fail(reading, EXIT_NO_INPUT, "%s: no %s; expected the table of Harvard-FairVLMed",
                            reading->request->root, table_name);
    if (count > 1)
        return reading_fail(reading, EXIT_BAD_DATA, "%s: %lld files of that name in the data folder; expected one",
                            table_name, (long long)count);
    if (!reading_table(reading, &fundus->table, fundus->file))
        return false;
    fundus->filename = set_needed_column(reading, &fundus->table, "filename", columns_text);
    fundus->glaucoma = set_needed_column(reading, &fundus->table, "glaucoma", columns_text);
    fundus->use = reading_column(reading, &fundus->table, "use");
    return reading->why == NULL && find_report(fundus);
}

static bool read_numbers(struct fundus *fundus)
{
    struct reading *reading = fundus->reading;
    const struct table *t = &fundus->table;
    fundus->number = arena_array(reading->arena, const char *, t->rows + 1);
    for (int64_t i = 0; i < t->rows; i++) {
        const char *name = table_cell(t, i, fundus->filename);
        fundus->number[i] = number_of(reading->arena, name);
        if (!fundus->number[i])
            return reading_fail(reading, EXIT_BAD_DATA, "%s:%lld: filename is '%.80s'; expected data_NNNNN.npz",
                                t->path, (long long)t->line[i], name);
    }
    const struct text_index names = text_index(reading->arena, fundus->number, t->rows);
    const int64_t repeated = text_repeated(&names);
    return repeated < 0 ||
           reading_fail(reading, EXIT_BAD_DATA, "%s:%lld: the number %s of an earlier row; expected each once", t->path,
                        (long long)t->line[repeated], fundus->number[repeated]);
}

/* ---- images ---- */

static bool find_arrays(struct fundus *fundus)
{
    struct reading *reading = fundus->reading;
    const struct tree *tree = reading->tree;
    const char **numbers = arena_array(reading->arena, const char *, tree->others + 1);
    int64_t count = 0;
    fundus->array = arena_array(reading->arena, const char *, tree->others + 1);
    for (int64_t i = 0; i < tree->others; i++) {
        const char *number = text_ends(tree->other[i], ".npz") ? number_of(reading->arena, tree->other[i]) : NULL;
        if (!number)
            continue;
        numbers[count] = number;
        fundus->array[count++] = tree->other[i];
    }
    fundus->arrays = text_index(reading->arena, numbers, count);
    const int64_t repeated = text_repeated(&fundus->arrays);
    return repeated < 0 || reading_fail(reading, EXIT_BAD_DATA,
                                        "two files may be data_%s.npz: %.300s and %.300s; expected one\n"
                                        "take one of them out of the data folder",
                                        numbers[repeated], fundus->array[text_find(&fundus->arrays, numbers[repeated])],
                                        fundus->array[repeated]);
}

/* images/ is where the published code keeps them; any other folder may be as downloaded. */
static int rank_folder(const char *path, const void *context)
{
    (void)context;
    return set_is_in(path, "images", false) ? SET_COPY : 0;
}

/* The picture if there is one, else the array: row `i` of the manifest. */
static bool place_image(struct fundus *fundus, struct manifest *out, int64_t i, const char *number)
{
    struct reading *reading = fundus->reading;
    const char *path = NULL;
    if (out->path[i] && tree_image(reading->tree, out->path[i]) >= 0)
        return true;
    if (number && !set_image(reading, arena_printf(reading->arena, "slo_fundus_%s", number), rank_folder, NULL, &path,
                             &fundus->copies))
        return false;
    int64_t array = path || !number ? -1 : text_find(&fundus->arrays, number);
    if (array >= 0) {
        path = fundus->array[array];
        out->member[i] = array_name;
        fundus->from_arrays++;
    }
    fundus->missing += path == NULL;
    if (path)
        out->path[i] = path;
    else if (!out->path[i])
        out->path[i] = arena_printf(reading->arena, "slo_fundus_%s.jpg", number);
    return true;
}

static bool place_images(struct fundus *fundus, struct manifest *out, const char *const *number)
{
    struct reading *reading = fundus->reading;
    out->member = arena_array(reading->arena, const char *, out->rows + 1);
    out->index = arena_array(reading->arena, int64_t, out->rows + 1);
    if (!find_arrays(fundus))
        return false;
    for (int64_t i = 0; i < out->rows; i++)
        if (!place_image(fundus, out, i, number[i]))
            return false;
    if (fundus->from_arrays)
        reading_note(reading, "images: %lld files slo_fundus_NNNNN, %lld arrays slo_fundus of data_NNNNN.npz",
                     (long long)(out->rows - fundus->missing - fundus->from_arrays), (long long)fundus->from_arrays);
    else
        out->member = NULL;
    return set_check_missing(reading, out, fundus->missing, folders, FOLDERS);
}

/* ---- label and split ---- */

static bool read_labels(struct fundus *fundus, struct manifest *out)
{
    struct reading *reading = fundus->reading;
    const struct table *t = &fundus->table;
    int32_t *place = arena_array(reading->arena, int32_t, t->rows + 1);
    for (int64_t i = 0; i < t->rows; i++) {
        const char *cell = reading_text(reading, table_cell(t, i, fundus->glaucoma));
        bool is_yes = strcasecmp(cell, "yes") == 0;
        if (!is_yes && strcasecmp(cell, "no") != 0)
            return reading_fail(reading, EXIT_BAD_DATA, "%s:%lld: glaucoma is '%.80s'; expected yes or no", t->path,
                                (long long)t->line[i], cell);
        place[i] = is_yes;
    }
    set_classes(reading->arena, out, place, answers, 2);
    return true;
}

/* The split whose folder the file lies in; -1 when it is in none. */
static int split_of_path(const char *path)
{
    for (int k = 0; k < FOLDERS; k++)
        if (set_is_in(path, folders[k], true))
            return manifest_split(folders[k]);
    return -1;
}

static bool read_splits(struct fundus *fundus, struct manifest *out)
{
    struct reading *reading = fundus->reading;
    const struct table *t = &fundus->table;
    int64_t elsewhere = 0;
    if (fundus->use < 0)
        reading_note(reading, "%s has no column use: splits are the folders Training, Validation and Test",
                     fundus->file);
    for (int64_t i = 0; i < t->rows; i++) {
        int folder = split_of_path(out->path[i]), split = folder;
        const char *cell = fundus->use < 0 ? "" : reading_text(reading, table_cell(t, i, fundus->use));
        if (fundus->use >= 0)
            split = manifest_split(cell);
        if (split < 0)
            return reading_fail(reading, EXIT_BAD_DATA, "%s:%lld: %s%.80s%s; expected training, validation or test",
                                t->path, (long long)t->line[i],
                                fundus->use < 0 ? "no column use, and the image lies in "
                                                  "none of the folders"
                                                : "use is '",
                                cell, fundus->use < 0 ? "" : "'");
        elsewhere += folder >= 0 && folder != split;
        out->split[i] = (uint8_t)split;
    }
    if (elsewhere)
        reading_note(reading, "%s: use and the folder of %lld images differ: use holds", fundus->file,
                     (long long)elsewhere);
    return true;
}

static bool read_all(struct fundus *fundus, struct manifest *out, struct table *aligned)
{
    struct reading *reading = fundus->reading;
    manifest_start(reading, out, fundus->file, fundus->table.rows, true);
    memcpy(out->line, fundus->table.line, (size_t)out->rows * sizeof *out->line);
    *aligned = fundus->table;
    return place_images(fundus, out, fundus->number) && read_labels(fundus, out) && read_splits(fundus, out);
}

/* Rows, classes and splits of the published files. */
static bool read_published(struct fundus *fundus, struct manifest *out, struct table *aligned)
{
    struct reading *reading = fundus->reading;
    struct arena *arena = reading->arena;
    int64_t unknown = 0, differ = 0;
    if (!reader_class2images.read(reading, out))
        return false;
    int64_t *row = arena_array(arena, int64_t, out->rows + 1);
    const struct text_index names = text_index(arena, fundus->number, fundus->table.rows);
    const char **number = set_align(arena, out, &names, number_of, row, &unknown);
    for (int64_t i = 0; i < out->rows; i++) {
        const char *cell = row[i] < 0 ? NULL : table_cell(&fundus->table, row[i], fundus->glaucoma);
        differ += cell && out->label && strcasecmp(cell, out->class_names[out->label[i]]) != 0;
    }
    if (unknown || differ)
        reading_note(reading,
                     "%s: %lld images of the split files are not in it, %lld have another label: the split files "
                     "hold",
                     fundus->file, (long long)unknown, (long long)differ);
    *aligned = set_reordered(arena, &fundus->table, row, out->rows);
    return place_images(fundus, out, number);
}

static bool read_fundus(struct reading *reading, struct manifest *out)
{
    struct fundus fundus = { .reading = reading };
    struct table aligned;
    bool is_published = set_is_published(reading);
    if (!open_table(&fundus) || !read_numbers(&fundus) ||
        !(is_published ? read_published : read_all)(&fundus, out, &aligned))
        return false;
    if (!set_groups(reading, out, &aligned, NULL))
        return false;
    if (fundus.report >= 0)
        out->report = set_column(reading->arena, &aligned, fundus.report);
    const int used[] = { fundus.filename,
                         fundus.glaucoma,
                         fundus.use,
                         fundus.report,
                         table_column(&aligned, "note"),
                         table_column(&aligned, "gpt4_summary") };
    set_attributes(reading, out, &aligned, used, sizeof used / sizeof used[0]);
    reading_note(reading, "Harvard-FairVLMed: %lld images (published: 10,000)", (long long)out->rows);
    set_note_unused(reading, out, fundus.copies, fundus.file);
    set_note_others(reading, fundus.from_arrays);
    return true;
}

const struct manifest_reader reader_fundus = {
    .name = "fundus",
    .help = "Harvard-FairVLMed: data_summary.csv with slo_fundus_NNNNN.jpg or data_NNNNN.npz",
    .recognise = recognise,
    .tables = (const char *const[]){ "data_summary.csv*", NULL },
    .read = read_fundus,
};
