/* metrics.json: every model of a run measured alike on the validation and test split. */
#ifndef STAGE_METRICS_H
#define STAGE_METRICS_H

#include "stage/features.h"

/* A model, or several trials of a randomised one (their mean is reported). */
struct metrics_model {
    const char *name; /* its key in the file */
    int trials;
    const float *const *logits; /* [trials][N x C] of all rows, the same on every rank */
};

/* Writes metrics.json for the models (the first is the one retention divides by, the second the one it is of) and
 * prints the table of the test split. Ranks share the bootstrap replicates. Collective. */
void metrics_write(struct job *job, const struct features *features, const struct metrics_model *models, int count);

#endif
