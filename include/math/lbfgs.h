/* Minimises a smooth function by L-BFGS (liblbfgs), the same on every rank. */
#ifndef MATH_LBFGS_H
#define MATH_LBFGS_H

#include <stdbool.h>
#include <stdint.h>

/* Value at x [n] and its gradient. Called alike on all ranks, so it may be collective. */
typedef double lbfgs_objective(void *data, const double *x, double *gradient, int64_t n);

/* When it is over: `done` says so, or without it the largest |gradient| <= tolerance; or after max_iter iterations. */
struct lbfgs_stop {
    bool (*done)(void *data, const double *gradient, double value, int64_t n);
    double tolerance;
    int max_iter;
};

/* x [n] in: start, out: best point found; *value (may be NULL) out: its value; *done (may be NULL): the rule holds
 * there. Stops by `stop`, or when the line search finds nothing lower. Returns iterations. n < 2^31. Ends the job
 * (EXIT_INTERNAL) when the value at the start is not finite. */
int lbfgs_minimise(double *x, int64_t n, lbfgs_objective *objective, void *data, const struct lbfgs_stop *stop,
                   double *value, bool *done);

#endif
