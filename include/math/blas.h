/* Dense products, row-major. The only caller of BLIS.
 *
 * Bits: an element of a matrix product depends on its row of a, its column of b,
 * k, alpha and beta, not on m, n, the strides or the threads
 * (tests/unit/test_blas.c, for those of the skx, haswell, zen3, sandybridge and
 * penryn kernels that this processor runs). So rows may be multiplied by as many at a time as is
 * fast, at any rank count; sums over rows (k) are the callers' to fix. A matrix-vector product depends on its
 * shape as well. */
#ifndef MATH_BLAS_H
#define MATH_BLAS_H

#include <stdint.h>

/* Chooses a kernel for this processor where BLIS does not know it (sets
 * BLIS_ARCH_TYPE, checks one small product against a plain loop), and the
 * number of threads. BLIS_ARCH_TYPE may name kernels ("haswell"), whose number
 * differs between releases; EXIT_USAGE for a name that this release lacks, and
 * for a release other than that of the build. Before any other call; local. */
void blas_start(int threads);
const char *blas_kernel(void);  /* "skx", "haswell", "generic", ... */
const char *blas_library(void); /* "BLIS 0.9.0" */

/* c [m x n] = alpha * op(a) op(b) + beta * c; trans 'N' or 'T'; ld = row stride. */
void blas_sgemm(char transa, char transb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                const float *b, int64_t ldb, float beta, float *c, int64_t ldc);
/* The same on the calling thread alone: several threads may each call it, and bits do not depend on their number. */
void blas_sgemm_alone(char transa, char transb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                      int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc);
void blas_dgemm(char transa, char transb, int64_t m, int64_t n, int64_t k, double alpha, const double *a, int64_t lda,
                const double *b, int64_t ldb, double beta, double *c, int64_t ldc);
void blas_dgemm_alone(char transa, char transb, int64_t m, int64_t n, int64_t k, double alpha, const double *a,
                      int64_t lda, const double *b, int64_t ldb, double beta, double *c, int64_t ldc);
/* gram [n x n] = x x^T of x [n x k], both triangles: the bits of blas_dgemm at half its work. */
void blas_dgram(int64_t n, int64_t k, const double *x, int64_t ldx, double *gram, int64_t ldg);
/* y = alpha * op(a) x + beta * y; a [m x n]. */
void blas_sgemv(char trans, int64_t m, int64_t n, float alpha, const float *a, int64_t lda, const float *x, float beta,
                float *y);
void blas_dgemv(char trans, int64_t m, int64_t n, double alpha, const double *a, int64_t lda, const double *x,
                double beta, double *y);

#endif
