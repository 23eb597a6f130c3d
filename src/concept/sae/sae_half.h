/* The autoencoder's dense products with bfloat16 operands (math/half_product.h),
 * for training: weights stay in single precision and are rounded once a step,
 * activations and gradients once each. Sums, results, and everything else are as
 * in concept/sae.h. Outputs with a row for each row of a piece have room for the
 * `rows` of a full one. Local. */
#ifndef CONCEPT_SAE_SAE_HALF_H
#define CONCEPT_SAE_SAE_HALF_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct sae;
struct sae_half;

/* For pieces of up to `rows` rows. `dense`: all five products, else the encoder's alone. */
struct sae_half *sae_half(struct arena *arena, int dim, int neurons, int64_t rows, bool dense);
void sae_half_end(struct sae_half *half); /* NULL is nothing */

/* Once a step: rounds the weights of the encoder, and those of the decoder when a dense product will be asked for. */
void sae_half_weights(struct sae_half *half, const struct sae *sae, bool dense);

/* p [rows x K] = centred [n x D] We'. */
void sae_half_encode(float *p, struct sae_half *half, const float *centred, int64_t n);
/* out [rows x D] = f [n x K] Wd. */
void sae_half_decode(float *out, struct sae_half *half, const float *f, int64_t n);
/* decoder [K x D] (+)= f' error [n x D], with f of the last sae_half_decode; df [rows x K] = error Wd'. */
void sae_half_backward(float *decoder, float *df, struct sae_half *half, const float *error, int64_t n, bool add);
/* encoder [K x D] (+)= df' centred, with centred of the last sae_half_encode. */
void sae_half_encoder_gradient(float *encoder, struct sae_half *half, const float *df, int64_t n, bool add);

#endif
