/* How a concept vector is fitted, each on a precomputed Gram matrix and with a
 * result in the span of the examples: w = sum_i coef_i x_i, decision <w, x> + bias.
 *
 * svm        C-SVM (concept/svm.h; Kim et al. 2018)
 * logistic   L2-penalised logistic regression, what scikit-learn's LogisticRegression(C) minimises, by Newton's method
 *            on the coefficients
 * mean       difference of the class means, the plane half way between them (Rimsky et al. 2024; Marks & Tegmark 2023)
 * pattern    covariance of the examples with the decision of the SVM (Haufe et al. 2014), the plane half way between
 *            the classes' mean projections */
#ifndef CONCEPT_CAV_FIT_H
#define CONCEPT_CAV_FIT_H

#include <stdbool.h>

enum cav_method { CAV_SVM, CAV_LOGISTIC, CAV_MEAN, CAV_PATTERN };

/* Arguments, working memory and result as of svm_fit. Local and safe to call from several threads. */
double cav_coefficients(double *coef, enum cav_method method, const double *gram, int ld, const int *pick,
                        const bool *positive, int n, double c, double tolerance, void *work);

#endif
