/* Greedy maximisation of a monotone submodular objective (Nemhauser et al.
 * 1978), at least 1 - 1/e of the optimum. Both optimisers make the same picks
 * with the same gains; ties go to the lowest candidate, no candidate is taken twice. */
#ifndef CONCEPT_GREEDY_H
#define CONCEPT_GREEDY_H

#include <stdint.h>

struct arena;
struct coverage;
struct objective;

/* What a run cost. */
struct greedy_cost {
    int64_t evaluations; /* gains formed */
    int64_t rounds;      /* sums over the ranks */
};

/* A row of a table:
 *   naive  all gains at every step
 *   lazy   a priority queue of gains of earlier steps, upper bounds that are refreshed from the top in batches until a
 *          fresh one leads (Minoux 1978) */
struct optimiser;
const struct optimiser *optimiser_find(const char *name); /* NULL when there is none of this name */

/* picks [count], gains [count] out, in the order taken, the same on every rank; count <= candidates.
 * Collective. Scratch is marked and released. Shows its progress. */
struct greedy_cost greedy_select(int64_t *picks, double *gains, int64_t count, struct coverage *coverage,
                                 const struct objective *objective, const struct optimiser *optimiser,
                                 struct arena *scratch);

#endif
