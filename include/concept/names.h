/* Offline names of neurons: correlation of each neuron's activation with ground truth beside the images (attributes)
 * and with the classes, and a readable text from it. Kernels on arrays; local. Method: docs/methods/name.md. */
#ifndef CONCEPT_NAMES_H
#define CONCEPT_NAMES_H

#include <stdbool.h>
#include <stdint.h>

struct arena;

enum { NAMES_SPLITS = 3 }; /* train, val, test: bit s of a split mask */

/* What activations are compared with: J columns, attributes first, then one 0/1 column per class. */
struct names_targets {
    int count;               /* J */
    int attributes;          /* of these; the rest are classes */
    const char *const *name; /* [J] */
    const float *value;      /* [N x J]; NaN = not known for this row, which is then left out */
    const double *centre;    /* [J] subtracted before summing: keeps the digits of values far from zero */
};

/* Sparse activations of a block of rows: row i has entries indptr[i] .. indptr[i+1]-1, counted from indptr[0]. */
struct names_codes {
    int64_t rows;
    const int64_t *indptr; /* [rows + 1] */
    const int32_t *index;  /* neuron */
    const float *value;    /* > 0 */
};

/* Additive sums over rows from which everything below is read: a flat vector, so that it can go through dist/tree.h. */
int64_t names_sums_length(int neurons, int targets);
/* sums += rows first .. first + codes->rows - 1; split [N], targets->value [N x J]. */
void names_add_rows(double *sums, int neurons, const struct names_targets *targets, const struct names_codes *codes,
                    const uint8_t *split, int64_t first);

/* Pearson correlation of neuron k with target j over the rows of the splits in `mask`; NaN when either is constant. */
double names_correlation(const double *sums, int neurons, int targets, unsigned mask, int k, int j);
/* Mean activation where class j holds / mean activation over all its known rows; 1 = no preference, NaN = never fires.
 */
double names_lift(const double *sums, int neurons, const struct names_targets *targets, unsigned mask, int k, int j);
/* Share of the rows of the splits in `mask` on which neuron k fires; NaN without rows. */
double names_fire_rate(const double *sums, int neurons, int targets, unsigned mask, int k);
/* Neuron with the largest |correlation| with target j over `mask`, lowest index on ties; -1 if none is defined. */
int names_best_neuron(const double *sums, int neurons, int targets, unsigned mask, int j);
/* Target from first .. first + count - 1 with the largest |correlation| with neuron k; -1 if none is defined. */
int names_best_target(const double *sums, int neurons, int targets, unsigned mask, int k, int first, int count);

/* What is known of one neuron when its text is written. */
struct names_facts {
    const char *attribute;   /* best attribute, NULL = none */
    double attribute_r;      /* its correlation on the training split */
    const char *class_match; /* best class by correlation, NULL = none */
    double class_r;
    const char *top_class; /* most frequent class among the top images, NULL = none */
    double top_share;      /* its share of them */
    double fire_rate;
};
/* "limbic region (r 0.71); fires on 12 % of images, strongest on limbic"; owned by the arena. */
char *names_text(struct arena *arena, const struct names_facts *facts);
/* |r| from which a match is worth a name: about 1/11 of the variance. */
#define NAMES_CLEAR 0.3

#endif
