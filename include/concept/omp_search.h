/* The search of orthogonal matching pursuit, once for each precision: a template
 * for src/concept/omp_search.c, which defines REAL, NAME(x), GRAM, ALPHA, SEARCH
 * and the two limits.
 *
 * q_n is the n-th orthonormal direction, P_n = A' q_n the correlation of every
 * atom with it. With k the pick, L_nj = P_j[k] comes for free and
 *     P_n = (G_k - sum_{j<n} L_nj P_j) / L_nn,   alpha <- alpha - y_n P_n,
 * the columns of the Cholesky factor of the whole Gram matrix in pick order: no
 * triangular solve until the end, and one pass over P a pick. P lies in tiles of
 * columns, so that a tile's sum stays in registers while its rows stream by. */

typedef REAL NAME(wide) __attribute__((vector_size(64), may_alias, aligned(64)));
enum { NAME(TILE) = OMP_TILE_BYTES / (int)sizeof(REAL), NAME(LANES) = 64 / (int)sizeof(REAL) };

/* Index of the largest |alpha|, the lowest among equals. */
static int NAME(strongest)(const REAL *alpha, int64_t padded)
{
    REAL most[NAME(LANES)] = { 0 }, best = 0;
    for (int64_t k = 0; k < padded; k += NAME(LANES))
#pragma omp simd
        for (int l = 0; l < NAME(LANES); l++) {
            REAL size = REAL_ABS(alpha[k + l]);
            most[l] = size > most[l] ? size : most[l];
        }
    for (int l = 0; l < NAME(LANES); l++)
        best = most[l] > best ? most[l] : best;
    for (int64_t k = 0; k < padded; k += NAME(TILE)) {
        int found = 0;
        for (int l = 0; l < NAME(TILE); l++)
            found |= alpha[k + l] == best || alpha[k + l] == -best;
        for (int l = 0; found && l < NAME(TILE); l++)
            if (alpha[k + l] == best || alpha[k + l] == -best)
                return (int)k + l;
    }
    return 0;
}

/* One tile of P_n, and of alpha: two sums of four vectors run side by side. */
static void NAME(extend_tile)(REAL *basis, REAL *alpha, const REAL *gram, const REAL *row, int n, REAL scale, REAL y)
{
    const NAME(wide) *g = (const NAME(wide) *)gram, *p = (const NAME(wide) *)basis;
    NAME(wide) a0 = g[0], a1 = g[1], a2 = g[2], a3 = g[3], b0 = { 0 }, b1 = { 0 }, b2 = { 0 }, b3 = { 0 };
    int j = 0;
    for (; j + 2 <= n; j += 2, p += 8) {
        REAL s = row[j], t = row[j + 1];
        a0 -= s * p[0], a1 -= s * p[1], a2 -= s * p[2], a3 -= s * p[3];
        b0 -= t * p[4], b1 -= t * p[5], b2 -= t * p[6], b3 -= t * p[7];
    }
    if (j < n)
        a0 -= row[j] * p[0], a1 -= row[j] * p[1], a2 -= row[j] * p[2], a3 -= row[j] * p[3];
    NAME(wide) *to = (NAME(wide) *)(basis + (int64_t)n * NAME(TILE)), *c = (NAME(wide) *)alpha;
    to[0] = a0 = (a0 + b0) * scale, to[1] = a1 = (a1 + b1) * scale;
    to[2] = a2 = (a2 + b2) * scale, to[3] = a3 = (a3 + b3) * scale;
    c[0] -= y * a0, c[1] -= y * a1, c[2] -= y * a2, c[3] -= y * a3;
}

/* Row n of the factor for atom k, from P; returns what of |a_k|^2 the chosen atoms leave. */
static double NAME(factor)(const struct omp *o, struct pursuit *p, int k, int n)
{
    const REAL *basis = p->basis;
    REAL *row = p->factor;
    double *exact = omp_factor_row(p, n), rest = o->gram[(int64_t)k * o->padded + k];
    basis += (int64_t)(k / NAME(TILE)) * o->spec.nonzeros * NAME(TILE) + k % NAME(TILE);
    for (int j = 0; j < n; j++) {
        row[j] = basis[(int64_t)j * NAME(TILE)];
        exact[j] = (double)row[j];
        rest -= exact[j] * exact[j];
    }
    return rest;
}

int SEARCH(const struct omp *o, struct pursuit *p, int32_t *chosen, int64_t i, double energy, double *drop)
{
    int n = 0, S = o->spec.nonzeros;
    REAL *alpha = (REAL *)(void *)p->alpha, floor = 0;
    double left = energy;
    memcpy(alpha, o->ALPHA + i * o->padded, (size_t)o->padded * sizeof *alpha);
    for (; n < S; n++) {
        if (n > 0 && o->spec.tolerance > 0 && left <= o->spec.tolerance * energy) {
            p->counts.reached++;
            break;
        }
        int k = NAME(strongest)(alpha, o->padded);
        if (n == 0)
            floor = (REAL)(SMALLEST)*REAL_ABS(alpha[k]);
        if (!((double)alpha[k] * (double)alpha[k] >= DBL_EPSILON) || REAL_ABS(alpha[k]) < floor) {
            p->counts.exact++;
            break;
        }
        double rest = NAME(factor)(o, p, k, n), length = o->gram[(int64_t)k * o->padded + k];
        if (n > 0 && rest <= DEPENDENT(length)) {
            p->counts.dependent++;
            break;
        }
        double *row = omp_factor_row(p, n);
        row[n] = sqrt(rest);
        p->y[n] = (double)alpha[k] / row[n];
        left -= p->y[n] * p->y[n];
        if (drop)
            drop[n] = p->y[n] * p->y[n];
        chosen[n] = k;
        for (int64_t t = 0; n + 1 < S && t * NAME(TILE) < o->padded; t++)
            NAME(extend_tile)
        ((REAL *)p->basis + t * S * NAME(TILE), alpha + t * NAME(TILE),
         o->GRAM + (int64_t)k * o->padded + t * NAME(TILE), p->factor, n, (REAL)(1 / row[n]), (REAL)p->y[n]);
        for (int j = 0; j <= n; j++)
            alpha[chosen[j]] = 0;
    }
    omp_back_substitute(p->gamma, p, p->y, n);
    return n;
}
