/* Lasso by cyclic coordinate descent on the Gram matrix (Friedman, Hastie &
 * Tibshirani 2010): atoms in ascending order, until the largest change is small
 * and the duality gap is closed, as in scikit-learn. */
#include <math.h>
#include <string.h>

#include "concept/pursuit/pursuit_parts.h"
#include "math/vec.h"

enum { MOST_SWEEPS = 10000 };
static const double GAP = 1e-10; /* of |x|^2 */

struct descent {
    const double *alpha0; /* [M] A' x */
    double *alpha;        /* [M] A' (x - A w) */
    double *w;            /* [M] */
    double penalty;       /* D lambda */
};

/* One pass over the atoms; returns the largest |change| in the fit's own units. */
static double sweep(const struct pursuit *o, const struct descent *d)
{
    double most = 0;
    for (int k = 0; k < o->atoms; k++) {
        const double *gram = o->gram + (int64_t)k * o->padded;
        if (gram[k] <= 0)
            continue;
        double raw = d->alpha[k] + gram[k] * d->w[k], size = fmax(fabs(raw) - d->penalty, 0);
        double next = o->spec.positive && raw < 0 ? 0 : copysign(size, raw) / gram[k], change = next - d->w[k];
        if (change == 0)
            continue;
        vec_daxpy(d->alpha, -change, gram, o->atoms);
        d->w[k] = next;
        most = fmax(most, fabs(change) * sqrt(gram[k]));
    }
    return most;
}

/* Primal less dual objective at the residual scaled into the dual's box. */
static double gap(const struct pursuit *o, const struct descent *d, double energy)
{
    double steepest = 0, norm = 0, cross = 0, inner = 0;
    for (int k = 0; k < o->atoms; k++) {
        steepest = fmax(steepest, o->spec.positive ? d->alpha[k] : fabs(d->alpha[k]));
        norm += fabs(d->w[k]);
        cross += d->w[k] * d->alpha0[k];
        inner += d->w[k] * d->alpha[k];
    }
    double left = energy - cross - inner; /* |r|^2 = |x|^2 - w'A'x - w'A'r */
    double scale = steepest > d->penalty ? d->penalty / steepest : 1;
    double r_x = energy - cross;
    return 0.5 * left * (1 + scale * scale) + d->penalty * norm - scale * r_x;
}

/* The S largest |w|, the lowest among equals, largest first. */
static int keep_largest(const struct pursuit *o, struct pursuit_slot *p, int32_t *chosen, double *w)
{
    int n = 0, total = 0;
    for (int k = 0; k < o->atoms; k++)
        total += w[k] != 0;
    for (; n < total && n < o->spec.nonzeros; n++) {
        int best = 0;
        for (int k = 1; k < o->atoms; k++)
            best = fabs(w[k]) > fabs(w[best]) ? k : best;
        chosen[n] = best;
        p->gamma[n] = w[best];
        w[best] = 0;
    }
    p->counts.cut += total > n;
    return n;
}

int pursuit_lasso(const struct pursuit *o, struct pursuit_slot *p, int32_t *chosen, int64_t i, double energy)
{
    size_t bytes = (size_t)o->atoms * sizeof(double);
    struct descent d = { o->alpha + i * o->padded, p->alpha, p->basis, o->spec.lambda * o->dim };
    memcpy(d.alpha, d.alpha0, bytes);
    memset(d.w, 0, bytes);
    bool settled = false;
    for (int s = 0; s < MOST_SWEEPS && !settled; s++)
        settled = sweep(o, &d) <= 1e-9 * sqrt(energy) && gap(o, &d, energy) <= GAP * energy;
    p->counts.unsettled += !settled;
    return keep_largest(o, p, chosen, d.w);
}
