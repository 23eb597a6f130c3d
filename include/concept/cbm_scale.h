/* Coordinates in which a head is easy to fit: centred inputs, and weights
 * scaled so that the curvature of the objective is about one in every direction.
 *
 * With z = W (x - mean) + b the Hessian of one class is near h X'X + penalty I, X centred, h the mean of p (1 - p).
 * With L L' of that and u = L' w, L-BFGS needs tens of steps where it needs a thousand in w. The minimum is the same.
 */
#ifndef CONCEPT_CBM_SCALE_H
#define CONCEPT_CBM_SCALE_H

struct arena;
struct head_rows;

struct head_scale {
    int classes, dim;
    const double *mean; /* [D] of the training rows, borrowed from them */
    double *factor;     /* [D x D] L, lower triangle; rank 0 only */
    double *inverse;    /* [D x D] of L, lower triangle */
    double bias;        /* scale of the centred bias */
};

/* For a penalty on |w|^2 / 2; after head_rows_prepare. Owned by the arena: 16 D D bytes. Collective: rank 0 factors
 * (2 D^3 / 3 flops) and hands the inverse to all, so that ranks with other kernels take the same steps. */
struct head_scale *head_scale_create(struct arena *arena, const struct head_rows *rows, double penalty);

/* w [C x (D + 1)], weights and centred biases, from u, and the gradient by u from that by w. Local. */
void head_scale_weight(double *w, const double *u, const struct head_scale *scale);
void head_scale_gradient(double *gradient_u, const double *gradient_w, const struct head_scale *scale);
/* u from w, the same on every rank. Collective. */
void head_scale_start(double *u, const double *w, const struct head_scale *scale, const struct head_rows *rows);

#endif
