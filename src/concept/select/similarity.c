/* Similarities of candidates to rows, leaf by leaf: stored, or recomputed in
 * tiles of candidates whose vectors come from the ranks that hold them. What
 * is made of them is left to objective.c. Definitions: apricot 0.6.1. */
#include "concept/similarity.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "dist/tree.h"
#include "dist/world.h"
#include "math/blas.h"
#include "math/vec.h"

static void finish_squares(float *sim, int64_t stride, const struct similarities *c, const int64_t *list, int64_t first,
                           int64_t count, struct span rows)
{
    (void)c, (void)list, (void)first;
#pragma omp parallel for schedule(static) if (count * rows.count > 1 << 20)
    for (int64_t i = 0; i < count; i++) {
        float *s = sim + i * stride;
#pragma omp simd
        for (int64_t j = 0; j < rows.count; j++)
            s[j] *= s[j];
    }
}

/* max(d^2) - d^2; before the maximum is known, `farthest` is 0 and this is -d^2. */
static void finish_euclidean(float *sim, int64_t stride, const struct similarities *c, const int64_t *list,
                             int64_t first, int64_t count, struct span rows)
{
#pragma omp parallel for schedule(static) if (count * rows.count > 1 << 20)
    for (int64_t i = 0; i < count; i++) {
        int64_t cand = list ? list[i] : first + i;
        for (int64_t j = 0; j < rows.count; j++) {
            float *s = &sim[i * stride + j];
            float d2 = c->square[cand] + c->square[rows.first + j] - 2 * *s;
            *s = c->farthest - (cand == rows.first + j ? 0 : d2 < 0 ? 0 : d2);
        }
    }
}

static void unit(float *x, int dim)
{
    vec_normalise(x, dim);
}

static void centred_unit(float *x, int dim)
{
    float mean = (float)(vec_sum(x, dim) / dim);
    for (int d = 0; d < dim; d++)
        x[d] -= mean;
    vec_normalise(x, dim);
}

static const struct similarity SIMILARITIES[] = {
    { .name = "cosine", .is_square = true, .prepare = unit, .finish = finish_squares },
    { .name = "correlation", .is_square = true, .prepare = centred_unit, .finish = finish_squares },
    { .name = "euclidean", .is_square = true, .is_distance = true, .finish = finish_euclidean },
    { .name = "precomputed", .is_square = true, .is_matrix = true },
    { .name = "features" },
};

const struct similarity *similarity_find(const char *name)
{
    for (size_t i = 0; i < sizeof SIMILARITIES / sizeof *SIMILARITIES; i++)
        if (strcmp(SIMILARITIES[i].name, name) == 0)
            return &SIMILARITIES[i];
    return NULL;
}

/* V: leaves of 512 rows or more, so that a product per leaf runs at full speed; 16 at least and 1024 at most share
 * out the work. */
static int leaf_count(int64_t rows)
{
    int leaves = 16;
    while (leaves < 1024 && rows / (2 * leaves) >= 512)
        leaves *= 2;
    return leaves;
}

/* Rows of any leaf, also of another rank's. */
static struct span leaf_of(const struct similarities *c, int leaf)
{
    return shard_rows(c->rows, tree_leaf_count(c->tree), leaf);
}

struct span similarities_span(const struct world *world, int64_t n)
{
    int total = leaf_count(n);
    struct span own = shard_rows(total, world->size, world->rank);
    int64_t first = own.count ? shard_rows(n, total, (int)own.first).first : n;
    struct span last = own.count ? shard_rows(n, total, (int)(own.first + own.count - 1)) : (struct span){ n, 0 };
    return (struct span){ first, last.first + last.count - first };
}

static const float *prepared(struct arena *arena, const struct similarity *similarity, const struct ground *g)
{
    if (!similarity->prepare)
        return g->vectors;
    float *x = arena_take_raw(arena, (size_t)(g->mine.count * g->dim), sizeof *x);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < g->mine.count; i++) {
        memcpy(x + i * g->dim, g->vectors + i * g->dim, (size_t)g->dim * sizeof *x);
        similarity->prepare(x + i * g->dim, g->dim);
    }
    return x;
}

/* Squared norms of all candidates, from the ranks that hold them: one value and zeros add up exactly. */
static void find_norms(struct similarities *c, struct arena *arena)
{
    c->square = arena_array(arena, float, c->cands);
    for (int64_t i = 0; i < c->mine.count; i++)
        c->square[c->mine.first + i] = (float)vec_dot(c->vectors + i * c->dim, c->vectors + i * c->dim, c->dim);
    bool shared = c->mine.count < c->cands || c->mine.first > 0;
    int most = 1 << 20;
    for (int64_t at = 0; shared && c->world->size > 1 && at < c->cands; at += most)
        world_sum_f32_any_order(c->world, c->square + at, (int)(c->cands - at < most ? c->cands - at : most));
}

static float lowest(const float *x, int64_t count, float low)
{
#pragma omp simd reduction(min : low)
    for (int64_t i = 0; i < count; i++)
        low = x[i] < low ? x[i] : low;
    return low;
}

static const float *vector_of(const struct similarities *c, int64_t row)
{
    return c->vectors + (row - c->mine.first) * c->dim;
}

/* Entries of `count` vectors x as similarities to rows, the dimensions (or columns) of a leaf. */
static void copy_entries(float *sim, int64_t stride, const struct similarities *c, const float *x, int64_t count,
                         struct span rows)
{
#pragma omp parallel for schedule(static) if (count * rows.count > 1 << 20)
    for (int64_t i = 0; i < count; i++)
        memcpy(sim + i * stride, x + i * c->dim + rows.first, (size_t)rows.count * sizeof *sim);
}

/* out [n x m] = the transpose of in [m x n], square by square so that lines are used whole. */
static void transpose(float *restrict out, int64_t out_stride, const float *restrict in, int64_t in_stride, int64_t m,
                      int64_t n)
{
    enum { SIDE = 16 };
    for (int64_t i = 0; i < m; i += SIDE)
        for (int64_t j = 0; j < n; j += SIDE)
            for (int64_t b = j; b < n && b < j + SIDE; b++)
                for (int64_t a = i; a < m && a < i + SIDE; a++)
                    out[b * out_stride + a] = in[a * in_stride + b];
}

/* Where similarities of a candidate to the rows from `row` on are stored. */
static float *stored(const struct similarities *c, int64_t cand, int64_t row)
{
    return c->sim + cand * c->stride + row - c->leaf[0].first;
}

/* Similarities of block a of the candidates to block b of the rows here. They are symmetric, also in their last bit
 * (math/blas.h): where a is here too, one product serves both. */
static void store_pair(const struct similarities *c, struct span a, struct span b)
{
    const int64_t here = c->leaf[0].first;
    float *sim = stored(c, a.first, b.first);
    blas_sgemm_alone('N', 'T', a.count, b.count, c->dim, 1, vector_of(c, a.first), c->dim, vector_of(c, b.first),
                     c->dim, 0, sim, c->stride);
    c->similarity->finish(sim, c->stride, c, NULL, a.first, a.count, b);
    if (a.first != b.first && a.first >= here && a.first < here + c->stride)
        transpose(stored(c, b.first, a.first), c->stride, sim, c->stride, a.count, b.count);
}

enum { BLOCK = 512 }; /* rows: fewer do not repay what a product copies of its operands */

/* Rows first..end-1 in blocks; returns how many. */
static int64_t cut(struct span *block, int64_t first, int64_t end)
{
    int64_t blocks = 0;
    for (int64_t at = first; at < end; at += BLOCK)
        block[blocks++] = (struct span){ at, end - at < BLOCK ? end - at : BLOCK };
    return blocks;
}

/* All pairs of a candidate and a row here, in blocks shared out among the threads. */
static void store_products(struct similarities *c, struct arena *arena)
{
    const int64_t here = c->leaf[0].first, end = here + c->stride;
    struct span *block = arena_array(arena, struct span, c->cands / BLOCK + 3);
    const int64_t own = cut(block, here, end);
    int64_t all = own + cut(block + own, 0, here);
    all += cut(block + all, end, c->cands);
#pragma omp parallel for schedule(dynamic, 1) collapse(2)
    for (int64_t b = 0; b < own; b++)
        for (int64_t a = 0; a < all; a++)
            if (a >= own || a <= b)
                store_pair(c, block[a], block[b]);
}

static void store_all(struct similarities *c, struct arena *arena)
{
    for (int l = 0; l < c->leaves; l++)
        c->stride += c->leaf[l].count;
    c->sim = arena_take_raw(arena, (size_t)(c->cands * c->stride) + 1, sizeof *c->sim);
    c->bytes = 4 * (double)c->cands * (double)c->stride;
    if (!c->similarity->finish && c->stride > 0) {
        copy_entries(c->sim, c->stride, c, c->vectors, c->cands, (struct span){ c->leaf[0].first, c->stride });
    } else if (c->stride > 0) {
        struct arena_mark mark = arena_mark(arena);
        store_products(c, arena);
        arena_release(arena, mark);
    }
}

static void make_tiles(struct similarities *c, struct arena *arena)
{
    int64_t longest = 1;
    for (int l = 0; l < c->leaves; l++)
        longest = c->leaf[l].count > longest ? c->leaf[l].count : longest;
    c->fetched = arena_take_raw(arena, (size_t)SIMILARITY_TILE * (size_t)c->dim, sizeof(float));
    c->tile = arena_take_raw(arena, (size_t)(SIMILARITY_TILE * longest), sizeof(float));
}

/* The largest squared distance over all pairs; stored similarities are shifted by it. */
static void find_farthest(struct similarities *c, struct arena *arena)
{
    float least = c->sim ? lowest(c->sim, c->cands * c->stride, 0) : 0;
    struct arena_mark mark = arena_mark(arena);
    int64_t *list = arena_array(arena, int64_t, SIMILARITY_TILE);
    for (int64_t at = 0; !c->sim && at < c->cands; at += SIMILARITY_TILE) {
        int64_t count = c->cands - at < SIMILARITY_TILE ? c->cands - at : SIMILARITY_TILE;
        for (int64_t i = 0; i < count; i++)
            list[i] = at + i;
        struct block block = similarities_open(c, list, count);
        for (int l = 0; l < c->leaves; l++) {
            similarities_leaf(&block, l);
            least = lowest(block.sim, count * c->leaf[l].count, least);
        }
    }
    arena_release(arena, mark);
    double farthest = -(double)least;
    if (c->world->size > 1)
        world_max_f64(c->world, &farthest, 1);
    c->farthest = (float)farthest;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < c->cands * c->stride; i++)
        c->sim[i] += c->farthest;
}

struct similarities *similarities_create(struct arena *arena, struct world *world, const struct similarity *similarity,
                                         const struct ground *ground, bool store)
{
    struct similarities *c = arena_array(arena, struct similarities, 1);
    bool whole = ground->mine.first == 0 && ground->mine.count == ground->n;
    assert(whole || (!store && similarity->is_square));
    *c = (struct similarities){ .world = world, .similarity = similarity, .cands = ground->n, .dim = ground->dim };
    c->rows = similarity->is_square ? c->cands : c->dim;
    c->mine = ground->mine;
    c->vectors = prepared(arena, similarity, ground);
    int total = ground->leaves > 0 ? ground->leaves : leaf_count(c->rows);
    c->tree = tree_create(arena, world, total);
    struct span own = tree_leaves(c->tree);
    c->leaves = (int)own.count;
    c->leaf = arena_array(arena, struct span, own.count + 1);
    for (int l = 0; l < c->leaves; l++)
        c->leaf[l] = leaf_of(c, (int)own.first + l);

    bool given = !similarity->finish; /* squares and distances are never negative */
    bool finite = true;
#pragma omp parallel for schedule(static) reduction(&& : finite)
    for (int64_t i = 0; i < c->mine.count; i++)
        finite = finite && vec_all_finite(c->vectors + i * c->dim, c->dim);
    c->finite = finite;
    if (similarity->is_distance)
        find_norms(c, arena);
    if (store)
        store_all(c, arena);
    else
        make_tiles(c, arena);
    if (similarity->is_distance)
        find_farthest(c, arena);
    c->finite = c->finite && isfinite(c->farthest);
    double below = given && lowest(c->vectors, c->mine.count * c->dim, 0) < 0;
    if (world->size > 1)
        world_max_f64(world, &below, 1);
    c->negative = below > 0;
    return c;
}

int64_t similarities_block(const struct similarities *c, int64_t count)
{
    return c->sim || count < SIMILARITY_TILE ? count : SIMILARITY_TILE;
}

struct block similarities_open(const struct similarities *c, const int64_t *list, int64_t count)
{
    struct block block = { .similarities = c, .list = list, .count = count };
    if (c->sim) {
        block.place = list;
        return block;
    }
    assert(count <= SIMILARITY_TILE);
    if (c->mine.count == c->cands && c->mine.first == 0)
        for (int64_t i = 0; i < count; i++)
            memcpy(c->fetched + i * c->dim, c->vectors + list[i] * c->dim, (size_t)c->dim * sizeof(float));
    else
        world_fetch_rows(c->world, c->fetched, list, count, c->vectors, c->mine.first, c->mine.count,
                         (size_t)c->dim * sizeof(float));
    return block;
}

void similarities_leaf(struct block *block, int leaf)
{
    const struct similarities *c = block->similarities;
    struct span rows = c->leaf[leaf];
    block->stride = c->sim ? c->stride : rows.count;
    block->sim = c->sim ? stored(c, 0, rows.first) : c->tile;
    if (c->sim || rows.count == 0)
        return;
    if (!c->similarity->finish) {
        copy_entries(c->tile, rows.count, c, c->fetched, block->count, rows);
        return;
    }
    blas_sgemm('N', 'T', block->count, rows.count, c->dim, 1, c->fetched, c->dim, vector_of(c, rows.first), c->dim, 0,
               c->tile, rows.count);
    c->similarity->finish(c->tile, rows.count, c, block->list, 0, block->count, rows);
}

void similarities_totals(const struct similarities *c, struct arena *scratch, double **total, double **self)
{
    struct arena_mark mark = arena_mark(scratch);
    int64_t most = similarities_block(c, c->cands), *list = arena_array(scratch, int64_t, most);
    for (int l = 0; total && l < c->leaves; l++)
        memset(total[l], 0, (size_t)c->leaf[l].count * sizeof(double));
    for (int64_t at = 0; at < c->cands; at += most) {
        int64_t count = c->cands - at < most ? c->cands - at : most;
        for (int64_t i = 0; i < count; i++)
            list[i] = at + i;
        struct block block = similarities_open(c, list, count);
        for (int l = 0; l < c->leaves; l++) {
            struct span rows = c->leaf[l];
            similarities_leaf(&block, l);
            for (int64_t i = 0; i < count; i++) {
                const float *sim = block.sim + (block.place ? block.place[i] : i) * block.stride;
                for (int64_t j = 0; total && j < rows.count; j++)
                    total[l][j] += sim[j];
                int64_t here = list[i] - rows.first;
                if (self && here >= 0 && here < rows.count)
                    self[l][here] = sim[here];
            }
        }
    }
    arena_release(scratch, mark);
}
