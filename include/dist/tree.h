/* Sums with the same bits at any rank count.
 *
 * V leaves (a power of two, the "virtual shards") are spread over the ranks in
 * contiguous blocks (shard_rows). Values are added along one fixed binary tree
 * over the leaves: ((0+1)+(2+3))+((4+5)+(6+7)). A rank adds up the complete
 * subtrees it owns, its "nodes" (one of them when ranks are a power of two);
 * the rest of the tree is added slice by slice: each rank receives its slice of
 * every node, finishes the tree, and the slices are gathered. Any rank count up
 * to V, and ranks beyond V own no leaves but take part. */
#ifndef DIST_TREE_H
#define DIST_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "dist/shard.h"

struct arena;
struct world;
struct tree;

/* Owned by the arena. Local, but must be made alike on all ranks. */
struct tree *tree_create(struct arena *arena, struct world *world, int leaves);
int tree_leaf_count(const struct tree *tree);
bool tree_is_local(const struct tree *tree);      /* made for a world of one rank: its sums need no other one */
struct span tree_leaves(const struct tree *tree); /* this rank's leaves: first and count */
int tree_nodes(const struct tree *tree);          /* complete subtrees of this rank, >= 0 */
int tree_depth(const struct tree *tree);          /* rows a folding stack needs, >= max(nodes, 1) */

/* Folding: the leaves of a rank are formed one after another, each into row
 * tree_slot(leaf) of a stack [depth x stride], followed by tree_fold, which
 * adds up what is complete. After the last leaf, rows 0..nodes-1 are the nodes.
 * `leaf` counts from 0 among this rank's leaves. */
int tree_slot(const struct tree *tree, int leaf);
void tree_fold_f32(const struct tree *tree, int leaf, float *stack, int64_t n, int64_t stride);
void tree_fold_f64(const struct tree *tree, int leaf, double *stack, int64_t n, int64_t stride);

/* out [n] = sum over all leaves, on every rank, from this rank's nodes [nodes x stride].
 * `out` may be nodes' first row. Collective: 2 n bytes-of-type per rank for ranks > 1. */
void tree_sum_nodes_f32(const struct tree *tree, float *out, const float *nodes, int64_t n, int64_t stride);
void tree_sum_nodes_f64(const struct tree *tree, double *out, const double *nodes, int64_t n, int64_t stride);
/* Bytes a rank sends for a sum of vectors of n values of `width` bytes, mean over `ranks`. Local. */
double tree_sum_bytes(int leaves, int ranks, int64_t n, int width);
int64_t tree_scratch_bytes(const struct tree *tree, int64_t n); /* what the first takes besides; local */

/* Convenience for small vectors: leaves [own leaves x n] are overwritten; out [n]. Collective. */
void tree_sum_f64(const struct tree *tree, double *out, double *leaves, int64_t n);
void tree_sum_f32(const struct tree *tree, float *out, float *leaves, int64_t n);

#endif
