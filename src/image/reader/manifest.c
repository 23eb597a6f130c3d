/* Manifests: which reader, and what must hold of every manifest whoever read it. */
#include "image/manifest.h"

#include <fnmatch.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <xxhash.h>

#include "base/arena.h"
#include "base/file.h"
#include "image/reader/reader.h"

/* In the order in which pack.reader: auto asks them: first those of one collection each, of which at most one may
 * recognise the folder, then the general ones, of which the first is taken. */
static const struct manifest_reader *const readers[] = {
    &reader_ham,      &reader_isic, &reader_fundus,       &reader_mimic,      &reader_chexpert,      &reader_nih,
    &reader_medmnist, &reader_idx,  &reader_class2images, &reader_labels_csv, &reader_class_folders,
};
enum { COLLECTIONS = 8, READERS = sizeof readers / sizeof readers[0] };

static const struct manifest_reader *choose(struct reading *reading, const char **seen);

static bool table_serves(struct reading *reading, const struct manifest_reader *reader);

static bool start(struct reading *reading, struct arena *arena, const struct manifest_request *request)
{
    struct stat status;
    *reading = (struct reading){
        .arena = arena, .request = request, .notes = text_new(arena), .asked = text_new(arena), .code = EXIT_BAD_DATA
    };
    if (!request->root || !*request->root)
        return reading_fail(reading, EXIT_NO_INPUT,
                            "no data folder was given\nset root: in the configuration, or --root");
    if (stat(request->root, &status) != 0 || !S_ISDIR(status.st_mode))
        return reading_fail(reading, EXIT_NO_INPUT,
                            "%s: expected a folder of images\nset root: in the configuration, or --root",
                            request->root);
    return true;
}

/* What the reader does not fill. */
static void finish(struct reading *reading, struct manifest *out, const char *reader, const char *seen)
{
    manifest_check_names(reading, out);
    out->reader = reader;
    out->seen = seen;
    out->notes = reading->notes.data;
    out->inputs = reading->inputs;
    out->input = reading->input;
}

bool manifest_read(struct arena *arena, struct manifest *out, const struct manifest_request *request,
                   enum exit_code *code, const char **why)
{
    struct reading reading;
    const char *seen = NULL, *no_tree = NULL, *group = request->pack->group;
    *out = (struct manifest){ 0 };
    bool ok = start(&reading, arena, request);
    if (ok) {
        reading.tree = tree_list(arena, request->root, &no_tree);
        ok = reading.tree || reading_fail(&reading, EXIT_NO_INPUT, "%s", no_tree);
    }
    const struct manifest_reader *reader = ok ? choose(&reading, &seen) : NULL;
    ok = reader && table_serves(&reading, reader) && reading_keys_fit(&reading, reader->name) &&
         reader->read(&reading, out) && manifest_check(&reading, out) && /* whoever read it */
         (out->group || !group || !*group || manifest_join_groups(&reading, out)) &&
         reading_columns_fit(&reading, reader->name) && reading_split_asked(&reading, out);
    if (ok)
        finish(&reading, out, reader->name, seen);
    *code = reading.code;
    *why = reading.why;
    return ok;
}

bool manifest_read_table(struct arena *arena, struct manifest *out, const struct manifest_request *request,
                         enum exit_code *code, const char **why)
{
    struct reading reading;
    *out = (struct manifest){ 0 };
    bool ok = start(&reading, arena, request) && reader_labels_csv.read(&reading, out) && manifest_check(&reading, out);
    if (ok)
        finish(&reading, out, reader_labels_csv.name, "a table was named");
    *code = reading.code;
    *why = reading.why;
    return ok;
}

bool manifest_reader_help(int k, const char **name, const char **help)
{
    if (k >= READERS)
        return false;
    *name = readers[k]->name;
    *help = readers[k]->help;
    return true;
}

/* ---- which reader ---- */

/* A table that stands under the name that pack.labels gives, or by default has, was made for this program. */
static bool has_own_table(struct reading *reading)
{
    return reader_labels_csv.recognise(reading) != NULL;
}

static const struct manifest_reader *choose_collection(struct reading *reading, const char **seen)
{
    const struct manifest_reader *found = NULL;
    for (int i = 0; i < COLLECTIONS; i++) {
        const char *here = readers[i]->recognise(reading);
        if (here && found) {
            reading_fail(reading, EXIT_BAD_DATA,
                         "%s: two readers know this folder: %s (%s) and %s (%s)\nset pack.reader: to one of them",
                         reading->request->root, found->name, *seen, readers[i]->name, here);
            return NULL;
        }
        if (here) {
            found = readers[i];
            *seen = here;
        }
    }
    return found;
}

/* Is the table that pack.labels names one of the collection's own, whose reader then reads it? */
static bool is_its_table(const struct reading *reading, const struct manifest_reader *reader)
{
    const char *labels = reading->request->pack->labels, *slash = strrchr(labels, '/');
    for (const char *const *pattern = reader->tables; pattern && *pattern; pattern++)
        if (fnmatch(*pattern, slash ? slash + 1 : labels, 0) == 0)
            return true;
    return false;
}

static const struct manifest_reader *choose_any(struct reading *reading, const char **seen)
{
    const struct manifest_reader *found = choose_collection(reading, seen);
    if (reading->why)
        return NULL;
    if (found && (is_its_table(reading, found) || !has_own_table(reading)))
        return found;
    if (found) {
        reading_note(reading, "the folder looks like %s too (%s): pack.reader: %s reads it so", found->name, *seen,
                     found->name);
        *seen = reader_labels_csv.recognise(reading);
        return &reader_labels_csv;
    }
    for (int i = COLLECTIONS; i < READERS; i++)
        if ((*seen = readers[i]->recognise(reading)) != NULL)
            return readers[i];
    return &reader_class_folders; /* which says what is missing */
}

/* A table that pack.labels names must be there and serve: as the table of images, or for pack.group. */
static bool table_serves(struct reading *reading, const struct manifest_reader *reader)
{
    const struct pack_config *pack = reading->request->pack;
    bool stated = strcmp(pack->labels, "labels.csv") != 0, join = pack->group && *pack->group;
    if (reader->takes_table || (reader->tables && (!stated || is_its_table(reading, reader))))
        return true;
    if (reader->tables && has_own_table(reading))
        return reading_fail(reading, EXIT_BAD_CONFIG,
                            "pack.labels: %s would not be read, as reader %s has tables of its own\n"
                            "set pack.reader: labels_csv, or leave pack.labels at its default",
                            pack->labels, reader->name);
    if (stated && !has_own_table(reading))
        return reading_fail(reading, EXIT_NO_INPUT, "pack.labels: %s is not in %s\nexpected the name of a table there",
                            pack->labels, reading->request->root);
    if (reader == &reader_labels_csv || join || !has_own_table(reading))
        return true;
    if (stated)
        return reading_fail(reading, EXIT_BAD_CONFIG,
                            "pack.labels: %s would not be read, as images and labels are those of reader %s\n"
                            "set pack.reader: labels_csv, or pack.group: to join groups from it",
                            pack->labels, reader->name);
    reading_note(reading, "%s is not read: pack.reader: labels_csv does", pack->labels);
    return true;
}

static const struct manifest_reader *choose(struct reading *reading, const char **seen)
{
    const char *wanted = reading->request->pack->reader;
    if (strcmp(wanted, "auto") == 0)
        return choose_any(reading, seen);
    *seen = "pack.reader says so";
    for (int i = 0; i < READERS; i++)
        if (strcmp(readers[i]->name, wanted) == 0)
            return readers[i];
    reading_fail(reading, EXIT_BAD_CONFIG, "pack.reader: '%s' is not a reader", wanted);
    return NULL;
}

/* ---- rows ---- */

const char *manifest_place(struct arena *arena, const struct manifest *manifest, int64_t row)
{
    if (manifest->line)
        return arena_printf(arena, "%s:%lld", manifest->source, (long long)manifest->line[row]);
    return arena_printf(arena, "%s, row %lld", manifest->source, (long long)row);
}

struct image_place manifest_image(const struct manifest *manifest, int64_t row)
{
    if (!manifest->member)
        return (struct image_place){ manifest->path[row], NULL, 0 };
    return (struct image_place){ manifest->path[row], manifest->member[row], manifest->index[row] };
}

int manifest_split(const char *name)
{
    static const struct {
        const char *word;
        enum split split;
    } words[] = { { "train", SPLIT_TRAIN },    { "training", SPLIT_TRAIN }, { "trn", SPLIT_TRAIN },
                  { "val", SPLIT_VAL },        { "valid", SPLIT_VAL },      { "validate", SPLIT_VAL },
                  { "validation", SPLIT_VAL }, { "dev", SPLIT_VAL },        { "test", SPLIT_TEST },
                  { "testing", SPLIT_TEST },   { "tst", SPLIT_TEST } };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasecmp(name, words[i].word) == 0)
            return (int)words[i].split;
    return -1;
}

uint8_t manifest_hash_split(const char *name, double val_fraction, double test_fraction)
{
    double u = (double)(XXH3_64bits(name, strlen(name)) >> 11) * 0x1p-53;
    return u < val_fraction ? SPLIT_VAL : u < val_fraction + test_fraction ? SPLIT_TEST : SPLIT_TRAIN;
}
