/* Similarities of candidates to rows, leaf by leaf: stored, or formed again in
 * tiles of candidates whose vectors come from the ranks that hold them. What
 * is made of them is left to coverage_goal.c. Definitions: apricot 0.6.1. */
#include "concept/coverage.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "dist/tree.h"
#include "dist/world.h"
#include "math/blas.h"
#include "math/vec.h"

struct similarity {
    const char *name;
    bool square; /* rows are the candidates, else the dimensions */
    void (*prepare)(float *x, int dim);
    /* sim [count x leaf rows] out, of `count` vectors x whose candidates are list[i] (i when NULL) */
    void (*fill)(float *sim, const struct coverage *c, const float *x, const int64_t *list, int64_t count, int leaf);
};

/* The vectors of a leaf's rows. */
static const float *leaf_vectors(const struct coverage *c, int leaf)
{
    return c->vectors + (c->leaf[leaf].first - c->mine.first) * c->dim;
}

static void fill_dot(float *sim, const struct coverage *c, const float *x, int64_t count, int leaf)
{
    int64_t rows = c->leaf[leaf].count;
    blas_sgemm('N', 'T', count, rows, c->dim, 1, x, c->dim, leaf_vectors(c, leaf), c->dim, 0, sim, rows);
}

static void fill_squares(float *sim, const struct coverage *c, const float *x, const int64_t *list, int64_t count,
                         int leaf)
{
    (void)list;
    fill_dot(sim, c, x, count, leaf);
#pragma omp parallel for simd schedule(static) if (count * c->leaf[leaf].count > 65536)
    for (int64_t i = 0; i < count * c->leaf[leaf].count; i++)
        sim[i] *= sim[i];
}

/* max(d^2) - d^2; before the maximum is known, `farthest` is 0 and this is -d^2. */
static void fill_euclidean(float *sim, const struct coverage *c, const float *x, const int64_t *list, int64_t count,
                           int leaf)
{
    struct span rows = c->leaf[leaf];
    fill_dot(sim, c, x, count, leaf);
#pragma omp parallel for schedule(static) if (count * rows.count > 65536)
    for (int64_t i = 0; i < count; i++) {
        int64_t cand = list ? list[i] : i;
        for (int64_t j = 0; j < rows.count; j++) {
            float *s = &sim[i * rows.count + j];
            float d2 = c->square[cand] + c->square[rows.first + j] - 2 * *s;
            *s = c->farthest - (cand == rows.first + j ? 0 : d2 < 0 ? 0 : d2);
        }
    }
}

static void fill_copy(float *sim, const struct coverage *c, const float *x, const int64_t *list, int64_t count,
                      int leaf)
{
    (void)list;
    struct span rows = c->leaf[leaf];
    for (int64_t i = 0; i < count; i++)
        memcpy(sim + i * rows.count, x + i * c->dim + rows.first, (size_t)rows.count * sizeof *sim);
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
    { "cosine", true, unit, fill_squares },      { "correlation", true, centred_unit, fill_squares },
    { "euclidean", true, NULL, fill_euclidean }, { "precomputed", true, NULL, fill_copy },
    { "features", false, NULL, fill_copy },
};

const struct similarity *similarity_find(const char *name)
{
    for (size_t i = 0; i < sizeof SIMILARITIES / sizeof *SIMILARITIES; i++)
        if (strcmp(SIMILARITIES[i].name, name) == 0)
            return &SIMILARITIES[i];
    return NULL;
}

bool similarity_is_square(const struct similarity *similarity)
{
    return similarity->square;
}

const char *similarity_name(const struct similarity *similarity)
{
    return similarity->name;
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

struct span coverage_span(const struct world *world, int64_t n)
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
    memcpy(x, g->vectors, (size_t)(g->mine.count * g->dim) * sizeof *x);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < g->mine.count; i++)
        similarity->prepare(x + i * g->dim, g->dim);
    return x;
}

/* Squared norms of all candidates, from the ranks that hold them: one value and zeros add up exactly. */
static void find_norms(struct coverage *c, struct arena *arena)
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

static void store_all(struct coverage *c, struct arena *arena)
{
    c->sim = arena_array(arena, float *, c->leaves + 1);
    for (int l = 0; l < c->leaves; l++) {
        int64_t count = c->cands * c->leaf[l].count;
        c->sim[l] = arena_take_raw(arena, (size_t)count, sizeof(float));
        c->bytes += 4 * (double)count;
        if (count > 0)
            c->similarity->fill(c->sim[l], c, c->vectors, NULL, c->cands, l);
    }
}

static void make_tiles(struct coverage *c, struct arena *arena)
{
    int64_t longest = 1;
    for (int l = 0; l < c->leaves; l++)
        longest = c->leaf[l].count > longest ? c->leaf[l].count : longest;
    c->fetched = arena_take_raw(arena, (size_t)COVERAGE_TILE * (size_t)c->dim, sizeof(float));
    c->tile = arena_take_raw(arena, (size_t)(COVERAGE_TILE * longest), sizeof(float));
}

/* The largest squared distance over all pairs; stored similarities are shifted by it. */
static void find_farthest(struct coverage *c, struct arena *arena)
{
    float least = 0;
    for (int l = 0; c->sim && l < c->leaves; l++)
        least = lowest(c->sim[l], c->cands * c->leaf[l].count, least);
    struct arena_mark mark = arena_mark(arena);
    int64_t *list = arena_array(arena, int64_t, COVERAGE_TILE);
    for (int64_t at = 0; !c->sim && at < c->cands; at += COVERAGE_TILE) {
        int64_t count = c->cands - at < COVERAGE_TILE ? c->cands - at : COVERAGE_TILE;
        for (int64_t i = 0; i < count; i++)
            list[i] = at + i;
        struct block block = coverage_open(c, list, count);
        for (int l = 0; l < c->leaves; l++) {
            coverage_leaf(&block, l);
            least = lowest(block.sim, count * c->leaf[l].count, least);
        }
    }
    arena_release(arena, mark);
    double farthest = -(double)least;
    if (c->world->size > 1)
        world_max_f64(c->world, &farthest, 1);
    c->farthest = (float)farthest;
    for (int l = 0; c->sim && l < c->leaves; l++)
        for (int64_t i = 0; i < c->cands * c->leaf[l].count; i++)
            c->sim[l][i] += c->farthest;
}

struct coverage *coverage_create(struct arena *arena, struct world *world, const struct similarity *similarity,
                                 const struct ground *ground, bool store)
{
    struct coverage *c = arena_array(arena, struct coverage, 1);
    bool whole = ground->mine.first == 0 && ground->mine.count == ground->n;
    assert(whole || (!store && similarity->square));
    *c = (struct coverage){ .world = world, .similarity = similarity, .cands = ground->n, .dim = ground->dim };
    c->rows = similarity->square ? c->cands : c->dim;
    c->mine = ground->mine;
    c->vectors = prepared(arena, similarity, ground);
    int total = leaf_count(c->rows);
    c->tree = tree_create(arena, world, total);
    struct span own = tree_leaves(c->tree);
    c->leaves = (int)own.count;
    c->leaf = arena_array(arena, struct span, own.count + 1);
    for (int l = 0; l < c->leaves; l++)
        c->leaf[l] = shard_rows(c->rows, total, (int)own.first + l);

    bool distance = strcmp(similarity->name, "euclidean") == 0;
    bool given = similarity->fill == fill_copy; /* squares and distances are never negative */
    c->finite = vec_all_finite(c->vectors, c->mine.count * c->dim);
    if (distance)
        find_norms(c, arena);
    if (store)
        store_all(c, arena);
    else
        make_tiles(c, arena);
    if (distance)
        find_farthest(c, arena);
    c->finite = c->finite && isfinite(c->farthest);
    double below = given && lowest(c->vectors, c->mine.count * c->dim, 0) < 0;
    if (world->size > 1)
        world_max_f64(world, &below, 1);
    c->negative = below > 0;
    return c;
}

int64_t coverage_block(const struct coverage *c, int64_t count)
{
    return c->sim || count < COVERAGE_TILE ? count : COVERAGE_TILE;
}

struct block coverage_open(const struct coverage *c, const int64_t *list, int64_t count)
{
    struct block block = { .coverage = c, .list = list, .count = count };
    if (c->sim) {
        block.place = list;
        return block;
    }
    assert(count <= COVERAGE_TILE);
    if (c->mine.count == c->cands && c->mine.first == 0)
        for (int64_t i = 0; i < count; i++)
            memcpy(c->fetched + i * c->dim, c->vectors + list[i] * c->dim, (size_t)c->dim * sizeof(float));
    else
        world_fetch_rows(c->world, c->fetched, list, count, c->vectors, c->mine.first, c->mine.count,
                         (size_t)c->dim * sizeof(float));
    return block;
}

void coverage_leaf(struct block *block, int leaf)
{
    const struct coverage *c = block->coverage;
    block->sim = c->sim ? c->sim[leaf] : c->tile;
    if (!c->sim && c->leaf[leaf].count > 0)
        c->similarity->fill(c->tile, c, c->fetched, block->list, block->count, leaf);
}

void coverage_totals(const struct coverage *c, struct arena *scratch, double **total, double **self)
{
    struct arena_mark mark = arena_mark(scratch);
    int64_t most = coverage_block(c, c->cands), *list = arena_array(scratch, int64_t, most);
    for (int l = 0; total && l < c->leaves; l++)
        memset(total[l], 0, (size_t)c->leaf[l].count * sizeof(double));
    for (int64_t at = 0; at < c->cands; at += most) {
        int64_t count = c->cands - at < most ? c->cands - at : most;
        for (int64_t i = 0; i < count; i++)
            list[i] = at + i;
        struct block block = coverage_open(c, list, count);
        for (int l = 0; l < c->leaves; l++) {
            struct span rows = c->leaf[l];
            coverage_leaf(&block, l);
            for (int64_t i = 0; i < count; i++) {
                const float *sim = block.sim + (block.place ? block.place[i] : i) * rows.count;
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
