/* Sparse codes of many signals on one dictionary, with one shared Gram matrix.
 *
 * Pursuit: batch orthogonal matching pursuit (Rubinstein, Zibulevsky & Elad
 * 2008); what scikit-learn's OrthogonalMatchingPursuit solves: atoms are not
 * normalised, and with `intercept` atoms and signals are centred over their D
 * coordinates. `positive`: only coefficients above 0 (Bruckstein, Elad &
 * Zibulevsky 2008, with the active set of Lawson & Hanson 1974).
 * Lasso: scikit-learn's Lasso(alpha = lambda), by coordinate descent on the
 * Gram matrix (Friedman, Hastie & Tibshirani 2010). Local; no communication. */
#ifndef CONCEPT_PURSUIT_H
#define CONCEPT_PURSUIT_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct pursuit;

struct pursuit_spec {
    int nonzeros;     /* S: most atoms of a signal, 1 <= S <= M */
    bool intercept;   /* centre, and give the constant back */
    bool positive;    /* coefficients >= 0 */
    bool lasso;       /* instead of the pursuit; of more than S atoms the S largest coefficients are kept */
    bool single;      /* choose atoms in single precision; coefficients are then refined in double */
    double tolerance; /* stop when |left|^2 <= tolerance |x|^2 (centred); 0: never. scikit-learn's tol / |x|^2 */
    double lambda;    /* of the lasso: minimises |x - sum value atom|^2 / (2 D) + lambda |value|_1 */
};

/* What `pursuit_solve` finds for `rows` signals; the caller's arrays.
 * Entries after a signal's last atom are -1 and 0. */
struct pursuit_codes {
    int32_t *atom;    /* [rows x S] in pick order; lasso: largest |coefficient| first */
    double *value;    /* [rows x S] */
    double *constant; /* [rows] the intercept; 0 without one */
    double *residual; /* [rows] norm of what is left */
    double *drop; /* [rows x S] |left|^2 before less after each pick; NULL = not wanted; pursuit without `positive` */
};

/* Why signals ended as they did; adds up over calls. */
struct pursuit_counts {
    int64_t exact;     /* nothing left that correlates with any atom */
    int64_t dependent; /* the next atom depends linearly on those chosen */
    int64_t reached;   /* the tolerance was reached before S atoms */
    int64_t cut;       /* lasso: more than S atoms, the smallest left out */
    int64_t unsettled; /* lasso: sweeps ran out before the duality gap closed */
};

/* Prepares the dictionary: atoms [M x D] float, borrowed for the call only.
 * At most `rows` signals per solve, on up to `threads` threads; all memory is taken here, from the arena, which owns
 * the result: about 8 (2 M D + 2 M M + rows (2 D + M) + threads S (M + S)) bytes. 2 M M D flops. */
struct pursuit *pursuit_create(struct arena *arena, const float *atoms, int M, int D, const struct pursuit_spec *spec,
                               int64_t rows, int threads);

/* Codes of x [rows x D]. A signal's bits depend on its neighbours in the call only through the shape of one
 * product: call with whole chunks. Ties go to the lowest atom. 2 rows M D + rows S S M flops. */
void pursuit_solve(struct pursuit *pursuit, struct pursuit_codes *codes, const float *x, int64_t rows,
                   struct pursuit_counts *counts);

/* Reconstruction of one signal: out [D] = constant + sum of value * atom, atoms [M x D] as given to pursuit_create. */
void pursuit_reconstruct(double *out, const int32_t *atom, const double *value, double constant, int S,
                         const float *atoms, int D);

#endif
