/* Candidates and the rows they are similar to: the matrix behind a submodular
 * objective (docs/methods/select.md), stored in blocks over the ranks or formed
 * again in tiles whenever it is asked for.
 *
 * Rows are cut into V leaves, a number that follows from the problem alone;
 * objectives (concept/objective.h) are formed leaf by leaf in double and
 * added over the fixed tree of dist/tree.h: the same bits at any rank count. */
#ifndef CONCEPT_SIMILARITY_H
#define CONCEPT_SIMILARITY_H

#include <stdbool.h>
#include <stdint.h>

#include "dist/shard.h"

struct arena;
struct tree;
struct world;

/* The vectors of all candidates. */
struct ground {
    int64_t n;            /* candidates, global */
    int dim;              /* D; n for a precomputed similarity */
    const float *vectors; /* [mine.count x D] borrowed as long as the similarities live */
    struct span mine;     /* {0, n}: every rank holds all; otherwise similarities_span of each rank */
    int leaves;           /* V, a power of two; 0: as the number of rows suggests */
};

/* How vectors become similarities s_ij of candidate i to row j: a row of a table.
 *   cosine       rows are the candidates; cos^2
 *   correlation  r^2
 *   euclidean    max(d^2) - d^2 with the largest distance of all pairs
 *   precomputed  the vectors are the rows of a symmetric matrix
 *   features     rows are the D dimensions; the raw entries x_ij */
struct similarities;
struct similarity {
    const char *name;
    bool is_square;                     /* rows are the candidates, else the dimensions */
    bool is_matrix;                     /* the vectors are the rows of a matrix of all similarities */
    bool is_distance;                   /* needs norms, and the largest of all distances */
    void (*prepare)(float *x, int dim); /* vectors before they are multiplied; NULL: as they are */
    /* Products sim [count x rows.count], `stride` apart, become similarities, of candidates list[i] (first + i when
     * NULL) to rows; NULL: similarities are entries of the vectors. */
    void (*finish)(float *sim, int64_t stride, const struct similarities *c, const int64_t *list, int64_t first,
                   int64_t count, struct span rows);
};
const struct similarity *similarity_find(const char *name); /* NULL when there is none of this name */

struct similarities {
    struct world *world;
    const struct similarity *similarity;
    struct tree *tree;
    int64_t cands, rows; /* global */
    int dim, leaves;     /* leaves of this rank */
    struct span *leaf;   /* [leaves] rows of each */
    float *sim;          /* [cands x stride], rows of this rank's leaves one after another; NULL: formed in tiles */
    int64_t stride;      /* rows of this rank; 0 in tiles */
    bool finite;         /* are all vectors of this rank, and the distances between them? */
    bool negative;       /* is one of them below 0, on any rank? */
    double bytes;        /* of the stored similarities, this rank */

    const float *vectors; /* as the similarity wants them (unit rows, centred, ...) */
    struct span mine;
    float *square;  /* [cands] squared norms, euclidean only */
    float farthest; /* largest d^2 */
    float *fetched; /* [SIMILARITY_TILE x D] candidates of the tile */
    float *tile;    /* [SIMILARITY_TILE x longest leaf] */
};
enum { SIMILARITY_TILE = 512 }; /* candidates at once when there is no stored matrix */

/* Rows of a square similarity that fall to this rank: the vectors it must hold when no rank holds all. Local. */
struct span similarities_span(const struct world *world, int64_t n);

/* `store`: keep the similarities, 4 n rows / ranks bytes; every rank must hold all vectors then. Owned by the arena.
 * Collective. 2 n^2 D / ranks flops when stored, half of that on one rank (and as many for the largest distance of
 * euclidean when not stored). Callers look at
 * `finite` and agree. */
struct similarities *similarities_create(struct arena *arena, struct world *world, const struct similarity *similarity,
                                         const struct ground *ground, bool store);

/* Similarities of some candidates to the rows of one leaf after another.
 *   list [count] candidates; count <= similarities_block(c)
 * Open is collective when there is no stored matrix; leaf is local. Candidate i of the list has
 * block.sim + block.place(i) * block.stride. */
struct block {
    const struct similarities *similarities;
    const int64_t *list; /* [count] */
    int64_t count;
    const float *sim;     /* of the leaf asked for last */
    int64_t stride;       /* of its rows */
    const int64_t *place; /* [count] rows of sim, or NULL: 0, 1, ... */
};
int64_t similarities_block(const struct similarities *similarities, int64_t count); /* candidates a block may have */
struct block similarities_open(const struct similarities *similarities, const int64_t *list, int64_t count);
void similarities_leaf(struct block *block, int leaf);

/* For square similarities: total [leaves][leaf rows] = sum over all candidates of s_vj in their order, self = s_jj;
 * either may be NULL. Collective when there is no stored matrix. */
void similarities_totals(const struct similarities *similarities, struct arena *scratch, double **total, double **self);

#endif
