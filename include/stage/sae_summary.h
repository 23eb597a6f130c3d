/* What later stages tell of the autoencoder: its figures, and those of the trainings it was chosen from (sae.h5). */
#ifndef STAGE_SAE_SUMMARY_H
#define STAGE_SAE_SUMMARY_H

#include "stage/stage.h"

struct json_writer;

struct sae_summary {
    const char *variant, *evaluated_on;
    int64_t neurons;
    double fvu, l0, dead, dense;
    const char *warning; /* of sae_warning, when its figures are known; otherwise "" */
    /* The trainings of a sweep; none: points 0. */
    int64_t points, chosen;
    const char *rule, *why;                                /* "knee"; "at the knee of FVU against L0" */
    const char *const *settings;                           /* [points] */
    const int64_t *all_neurons;                            /* [points] */
    const uint8_t *within;                                 /* [points] 1: within the limits of the choice */
    const double *all_fvu, *all_l0, *all_dead, *all_dense; /* [points] NaN: given up */
};

/* What must be known before any figure of an autoencoder: that it is of no use. A sentence, "" when nothing is; fvu
 * NaN: the evaluation rows do not vary. Arena. */
const char *sae_warning(struct arena *arena, double fvu, double dead);
/* NULL when there is no sae.h5. Owned by job->run, the same on every rank. Collective. */
const struct sae_summary *sae_summary_load(struct job *job);
/* The object "sae" of metrics.json; data: struct sae_summary. */
void sae_summary_write(struct json_writer *w, const void *data);

#endif
