/* Temperature scaling and reliability by bins of confidence. */
#include "concept/head_calibrate.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"

enum { HALVINGS = 60 };

/* p [C] of one row at logits / temperature. */
static void probabilities(double *p, const struct calibrate_rows *r, int64_t i, double inverse)
{
    const float *z = r->logits + i * r->classes;
    double top = -INFINITY, sum = 0;
    for (int c = 0; c < r->classes; c++)
        top = fmax(top, (double)z[c]);
    for (int c = 0; c < r->classes; c++) {
        p[c] = r->label ? exp(((double)z[c] - top) * inverse) : 1 / (1 + exp(-(double)z[c] * inverse));
        sum += p[c];
    }
    for (int c = 0; c < r->classes && r->label; c++)
        p[c] /= sum;
}

static bool known(const struct calibrate_rows *r, int64_t i, int c)
{
    int8_t state = r->labels[i * r->classes + c];
    return state == 0 || state == 1;
}

/* Derivative of the summed loss by 1 / T: expected logit - logit of the truth. */
static double slope(const struct calibrate_rows *r, double inverse, double *p)
{
    double sum = 0;
    for (int64_t i = 0; i < r->rows; i++) {
        const float *z = r->logits + i * r->classes;
        probabilities(p, r, i, inverse);
        for (int c = 0; c < r->classes; c++)
            if (r->label)
                sum += (p[c] - (c == r->label[i])) * (double)z[c];
            else if (known(r, i, c))
                sum += (p[c] - r->labels[i * r->classes + c]) * (double)z[c];
    }
    return sum;
}

double calibrate_temperature(const struct calibrate_rows *r, struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    double *p = arena_array(scratch, double, r->classes), low = log(1e-3), high = log(1e3);
    bool any = false;
    for (int64_t i = 0; i < r->rows * r->classes; i++)
        any |= r->label || known(r, i / r->classes, (int)(i % r->classes));
    for (int k = 0; k < HALVINGS && any; k++) {
        double middle = 0.5 * (low + high); /* of log (1 / T) */
        if (slope(r, exp(middle), p) > 0)
            high = middle;
        else
            low = middle;
    }
    arena_release(scratch, mark);
    return any ? exp(-0.5 * (low + high)) : 1;
}

static void add(struct calibrate_report *out, double confidence, bool right, double loss)
{
    int b = (int)ceil(confidence * CALIBRATE_BINS) - 1;
    b = b < 0 ? 0 : b >= CALIBRATE_BINS ? CALIBRATE_BINS - 1 : b;
    out->count[b]++;
    out->confidence[b] += confidence;
    out->right[b] += right;
    out->loss += loss;
}

static void add_row(struct calibrate_report *out, const struct calibrate_rows *r, int64_t i, const double *p,
                    double inverse)
{
    const float *z = r->logits + i * r->classes;
    if (r->label) {
        int best = 0;
        double sum = 0;
        for (int c = 1; c < r->classes; c++)
            best = z[c] > z[best] ? c : best;
        for (int c = 0; c < r->classes; c++)
            sum += exp(((double)z[c] - (double)z[best]) * inverse);
        add(out, p[best], best == r->label[i], log(sum) - ((double)z[r->label[i]] - (double)z[best]) * inverse);
        return;
    }
    for (int c = 0; c < r->classes; c++)
        if (known(r, i, c)) {
            bool truth = r->labels[i * r->classes + c] == 1, said = z[c] > 0;
            double at = (double)z[c] * inverse;
            add(out, said ? p[c] : 1 - p[c], said == truth, fmax(at, 0) - at * truth + log1p(exp(-fabs(at))));
        }
}

void calibrate_measure(struct calibrate_report *out, const struct calibrate_rows *r, double temperature,
                       struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    double *p = arena_array(scratch, double, r->classes);
    int64_t n = 0;
    *out = (struct calibrate_report){ 0 };
    for (int64_t i = 0; i < r->rows; i++) {
        probabilities(p, r, i, 1 / temperature);
        add_row(out, r, i, p, 1 / temperature);
    }
    for (int b = 0; b < CALIBRATE_BINS; b++)
        n += out->count[b];
    for (int b = 0; b < CALIBRATE_BINS; b++) {
        double count = (double)out->count[b];
        out->ece += fabs(out->right[b] - out->confidence[b]) / (double)n;
        out->right[b] /= count; /* NaN where the bin is empty */
        out->confidence[b] /= count;
    }
    out->ece = n > 0 ? out->ece : NAN;
    out->loss = n > 0 ? out->loss / (double)n : NAN;
    arena_release(scratch, mark);
}
