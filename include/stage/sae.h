/* What the files of `cfn sae` share (src/stage/sae*.c): the training's settings, what is measured after it, sae.h5. */
#ifndef STAGE_SAE_H
#define STAGE_SAE_H

#include "concept/sae_codes.h"
#include "concept/sae_train.h"
#include "stage/features.h"

struct sae_stage {
    struct job *job;
    const struct sae_config *config;
    const struct features *features;
    struct sae_options options;
    struct sae_set train, eval;
    struct sae_trainer *trainer;
    int neurons;
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

/* What the configuration asks for, without batch and decay, which follow the data (src/stage/sae_settings.c). */
struct sae_options sae_settings(const struct sae_config *config, uint64_t seed);
/* Settings that follow the data where the configuration leaves them open: K; rows of a batch; share of the steps in
 * which the learning rate falls. `rows` are those of the training split. */
int sae_neurons_for(const struct sae_config *config, const struct sae_rule *rule, int dim, int64_t rows);
int sae_batch_for(const struct sae_config *config, const struct sae_rule *rule, int64_t rows);
double sae_decay_for(const struct sae_config *config, const struct sae_rule *rule);

/* Activations of this rank's rows from `at`, at most FEATURES_CHUNK of them, into stage->work; returns how many.
 * Local. */
int64_t sae_encode_chunk(struct sae_stage *stage, int64_t at);
/* After training: census of all rows, metrics, scores of neurons (src/stage/sae_measure.c). Collective. */
void sae_measure(struct sae_stage *stage);
/* sae.h5, published; the checkpoints are gone then (src/stage/sae_write.c). Collective. */
void sae_write(struct sae_stage *stage);

#endif
