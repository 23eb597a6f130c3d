/* Linear two-class C-SVM on a precomputed Gram matrix: libsvm, the solver behind scikit-learn's SVC.
 *
 * The decision for x is sum_i coef_i <x_i, x> + bias; the direction is w = sum_i coef_i x_i. */
#ifndef CONCEPT_SVM_H
#define CONCEPT_SVM_H

#include <stdbool.h>
#include <stddef.h>

/* Silences the solver's own printing. Once, before the first fit; local. */
void svm_start(void);

/* Bytes of working memory for one fit on n examples. */
size_t svm_work_bytes(int n);

/* Fits examples pick[0..n-1] (rows of the Gram matrix; NULL = 0..n-1).
 *   coef      [n]           out; alpha_i y_i, 0 where x_i is no support vector
 *   gram      [.. x ld]     inner products of all examples
 *   positive  [..]          class of each row of the Gram matrix; both classes must be among the picked
 *   c, tolerance            cost, and stopping tolerance on the KKT conditions (scikit-learn: 1.0, 1e-3)
 *   work      [svm_work_bytes(n)] caller's, aligned for doubles
 * Returns the bias. Local and safe to call from several threads: without probability estimates the solver draws no
 * random numbers and has no state of its own. */
double svm_fit(double *coef, const double *gram, int ld, const int *pick, const bool *positive, int n, double c,
               double tolerance, void *work);

#endif
