/* What a trained dictionary is worth beyond its reconstruction. Definitions: docs/methods/sae.md. */
#ifndef CONCEPT_SAE_SCORE_H
#define CONCEPT_SAE_SCORE_H

#include <stdint.h>

struct arena;
struct sae_trainer;
struct world;

/* Monosemanticity of each neuron over the training rows: mean cosine of pairs of rows, weighted by the product of the
 * neuron's activations, min-max scaled (Pach et al. 2025); closed form, one product of K x rows x D.
 *   score [K] out, the same on every rank; NaN for a neuron whose activation does not vary over two rows
 * Collective; takes K D floats from `scratch` and gives them back. */
void sae_monosemanticity(double *score, struct sae_trainer *trainer, struct arena *scratch);

/* Largest |cosine| of each of `neurons` unit rows [neurons x dim] to another one, both with alive [neurons] > 0; 0 for
 * the others.
 *   nearest [neurons] out, the same on every rank
 * Collective; the ranks share the rows. neurons^2 dim flops over all. */
void sae_coherence(double *nearest, struct world *world, struct arena *scratch, const float *decoder,
                   const int64_t *alive, int neurons, int dim);

#endif
