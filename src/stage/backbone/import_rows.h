/* Which rows of imported representations are taken, in which order, and what is known of them
 * (src/stage/backbone/import_rows.c). */
#ifndef STAGE_BACKBONE_IMPORT_ROWS_H
#define STAGE_BACKBONE_IMPORT_ROWS_H

#include "image/corpus.h"
#include "stage/stage.h"

struct import_request {
    const char *file;         /* of the representations, for messages */
    int64_t rows;             /* it has */
    const char *labels, *ids; /* paths; NULL: not given */
};

struct import_rows {
    int64_t rows;          /* taken, in the order of the corpus or table */
    const int64_t *source; /* [rows] row of the representations */
    const int64_t *place;  /* [rows] row of the corpus or table */
    struct corpus known;   /* of the rows taken; classes 0: without labels */
    const char *const *id; /* [rows], rank 0; NULL: rows have no ids, and on other ranks */
    int64_t id_bytes;      /* of the longest; 0: rows have no ids */
    bool pictures;         /* places are rows of corpus.h5 */
};

/* Rows described by request->labels, else by the data set's corpus.h5, else by nothing; found by the ids of
 * request->ids, else in order. Says what was matched. Ends all ranks with EXIT_BAD_DATA on what is ambiguous: an id
 * that occurs twice, and other numbers of rows without ids. Owned by job->run. Collective. */
struct import_rows *import_rows_find(struct job *job, const struct import_request *request);

#endif
