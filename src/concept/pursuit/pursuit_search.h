/* The search of orthogonal matching pursuit, once for each precision: a template
 * for src/concept/pursuit/pursuit_search.c, which defines REAL, NAME(x), GRAM, ALPHA, SEARCH
 * and the two limits.
 *
 * q_n is the n-th orthonormal direction, P_n = A' q_n the correlation of every
 * atom with it. With k the pick, L_nj = P_j[k] comes for free and
 *     P_n = (G_k - sum_{j<n} L_nj P_j) / L_nn,   alpha <- alpha - y_n P_n,
 * the columns of the Cholesky factor of the whole Gram matrix in pick order: no
 * triangular solve until the end. P lies in tiles of columns, so that the sums of
 * a tile, or of a part of it, stay in registers while its rows stream by.
 *
 * P outgrows the inner caches, and a pass over it a pick would wait for them. So
 * one pass forms the sum for PURSUIT_AHEAD atoms: the pick, and the next in line by
 * |alpha|. These are kept until their turn comes, as it nearly always does, and
 * then only the rows added since are subtracted: the same sums, a quarter of the
 * passes. */

typedef REAL NAME(wide) __attribute__((vector_size(SIMD_BYTES), may_alias));
enum { NAME(TILE) = PURSUIT_TILE_BYTES / (int)sizeof(REAL), NAME(LANES) = SIMD_BYTES / (int)sizeof(REAL) };

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

/* Column `atom` of P: entry j is [j * TILE]. */
static const REAL *NAME(column)(const struct pursuit *o, const struct pursuit_slot *p, int atom)
{
    return (const REAL *)p->basis + (int64_t)(atom / NAME(TILE)) * o->spec.nonzeros * NAME(TILE) + atom % NAME(TILE);
}

/* Part of a tile of G - sum of row * P for PURSUIT_AHEAD atoms, P's rows 0..n-1; row [n x PURSUIT_AHEAD]. */
static void NAME(look_ahead)(REAL *const *to, const REAL *const *gram, int64_t at, const REAL *basis, const REAL *row,
                             int n)
{
    NAME(wide) sum[PURSUIT_AHEAD][PURSUIT_PART];
    for (int c = 0; c < PURSUIT_AHEAD; c++)
        for (int v = 0; v < PURSUIT_PART; v++)
            sum[c][v] = ((const NAME(wide) *)(gram[c] + at))[v];
    for (int j = 0; j < n; j++, basis += NAME(TILE), row += PURSUIT_AHEAD) {
        NAME(wide) p[PURSUIT_PART];
#pragma GCC unroll 4
        for (int v = 0; v < PURSUIT_PART; v++)
            p[v] = ((const NAME(wide) *)basis)[v];
#pragma GCC unroll 4
        for (int c = 0; c < PURSUIT_AHEAD; c++)
#pragma GCC unroll 4
            for (int v = 0; v < PURSUIT_PART; v++)
                sum[c][v] -= row[c] * p[v];
    }
    for (int c = 0; c < PURSUIT_AHEAD; c++)
        for (int v = 0; v < PURSUIT_PART; v++)
            ((NAME(wide) *)(to[c] + at))[v] = sum[c][v];
}

/* Four registers of a tile of P_n, and of alpha, from the atom's sum over the rows before `from`; row [n]. */
static void NAME(extend_four)(REAL *basis, REAL *alpha, const REAL *sum, const REAL *row, int from, int n, REAL scale,
                              REAL y)
{
    const NAME(wide) *a = (const NAME(wide) *)sum;
    NAME(wide) a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
    for (int j = from; j < n; j++) {
        const NAME(wide) *p = (const NAME(wide) *)(basis + (int64_t)j * NAME(TILE));
        REAL s = row[j];
        a0 -= s * p[0], a1 -= s * p[1], a2 -= s * p[2], a3 -= s * p[3];
    }
    NAME(wide) *to = (NAME(wide) *)(basis + (int64_t)n * NAME(TILE)), *c = (NAME(wide) *)alpha;
    to[0] = a0 *= scale, to[1] = a1 *= scale, to[2] = a2 *= scale, to[3] = a3 *= scale;
    c[0] -= y * a0, c[1] -= y * a1, c[2] -= y * a2, c[3] -= y * a3;
}

/* The kept sum that is free, or whose atom is least likely to be the next, but none of taken[0..count-1]. */
static int NAME(least)(const struct pursuit_slot *p, const REAL *alpha, const int *taken, int count)
{
    int least = -1;
    REAL smallest = 0;
    for (int s = 0; s < PURSUIT_KEPT; s++) {
        REAL size = p->kept_atom[s] < 0 ? -1 : REAL_ABS(alpha[p->kept_atom[s]]);
        bool skip = false;
        for (int i = 0; i < count; i++)
            skip |= taken[i] == s;
        if (!skip && (least < 0 || size < smallest)) {
            least = s;
            smallest = size;
        }
    }
    return least;
}

/* Atoms to look ahead for: k, then the largest |alpha| that are not kept. */
static void NAME(next_in_line)(int *atom, const struct pursuit *o, const struct pursuit_slot *p, REAL *alpha, int k)
{
    REAL held[PURSUIT_KEPT + PURSUIT_AHEAD];
    for (int s = 0; s < PURSUIT_KEPT; s++) {
        held[s] = p->kept_atom[s] < 0 ? 0 : alpha[p->kept_atom[s]];
        if (p->kept_atom[s] >= 0)
            alpha[p->kept_atom[s]] = 0;
    }
    for (int c = 0; c < PURSUIT_AHEAD; c++) {
        atom[c] = c == 0 ? k : NAME(strongest)(alpha, o->padded);
        held[PURSUIT_KEPT + c] = alpha[atom[c]];
        alpha[atom[c]] = 0;
    }
    for (int c = PURSUIT_AHEAD - 1; c >= 0; c--)
        alpha[atom[c]] = held[PURSUIT_KEPT + c];
    for (int s = PURSUIT_KEPT - 1; s >= 0; s--)
        if (p->kept_atom[s] >= 0)
            alpha[p->kept_atom[s]] = held[s];
}

/* Sums for atom k and those next in line; returns where k's is kept. */
static int NAME(pass)(const struct pursuit *o, struct pursuit_slot *p, REAL *alpha, int k, int n)
{
    int slot[PURSUIT_AHEAD], atom[PURSUIT_AHEAD];
    REAL *row = p->ahead_row, *to[PURSUIT_AHEAD];
    const REAL *gram[PURSUIT_AHEAD];
    for (int c = 0; c < PURSUIT_AHEAD; c++) {
        slot[c] = NAME(least)(p, alpha, slot, c);
        to[c] = (REAL *)p->kept + slot[c] * o->padded;
    }
    for (int c = 0; c < PURSUIT_AHEAD; c++)
        p->kept_atom[slot[c]] = -1;
    NAME(next_in_line)(atom, o, p, alpha, k);
    for (int c = 0; c < PURSUIT_AHEAD; c++) {
        const REAL *column = NAME(column)(o, p, atom[c]);
        p->kept_atom[slot[c]] = atom[c];
        p->kept_from[slot[c]] = n;
        gram[c] = o->GRAM + (int64_t)atom[c] * o->padded;
        for (int j = 0; j < n; j++)
            row[j * PURSUIT_AHEAD + c] = column[(int64_t)j * NAME(TILE)];
    }
    for (int64_t tile = 0; tile < o->padded; tile += NAME(TILE))
        for (int at = 0; at < NAME(TILE); at += PURSUIT_PART * NAME(LANES))
            NAME(look_ahead)(to, gram, tile + at, (const REAL *)p->basis + tile * o->spec.nonzeros + at, row, n);
    return slot[0];
}

/* P_n for atom k, and alpha. */
static void NAME(extend)(const struct pursuit *o, struct pursuit_slot *p, REAL *alpha, int k, int n, REAL scale, REAL y)
{
    int slot = 0;
    while (slot < PURSUIT_KEPT && p->kept_atom[slot] != k)
        slot++;
    if (slot == PURSUIT_KEPT)
        slot = NAME(pass)(o, p, alpha, k, n);
    const REAL *sum = (const REAL *)p->kept + slot * o->padded;
    for (int64_t tile = 0; tile < o->padded; tile += NAME(TILE))
        for (int at = 0; at < NAME(TILE); at += 4 * NAME(LANES))
            NAME(extend_four)
    ((REAL *)p->basis + tile * o->spec.nonzeros + at, alpha + tile + at, sum + tile + at, p->factor, p->kept_from[slot],
     n, scale, y);
    p->kept_atom[slot] = -1;
}

/* Row n of the factor for atom k, from P; returns what of |a_k|^2 the chosen atoms leave. */
static double NAME(factor)(const struct pursuit *o, struct pursuit_slot *p, int k, int n)
{
    const REAL *column = NAME(column)(o, p, k);
    REAL *row = p->factor;
    double *exact = pursuit_factor_row(p, n), rest = o->gram[(int64_t)k * o->padded + k];
    for (int j = 0; j < n; j++) {
        row[j] = column[(int64_t)j * NAME(TILE)];
        exact[j] = (double)row[j];
        rest -= exact[j] * exact[j];
    }
    return rest;
}

int SEARCH(const struct pursuit *o, struct pursuit_slot *p, int32_t *chosen, int64_t i, double energy, double *drop)
{
    int n = 0, S = o->spec.nonzeros;
    REAL *alpha = (REAL *)(void *)p->alpha, floor = 0;
    double left = energy;
    memcpy(alpha, o->ALPHA + i * o->padded, (size_t)o->padded * sizeof *alpha);
    for (int slot = 0; slot < PURSUIT_KEPT; slot++)
        p->kept_atom[slot] = -1;
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
        double *row = pursuit_factor_row(p, n);
        row[n] = sqrt(rest);
        p->y[n] = (double)alpha[k] / row[n];
        left -= p->y[n] * p->y[n];
        if (drop)
            drop[n] = p->y[n] * p->y[n];
        chosen[n] = k;
        if (n + 1 < S)
            NAME(extend)(o, p, alpha, k, n, (REAL)(1 / row[n]), (REAL)p->y[n]);
        for (int j = 0; j <= n; j++)
            alpha[chosen[j]] = 0;
    }
    pursuit_back_substitute(p->gamma, p, p->y, n);
    return n;
}
