/* The network on rows as they are (no augmentation): validation during training, and embedding.
 * src/stage/backbone/evaluate.c */
#ifndef STAGE_BACKBONE_EVALUATE_H
#define STAGE_BACKBONE_EVALUATE_H

#include "image/corpus.h"
#include "image/loader.h"
#include "nn/network.h"
#include "stage/stage.h"

struct evaluator;

/* An inference network for embed.batch rows a call. `corpus` and `loader` are borrowed. Collective. */
struct evaluator *evaluator_create(struct job *job, struct corpus *corpus, struct loader *loader);
struct network *evaluator_network(struct evaluator *evaluator);

/* Features [count x D] and logits [count x C] (either may be NULL) of `rows` [count], at most embed.batch of them.
 * Short calls are padded, so a row's result does not depend on how many follow it. Local. */
void evaluator_run(struct evaluator *evaluator, float *features, float *logits, const int64_t *rows, int64_t count);

/* Adds right and counted predictions of one row with these logits [C]: one, or with several labels those known. Local.
 */
void evaluator_score(const struct evaluator *evaluator, const float *logits, int64_t row, int64_t score[2]);

/* Accuracy of `net` on a split: right predictions / rows; multi-label: right labels at 0.5 / known labels.
 * Ranks share the rows in whole batches. Collective. Returns 0 when the split is empty. */
double evaluate_accuracy(struct evaluator *evaluator, struct network *net, enum split split);

/* Target and mask of one label state under the policies train.uncertain and train.blank. */
void evaluate_target(const struct train_config *config, int8_t state, float *target, float *mask);

#endif
