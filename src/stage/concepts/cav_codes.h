/* The sparse codes of all images (sae.h5) as cfn cav needs them: past every rank's neurons, read once. */
#ifndef STAGE_CONCEPTS_CAV_CODES_H
#define STAGE_CONCEPTS_CAV_CODES_H

#include "stage/features.h"

struct cav_collector;

struct cav_codes {
    struct store *store;     /* sae.h5; the caller closes it */
    int64_t rows, neurons;   /* N, K */
    int64_t *indptr;         /* [N + 1] */
    const int64_t *position; /* [N] number among the training rows, or -1; borrowed */
};

/* Opens and checks the file. Owned by job->run. Collective. */
struct cav_codes *cav_codes_open(struct job *job, const struct features *features, const int64_t *position);
/* Bytes that takes on a rank of `ranks`, for --dry-run. Local. */
double cav_codes_bytes(const struct cav_codes *codes, int ranks);
/* Gives all training rows to the collector of this rank. Memory: 16 MB, more only when one image has more than a
 * million active neurons. Collective: every rank reads its part of the file and passes it on. */
void cav_codes_collect(struct job *job, struct cav_codes *codes, struct cav_collector *collector);

#endif
