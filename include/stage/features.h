/* The representations every concept stage starts from (embeddings.h5), in this rank's block of rows. */
#ifndef STAGE_FEATURES_H
#define STAGE_FEATURES_H

#include "stage/stage.h"

struct features {
    int64_t rows; /* N, global */
    int dim;      /* D */
    int classes;  /* C; 0: imported without labels */
    bool multi_label;
    const char *const *class_names;
    struct span mine;     /* this rank's rows, whole chunks of FEATURES_CHUNK */
    const float *x;       /* [mine.count x D] */
    const float *logits;  /* [mine.count x C] of the backbone; NULL: imported, there are none */
    const uint8_t *split; /* [N] enum split */
    const int32_t *label; /* [N], or NULL */
    const int8_t *labels; /* [N x C], or NULL */
};
enum { FEATURES_CHUNK = 64 }; /* rows formed together by one kernel call: never split between ranks */

/* Everything is owned by job->run. Collective. */
struct features *features_load(struct job *job);
/* Ends all ranks with EXIT_BAD_DATA when the rows have no labels: `stage` needs them for `what`. Collective. */
void features_need_labels(struct job *job, const struct features *features, const char *what);

#endif
