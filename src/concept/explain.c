/* Contributions of concepts to logits, the strongest of each class, and what they leave over. */
#include "concept/explain.h"

#include <math.h>

double explain_class(double *out, const int32_t *atom, const float *code, const float *weight, int c, int M, int S)
{
    double sum = 0;
    for (int s = 0; s < S; s++) {
        out[s] = atom[s] < 0 ? 0 : (double)code[s] * (double)weight[(int64_t)c * M + atom[s]];
        sum += out[s];
    }
    return sum;
}

/* Is (a, at) stronger than (b, bt)? Size first, then the lower concept. */
static int stronger(double a, int32_t at, double b, int32_t bt)
{
    return fabs(a) > fabs(b) || (fabs(a) == fabs(b) && at < bt);
}

void explain_row(int32_t *concept, float *value, float *rest, const int32_t *atom, const float *code,
                 const float *weight, const float *logit, int C, int M, int S, int T)
{
    for (int c = 0; c < C; c++, concept += T, value += T) {
        int held = 0;
        /* Insertion into a short list, strongest first. */
        for (int s = 0; s < S; s++) {
            if (atom[s] < 0)
                continue;
            float v = (float)((double)code[s] * (double)weight[(int64_t)c * M + atom[s]]);
            int at = held;
            while (at > 0 && stronger((double)v, atom[s], (double)value[at - 1], concept[at - 1]))
                at--;
            if (at == T)
                continue;
            held += held < T;
            for (int t = held - 1; t > at; t--)
            concept[t] = concept[t - 1], value[t] = value[t - 1];
            concept[at] = atom[s], value[at] = v;
        }
        for (int t = held; t < T; t++)
        concept[t] = -1, value[t] = 0;
        double sum = 0;
        for (int t = 0; t < held; t++)
            sum += (double)value[t];
        rest[c] = (float)((double)logit[c] - sum);
    }
}
