/* Feature-parallel steps: what ranks that hold different neurons decide
 * together, as one rank with all of them would. A part of concept/sae_train. */
#ifndef CONCEPT_SAE_SAE_FEATURE_H
#define CONCEPT_SAE_SAE_FEATURE_H

#include "concept/sae/sae_state.h"

/* Do the ranks of this training hold different neurons in a step? */
bool sae_is_split(const struct sae_trainer *trainer);

/* Scratch of sae_choose_rows; local. */
struct sae_offers sae_offers(struct arena *arena, const struct world *world, int64_t batch, int most);

/* codes, the k largest of each row among the neurons here, become those that are among the k largest of all ranks, ties
 * to the lowest neuron. Each row is decided by one rank. Collective: two exchanges, 4 k + 24 bytes a row. */
void sae_choose_rows(struct sae_codes *codes, struct sae_offers *offers, const struct world *world, int k);
double sae_choose_rows_bytes(int64_t batch, int k, int ranks); /* sent by a rank, mean; local */
/* The codes of a step keep what is above `kth` and, of all that equals it, the first in order of rows, then neurons;
 * `ties`: how many of this rank's would stay if ranks came in order. Collective: two integers, and one a row when not
 * all ties stay. */
void sae_cut_batch(struct sae_step *step, const struct world *world, float kth, int64_t ties);

/* Every rank gets the weights of all neurons; with `moments` Adam's moments as well. Nothing unless they are split.
 * Collective; the folding stack is scratch. */
void sae_gather(struct sae_trainer *trainer, bool moments);

#endif
