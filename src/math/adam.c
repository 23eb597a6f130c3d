/* Adam and AdamW, one pass over memory, with the arithmetic of torch.optim (1.13): scalars are formed in double and
 * rounded once, eps stands outside the square root. Summing gradients over ranks is the caller's. */
#include "math/adam.h"

#include <math.h>

enum { BLOCK = 16384 }; /* elements a thread takes at once: 4 arrays of 64 KiB, within a core's cache */

struct scalars {
    float keep, beta1, rest1, beta2, rest2, root2, eps, rate;
};

/* m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
 * w <- keep w - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps) */
static void update(float *restrict w, float *restrict m, float *restrict v, const float *restrict g, int64_t n,
                   struct scalars s)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        m[i] = m[i] * s.beta1 + s.rest1 * g[i];
        v[i] = v[i] * s.beta2 + s.rest2 * g[i] * g[i];
        const float denominator = sqrtf(v[i]) / s.root2 + s.eps;
        w[i] = w[i] * s.keep - s.rate * m[i] / denominator;
    }
}

void adam_step(float *weights, float *m, float *v, const float *grad, int64_t n, const struct adam *adam, int64_t step)
{
    const double correction1 = 1.0 - pow(adam->beta1, (double)step);
    const double correction2 = 1.0 - pow(adam->beta2, (double)step);
    const struct scalars s = {
        .keep = (float)(1.0 - adam->lr * adam->weight_decay),
        .beta1 = (float)adam->beta1,
        .rest1 = (float)(1.0 - adam->beta1),
        .beta2 = (float)adam->beta2,
        .rest2 = (float)(1.0 - adam->beta2),
        .root2 = (float)sqrt(correction2),
        .eps = (float)adam->eps,
        .rate = (float)(adam->lr / correction1),
    };
    const int64_t blocks = (n + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) if (blocks > 4)
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t at = b * BLOCK, count = n - at < BLOCK ? n - at : BLOCK;
        update(weights + at, m + at, v + at, grad + at, count, s);
    }
}
