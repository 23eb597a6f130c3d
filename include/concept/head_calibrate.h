/* How far the confidence of a model can be trusted, and one temperature that mends it (Guo et al., ICML 2017). */
#ifndef CONCEPT_HEAD_CALIBRATE_H
#define CONCEPT_HEAD_CALIBRATE_H

#include <stdbool.h>
#include <stdint.h>

struct arena;

/* Rows whose truth is known, the same on every rank. */
struct calibrate_rows {
    int64_t rows;
    int classes;
    const float *logits;  /* [rows x C] */
    const int32_t *label; /* [rows], or NULL for several labels */
    const int8_t *labels; /* [rows x C] 1, 0, other = not known */
};

/* T > 0 that minimises the mean log loss of logits / T, within [1e-3, 1e3]: the loss is convex in 1 / T, and the sign
 * of its derivative halves the interval. 1 without a known label. Local. */
double calibrate_temperature(const struct calibrate_rows *rows, struct arena *scratch);

enum { CALIBRATE_BINS = 15 };
struct calibrate_report {
    double ece;  /* sum over bins of |right - confidence| / n: expected calibration error */
    double loss; /* mean log loss of a known label */
    int64_t count[CALIBRATE_BINS];
    double confidence[CALIBRATE_BINS], right[CALIBRATE_BINS]; /* means of a bin; NaN when it is empty */
};
/* Of logits / temperature: confidence in the prediction, in equal bins (b / 15, (b + 1) / 15]. Local. */
void calibrate_measure(struct calibrate_report *out, const struct calibrate_rows *rows, double temperature,
                       struct arena *scratch);

#endif
