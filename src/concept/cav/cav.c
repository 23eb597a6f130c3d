/* One concept activation vector per call: Gram matrix, fit on the training
 * part, accuracy on the held-out part, the same question put to random
 * directions, and the final fit on all examples. Choosing the examples is left
 * to cav_examples.c, the solver to svm.c. */
#include "concept/cav.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "concept/svm.h"
#include "math/blas.h"
#include "math/vec.h"

/* An example along one direction: the sortable bits of its projection, then whether it is a positive. */
typedef uint64_t projection;

struct cav_work {
    double *x;         /* [n x D] */
    double *gram;      /* [n x n] */
    double *coef;      /* [n] */
    double *w;         /* [D] */
    float *projected;  /* [R x n] */
    float *along;      /* [n] */
    projection *order; /* [2][n] training part along one direction, and room to sort it */
    int *pick;         /* [n] training part first, then held-out part */
    bool *positive;    /* [n] */
    int64_t *shuffle;  /* [n] */
    void *svm;
};

void cav_random_directions(float *directions, int random, int dim, uint64_t seed)
{
    struct rng rng = { .seed = seed, .purpose = RNG_CAV_RANDOM };
    for (int r = 0; r < random; r++) {
        float *row = directions + (int64_t)r * dim;
        for (int d = 0; d < dim; d++)
            row[d] = (float)rng_normal(&rng, (uint64_t)r, (uint64_t)d);
        vec_normalise(row, dim);
    }
}

struct cav_work *cav_work_create(struct arena *arena, const struct cav_spec *spec)
{
    int n = spec->positives + spec->negatives;
    struct cav_work *work = arena_array(arena, struct cav_work, 1);
    work->x = arena_take_raw(arena, (size_t)n * (size_t)spec->dim, sizeof *work->x);
    work->gram = arena_take_raw(arena, (size_t)n * (size_t)n, sizeof *work->gram);
    work->coef = arena_array(arena, double, n);
    work->w = arena_array(arena, double, spec->dim);
    work->projected = arena_take_raw(arena, (size_t)n * (size_t)spec->random, sizeof *work->projected);
    work->along = arena_array(arena, float, n);
    work->order = arena_array(arena, projection, 2 * n);
    work->pick = arena_array(arena, int, n);
    work->positive = arena_array(arena, bool, n);
    work->shuffle = arena_array(arena, int64_t, n);
    work->svm = arena_take_raw(arena, svm_work_bytes(n), 1);
    return work;
}

int64_t cav_work_bytes(const struct cav_spec *spec)
{
    int64_t n = spec->positives + spec->negatives;
    return n * ((int64_t)spec->dim * 8 + n * 8 + (int64_t)spec->random * 4 + 64) + (int64_t)svm_work_bytes((int)n);
}

int64_t cav_touched_bytes(const struct cav_spec *spec, bool given)
{
    int64_t n = spec->positives + spec->negatives, products = n * ((int64_t)spec->dim * 8 + n * 8);
    int64_t solver = given || spec->method != CAV_MEAN ? 0 : (int64_t)svm_work_bytes((int)n);
    return cav_work_bytes(spec) - solver - (given ? products + (int64_t)svm_work_bytes((int)n) : 0);
}

/* pick [n] <- training part, then held-out part, each with its positives first. Returns the size of the training
 * part; at least one example of each class is on either side. */
static int split_examples(int *pick, int64_t *shuffle, int positives, int negatives, int32_t neuron,
                          const struct cav_spec *spec)
{
    int n[2] = { positives, negatives }, held[2], train = 0;
    for (int class = 0; class < 2; class ++) {
        held[class] = (int)lround(spec->holdout * n[class]);
        held[class] = held[class] < 1 ? 1 : held[class] > n[class] - 1 ? n[class] - 1 : held[class];
        train += n[class] - held[class];
    }
    int at_train = 0, at_held = train;
    for (int class = 0; class < 2; class ++) {
        struct rng rng = { .seed = spec->seed, .purpose = RNG_CAV_NEGATIVES, .epoch = 1 + (uint32_t) class };
        rng_permutation(&rng, (uint64_t)neuron, shuffle, n[class]);
        for (int i = 0; i < n[class]; i++) {
            int example = (int)shuffle[i] + (class ? positives : 0);
            if (i < held[class])
                pick[at_held++] = example;
            else
                pick[at_train++] = example;
        }
    }
    return train;
}

/* Mean of the two classes' shares of right answers. */
static double balanced(const int right[2], const int count[2])
{
    return 0.5 * ((double)right[0] / count[0] + (double)right[1] / count[1]);
}

/* Accuracy on the held-out part of the fit on the training part: decisions need the Gram matrix only. */
static double held_out_accuracy(const struct cav_work *work, int n, int train, double bias)
{
    int right[2] = { 0 }, count[2] = { 0 };
    for (int h = train; h < n; h++) {
        const double *gram = work->gram + (int64_t)work->pick[h] * n;
        double decision = bias;
        for (int i = 0; i < train; i++)
            decision += work->coef[i] * gram[work->pick[i]];
        bool positive = work->positive[work->pick[h]];
        count[positive]++;
        right[positive] += (decision > 0) == positive;
    }
    return balanced(right, count);
}

/* Floats in their order are unsigned numbers in theirs when negative ones have all bits turned, others the sign. */
static projection project(float value, bool positive)
{
    uint32_t bits;
    value += 0.0f; /* -0 is 0 */
    memcpy(&bits, &value, sizeof bits);
    bits ^= bits >> 31 ? UINT32_MAX : 1u << 31;
    return (projection)bits << 1 | positive;
}

static float projected_value(projection p)
{
    uint32_t bits = (uint32_t)(p >> 1);
    float value;
    bits ^= bits >> 31 ? 1u << 31 : UINT32_MAX;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Ascending by value, a byte at a time; `room` holds n more. Four passes, so that the result is in `order`. */
static void sort_projections(projection *order, projection *room, int n)
{
    for (int shift = 1; shift < 33; shift += 8) {
        int start[257] = { 0 };
        for (int i = 0; i < n; i++)
            start[(order[i] >> shift & 255) + 1]++;
        for (int b = 0; b < 255; b++)
            start[b + 1] += start[b];
        for (int i = 0; i < n; i++)
            room[start[order[i] >> shift & 255]++] = order[i];
        projection *turn = order;
        order = room;
        room = turn;
    }
}

/* The threshold between two neighbours, and the side that is called positive where `turn` leaves it open, with the best
 * accuracy on the training part; the lowest threshold wins a tie. */
static double best_threshold(projection *order, int train, bool turn, bool *above)
{
    int count[2] = { 0 }, below[2] = { 0 };
    for (int i = 0; i < train; i++)
        count[order[i] & 1]++;
    sort_projections(order, order + train, train);
    double best = -1, threshold = 0;
    for (int i = 0; i + 1 < train; i++) {
        below[order[i] & 1]++;
        if (order[i] >> 1 == order[i + 1] >> 1)
            continue;
        double above_is_positive = balanced((int[2]){ below[0], count[1] - below[1] }, count);
        double accuracy = turn ? fmax(above_is_positive, 1 - above_is_positive) : above_is_positive;
        if (accuracy > best) {
            best = accuracy;
            threshold = 0.5 * ((double)projected_value(order[i]) + (double)projected_value(order[i + 1]));
            *above = !turn || above_is_positive >= 0.5;
        }
    }
    return threshold;
}

/* Held-out accuracy of a given direction with its best threshold, and side where it may `turn`. */
static double direction_accuracy(const struct cav_work *work, const float *projected, int n, int train, bool turn)
{
    for (int i = 0; i < train; i++)
        work->order[i] = project(projected[work->pick[i]], work->positive[work->pick[i]]);
    bool above = true;
    double threshold = best_threshold(work->order, train, turn, &above);
    int right[2] = { 0 }, count[2] = { 0 };
    for (int h = train; h < n; h++) {
        bool positive = work->positive[work->pick[h]];
        bool said = ((double)projected[work->pick[h]] > threshold) == above;
        count[positive]++;
        right[positive] += said == positive;
    }
    return balanced(right, count);
}

static double against_random(const struct cav_work *work, const float *x, int n, int train, const float *directions,
                             const struct cav_spec *spec, double accuracy)
{
    if (spec->random > 0)
        blas_sgemm('N', 'T', spec->random, n, spec->dim, 1, directions, spec->dim, x, spec->dim, 0, work->projected, n);
    int as_good = 0;
    for (int r = 0; r < spec->random; r++)
        as_good += direction_accuracy(work, work->projected + (int64_t)r * n, n, train, true) >= accuracy;
    return (1.0 + as_good) / (1.0 + spec->random);
}

/* w = sum_i coef_i x_i, scaled to unit norm with its bias; none when the terms cancel but for rounding. */
static bool direction(float *cav, float *scaled_bias, const struct cav_work *work, int n, int dim, double bias)
{
    double terms = 0;
    memset(work->w, 0, (size_t)dim * sizeof *work->w);
    for (int i = 0; i < n; i++) {
        if (work->coef[i] == 0)
            continue;
        vec_daxpy(work->w, work->coef[i], work->x + (int64_t)i * dim, dim);
        terms += fabs(work->coef[i]) * sqrt(work->gram[(int64_t)i * n + i]);
    }
    double norm = sqrt(vec_ddot(work->w, work->w, dim));
    if (!(norm > 1e-9 * terms))
        return false;
    for (int d = 0; d < dim; d++)
        cav[d] = (float)(work->w[d] / norm);
    *scaled_bias = (float)(bias / norm);
    return true;
}

static void mark_classes(struct cav_work *work, int positives, int n)
{
    for (int i = 0; i < n; i++)
        work->positive[i] = i < positives;
}

bool cav_fit(float *cav, struct cav_score *score, const float *x, int positives, int negatives, const float *directions,
             int32_t neuron, const struct cav_spec *spec, struct cav_work *work)
{
    int n = positives + negatives, dim = spec->dim;
    assert(positives >= 2 && negatives >= 2 && positives <= spec->positives && negatives <= spec->negatives);
    for (int64_t i = 0; i < (int64_t)n * dim; i++)
        work->x[i] = (double)x[i];
    mark_classes(work, positives, n);
    /* In double: a Gram matrix rounded to float is no longer the one scikit-learn solves. */
    blas_dgram(n, dim, work->x, dim, work->gram, n);

    int train = split_examples(work->pick, work->shuffle, positives, negatives, neuron, spec);
    double bias = cav_coefficients(work->coef, spec->method, work->gram, n, work->pick, work->positive, train, spec->c,
                                   spec->tolerance, work->svm);
    double accuracy = held_out_accuracy(work, n, train, bias);
    score->accuracy = (float)accuracy;
    score->pvalue = (float)against_random(work, x, n, train, directions, spec, accuracy);

    bias = cav_coefficients(work->coef, spec->method, work->gram, n, NULL, work->positive, n, spec->c, spec->tolerance,
                            work->svm);
    return direction(cav, &score->bias, work, n, dim, bias);
}

bool cav_rate(float *cav, struct cav_score *score, const float *x, int positives, int negatives,
              const float *directions, int32_t neuron, const struct cav_spec *spec, struct cav_work *work)
{
    int n = positives + negatives, dim = spec->dim;
    bool above = true;
    if (!(vec_normalise(cav, dim) > 0))
        return false;
    mark_classes(work, positives, n);
    int train = split_examples(work->pick, work->shuffle, positives, negatives, neuron, spec);
    float *projected = work->along;
    for (int i = 0; i < n; i++)
        projected[i] = (float)vec_dot(cav, x + (int64_t)i * dim, dim);
    double accuracy = direction_accuracy(work, projected, n, train, false);
    for (int i = 0; i < n; i++)
        work->order[i] = project(projected[i], work->positive[i]);
    score->bias = (float)-best_threshold(work->order, n, false, &above);
    score->accuracy = (float)accuracy;
    score->pvalue = (float)against_random(work, x, n, train, directions, spec, accuracy);
    return true;
}
