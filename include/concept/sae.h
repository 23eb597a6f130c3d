/* Sparse autoencoder, the published ReLU + L1 model:
 *
 *   f = relu((x - b) We' + be),   x^ = f Wd + b,
 *   loss = mean over rows of ( mean over D of (x^ - x)^2  +  l1 * sum over K of f ).
 *
 * Rows of Wd are unit vectors: kept so after every step, and the part of their
 * gradient that is parallel to them is removed. Kernels on arrays, local, no
 * allocation; training over ranks is concept/sae_train.h. */
#ifndef CONCEPT_SAE_H
#define CONCEPT_SAE_H

#include <stdbool.h>
#include <stdint.h>

struct arena;

/* Parameters, or their gradients or moments: views of one flat buffer. */
struct sae {
    int dim, neurons;    /* D, K */
    int64_t count;       /* floats of the buffer: 2 K D + K + D */
    float *flat;         /* [count] borrowed; the fields below, in this order */
    float *encoder;      /* [K x D] We */
    float *encoder_bias; /* [K] be */
    float *decoder;      /* [K x D] Wd */
    float *bias;         /* [D] b */
};
int64_t sae_count(int dim, int neurons);
struct sae sae_view(float *flat, int dim, int neurons);

/* We uniform in +-sqrt(6 / (K D)), be uniform in +-1/sqrt(K), Wd rows unit and of random direction, b = 0. */
void sae_init(struct sae *sae, uint64_t seed);

/* Buffers of the passes below, for up to `rows` rows at once. */
struct sae_work {
    int64_t rows;
    float *centred, *error; /* [rows x D] x - b; x^ - x */
    float *f, *df;          /* [rows x K] activations; gradient before the ReLU */
    double *squared;        /* [rows] ||x^ - x||^2 */
    double *sum;            /* [rows] sum of f */
    int64_t *active;        /* [rows] number of f > 0 */
};
struct sae_work sae_work(struct arena *arena, int dim, int neurons, int64_t rows);

/* x [rows x D] -> work's centred, f, sum, active. 2 rows K D flops. */
void sae_encode(struct sae_work *work, const struct sae *sae, const float *x, int64_t rows);
/* After sae_encode of the same x: work's error, squared. 2 rows K D flops. */
void sae_decode(struct sae_work *work, const struct sae *sae, const float *x, int64_t rows);

/* After both: gradient of `scale` * sum of row losses into `grad` (added when `add`, else stored), and
 * fired [K] += number of rows in which each neuron is active. grad->bias holds the decoder's part only:
 * sae_finish_gradient adds the encoder's. Overwrites work's error and df. 6 rows K D flops. */
void sae_backward(struct sae *grad, int64_t *fired, struct sae_work *work, const struct sae *sae, int64_t rows,
                  double l1, double scale, bool add);

/* Once per step on the summed gradient: grad->bias -= We' grad->encoder_bias, and the part of the decoder's
 * gradient parallel to its unit rows is removed. */
void sae_finish_gradient(struct sae *grad, const struct sae *sae);
/* Rows of the decoder to unit norm. */
void sae_normalise(struct sae *sae);

/* Loss of one row of the last encode + decode. */
double sae_row_loss(const struct sae_work *work, int64_t row, int dim, double l1);

/* Gives neuron k a new start at input x [D]: decoder = unit vector of x - b, encoder = that times
 * `encoder_norm`, encoder bias 0. False, and nothing changed, when x = b. */
bool sae_replant(struct sae *sae, int k, const float *x, double encoder_norm);

#endif
