/* Coordinates in which a head is easy to fit: centred inputs, and weights
 * scaled so that the curvature of the objective is about one in every direction.
 *
 * With z = W (x - mean) + b the Hessian of one class is near h X'X + penalty I, X centred, h the mean of p (1 - p).
 * With L L' of that and u = L' w, L-BFGS needs tens of steps where it needs a thousand in w. The minimum is the same.
 * Where rows can be separated, few of them are left that curve the objective, and it takes a thousand again: there the
 * matrix is X'diag(h)X + penalty I with each row's own h at a point on the way, X centred by their weighted mean. */
#ifndef CONCEPT_HEAD_HEAD_SCALE_H
#define CONCEPT_HEAD_HEAD_SCALE_H

#include <stdbool.h>

struct arena;
struct head_rows;

/* Mean of p (1 - p) before anything is known: 0.11 for eight equally likely classes. Between 0.03 and 0.25 the steps
 * needed hardly change. */
#define HEAD_CURVATURE 0.1

struct head_scale {
    int classes, dim, threads;
    const double *mean; /* [D] of the training rows, as they are or weighted; borrowed from them */
    double *factor;     /* [D x D] L, lower triangle; rank 0 only */
    double *inverse;    /* [D x D] of L, lower triangle */
    double bias;        /* scale of the centred bias */
};

/* For a penalty on |w|^2 / 2; after head_rows_prepare, and if `curved` with the weights of head_rows_curve. Owned by
 * the arena: 16 D D bytes. Collective: rank 0 factors (2 D^3 / 3 flops) and hands the inverse to all, so that ranks
 * with other kernels take the same steps. */
struct head_scale *head_scale_create(struct arena *arena, const struct head_rows *rows, double penalty, bool curved);

/* a [n x n] <- its Cholesky factor, lower triangle, by blocks of columns; what is above stays. Local. */
void head_scale_factor(double *a, int n);

/* w [C x (D + 1)], weights and centred biases, from u, and the gradient by u from that by w. Local. */
void head_scale_weight(double *w, const double *u, const struct head_scale *scale);
void head_scale_gradient(double *gradient_u, const double *gradient_w, const struct head_scale *scale);
/* u from w, the same on every rank. Collective. */
void head_scale_start(double *u, const double *w, const struct head_scale *scale, const struct head_rows *rows);

#endif
