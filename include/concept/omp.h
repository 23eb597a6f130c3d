/* Orthogonal matching pursuit of many signals on one dictionary: batch OMP
 * with one shared Gram matrix and a growing Cholesky factor (Rubinstein,
 * Zibulevsky & Elad 2008). Solves what scikit-learn's
 * OrthogonalMatchingPursuit(n_nonzero_coefs=S) solves: atoms are not
 * normalised, and with `intercept` atoms and signals are centred over their D
 * coordinates. Local; no communication. */
#ifndef CONCEPT_OMP_H
#define CONCEPT_OMP_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct omp;

/* What `omp_solve` finds for `rows` signals; the caller's arrays.
 * Entries after a signal's last atom are -1 and 0. */
struct omp_codes {
    int32_t *atom;    /* [rows x S] in pick order */
    double *value;    /* [rows x S] */
    double *constant; /* [rows] the intercept; 0 without one */
    double *residual; /* [rows] norm of what is left */
};

/* Why pursuits ended before S atoms; adds up over calls. */
struct omp_counts {
    int64_t exact;     /* nothing left that correlates with any atom */
    int64_t dependent; /* the next atom depends linearly on those chosen */
};

/* Prepares the dictionary: atoms [M x D] float, borrowed for the call only. 1 <= nonzeros <= M.
 * At most `rows` signals per solve, on up to `threads` threads; all memory is taken here, from the arena,
 * which owns the result: 8 (M D + M M + rows (D + M) + threads (S S / 2 + M)) bytes. 2 M M D flops. */
struct omp *omp_create(struct arena *arena, const float *atoms, int M, int D, int nonzeros, bool intercept,
                       int64_t rows, int threads);

/* Codes of x [rows x D]. A signal's bits depend on its neighbours in the call only through the shape of one
 * product: call with whole chunks. Ties go to the lowest atom. 2 rows M D + rows S S M flops. */
void omp_solve(struct omp *omp, struct omp_codes *codes, const float *x, int64_t rows, struct omp_counts *counts);

/* Reconstruction of one signal: out [D] = constant + sum of value * atom, atoms [M x D] as given to omp_create. */
void omp_reconstruct(double *out, const int32_t *atom, const double *value, double constant, int S, const float *atoms,
                     int D);

#endif
