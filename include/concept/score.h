/* How good predictions are: the metrics of one set of rows, and bootstrap
 * intervals. Definitions are scikit-learn's (docs/methods/classify.md). */
#ifndef CONCEPT_SCORE_H
#define CONCEPT_SCORE_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct world;

/* Rows with known truth and what a model says of them; the same on every rank. */
struct score_rows {
    int64_t rows;
    int classes; /* C: classes, or labels when multi_label */
    bool multi_label;
    const double *probability; /* [rows x C] */
    const int32_t *predicted;  /* [rows] class, or [rows x C] 0/1 when multi_label */
    const int32_t *label;      /* [rows] class; NULL when multi_label */
    const int8_t *labels;      /* [rows x C] 1, 0, other = not known and left out; NULL otherwise */
};

/* Metrics are doubles in one vector, in this order; NaN where a metric is not defined (AUROC of a class without
 * positives). After the scalars come auroc and auprc of each class: SCORE_SCALARS + c and SCORE_SCALARS + C + c. */
enum { SCORE_ACCURACY, SCORE_BALANCED, SCORE_AUROC, SCORE_AUPRC, SCORE_F1, SCORE_ECE, SCORE_SCALARS };
const char *score_name(int scalar); /* "accuracy", "balanced_accuracy", ... */
int score_count(int classes);       /* SCORE_SCALARS + 2 C */

/* Rows sorted by probability, once, for many weightings. Owned by the arena. Local. */
struct score_plan;
struct score_plan *score_plan_create(struct arena *arena, const struct score_rows *rows);

/* out [score_count] of the rows, each counted weight[i] times (NULL = once). Local. */
void score_compute(double *out, const struct score_plan *plan, const int32_t *weight);

/* Metrics of `replicates` resamples with replacement, draws keyed by (seed, RNG_BOOTSTRAP, replicate, draw): equal
 * resamples for models over equally many rows, so that ratios are paired.
 *   out [replicates x score_count] the mean over the plans (trials of one model), the same on every rank
 * Collective: ranks share the replicates. */
void score_bootstrap(double *out, struct world *world, struct arena *scratch, struct score_plan *const *plans,
                     int plan_count, int replicates, uint64_t seed);

/* Bounds of the middle 95 % of values[0], values[stride], ... (n of them); NaN are left out, NaN when none is left. */
void score_interval(double *low, double *high, struct arena *scratch, const double *values, int n, int stride);

/* probability [rows x C] from logits [rows x C]: softmax, or sigmoid of each when multi_label. */
void score_probability(double *probability, const float *logits, int64_t rows, int classes, bool multi_label);
/* The largest logit, lowest class first; or logit > 0 of each label. */
void score_predict(int32_t *predicted, const float *logits, int64_t rows, int classes, bool multi_label);

#endif
