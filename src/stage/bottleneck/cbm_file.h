/* cbm.h5: the head of the bottleneck. */
#ifndef STAGE_BOTTLENECK_CBM_FILE_H
#define STAGE_BOTTLENECK_CBM_FILE_H

#include "concept/head.h"
#include "concept/head_sparse.h"
#include "stage/features.h"

struct cbm {
    int concepts;                 /* M */
    const double *weight;         /* [C x D], or NULL when the head sees the codes */
    const double *bias;           /* [C] */
    const double *concept_weight; /* [C x M] */
    struct head_search search;
    double temperature;             /* logits / temperature are calibrated */
    const struct sparse_path *path; /* of sparse heads, or NULL */
    const int *levels;              /* [level_count] NEC of the heads path->level */
    int level_count;
    const float *logits;         /* [mine.count x C] of this rank's rows */
    const struct head *residual; /* second head of a hybrid, or NULL */
    double residual_c;
    const float *residual_logits; /* [mine.count x C] its part of `logits` */
    const struct head *probe;     /* on the whole representation */
    double probe_c;
};
/* Writes and publishes the file. Collective. */
void cbm_write(struct job *job, const struct features *features, const struct cbm *cbm);

#endif
