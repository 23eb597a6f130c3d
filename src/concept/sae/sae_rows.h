/* Batches of rows cut over the leaves of the fixed tree, wherever the rows live.
 * A part of concept/sae_train. */
#ifndef CONCEPT_SAE_SAE_ROWS_H
#define CONCEPT_SAE_SAE_ROWS_H

#include "concept/sae_train.h"
#include "dist/tree.h"

/* Positions in a batch of `rows` that fall on this rank's leaves. Local. */
struct span sae_own_positions(const struct tree *tree, int64_t rows);

/* A set of rows this rank can read from. Copies share the rows of the open batch: opened in one, it is open in all. */
struct sae_opened;
struct sae_source {
    const struct world *world;
    const struct tree *tree;
    struct sae_set set;
    int dim;
    const float *all; /* [rows x D] when resident, else NULL */
    int64_t *wanted;  /* [most rows of one batch on this rank] set rows of the open batch */
    float *fetched;   /* the same rows, when not resident */
    struct sae_opened *opened;
    int64_t batch_rows; /* rows of the open batch, global */
    int64_t first;      /* position in the batch of this rank's first row */
};

/* Takes memory for batches of up to `batch` rows; copies a set of at most `resident_bytes` to every rank. Collective.
 */
struct sae_source sae_source(struct arena *arena, const struct world *world, const struct tree *tree,
                             struct sae_set set, int dim, int64_t batch, int64_t resident_bytes);
/* The same rows where this rank takes all positions: `tree` is made for a world of one rank. Memory for the batch is
 * taken when the set is not resident. Local. */
struct sae_source sae_source_whole(struct arena *arena, const struct sae_source *source, const struct tree *tree,
                                   int64_t batch);
/* Opens the batch of rows order[start..start+rows-1] (order NULL: start..start+rows-1); nothing is fetched when it is
 * the last one that was opened, here or in a copy. Collective. */
void sae_open_batch(struct sae_source *source, const int64_t *order, int64_t start, int64_t rows);
/* To be called when the order of an open batch has changed. Local. */
void sae_close_batch(struct sae_source *source);
/* Positions in the open batch of this rank's leaf `leaf` (0 = its first). Local. */
struct span sae_leaf(const struct sae_source *source, int leaf);
/* out [count x D] <- the rows at positions first..first+count-1, which are of this rank's leaves. Local. */
void sae_copy_rows(float *out, const struct sae_source *source, int64_t first, int64_t count);
/* out [count x D] <- any rows of the set, the same list on every rank. Collective. */
void sae_fetch(float *out, const struct sae_source *source, const int64_t *rows, int64_t count);

#endif
