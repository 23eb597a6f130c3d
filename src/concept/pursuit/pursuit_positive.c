/* Non-negative pursuit: the atom with the largest positive correlation joins,
 * all chosen ones are fitted by least squares, and those that would turn
 * negative leave again, as in Lawson & Hanson's non-negative least squares
 * (1974), which this is when S atoms suffice. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "concept/pursuit/pursuit_parts.h"
#include "math/vec.h"

enum { ROUNDS_PER_ATOM = 3 };

/* Appends atom k to the factor of the n chosen ones; false when it depends on them. */
static bool extend(const struct pursuit *o, struct pursuit_slot *p, const int32_t *chosen, int n, int k)
{
    const double *gram = o->gram + (int64_t)k * o->padded;
    double *row = pursuit_factor_row(p, n), rest = gram[k];
    for (int j = 0; j < n; j++) { /* L w = G_Ik, row by row */
        const double *lj = pursuit_factor_row(p, j);
        row[j] = (gram[chosen[j]] - vec_ddot(lj, row, j)) / lj[j];
    }
    rest -= vec_ddot(row, row, n);
    if (rest <= 1e-12 * gram[k])
        return false;
    row[n] = sqrt(rest);
    return true;
}

/* The factor and y for `n` chosen atoms from atom `from` on. */
static bool refactor(const struct pursuit *o, struct pursuit_slot *p, const int32_t *chosen, const double *alpha0,
                     int from, int n)
{
    for (int j = from; j < n; j++) {
        if (!extend(o, p, chosen, j, chosen[j]))
            return false;
        const double *row = pursuit_factor_row(p, j);
        p->y[j] = (alpha0[chosen[j]] - vec_ddot(row, p->y, j)) / row[j];
    }
    return true;
}

/* Moves from the old coefficients (work) towards the fit (gamma) until the first one reaches 0, and takes out those
 * at 0. Returns how many are left; *first the position of the first taken out. */
static int step_back(struct pursuit_slot *p, int32_t *chosen, int n, int *first)
{
    double step = 1;
    int kept = 0;
    for (int j = 0; j < n; j++)
        if (p->gamma[j] <= 0)
            step = fmin(step, p->work[j] / (p->work[j] - p->gamma[j]));
    *first = n;
    for (int j = 0; j < n; j++) {
        double value = p->work[j] + step * (p->gamma[j] - p->work[j]);
        if (p->gamma[j] <= 0 && value <= 1e-14 * fabs(p->gamma[j])) {
            *first = j < *first ? j : *first;
            continue;
        }
        chosen[kept] = chosen[j];
        p->work[kept++] = value;
    }
    return kept;
}

/* alpha <- alpha0 - G_I gamma, 0 where chosen; returns |x|^2 - |left|^2. */
static double correlate(const struct pursuit *o, struct pursuit_slot *p, const double *alpha0, const int32_t *chosen,
                        int n)
{
    double explained = 0;
    memcpy(p->alpha, alpha0, (size_t)o->atoms * sizeof(double));
    for (int j = 0; j < n; j++) {
        vec_daxpy(p->alpha, -p->work[j], o->gram + (int64_t)chosen[j] * o->padded, o->atoms);
        explained += p->y[j] * p->y[j];
    }
    for (int j = 0; j < n; j++)
        p->alpha[chosen[j]] = 0;
    return explained;
}

/* Atom with the largest positive correlation, the lowest among equals; -1 when there is none. */
static int strongest(const double *alpha, int M)
{
    int best = -1;
    for (int k = 0; k < M; k++)
        if (alpha[k] > (best < 0 ? 0 : alpha[best]))
            best = k;
    return best;
}

int pursuit_positive(const struct pursuit *o, struct pursuit_slot *p, int32_t *chosen, int64_t i, double energy)
{
    const double *alpha0 = o->alpha + i * o->padded;
    int n = 0, S = o->spec.nonzeros;
    for (int round = 0; round < ROUNDS_PER_ATOM * S && n < S; round++) {
        double explained = correlate(o, p, alpha0, chosen, n);
        if (n > 0 && o->spec.tolerance > 0 && energy - explained <= o->spec.tolerance * energy) {
            p->counts.reached++;
            break;
        }
        int k = strongest(p->alpha, o->atoms), first = n;
        double limit = k < 0 ? 0 : 1e-12 * sqrt(energy * o->gram[(int64_t)k * o->padded + k]);
        if (k < 0 || !(p->alpha[k] * p->alpha[k] >= DBL_EPSILON && p->alpha[k] > limit)) {
            p->counts.exact++;
            break;
        }
        chosen[n] = k;
        p->work[n] = 0;
        if (!refactor(o, p, chosen, alpha0, n, n + 1)) {
            p->counts.dependent++;
            break;
        }
        for (n++;;) {
            pursuit_back_substitute(p->gamma, p, p->y, n);
            int kept = step_back(p, chosen, n, &first);
            if (kept == n)
                break;
            n = kept;
            refactor(o, p, chosen, alpha0, first, n);
        }
    }
    memcpy(p->gamma, p->work, (size_t)n * sizeof *p->gamma);
    return n;
}
