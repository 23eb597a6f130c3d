/* The images of a run as name and explain show them: what is known of each row of its files, and where its picture is.
 */
#ifndef STAGE_GALLERY_H
#define STAGE_GALLERY_H

#include "image/corpus.h"
#include "stage/stage.h"

struct loader;
struct text;

struct gallery {
    const struct corpus *corpus; /* labels, splits, attributes of the rows; classes 0: without labels */
    struct store *pixels;        /* corpus.h5; NULL: representations that were imported without images */
    const int64_t *picture;      /* [rows] of corpus.h5; NULL: the rows themselves */
    const char *encoder;         /* of imported representations; NULL: the backbone's own */
    struct store *described;     /* of `id` */
};

/* Of corpus.h5; of embeddings.h5 where it was imported (docs/encoders.md). Owned by job->run. Collective. */
struct gallery *gallery_open(struct job *job);
/* The pictures; NULL without. Collective: small corpora are read whole. */
struct loader *gallery_loader(struct job *job, const struct gallery *gallery);
/* Name of a row: its id, or "row N" where it has none. Arena. Local. */
const char *gallery_name(const struct gallery *gallery, struct arena *arena, int64_t row);

#endif
