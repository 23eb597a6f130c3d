/* Adam (Kingma & Ba 2015) and AdamW (Loshchilov & Hutter 2019) over one flat buffer, as in PyTorch. */
#ifndef MATH_ADAM_H
#define MATH_ADAM_H

#include <stdint.h>

struct adam {
    double lr, beta1, beta2, eps;
    double weight_decay; /* decoupled: w <- w - lr * weight_decay * w before the step */
};
/* weights, m, v [n] in/out; grad [n]; step counts from 1. One pass over memory; elementwise, so any split of n gives
 * the same bits. */
void adam_step(float *weights, float *m, float *v, const float *grad, int64_t n, const struct adam *adam, int64_t step);

#endif
