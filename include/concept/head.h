/* The head of a concept bottleneck: L2-penalised logistic regression, as
 * scikit-learn's LogisticRegression minimises it (sum of losses + |w|^2 / (2 C),
 * intercept not penalised), by L-BFGS with sums over the fixed tree.
 *
 * One label per row: multinomial (softmax). With two classes the penalty counts
 * twice, which makes the difference of the two weight rows the single row
 * scikit-learn fits. Several labels per row: one logistic regression per label,
 * fitted together; rows whose label is not known do not count for it. */
#ifndef CONCEPT_HEAD_H
#define CONCEPT_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "dist/shard.h"

struct arena;
struct tree;
struct world;

struct head {
    int classes, dim;
    double *weight; /* [C x D], followed in memory by */
    double *bias;   /* [C] */
};
struct head head_create(struct arena *arena, int classes, int dim); /* zeros */

/* logits [rows x C] = x [rows x D] weight' + bias, in double, rounded to float. Bits of a row depend on the number of
 * rows in the call: call with whole chunks. Local. */
void head_logits(float *logits, const struct head *head, const float *x, int64_t rows, struct arena *scratch);

/* Training rows, cut into leaves of the fixed tree by their number alone. */
struct head_rows {
    struct world *world;
    struct tree *tree;
    struct span mine;  /* training rows of this rank, in training order */
    struct span *leaf; /* [own leaves] training rows of each */
    int classes, dim;
    bool multi_label;
    const float *x;             /* [mine.count x D] borrowed */
    const int32_t *label;       /* [mine.count], or NULL when multi_label */
    const int8_t *labels;       /* [mine.count x C] 1, 0, other = not known; or NULL */
    const double *class_weight; /* [C], or [C x 2] of state 0 and 1 when multi_label; NULL = 1 each; borrowed */
    const float *offset;        /* [mine.count x C] added to the logits, fixed; NULL = 0; borrowed */
    int64_t total;              /* training rows of all ranks */
    double *mean, *gram;        /* [D], [D x D] of all centred rows, once prepared */
    bool prepared;
    double *curved_mean, *curved_gram; /* the same with each row counted as often as it curved the objective */
    double curved;                     /* sum of those weights; 0 = not formed yet */
};
/* Which of `rows` training rows this rank holds; the caller then fills x and label(s). Owned by the arena. */
struct head_rows *head_rows_create(struct arena *arena, struct world *world, int64_t rows, int classes, int dim,
                                   bool multi_label);

/* Mean and Gram matrix of the inputs; after x has been filled, before the first fit. Collective. */
void head_rows_prepare(struct head_rows *rows, struct arena *scratch);
/* The same with weights h [mine.count] >= 0; beside the first. Fits do it where they need it. Collective. */
void head_rows_curve(struct head_rows *rows, const double *h, struct arena *scratch);

/* The objective at `head`, and its gradient (same layout; may be NULL). Collective: one sum of C (D + 1) + 1 doubles.
 */
double head_objective(double *gradient, const struct head *head, const struct head_rows *rows, double c,
                      struct arena *scratch);

/* Minimises from `head` as it stands, in the coordinates of concept/head/head_scale.h, formed anew where the curvature
 * has changed; stops when the objective, judged by its gradient, is within tolerance^2 of it from its minimum, or after
 * max_iter iterations. Returns iterations. The products of head_rows_curve stay for the next fit. Collective. */
int head_fit(struct head *head, struct head_rows *rows, double c, double tolerance, int max_iter,
             struct arena *scratch);

/* How good a head is on the validation split: larger is better, the same on every rank. May be collective. */
typedef double head_validate(void *data, const struct head *head);

struct head_trial {
    double log10_c, score;
    int iterations;
};
struct head_search {
    double c, score; /* chosen, and its validation score */
    int fits;
    const struct head_trial *trials; /* [fits] in the order made; owned by the arena */
};
/* Iterations of the fit whose C was chosen: as many as were allowed means that it stopped before its minimum. */
int head_search_iterations(const struct head_search *search);
/* The published search for C: the first maximum over 1e6, 1e4, ... 1e-6, then 8 steps halving the interval of log10 C
 * between a tenth and ten times of it, keeping the better end (the left one on a tie); C is the left end left over.
 * Each C is fitted once, from the solution with the nearest C so far, the grid from its smallest. Their three seeds
 * change nothing and are run once. `head` out. Collective. */
struct head_search head_search(struct head *head, struct head_rows *rows, double tolerance, int max_iter,
                               head_validate *validate, void *data, struct arena *arena, struct arena *scratch);

/* For a head that should do as little as it can: C over 1e-6, 1e-5, ... 1e4, each from the one before; the smallest C
 * of those with the best score. Otherwise as head_search. Collective. */
struct head_search head_search_smallest(struct head *head, struct head_rows *rows, double tolerance, int max_iter,
                                        head_validate *validate, void *data, struct arena *arena,
                                        struct arena *scratch);

#endif
