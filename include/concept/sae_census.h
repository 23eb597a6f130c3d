/* What the codes of all images say about each neuron: how often and how
 * strongly it fires, and which images excite it most; and the codes themselves
 * in compressed rows. Kernels on arrays; the merge is collective. */
#ifndef CONCEPT_SAE_CENSUS_H
#define CONCEPT_SAE_CENSUS_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct world;

struct sae_census {
    int neurons, top;   /* K, T */
    int64_t *fired;     /* [K] training rows in which the neuron is active */
    int64_t *total;     /* [K] sum of its activations over training rows, in units of 1 / scale */
    double scale;       /* a power of two: sums in fixed point are exact, whatever their order */
    double largest;     /* activation seen */
    int64_t *top_index; /* [K x T] rows by falling activation, the lowest row first among equals; -1 padded */
    float *top_value;   /* [K x T] their activations, 0 padded */
};

/* Empty; owned by the arena. */
struct sae_census *sae_census_create(struct arena *arena, int neurons, int top);

/* First pass, rows in rising order: f [rows x K] of global rows first.., train [rows] marks training rows;
 * active [rows] out: entries each row has. Fills fired, largest, top. Local. */
void sae_census_add(struct sae_census *census, int64_t *active, const float *f, const bool *train, int64_t first,
                    int64_t rows);
/* Joins the first pass of all ranks (their rows in rank order) and sets the scale for sums over `train_rows`.
 * Collective; scratch is taken and released again, and no more than that in a plan (base/arena.h). */
void sae_census_merge(struct sae_census *census, const struct world *world, struct arena *scratch, int64_t train_rows);

/* Second pass: totals over training rows (this rank's; sum them with world_sum_i64). Local. */
void sae_census_total(struct sae_census *census, const float *f, const bool *train, int64_t rows);
/* Entries of f [rows x K] > 0, row by row: index, value out; returns how many. Local. */
int64_t sae_compress(int32_t *index, float *value, const float *f, int64_t rows, int neurons);

#endif
