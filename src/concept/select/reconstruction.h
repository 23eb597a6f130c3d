/* The reconstruction objective: how much of the representations the selected
 * vectors span. Gram and Schmidt on all candidates at once: r_i = (I - P_S) c_i,
 * gain r'Mr / r'r with M = sum of e e' formed once. */
#ifndef CONCEPT_SELECT_RECONSTRUCTION_H
#define CONCEPT_SELECT_RECONSTRUCTION_H

#include <stdint.h>

struct arena;
struct ground;
struct residual;
struct world;

/* moment [D x D] borrowed. Candidates with r'r < least c'c depend on the picks. Candidates are cut over the ranks in
 * fixed chunks; 8 n D / ranks bytes. Owned by the arena. Collective; 2 n D^2 / ranks flops. */
struct residual *residual_create(struct arena *arena, struct world *world, const struct ground *ground,
                                 const double *moment, double least);
/* gains [count] out, the same on every rank; -INFINITY of dependent candidates. Collective: a sum of 2 `count` doubles.
 */
void residual_gains(double *gains, struct residual *residual, const int64_t *list, int64_t count);
/* Collective: a sum of D doubles, then 6 n D / ranks flops. */
void residual_take(struct residual *residual, int64_t cand);

#endif
