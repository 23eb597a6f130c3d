/* Readers: each recognises one kind of data folder and makes a manifest of it. A reader is a file and a row of the
 * table in manifest.c; those of public collections are in sets/. Private to this room. All of it is local: rank 0
 * reads. */
#ifndef IMAGE_READER_READER_H
#define IMAGE_READER_READER_H

#include "base/text.h"
#include "config/config.h"
#include "image/corpus.h"
#include "image/manifest.h"
#include "image/reader/index.h"
#include "image/reader/tree.h"
#include "image/table.h"

/* One reading of one folder. */
struct reading {
    struct arena *arena; /* owns whatever a reader makes */
    const struct manifest_request *request;
    const struct tree *tree; /* NULL for manifest_read_table */
    struct text notes;
    enum exit_code code; /* of the first problem */
    const char *why;
    const char *group_kind; /* "lesion", "patient": what a group is when the reader knows; NULL: what pack.group says */
    bool split_made;        /* the splits are not the data's own */
    struct text asked;      /* columns that were looked for by name, ", " between them: pack.columns may rename them */
    int inputs, input_room;
    const char **input;
};

struct manifest_reader {
    const char *name; /* word of pack.reader */
    const char *help; /* the folder it reads, a line */
    /* What was seen, as the end of a sentence ("HAM10000_metadata.csv and 2 folders of images"), arena; NULL when the
     * folder is none of its kind. Looks at names, at most at a header: a folder that is its kind and lacks something is
     * recognised, and `read` says what is missing. */
    const char *(*recognise)(struct reading *reading);
    /* Of a collection: what its own tables are called (fnmatch, of names without folders; NULL-terminated), so that
     * pack.labels with such a name asks for this reader. */
    const char *const *tables;
    bool takes_table; /* reads the table that pack.labels names, whatever its name, in place of its own */
    /* Fills *out but for reader, seen, notes and inputs. False after reading_fail. */
    bool (*read)(struct reading *reading, struct manifest *out);
};

/* ---- what a reader says ---- */

/* Notes the first problem ("file:line: found; expected\nhint"); always false. */
bool reading_fail(struct reading *reading, enum exit_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* One line that the user reads: what was guessed, counted, left out. */
void reading_note(struct reading *reading, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- what a reader opens ---- */

/* The table of this name below root (an absolute name is taken as it is), or with .gz behind it; its checksum will be
 * recorded and its notes are said. False after reading_fail: missing (EXIT_NO_INPUT), or not a table. */
bool reading_table(struct reading *reading, struct table *out, const char *name);
/* The column that pack.columns gives for `name` (reading_fail when the table has none of that name), else the one of
 * this name, in any case; -1 when there is none. */
int reading_column(struct reading *reading, const struct table *table, const char *name);
/* The column that pack.columns gives for `name`, "" when it says that there is none, NULL when it says nothing; arena.
 */
const char *reading_renamed(struct reading *reading, const char *name);
/* Was every name of pack.columns looked for? False after reading_fail: one that was not would be passed over. */
bool reading_columns_fit(struct reading *reading, const char *reader);
/* The column that names images: that of pack.columns' path, or one of the usual names (path, file_name, image_id, ...);
 * -1 when there is none. *file: does it name files, not ids? */
int reading_image_column(struct reading *reading, const struct table *table, bool *file);
/* A cell without spaces around it and in one form of each letter (NFC); arena or the cell. The second: "" too when it
 * is one of the words of pack.missing. For labels, attributes and groups; a path or a report stays as it is. */
const char *reading_text(struct reading *reading, const char *cell);
const char *reading_value(struct reading *reading, const char *cell);
/* Are keys that only some readers use at their defaults when `reader` is none of these? False after reading_fail. */
bool reading_keys_fit(struct reading *reading, const char *reader);
/* Path of the file `name` of this reading: root/name, or name when it is absolute; notes it as an input. Arena. */
const char *reading_input(struct reading *reading, const char *name);

/* ---- what a reader fills ---- */

/* *out with `rows` rows: path, id (the same array), split (train) and, when `lines`, line; all else as zeroes. */
void manifest_start(struct reading *reading, struct manifest *out, const char *source, int64_t rows, bool lines);
/* Paths for what a source says of its images, [rows] each: as written below root, else by file name or stem in whatever
 * folder holds it (docs/data.md). What is found otherwise than as written is said; what is found nowhere stays as
 * written, and packing says so of each row. False after reading_fail: two images that could be meant, or a path that
 * leads out. */
bool manifest_find_images(struct reading *reading, struct manifest *out, const char *const *texts);
/* An attribute of numbers, values [rows] kept. */
void manifest_add_numbers(struct arena *arena, struct manifest *out, const char *name, double *value);
/* An attribute of text: texts [rows], the empty ones and those of pack.missing are not known. Too many different values
 * are none: then false, and nothing is added. */
bool manifest_add_texts(struct reading *reading, struct manifest *out, const char *name, const char *const *texts);
/* Column of a table as an attribute of numbers if all its known cells are, else of text; what is neither is left out
 * with a note. */
void manifest_add_column(struct reading *reading, struct manifest *out, const struct table *table, int column);
/* What must hold of every manifest: rows, paths below the root, images and ids once, names of classes that differ,
 * texts of UTF-8. */
bool manifest_check(struct reading *reading, struct manifest *out);
bool manifest_is_text(const char *text); /* UTF-8? */
/* Names that can be part of a dataset's path and differ; what had to change is noted. Done for every reader. */
void manifest_check_names(struct reading *reading, struct manifest *out);
/* Numbers by first appearance [rows]; an empty text or a word of pack.missing is a group of its own. Arena. */
int64_t *reading_groups(struct reading *reading, const char *const *texts, int64_t rows);
/* Groups for a source that has none, from column pack.group of the table pack.labels: its rows are found by path, else
 * by file name without ending. */
bool manifest_join_groups(struct reading *reading, struct manifest *out);

/* ---- splits ---- */

/* Splits of a source that has none: whole groups, every class in its share; says so. Also what pack.split asks for when
 * a reader has taken the data's own: whole groups, the hash of the name, or nothing else than the data's. The second is
 * done for every reader. False after reading_fail: groups of another kind, or none. */
bool reading_split(struct reading *reading, struct manifest *out);
bool reading_split_asked(struct reading *reading, struct manifest *out);

/* The observations of the CheXpert labeler in alphabetical order, without "No Finding": what the digits of published
 * keys stand for. (class2images.c) */
enum { OBSERVATIONS = 13 };
extern const char *const reading_observations[OBSERVATIONS];

/* ---- the rows of the table in manifest.c ---- */

extern const struct manifest_reader reader_class2images, reader_labels_csv, reader_class_folders;
extern const struct manifest_reader reader_ham, reader_isic, reader_fundus;                                 /* sets/ */
extern const struct manifest_reader reader_mimic, reader_chexpert, reader_nih, reader_medmnist, reader_idx; /* sets/ */

#endif
