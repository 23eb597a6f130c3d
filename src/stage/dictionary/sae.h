/* What the files of `cfn sae` share (src/stage/sae*.c): the training's settings, what is measured after it, sae.h5. */
#ifndef STAGE_DICTIONARY_SAE_H
#define STAGE_DICTIONARY_SAE_H

#include "concept/sae_census.h"
#include "concept/sae_choose.h"
#include "concept/sae_train.h"
#include "config/sweep.h"
#include "stage/features.h"

/* One of the trainings: `sae.sweep` asks for several. */
struct sae_point {
    const char *name; /* "neurons=512 k=16"; "" when it is the only one */
    const struct sae_config *config;
    struct sae_options options;
    int neurons;
};

struct sae_stage {
    struct job *job;
    const struct features *features;
    struct sae_set train, eval;
    struct sae_point *point;       /* [points] */
    struct sae_trainer **trainers; /* [points] */
    int points, chosen;
    struct sae_score *score; /* [points] after the last epoch, and whether they are within the limits */
    bool *within;
    const char *why; /* the chosen one: "of smallest FVU" */
    /* The chosen one; before the choice, the first. */
    const struct sae_config *config;
    int neurons;
    struct sae_trainer *trainer;
    const char *identity;
    double last_save, step_seconds, save_seconds;
    /* After training. */
    struct sae_census *census;
    bool *is_train;  /* [own rows] */
    int64_t *active; /* [own rows] entries of each row's code */
    struct sae_work work;
    double fvu, l0, dead, dense;
    double *monosemanticity, *nearest, *stability; /* [K] */
    double mean_monosemanticity, coherence, mean_stability;
};

/* Options and neurons of one training, from its configuration, and where that leaves them open from the data: `rows`
 * are those of the training split (src/stage/dictionary/sae_settings.c). Local. */
struct sae_point sae_point(const struct sae_config *config, const char *name, int dim, int64_t rows, uint64_t seed);

/* The trainings of a sweep (src/stage/dictionary/sae_sweep.c). Points from the configuration; ends the job with
 * EXIT_BAD_CONFIG when they cannot share their batches. Collective. */
void sae_sweep_points(struct sae_stage *stage);
/* A row a training at the end of an epoch. */
void sae_sweep_say(const struct sae_stage *stage, const struct sae_metrics *metrics);
/* Chooses by the criterion, says so in a table; ends the job with EXIT_INTERNAL when no model is left. Collective. */
void sae_sweep_choose(struct sae_stage *stage);
/* What sae.h5 says of all trainings: /sweep and two attributes. Nothing without a sweep. Collective. */
void sae_sweep_write(struct sae_stage *stage, struct store *store);
int64_t sae_sweep_width(const struct sae_stage *stage); /* bytes of the longest name */

/* Activations of this rank's rows from `at`, at most SAE_ROWS of them, into stage->work; returns how many.
 * Local. */
int64_t sae_encode_chunk(struct sae_stage *stage, int64_t at);
/* After training: census of all rows, metrics, scores of neurons (src/stage/dictionary/sae_measure.c). Collective. */
void sae_measure(struct sae_stage *stage);
/* Takes the memory of sae_measure for stage->trainer, in plans: for --dry-run. Local. */
void sae_measure_plan(struct sae_stage *stage, struct arena *run, struct arena *scratch);
/* sae.h5, published; the checkpoints are gone then (src/stage/dictionary/sae_write.c). Collective. */
void sae_write(struct sae_stage *stage);

#endif
