/* What a corpus is to hold, before any image is opened: one row per image, from
 * class folders, a table, or the published class2images files (docs/data.md). */
#ifndef IMAGE_MANIFEST_H
#define IMAGE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct arena;
struct world;

struct manifest {
    int64_t rows;
    const char *source;  /* file or folder the rows come from, for messages */
    const char **path;   /* [rows] below root; safe by its text, not yet looked at */
    const char **id;     /* [rows]; the same array as `path` unless the source names them */
    const char **report; /* [rows] or NULL */
    int64_t *line;       /* [rows] line of `source`, NULL when it has none */
    uint8_t *split;      /* [rows] enum split */
    int32_t *label;      /* [rows], NULL when multi_label */
    int8_t *labels;      /* [rows x classes] enum label_state, or NULL */
    int64_t *group;      /* [rows] numbered by first appearance, or NULL */
    bool multi_label;
    int classes;
    const char **class_names;
    int attributes;
    const char **attribute_names;
    float **attribute; /* [attributes][rows], NaN where the cell is empty */
};

struct manifest_request {
    const char *root, *reader, *labels, *data, *group; /* keys of the configuration: pack.reader, ... */
    double val_fraction, test_fraction;
    bool by_id; /* of a table: its rows are not files; a column id is enough, and labels may be absent (classes 0) */
};

/* Reads the manifest; everything is owned by the arena. False with *code and *why (one line naming file:line, found and
 * expected). Local: rank 0 does it. */
bool manifest_read(struct arena *arena, struct manifest *out, const struct manifest_request *request,
                   enum exit_code *code, const char **why);

/* Rank 0's manifest on every rank. Collective. */
void manifest_share(struct world *world, struct arena *arena, struct manifest *manifest);

/* "labels.csv:12", or "row 11" of a source without lines; arena. */
const char *manifest_place(struct arena *arena, const struct manifest *manifest, int64_t row);

/* The three readers, and what they share; local, as manifest_read. */
struct manifest_problem {
    struct arena *arena;
    enum exit_code code;
    const char *why;
};
/* Notes the first problem; always false. */
bool manifest_fail(struct manifest_problem *problem, enum exit_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool manifest_from_folders(struct arena *arena, struct manifest *out, const struct manifest_request *request,
                           struct manifest_problem *problem);
bool manifest_from_table(struct arena *arena, struct manifest *out, const struct manifest_request *request,
                         struct manifest_problem *problem);
bool manifest_from_classes(struct arena *arena, struct manifest *out, const struct manifest_request *request,
                           struct manifest_problem *problem);
/* Groups for a source that has none, from column pack.group of the table pack.labels, whose rows are found by file
 * name without folder and ending: its column path, id or image_id. */
bool manifest_join_groups(struct arena *arena, struct manifest *out, const struct manifest_request *request,
                          struct manifest_problem *problem);
/* Numbers by first appearance [rows]; an empty text is a group of its own. Arena. */
int64_t *manifest_number_groups(struct arena *arena, const char *const *texts, int64_t rows);
/* Split of a name by its hash: the same on every machine, whatever else is in the corpus. */
uint8_t manifest_hash_split(const char *name, double val_fraction, double test_fraction);
/* enum split of a name as people write it ("train", "val", "valid", "validate", "validation", "test"), or -1. */
int manifest_split(const char *name);

/* Opens a file below `root` (a real path): no way out of it by "..", absolute path or link, and only regular files of
 * at most `limit_bytes`. The bytes are owned by the arena; NULL with *why. Local. */
uint8_t *manifest_open(struct arena *arena, const char *root, const char *path, size_t limit_bytes, size_t *size,
                       const char **why);

#endif
