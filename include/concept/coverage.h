/* What a selection covers: a ground set of candidates, rows they are similar
 * to, and submodular objectives on both (docs/methods/select.md).
 *
 * Rows are cut into V leaves, a number that follows from the problem alone;
 * every gain is formed leaf by leaf in double and added over the fixed tree of
 * dist/tree.h, so gains have the same bits at any rank count. */
#ifndef CONCEPT_COVERAGE_H
#define CONCEPT_COVERAGE_H

#include <stdint.h>

#include "dist/shard.h"

struct arena;
struct tree;
struct world;

struct coverage {
    struct tree *tree;
    int64_t cands, rows; /* global */
    int leaves;          /* of this rank */
    struct span *leaf;   /* [leaves] rows of each */
    float **sim;   /* [leaves][cands x leaf rows] similarity of candidate to row, >= 0 unless similarity says so */
    float **cover; /* [leaves][leaf rows] state of the objective */
};

/* How vectors [n x D] become similarities: a row of a table.
 *   cosine    n rows: cos^2 of candidate and candidate
 *   features  D rows: the raw entries x_id of candidate i (what the published scripts maximise: sum_d max(0, max_i
 * x_id); their column of mutual information is multiplied by zero and adds nothing) */
struct similarity;
const struct similarity *similarity_find(const char *name); /* NULL when there is none of this name */

/* Vectors [n x D], the same on every rank, borrowed during the call. Owned by the arena. Collective.
 * 4 n rows / ranks bytes and 2 n^2 D / ranks flops for cosine. A similarity that is not finite ends the job with
 * EXIT_INTERNAL. */
struct coverage *coverage_create(struct arena *arena, struct world *world, const struct similarity *similarity,
                                 const float *vectors, int64_t n, int dim);

/* An objective: a row of a table. Gains never grow as the selection grows, in floating point too: each term is a
 * difference that never grows, and terms are added in a fixed order. Local. */
struct objective {
    const char *name;
    void (*start)(struct coverage *coverage); /* state of the empty selection */
    /* gains [count] out: part of leaf `leaf` for candidates list[0..count-1], or for 0..count-1 when list is NULL */
    void (*gains)(double *gains, const struct coverage *coverage, int leaf, const int64_t *list, int64_t count);
    void (*take)(struct coverage *coverage, int64_t cand); /* adds a pick */
};
const struct objective *objective_find(const char *name); /* NULL when there is none of this name */

/* gains [count] out, the same on every rank; list as above.
 *   stack [tree_depth x count] caller's scratch
 * Collective: one sum of `count` doubles. 2 rows count / ranks flops. A gain that is not a number ends the job. */
void coverage_gains(double *gains, const struct coverage *coverage, const struct objective *objective,
                    const int64_t *list, int64_t count, double *stack);

#endif
