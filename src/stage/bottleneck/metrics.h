/* metrics.json: every model of a run measured alike on the validation and test split. */
#ifndef STAGE_BOTTLENECK_METRICS_H
#define STAGE_BOTTLENECK_METRICS_H

#include "image/corpus.h"
#include "stage/features.h"

/* A model, or several trials of a randomised one (their mean is reported). */
struct metrics_model {
    const char *name; /* its key in the file */
    int trials;
    const float *const *logits; /* [trials][N x C] of all rows, the same on every rank */
};

/* More members of metrics.json, after the models. */
struct json_writer;
struct metrics_section {
    void (*write)(struct json_writer *w, const void *data);
    const void *data;
};

/* Writes metrics.json for the models (the first is the one retention divides by, and named in it; the second the one it
 * is of) and the sections, and prints the table of the test split. Ranks share the bootstrap replicates. Collective. */
void metrics_write(struct job *job, const struct features *features, const struct metrics_model *models, int count,
                   const struct metrics_section *sections, int section_count);

/* Accuracy (several labels: macro AUROC) of logits [N x C] on a split, the same on every rank; NaN without rows. Local.
 */
double metrics_main(struct job *job, const struct features *features, const float *logits, enum split split);

#endif
