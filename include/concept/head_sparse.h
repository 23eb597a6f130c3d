/* A head that uses few concepts: elastic-net logistic regression along a path of penalties.
 *
 * Minimises (1/n) sum of losses + lambda (alpha |W|_1 + (1 - alpha) |W|^2 / 2) over standardised inputs (mean 0,
 * standard deviation 1; a constant column stays out), intercepts not penalised: the objective of Wong, Santurkar &
 * Madry (ICML 2021), whose GLM-SAGA Srivastava, Yan & Weng (VLG-CBM, NeurIPS 2024) use to compare heads at equal NEC,
 * the mean number of nonzero weights a class. The method here is deterministic: proximal Newton steps on a working set
 * (class by class weighted Gram matrices over the fixed tree, then coordinate descent on them), with all other columns
 * checked before a point of the path counts as solved. */
#ifndef CONCEPT_HEAD_SPARSE_H
#define CONCEPT_HEAD_SPARSE_H

#include <stdint.h>

#include "concept/head.h"

struct sparse_spec {
    double alpha;      /* share of the L1 part, above 0, at most 1 */
    double ratio;      /* a penalty to the one before, in (0, 1) */
    double least;      /* the path ends at this share of the largest penalty, or when the last level is reached */
    double tolerance;  /* largest violation of the optimality conditions, as a share of lambda alpha */
    int max_iter;      /* most Newton steps a point */
    const int *levels; /* [level_count] NEC wanted, ascending */
    int level_count;
};

struct sparse_point {
    double lambda, objective;
    int64_t nonzeros; /* of all classes */
    int steps;        /* Newton steps, those of its working sets together */
};

struct sparse_path {
    int count;
    struct sparse_point *points; /* [count] */
    struct head *level;          /* [level_count] weights on the inputs as they are */
    double *nec;                 /* [level_count] reached: below the level where the path ended before it */
};

/* The path from the smallest penalty without any weight downwards, each point from the one before. The head of a level
 * is the first point with that many weights, of which the largest levels * C (in standardised units) stay, ties to the
 * lowest class and column. `rows` are prepared. Owned by the arena. Collective. */
struct sparse_path *head_sparse_path(const struct head_rows *rows, const struct sparse_spec *spec, struct arena *arena,
                                     struct arena *scratch);

/* One penalty, from zero; the head in the units of the inputs. Collective. */
struct sparse_point head_sparse_fit(struct head *head, const struct head_rows *rows, const struct sparse_spec *spec,
                                    double lambda, struct arena *scratch);

#endif
