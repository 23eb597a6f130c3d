/* What a trained dictionary is worth beyond its reconstruction. Definitions: docs/methods/sae.md. */
#ifndef CONCEPT_SAE_SCORE_H
#define CONCEPT_SAE_SCORE_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct sae_trainer;
struct world;

/* Monosemanticity of each neuron over the training rows: mean cosine of pairs of rows, weighted by the product of the
 * neuron's activations, min-max scaled (Pach et al. 2025); closed form, one product of K x rows x D.
 *   score [K] out, the same on every rank; NaN for a neuron whose activation does not vary over two rows
 * Collective; takes K D floats from `scratch` and gives them back, and in a plan (base/arena.h) does nothing else. */
void sae_monosemanticity(double *score, struct sae_trainer *trainer, struct arena *scratch);

/* Largest |cosine| of each of `neurons` unit rows [neurons x dim] to another one, both with alive [neurons] > 0; 0 for
 * the others.
 *   nearest [neurons] out, the same on every rank
 * Collective; the ranks share the rows. neurons^2 dim flops over all; none in a plan. */
void sae_coherence(double *nearest, struct world *world, struct arena *scratch, const float *decoder,
                   const int64_t *alive, int neurons, int dim);

struct sae_repeats {
    int count;                /* trainings, with the seeds after the trainer's own */
    bool (*stop)(void *data); /* asked after each step, on every rank alike; NULL = never */
    void *data;
};
/* Stability of each neuron over seeds: trains again `count` times and matches the decoder rows one to one with those of
 * each repeat, such that the sum of cosines is largest (math/assign.h).
 *   stability [K] out, the same on every rank: mean cosine to the matched neuron
 * Returns false, with stability undefined, when told to stop. Collective. Takes from `scratch`, and gives back, a
 * second trainer and K^2 floats on rank 0; in a plan nothing else. */
bool sae_stability(double *stability, const struct sae_trainer *trainer, struct arena *scratch,
                   const struct sae_repeats *repeats);

#endif
