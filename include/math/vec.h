/* Vectors. Sums of floats accumulate in double, in a fixed order. */
#ifndef MATH_VEC_H
#define MATH_VEC_H

#include <stdbool.h>
#include <stdint.h>

double vec_dot(const float *a, const float *b, int64_t n);
double vec_norm(const float *a, int64_t n);
double vec_sum(const float *a, int64_t n);
void vec_axpy(float *y, float alpha, const float *x, int64_t n); /* y <- y + alpha x */
void vec_scale(float *x, float alpha, int64_t n);
void vec_copy(float *y, const float *x, int64_t n); /* by all threads of this rank */
void vec_add(float *y, const float *x, int64_t n);  /* y <- y + x */
bool vec_all_finite(const float *x, int64_t n);
/* Divides by the norm and returns it; a zero vector stays zero. */
double vec_normalise(float *x, int64_t n);
double vec_ddot(const double *a, const double *b, int64_t n);
void vec_daxpy(double *y, double alpha, const double *x, int64_t n);
/* Median of n doubles without NaN (the mean of the middle two when n is even; NaN when n is 0); x is reordered. */
double vec_median(double *x, int64_t n);

#endif
