/* What a Newton step of the sparse head needs of the training rows, summed over ranks. */
#ifndef CONCEPT_HEAD_HEAD_SPARSE_PASS_H
#define CONCEPT_HEAD_HEAD_SPARSE_PASS_H

#include <stdbool.h>
#include <stdint.h>

#include "concept/head.h"

/* Columns at work, per class: weights outside are 0. The variables of a class are its columns, then its intercept; the
 * classes follow each other. Where there are not too many, and classes share rows (softmax), all variables form one
 * group; otherwise each class forms its own. */
struct sparse_set {
    int classes, dim;
    bool together;   /* classes touch each other: one label per row */
    int *count;      /* [C] */
    int *column;     /* [C x D] the first count[c] of row c, ascending */
    int used;        /* columns at work in any class */
    int *union_of;   /* [D] them, ascending */
    int *place;      /* [D] where a column is in union_of, or -1 */
    int groups;      /* 1 or C */
    int *first;      /* [C + 1] variables before class c */
    int64_t *moment; /* [groups] where the derivatives of a group begin in a sum; their Gram matrix follows */
    int64_t length;  /* of a sum: the loss comes first */
};
/* Variables of group g: first and count. */
struct span sparse_set_group(const struct sparse_set *set, int g);

/* Standardised weights and intercepts. */
struct sparse_weights {
    double *w; /* [C x D] */
    double *b; /* [C] */
};

struct sparse_pass;
/* `mean` and `inverse` (1 / standard deviation, 0 for a constant column) [D] are borrowed. Owned by the arena. */
struct sparse_pass *sparse_pass_create(struct arena *arena, const struct head_rows *rows, const double *inverse);
/* All but `together` from count and column. Local. */
void sparse_set_finish(struct sparse_set *set);

/* sum [set->length] = mean over all rows of the loss, and for each group the derivatives by its n variables and the
 * second derivatives [n x n], with a little added to the diagonal of rows the model is sure of. Collective. */
void sparse_pass_newton(double *sum, struct sparse_pass *pass, const struct sparse_set *set,
                        const struct sparse_weights *at, struct arena *scratch);

/* gradient [C x D] of the mean loss by every weight. Collective. */
void sparse_pass_gradient(double *gradient, struct sparse_pass *pass, const struct sparse_set *set,
                          const struct sparse_weights *at, struct arena *scratch);

#endif
