/* One step of Newton's method for a head with few parameters: where L-BFGS
 * crawls, because rows can be separated and the penalty is next to nothing, the
 * whole Hessian shows the way. */
#ifndef CONCEPT_HEAD_NEWTON_H
#define CONCEPT_HEAD_NEWTON_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct head_rows;

/* C (D + 1) is small enough for a Hessian: at most 768 (4.7 MB). */
bool head_newton_fits(const struct head_rows *rows);
double head_newton_bytes(double parameters, double levels); /* scratch of a step */

/* step [C (D + 1)] = Hessian^-1 gradient at `weight`, weights and biases of inputs centred by rows->mean; penalty on
 * |w|^2 / 2. Returns <gradient, step>, twice the fall a quadratic promises. Collective: one sum of the Hessian; rank 0
 * solves and hands the step to all. */
double head_newton_step(double *step, const double *weight, const double *gradient, const struct head_rows *rows,
                        double penalty, struct arena *scratch);

#endif
