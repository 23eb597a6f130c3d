/* What the solvers of concept/pursuit.h share: the prepared dictionary, the scratch
 * of a thread and its growing Cholesky factor. For pursuit*.c only. */
#ifndef CONCEPT_PURSUIT_PURSUIT_PARTS_H
#define CONCEPT_PURSUIT_PURSUIT_PARTS_H

#include "concept/pursuit.h"
#include "math/simd.h"

enum { PURSUIT_TILE_BYTES = 256 }; /* of the rows of `basis`: four registers of AVX-512 */
enum {
    PURSUIT_AHEAD = 4,                       /* atoms whose sums one pass over `basis` forms */
    PURSUIT_PART = SIMD_BYTES == 64 ? 4 : 2, /* registers of a row for each: half of the 32 or 16 are sums */
    PURSUIT_KEPT = 16                        /* sums kept at a time */
};

/* Scratch of one thread. Letters as in the paper: L L' = G_I, alpha = A' r. */
struct pursuit_slot {
    double *L;     /* [S (S + 1) / 2] Cholesky factor of the chosen Gram matrix, rows packed */
    double *y;     /* [S] L y = alpha0_I */
    double *gamma; /* [S] L' gamma = y: the coefficients */
    double *work;  /* [S] */
    double *alpha; /* [padded M] correlation of each atom with the residual, in the precision of the search */
    void *basis;   /* [tiles x S x tile] correlation of each atom with the orthonormal directions found so far */
    void *factor;  /* [S] a row of L in the precision of the search */
    void *kept;    /* [PURSUIT_KEPT x padded] what rows of `basis` leave of Gram rows */
    int kept_atom[PURSUIT_KEPT], kept_from[PURSUIT_KEPT]; /* of which atom, or -1; which rows: those before */
    void *ahead_row;                                      /* [S x PURSUIT_AHEAD] coefficients of a pass */
    double *left;                                         /* [D] residual */
    struct pursuit_counts counts;
};

struct pursuit {
    int atoms, dim, threads;
    struct pursuit_spec spec;
    int64_t padded;                         /* columns of the Gram matrices, a multiple of the tile */
    int64_t rows;                           /* most signals of one call */
    float *raw;                             /* [M x D] as given */
    double *atom, *mean;                    /* [M x D] centred, [M] */
    double *gram;                           /* [M x padded] */
    double *x, *x_mean;                     /* [rows x D] centred, [rows] */
    double *alpha;                          /* [rows x padded] */
    float *gram32, *x32, *atom32, *alpha32; /* the same in single precision, where the search is */
    struct pursuit_slot *slots;             /* [threads] */
};

/* Row of the packed factor. */
static inline double *pursuit_factor_row(const struct pursuit_slot *p, int row)
{
    return p->L + (int64_t)row * (row + 1) / 2;
}
/* gamma <- solution of L' gamma = y, for n atoms. */
void pursuit_back_substitute(double *gamma, const struct pursuit_slot *p, const double *y, int n);

/* Each chooses atoms for signal `i` of the call, leaves coefficients in p->gamma, and returns how many. `energy` is
 * |x|^2 (centred); drop [S] may be NULL. */
int pursuit_search_f64(const struct pursuit *o, struct pursuit_slot *p, int32_t *chosen, int64_t i, double energy,
                       double *drop);
int pursuit_search_f32(const struct pursuit *o, struct pursuit_slot *p, int32_t *chosen, int64_t i, double energy,
                       double *drop);
int pursuit_positive(const struct pursuit *o, struct pursuit_slot *p, int32_t *chosen, int64_t i, double energy);
int pursuit_lasso(const struct pursuit *o, struct pursuit_slot *p, int32_t *chosen, int64_t i, double energy);

#endif
