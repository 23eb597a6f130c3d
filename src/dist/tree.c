/* Sums with the same bits at any rank count: values are added along one fixed
 * binary tree over V leaves, whoever owns them (see the header). Sums are
 * elementwise, so cutting n into slices does not change a bit. */
#include "dist/tree.h"

#include <stdbool.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "dist/internal.h"

/* A complete subtree: leaves first..first+size-1, size a power of two, first a multiple of it. */
struct node {
    int first, size;
};

/* row[into] += row[from] */
struct merge {
    int into, from;
};

struct tree {
    struct world *world;
    int leaves;
    struct span own;
    int nodes, depth;
    int *slot;   /* [own.count] */
    int *merges; /* [own.count] additions once the leaf is there */

    /* The rest of the tree, over the nodes of all ranks in the order of their leaves. */
    int all_nodes, most_nodes, merge_count;
    int *nodes_of;      /* [ranks] */
    int *first_node_of; /* [ranks] */
    struct merge *merge;
};

/* Bytes up to which every rank gathers all nodes and finishes the tree alone; pieces of long vectors. */
enum { SMALL_BYTES = 1 << 17, PIECE_ELEMENTS = 4 << 20, THREAD_FROM = 1 << 16, THREAD_PART = 1 << 13 };

/* Two neighbours on the stack become one when they are the halves of a complete subtree. */
static bool siblings(struct node left, struct node right)
{
    return left.size == right.size && left.first + left.size == right.first && left.first % (2 * left.size) == 0;
}

/* Leaves are pushed one after another; *slot and *merges as in struct tree (may be NULL); returns rows left over. */
static int fold_plan(struct node *stack, struct span block, int *slot, int *merges, int *depth)
{
    int top = 0;
    for (int i = 0; i < (int)block.count; i++) {
        stack[top++] = (struct node){ (int)block.first + i, 1 };
        if (top > *depth)
            *depth = top;
        if (slot)
            slot[i] = top - 1;
        int added = 0;
        for (; top > 1 && siblings(stack[top - 2], stack[top - 1]); top--, added++)
            stack[top - 2].size *= 2;
        if (merges)
            merges[i] = added;
    }
    return top;
}

/* Nodes of all ranks, and the order in which they become one sum. */
static void finish_plan(struct tree *tree, struct arena *arena)
{
    int ranks = tree->world->size, top = 0;
    struct node *stack = arena_array(arena, struct node, tree->leaves + 1);
    struct node *nodes = arena_array(arena, struct node, tree->leaves + 1);
    int *row = arena_array(arena, int, tree->leaves + 1);
    tree->nodes_of = arena_array(arena, int, ranks);
    tree->first_node_of = arena_array(arena, int, ranks);
    tree->merge = arena_array(arena, struct merge, tree->leaves);
    for (int r = 0; r < ranks; r++) {
        int depth = 0;
        struct span block = shard_rows(tree->leaves, ranks, r);
        int count = fold_plan(nodes, block, NULL, NULL, &depth);
        tree->nodes_of[r] = count;
        tree->first_node_of[r] = tree->all_nodes;
        tree->most_nodes = count > tree->most_nodes ? count : tree->most_nodes;
        for (int k = 0; k < count; k++) {
            stack[top] = nodes[k];
            row[top++] = tree->all_nodes++;
            for (; top > 1 && siblings(stack[top - 2], stack[top - 1]); top--) {
                tree->merge[tree->merge_count++] = (struct merge){ row[top - 2], row[top - 1] };
                stack[top - 2].size *= 2;
            }
        }
    }
    require(top == 1, EXIT_INTERNAL, "tree: %d roots over %d leaves: expected 1", top, tree->leaves);
}

struct tree *tree_create(struct arena *arena, struct world *world, int leaves)
{
    require(leaves > 0 && (leaves & (leaves - 1)) == 0, EXIT_INTERNAL, "tree: %d leaves: expected a power of two",
            leaves);
    struct tree *tree = arena_array(arena, struct tree, 1);
    tree->world = world;
    tree->leaves = leaves;
    tree->own = shard_rows(leaves, world->size, world->rank);
    tree->slot = arena_array(arena, int, tree->own.count + 1);
    tree->merges = arena_array(arena, int, tree->own.count + 1);
    struct node *stack = arena_array(arena, struct node, tree->own.count + 1);
    tree->depth = 1;
    tree->nodes = fold_plan(stack, tree->own, tree->slot, tree->merges, &tree->depth);
    finish_plan(tree, arena);
    return tree;
}

/* Complete subtrees that make up a block of leaves. */
static int nodes_in(struct span block)
{
    int count = 0;
    for (int64_t at = block.first, end = block.first + block.count, size; at < end; at += size, count++) {
        for (size = 1; at % (2 * size) == 0 && at + 2 * size <= end;)
            size *= 2;
    }
    return count;
}

/* Are the nodes of all ranks gathered, rather than slices exchanged? */
static bool is_small(int64_t n, int all_nodes, size_t width)
{
    return n <= SMALL_BYTES && (size_t)n * (size_t)all_nodes * width <= SMALL_BYTES;
}

double tree_sum_bytes(int leaves, int ranks, int64_t n, int width)
{
    const double bytes = (double)n * width;
    int nodes = 0;
    for (int r = 0; r < ranks; r++)
        nodes += nodes_in(shard_rows(leaves, ranks, r));
    if (is_small(n, nodes, (size_t)width))
        return bytes * (ranks - 1) * nodes / ranks;
    /* Each node but the own slice of it; then the own slice to every other rank. */
    return bytes * (ranks - 1) / ranks * ((double)nodes / ranks + 1);
}

bool tree_is_local(const struct tree *tree)
{
    return tree->world->size == 1;
}

int tree_leaf_count(const struct tree *tree)
{
    return tree->leaves;
}

struct span tree_leaves(const struct tree *tree)
{
    return tree->own;
}

int tree_nodes(const struct tree *tree)
{
    return tree->nodes;
}

int tree_depth(const struct tree *tree)
{
    return tree->depth;
}

int tree_slot(const struct tree *tree, int leaf)
{
    return tree->slot[leaf];
}

/* One element type, so that sums and the exchange are written once. */
struct kind {
    size_t width;
    MPI_Datatype type;
};

static void add_part(struct kind kind, void *restrict into, const void *restrict from, int64_t n)
{
    if (kind.width == sizeof(float)) {
        float *f = into;
        const float *more = from;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            f[i] += more[i];
    } else {
        double *f = into;
        const double *more = from;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            f[i] += more[i];
    }
}

/* Threads share long rows. Short ones do not enter a parallel region: inside one, a team of one thread costs more than
 * the sum. */
static void add_rows(struct kind kind, void *into, const void *from, int64_t n)
{
    if (n < THREAD_FROM) {
        add_part(kind, into, from, n);
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < n; at += THREAD_PART)
        add_part(kind, (char *)into + (size_t)at * kind.width, (const char *)from + (size_t)at * kind.width,
                 n - at < THREAD_PART ? n - at : THREAD_PART);
}

static void fold(const struct tree *tree, struct kind kind, int leaf, void *stack, int64_t n, int64_t stride)
{
    const int64_t row = stride * (int64_t)kind.width;
    char *top = (char *)stack + tree->slot[leaf] * row;
    for (int m = tree->merges[leaf]; m > 0; m--, top -= row)
        add_rows(kind, top - row, top, n);
}

void tree_fold_f32(const struct tree *tree, int leaf, float *stack, int64_t n, int64_t stride)
{
    fold(tree, (struct kind){ sizeof(float), MPI_FLOAT }, leaf, stack, n, stride);
}

void tree_fold_f64(const struct tree *tree, int leaf, double *stack, int64_t n, int64_t stride)
{
    fold(tree, (struct kind){ sizeof(double), MPI_DOUBLE }, leaf, stack, n, stride);
}

/* rows [all nodes x stride]: the sum ends in row 0. */
static void finish(const struct tree *tree, struct kind kind, char *rows, int64_t n, int64_t stride)
{
    size_t row = (size_t)stride * kind.width;
    for (int m = 0; m < tree->merge_count; m++)
        add_rows(kind, rows + (size_t)tree->merge[m].into * row, rows + (size_t)tree->merge[m].from * row, n);
}

/* Short vectors: every rank gathers all nodes and finishes the tree by itself. */
static void sum_small(const struct tree *tree, struct kind kind, char *out, const char *nodes, int64_t n,
                      int64_t stride)
{
    int ranks = tree->world->size;
    size_t row = (size_t)n * kind.width;
    char *all = arena_take_raw(dist_scratch(), (size_t)tree->all_nodes, row);
    char *mine = arena_take_raw(dist_scratch(), (size_t)tree->nodes + 1, row);
    int *counts = arena_array(dist_scratch(), int, ranks), *places = arena_array(dist_scratch(), int, ranks);
    for (int r = 0; r < ranks; r++) {
        counts[r] = tree->nodes_of[r] * (int)n;
        places[r] = tree->first_node_of[r] * (int)n;
    }
    for (int k = 0; k < tree->nodes; k++)
        memcpy(mine + (size_t)k * row, nodes + (size_t)(k * stride) * kind.width, row);
    enum phase before = comm_begin();
    dist_check(MPI_Allgatherv(mine, counts[tree->world->rank], kind.type, all, counts, places, kind.type,
                              world_handle(tree->world)),
               "MPI_Allgatherv");
    comm_end(before, (int64_t)row * tree->nodes * (ranks - 1));
    finish(tree, kind, all, n, n);
    memcpy(out, all, row);
}

/* Row k of every rank's nodes, cut into slices: slice r goes to rank r. rows [all nodes x my slice]. */
static void exchange(const struct tree *tree, struct kind kind, char *rows, const char *nodes, int64_t n, int k)
{
    int ranks = tree->world->size, me = tree->world->rank;
    int *send = arena_array(dist_scratch(), int, ranks), *send_at = arena_array(dist_scratch(), int, ranks);
    int *recv = arena_array(dist_scratch(), int, ranks), *recv_at = arena_array(dist_scratch(), int, ranks);
    int mine = (int)shard_rows(n, ranks, me).count;
    for (int r = 0; r < ranks; r++) {
        struct span slice = shard_rows(n, ranks, r);
        send[r] = k < tree->nodes ? (int)slice.count : 0;
        send_at[r] = (int)slice.first;
        recv[r] = k < tree->nodes_of[r] ? mine : 0;
        recv_at[r] = recv[r] ? (tree->first_node_of[r] + k) * mine : 0;
    }
    dist_check(
        MPI_Alltoallv(nodes, send, send_at, kind.type, rows, recv, recv_at, kind.type, world_handle(tree->world)),
        "MPI_Alltoallv");
}

int64_t tree_scratch_bytes(const struct tree *tree, int64_t n)
{
    int64_t piece = n < PIECE_ELEMENTS ? n : PIECE_ELEMENTS;
    if (tree->world->size == 1)
        return 0;
    return tree->all_nodes * (piece / tree->world->size + 1) * (int64_t)sizeof(float);
}

/* One piece of a long vector: exchange slices, finish the tree in mine, gather the slices. */
static void sum_piece(const struct tree *tree, struct kind kind, char *out, const char *nodes, int64_t n,
                      int64_t stride)
{
    int ranks = tree->world->size;
    struct arena_mark mark = arena_mark(dist_scratch());
    struct span mine = shard_rows(n, ranks, tree->world->rank);
    char *rows = arena_take_raw(dist_scratch(), (size_t)(tree->all_nodes * (mine.count + 1)), kind.width);
    enum phase before = comm_begin();
    for (int k = 0; k < tree->most_nodes; k++) {
        bool have = k < tree->nodes;
        exchange(tree, kind, rows, have ? nodes + (size_t)(k * stride) * kind.width : nodes, n, k);
    }
    comm_end(before, (int64_t)kind.width * (n - mine.count) * tree->nodes);
    finish(tree, kind, rows, mine.count, mine.count);

    int *counts = arena_array(dist_scratch(), int, ranks), *places = arena_array(dist_scratch(), int, ranks);
    for (int r = 0; r < ranks; r++) {
        struct span slice = shard_rows(n, ranks, r);
        counts[r] = (int)slice.count;
        places[r] = (int)slice.first;
    }
    before = comm_begin();
    dist_check(
        MPI_Allgatherv(rows, (int)mine.count, kind.type, out, counts, places, kind.type, world_handle(tree->world)),
        "MPI_Allgatherv");
    comm_end(before, (int64_t)kind.width * mine.count * (ranks - 1));
    arena_release(dist_scratch(), mark);
}

static void sum_nodes(const struct tree *tree, struct kind kind, char *out, const char *nodes, int64_t n,
                      int64_t stride)
{
    if (n <= 0)
        return;
    if (tree->world->size == 1) {
        if (out != nodes)
            memcpy(out, nodes, (size_t)n * kind.width);
        return;
    }
    if (is_small(n, tree->all_nodes, kind.width)) {
        struct arena_mark mark = arena_mark(dist_scratch());
        sum_small(tree, kind, out, nodes, n, stride);
        arena_release(dist_scratch(), mark);
        return;
    }
    for (int64_t at = 0; at < n; at += PIECE_ELEMENTS) {
        int64_t count = n - at < PIECE_ELEMENTS ? n - at : PIECE_ELEMENTS;
        size_t offset = (size_t)at * kind.width;
        sum_piece(tree, kind, out + offset, tree->nodes ? nodes + offset : nodes, count, stride);
    }
}

void tree_sum_nodes_f32(const struct tree *tree, float *out, const float *nodes, int64_t n, int64_t stride)
{
    sum_nodes(tree, (struct kind){ sizeof(float), MPI_FLOAT }, (char *)out, (const char *)nodes, n, stride);
}

void tree_sum_nodes_f64(const struct tree *tree, double *out, const double *nodes, int64_t n, int64_t stride)
{
    sum_nodes(tree, (struct kind){ sizeof(double), MPI_DOUBLE }, (char *)out, (const char *)nodes, n, stride);
}

void tree_sum_f64(const struct tree *tree, double *out, double *leaves, int64_t n)
{
    for (int i = 0; i < (int)tree->own.count; i++) {
        if (tree->slot[i] != i)
            memcpy(leaves + tree->slot[i] * n, leaves + i * n, (size_t)n * sizeof *leaves);
        tree_fold_f64(tree, i, leaves, n, n);
    }
    tree_sum_nodes_f64(tree, out, leaves, n, n);
}

void tree_sum_f32(const struct tree *tree, float *out, float *leaves, int64_t n)
{
    for (int i = 0; i < (int)tree->own.count; i++) {
        if (tree->slot[i] != i)
            memcpy(leaves + tree->slot[i] * n, leaves + i * n, (size_t)n * sizeof *leaves);
        tree_fold_f32(tree, i, leaves, n, n);
    }
    tree_sum_nodes_f32(tree, out, leaves, n, n);
}
