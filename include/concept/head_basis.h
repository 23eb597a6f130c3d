/* The directions that sums of concepts can take. What is rebuilt from M
 * concepts and a constant lies in a space of M + 1 dimensions at most: turned
 * into an orthonormal basis of it, the head has M + 1 columns instead of D and,
 * since lengths and angles stay, the same penalty, the same minimum and the
 * same logits. */
#ifndef CONCEPT_HEAD_BASIS_H
#define CONCEPT_HEAD_BASIS_H

#include <stdint.h>

struct arena;
struct world;

struct head_basis {
    int dim, width; /* D; columns the head sees */
    double *rows;   /* [width x D] orthonormal; NULL: the coordinates themselves (width = D) */
    double *atoms;  /* [M x width] the concepts in it */
    double *ones;   /* [width] the vector of ones in it */
};

/* Of atoms [M x D], the same on every rank; a basis is made where it halves the columns at least. Owned by the arena.
 * Collective: rank 0 orthogonalises (modified Gram-Schmidt, twice; 4 M M D flops) and hands the basis to all. */
struct head_basis *head_basis_create(struct arena *arena, struct world *world, const float *atoms, int M, int D);

/* x [width] = sum of value * atom + constant in every coordinate; atom [S], -1 ends it. Local. */
void head_basis_rebuild(float *x, const struct head_basis *basis, const int32_t *atom, const double *value, int S,
                        double constant);

/* weight [C x D] out, of the representation, from weight_in [C x width]. Local. */
void head_basis_weight(double *weight, const double *weight_in, const struct head_basis *basis, int classes);

#endif
