/* Inside cfn pack: what the two passes over the images share (src/stage/corpus/pack.c, pack_write.c). */
#ifndef STAGE_CORPUS_PACK_H
#define STAGE_CORPUS_PACK_H

#include "image/intake.h"
#include "image/manifest.h"
#include "stage/stage.h"

enum { PACK_WORKERS = 256 };

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
    int64_t *offset; /* [good + 1] byte where a row begins in its dataset */
    int workers;
    struct arena *scratch[PACK_WORKERS], *keep[PACK_WORKERS];
};

/* Second pass: corpus.h5 with its images, read back and compared, and all columns; not yet published. Collective. */
struct store *pack_write(struct pack *pack);

#endif
