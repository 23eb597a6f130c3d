/* Shared by the files of `cfn name`: what is read, summed up and found for every neuron. */
#ifndef STAGE_CONCEPTS_NAME_H
#define STAGE_CONCEPTS_NAME_H

#include <stdint.h>

#include "concept/names.h"
#include "stage/gallery.h"

enum name_mask {
    NAME_TRAIN = 1 << SPLIT_TRAIN,
    NAME_TEST = 1 << SPLIT_TEST,
    NAME_CHOOSE = NAME_TRAIN | 1 << SPLIT_VAL
};

/* What is known of one neuron. */
struct name_neuron {
    int attribute, class_match; /* targets, -1 = none */
    double r, class_r;          /* on the training split */
    double score;               /* |r| of the match the name is made of */
    int top_class;              /* -1 = none */
    double top_share;
    int tops;
    const char *text; /* NULL = never fires */
};

struct name_task {
    struct job *job;
    struct store *sae;
    const struct gallery *gallery;
    const struct corpus *corpus;
    struct names_targets targets;
    int neurons;                /* K */
    int T;                      /* length of /top */
    int top;                    /* images per neuron wanted */
    float *fire_rate;           /* [K] */
    int64_t *top_index;         /* [K x T] */
    float *top_value;           /* [K x T] */
    double *sums;               /* of names_add_rows, over all rows */
    struct name_neuron *neuron; /* [K] */
};

/* Correlation of neuron k with target j over the splits of `mask`; NaN when j is -1 or it is not defined. */
double name_correlation(const struct name_task *t, unsigned mask, int k, int j);

/* Contact sheets, shared by the ranks; returns how many there are: none where there are no images. Collective. */
int64_t name_write_sheets(struct name_task *t);
/* names.json, from rank 0. Collective. */
void name_write_json(struct name_task *t, int64_t sheets);

#endif
