/* What a corpus is to hold, before any image is opened: one row per image, by the reader of the data folder's kind
 * (docs/data.md). */
#ifndef IMAGE_MANIFEST_H
#define IMAGE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct arena;
struct pack_config;
struct world;

/* Ground truth or metadata beside the labels. */
struct manifest_attribute {
    const char *name;         /* of its column; names differ also as parts of a dataset's path after its reader */
    double *value;            /* [rows] NaN where not known; of a column of text a code, 0 to values - 1 */
    int values;               /* of a column of text: how many different ones; 0 for numbers */
    const char **value_names; /* [values] sorted, or NULL for numbers */
};

enum report_section { SECTION_FINDINGS, SECTION_IMPRESSION, SECTIONS };

struct manifest {
    int64_t rows;
    const char *source;  /* file or folder the rows come from, for messages */
    const char *reader;  /* word of pack.reader that read it */
    const char *seen;    /* why this one: what was recognised, or what was asked for */
    const char *notes;   /* a line for everything guessed, counted or left out; "" without any */
    const char **path;   /* [rows] below root; safe by its text, not yet looked at */
    const char **id;     /* [rows]; the same array as `path` unless the source names them */
    const char **member; /* [rows] or NULL: a row with a text here is an image inside the file: name of the array in a
                            .npz, "" when the file holds one (.npy, IDX). An entry NULL: the file is the image */
    int64_t *index;      /* [rows] which image of that array, from 0; NULL when member is */
    const char **report; /* [rows] or NULL */
    const char **section[SECTIONS]; /* [rows] each: parts of the reports, "" where there is none; NULL without any */
    int64_t *line;                  /* [rows] line of `source`, NULL when it has none */
    uint8_t *split;                 /* [rows] enum split */
    int32_t *label;                 /* [rows], NULL when multi_label */
    int8_t *labels;                 /* [rows x classes] enum label_state, or NULL */
    int64_t *group;                 /* [rows] numbered by first appearance, or NULL */
    bool multi_label;
    int classes;
    const char **class_names;
    int attributes;
    struct manifest_attribute *attribute; /* [attributes] */
    int inputs;
    const char **input; /* [inputs] tables and lists it was read from: below root, or absolute */
};

/* An image: a file below the root, or one of those in an array in it. */
struct image_place {
    const char *path, *member; /* member NULL: the file itself */
    int64_t index;
};

struct manifest_request {
    const char *root, *data;        /* keys of the configuration: root, data */
    const struct pack_config *pack; /* and those of pack.* */
    bool default_fractions;         /* nobody set pack.val_fraction or pack.test_fraction */
    bool by_id; /* of a table: its rows are not files; a column id is enough, and labels may be absent (classes 0) */
};

/* Reads the manifest; everything is owned by the arena. False with *code and *why (one line naming file:line, found and
 * expected; after a line break a hint). Local: rank 0 does it. */
bool manifest_read(struct arena *arena, struct manifest *out, const struct manifest_request *request,
                   enum exit_code *code, const char **why);
/* The same of one table, whatever else is in its folder, its rows not looked for as files. Local. */
bool manifest_read_table(struct arena *arena, struct manifest *out, const struct manifest_request *request,
                         enum exit_code *code, const char **why);

/* Rank 0's manifest on every rank. Collective. */
void manifest_share(struct world *world, struct arena *arena, struct manifest *manifest);

/* "labels.csv:12", or "row 11" of a source without lines; arena. */
const char *manifest_place(struct arena *arena, const struct manifest *manifest, int64_t row);
/* A name as it can be shown: control characters, backslashes and what is not UTF-8 as \t, \n, \\, \x01; arena. */
const char *manifest_escaped(struct arena *arena, const char *name);
struct image_place manifest_image(const struct manifest *manifest, int64_t row);

/* Numbers by first appearance [rows]; an empty text is a group of its own. Arena. */
int64_t *manifest_number_groups(struct arena *arena, const char *const *texts, int64_t rows);
/* Split of a name by its hash: the same on every machine, whatever else is in the corpus. */
uint8_t manifest_hash_split(const char *name, double val_fraction, double test_fraction);
/* enum split of a word as people write it, in any case ("train", "Training", "valid", "testing", ...), or -1. */
int manifest_split(const char *name);
/* Readers in the order of their table: word and line of help of the k-th; false past the last. */
bool manifest_reader_help(int k, const char **name, const char **help);

/* Opens a file below `root` (a real path): no way out of it by "..", absolute path or link, and only regular files of
 * at most `limit_bytes`. The one link that may lead out is root/images itself, then nothing leads out of that folder.
 * The bytes are owned by the arena; NULL with *why. Local. */
uint8_t *manifest_open(struct arena *arena, const char *root, const char *path, size_t limit_bytes, size_t *size,
                       const char **why);
/* The same file, open for reading and of any size; -1 with *why. The caller closes it. */
int manifest_open_file(struct arena *arena, const char *root, const char *path, const char **why);

#endif
