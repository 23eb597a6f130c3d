/* A linear probe on a few features: what logistic regression reads off them, with intervals, beside the same model
 * fitted to permuted labels. Equals scikit-learn's LogisticRegression(C=1) on standardised features. */
#ifndef CONCEPT_PROBE_H
#define CONCEPT_PROBE_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct world;

enum {
    PROBE_REPLICATES = 400,
    PROBE_PERMUTATIONS =
        20, /* the highest of them: a level of 5 % by itself, far less beside an interval's lower end */
};
extern const double PROBE_C;

/* Rows of one split, on every rank. All borrowed; x and labels are changed by probe_prepare. */
struct probe_rows {
    int64_t rows;
    float *x;              /* [rows x dim] */
    const int32_t *label;  /* [rows], or NULL */
    int8_t *labels;        /* [rows x classes] 1, 0 or not known, or NULL */
    const int64_t *member; /* [rows] group, numbered from 0 within these rows */
    int64_t groups;
};

struct probe {
    struct world *world;
    struct arena *arena, *scratch;
    int classes, dim;
    bool multi_label;
    struct probe_rows *part; /* [parts] the first is what it is fitted to, the others what it is measured on */
    int parts;
};

/* Metrics on one of the parts, as concept/score.h lays them out; owned by the arena. */
struct probe_measured {
    double *value;      /* [score_count] */
    double *replicates; /* [PROBE_REPLICATES x score_count] resamples of whole groups */
    double *permuted;   /* [score_count] highest over fits to permuted labels; NULL: none were made */
};

/* Standardises every feature by the training rows and finds the labels that can be learnt: train knows both states, or
 * of a class images and others. Returns how many there are. Local; the same on every rank. */
int probe_prepare(struct probe *probe);
/* A model of features first .. first + dim - 1: out [parts], from the second on; of parts without rows zeros.
 * Collective. */
void probe_measure(struct probe_measured *out, const struct probe *probe, int first, int dim);
/* Raises out[].permuted by the k-th permutation of the labels; call it for k = 0 .. PROBE_PERMUTATIONS - 1. Collective.
 */
void probe_permute(struct probe_measured *out, const struct probe *probe, int k);
/* 95 % of the resamples of a metric. Local. */
void probe_interval(double *low, double *high, const struct probe *probe, const struct probe_measured *m, int metric);
/* Is the metric above what permuted labels give, with its whole interval? Local. */
bool probe_found(const struct probe *probe, const struct probe_measured *m, int metric);

#endif
