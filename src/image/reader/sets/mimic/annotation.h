/* R2Gen's annotation.json: splits and reports of images, no labels. */
#ifndef IMAGE_READER_SETS_ANNOTATION_H
#define IMAGE_READER_SETS_ANNOTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

/* One image of an entry, in the order of the file. */
struct annotated {
    const char *id, *path, *report; /* path: as the file has it, below images/ */
    int64_t study, subject;
    uint8_t split; /* enum split */
};
struct annotation {
    struct annotated *list;
    int64_t count, room;
};

/* {"train": [{"id", "study_id", "subject_id", "report", "image_path": [...]}, ...], "val": [...], "test": [...]}.
 * Entries are parsed one at a time, so what is held is what is returned, in the arena. False with *why ("name: ...")
 * when it is not of this shape. Local. */
bool annotation_read(struct arena *arena, struct annotation *out, const char *name, const char *bytes, size_t size,
                     const char **why);

#endif
