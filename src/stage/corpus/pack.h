/* Inside cfn pack: what the two passes over the images share (src/stage/corpus/pack.c, pack_write.c). */
#ifndef STAGE_CORPUS_PACK_H
#define STAGE_CORPUS_PACK_H

#include "image/intake.h"
#include "image/manifest.h"
#include "stage/stage.h"

enum {
    PACK_WORKERS = 256,
    PACK_CHUNK = 64, /* rows that always go together to one rank */
};

struct pack {
    struct job *job;
    struct manifest manifest;
    struct intake intake;
    struct span mine;           /* manifest rows of this rank */
    struct intake_facts *facts; /* [rows], of all ranks */
    const char **why;           /* [mine.count], NULL where the row is good */
    struct image *kept;         /* [mine.count], pixels NULL when not kept */
    int64_t *row;               /* [good] manifest row of each corpus row */
    int64_t good;
    struct span own; /* corpus rows of this rank */
    int channels;
    int64_t *offset;          /* [good + 1] byte where a row begins in its dataset */
    bool as_png;              /* encoded pictures are resized, or come from arrays: PNG of their pixels */
    int png_file;             /* of this rank, without a name; then also: */
    int64_t *png_at, png_end; /* [mine.count] byte where a row begins in it; its end */
    int workers;
    struct arena *scratch[PACK_WORKERS], *keep[PACK_WORKERS];
    struct array_images *arrays[PACK_WORKERS];
};

/* The picture of manifest row `source` (of this rank): kept from the first pass, or read again and the same. False with
 * *why. Owned by the worker's scratch arena. Local. */
bool pack_picture(struct pack *pack, int worker, struct image *out, int64_t source, const char **why);
/* Pictures as PNG into the file png_file, facts[].bytes of all ranks. Collective. */
void pack_encode(struct pack *pack);
/* to [facts[source].bytes] <- the PNG of manifest row `source` (of this rank). Local. */
bool pack_encoded(struct pack *pack, uint8_t *to, int64_t source);
/* Second pass: corpus.h5 with its images, read back and compared, and all columns; not yet published. Collective. */
struct store *pack_write(struct pack *pack);

/* Which reader and why, and what it guessed; then, of what was packed, the classes with their images by split. */
void pack_say_manifest(const struct manifest *manifest);
void pack_say_classes(const struct pack *pack);

/* Rows of the layout of corpus.h5 for the sections of the reports that there are, and their extents, sizes [SECTIONS].
 */
void pack_sections_layout(const struct pack *pack, struct layout *layout, size_t *count, struct extent *sizes);
/* Writes them. Collective. */
void pack_sections_write(struct pack *pack, struct store *store);

#endif
