/* Concept activation vectors (Kim et al. 2018): the unit normal of the linear
 * separator (concept/cav_fit.h) that tells the representations that activate a neuron from those that do
 * not, how well it does so on held-out examples, and against random directions. */
#ifndef CONCEPT_CAV_H
#define CONCEPT_CAV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "concept/cav_fit.h"

struct arena;

enum { CAV_MIN_EXAMPLES = 8 }; /* of each class; a neuron with fewer has no vector */

struct cav_spec {
    int dim;                  /* D */
    int positives, negatives; /* most examples of each class */
    double c;                 /* SVM cost */
    double tolerance;         /* of the solver on the KKT conditions; scikit-learn: 1e-3 */
    double holdout;           /* share of each class held out for the accuracy */
    int random;               /* R: random directions */
    uint64_t seed;
    enum cav_method method;
};

struct cav_score {
    float bias;     /* decision for x is <cav, x> + bias */
    float accuracy; /* mean of the two classes' shares of right answers among held-out examples */
    float pvalue;   /* (1 + random directions at least as accurate) / (1 + R) */
};

/* R random unit vectors [R x D], rows keyed by (seed, RNG_CAV_RANDOM, row): the same on every rank; caller's array. */
void cav_random_directions(float *directions, int random, int dim, uint64_t seed);

/* Working memory of one fit, so that several threads can fit at once. Owned by the arena. */
struct cav_work;
struct cav_work *cav_work_create(struct arena *arena, const struct cav_spec *spec);
int64_t cav_work_bytes(const struct cav_spec *spec);
/* Bytes of it that a fit writes to; `given`: cav_rate of a given direction. */
int64_t cav_touched_bytes(const struct cav_spec *spec, bool given);

/* One vector.
 *   cav         [D]      out; unit norm
 *   x           [n x D]  examples, positives first
 *   positives, negatives how many of each, CAV_MIN_EXAMPLES at least
 *   directions  [R x D]  cav_random_directions
 *   neuron               keys the split into training and held-out part
 * The accuracy is of a fit on the training part; vector and bias come from a second fit on all examples.
 * Returns false when the fit has no direction (both classes hold the same points). Local; safe from several threads. */
bool cav_fit(float *cav, struct cav_score *score, const float *x, int positives, int negatives, const float *directions,
             int32_t neuron, const struct cav_spec *spec, struct cav_work *work);

/* The same for a direction that is given, cav [D] in and out (scaled to unit norm): the threshold with the best
 * balanced accuracy on the training part is judged on the held-out part; the bias is the best threshold on all
 * examples. Returns false when the direction is zero. */
bool cav_rate(float *cav, struct cav_score *score, const float *x, int positives, int negatives,
              const float *directions, int32_t neuron, const struct cav_spec *spec, struct cav_work *work);

#endif
