/* Similarities and objectives, leaf by leaf. Which candidate to take next is
 * left to greedy.c. Objectives as apricot 0.6.1 defines them. */
#include "concept/coverage.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "dist/tree.h"
#include "dist/world.h"
#include "math/blas.h"
#include "math/vec.h"

/* Similarity of all candidates to the rows of one leaf: sim [n x leaf.count] out. */
struct similarity {
    const char *name;
    bool square; /* rows are the candidates, else the dimensions */
    bool unit;   /* of vectors scaled to unit norm */
    void (*fill)(float *sim, const float *vectors, int64_t n, int dim, struct span leaf);
};

static void fill_cosine(float *sim, const float *vectors, int64_t n, int dim, struct span leaf)
{
    blas_sgemm('N', 'T', n, leaf.count, dim, 1, vectors, dim, vectors + leaf.first * dim, dim, 0, sim, leaf.count);
    for (int64_t i = 0; i < n * leaf.count; i++)
        sim[i] *= sim[i];
}

static void fill_features(float *sim, const float *vectors, int64_t n, int dim, struct span leaf)
{
    for (int64_t i = 0; i < n; i++)
        memcpy(sim + i * leaf.count, vectors + i * dim + leaf.first, (size_t)leaf.count * sizeof *sim);
}

static const struct similarity SIMILARITIES[] = {
    { "cosine", true, true, fill_cosine },
    { "features", false, false, fill_features },
};

const struct similarity *similarity_find(const char *name)
{
    for (size_t i = 0; i < sizeof SIMILARITIES / sizeof *SIMILARITIES; i++)
        if (strcmp(SIMILARITIES[i].name, name) == 0)
            return &SIMILARITIES[i];
    return NULL;
}

/* V: leaves of 32 rows or more keep the inner loops long; 16 at least and 1024 at most share out the work. */
static int leaf_count(int64_t rows)
{
    int leaves = 16;
    while (leaves < 1024 && rows / (2 * leaves) >= 32)
        leaves *= 2;
    return leaves;
}

static const float *unit_rows(struct arena *arena, const float *vectors, int64_t n, int dim)
{
    float *unit = arena_take_raw(arena, (size_t)n * (size_t)dim, sizeof *unit);
    memcpy(unit, vectors, (size_t)n * (size_t)dim * sizeof *unit);
    for (int64_t i = 0; i < n; i++)
        vec_normalise(unit + i * dim, dim);
    return unit;
}

struct coverage *coverage_create(struct arena *arena, struct world *world, const struct similarity *similarity,
                                 const float *vectors, int64_t n, int dim)
{
    struct coverage *c = arena_array(arena, struct coverage, 1);
    c->cands = n;
    c->rows = similarity->square ? n : dim;
    int total = leaf_count(c->rows);
    c->tree = tree_create(arena, world, total);
    struct span mine = tree_leaves(c->tree);
    c->leaves = (int)mine.count;
    c->leaf = arena_array(arena, struct span, mine.count);
    c->sim = arena_array(arena, float *, mine.count);
    c->cover = arena_array(arena, float *, mine.count);
    if (similarity->unit)
        vectors = unit_rows(arena, vectors, n, dim);

    bool finite = true;
    for (int l = 0; l < c->leaves; l++) {
        struct span leaf = c->leaf[l] = shard_rows(c->rows, total, (int)mine.first + l);
        c->sim[l] = arena_take_raw(arena, (size_t)n * (size_t)leaf.count, sizeof(float));
        c->cover[l] = arena_array(arena, float, leaf.count);
        if (leaf.count > 0)
            similarity->fill(c->sim[l], vectors, n, dim, leaf);
        finite = finite && vec_all_finite(c->sim[l], n * leaf.count);
    }
    agree(world, finite, EXIT_INTERNAL,
          "select: a %s similarity is not a finite number\nthe vectors hold NaN, Inf, or "
          "entries too large to square",
          similarity->name);
    return c;
}

/* Facility location: F(S) = sum_j max(0, max_{i in S} s_ij); the state is the similarity to the nearest pick so far. */
static void facility_start(struct coverage *c)
{
    for (int l = 0; l < c->leaves; l++)
        memset(c->cover[l], 0, (size_t)c->leaf[l].count * sizeof(float));
}

/* sum_j max(0, s_j - nearest_j). Rounding keeps order, so no term and no sum grows as `nearest` does. */
static double facility_gain(const float *restrict sim, const float *restrict nearest, int64_t rows)
{
    double gain = 0;
#pragma omp simd reduction(+ : gain)
    for (int64_t j = 0; j < rows; j++) {
        double more = (double)sim[j] - (double)nearest[j];
        gain += more > 0 ? more : 0;
    }
    return gain;
}

static void facility_gains(double *gains, const struct coverage *c, int leaf, const int64_t *list, int64_t count)
{
    int64_t rows = c->leaf[leaf].count;
#pragma omp parallel for schedule(static) if (count * rows > 65536)
    for (int64_t i = 0; i < count; i++)
        gains[i] = facility_gain(c->sim[leaf] + (list ? list[i] : i) * rows, c->cover[leaf], rows);
}

static void facility_take(struct coverage *c, int64_t cand)
{
    for (int l = 0; l < c->leaves; l++) {
        const float *sim = c->sim[l] + cand * c->leaf[l].count;
        for (int64_t j = 0; j < c->leaf[l].count; j++)
            c->cover[l][j] = fmaxf(c->cover[l][j], sim[j]);
    }
}

static const struct objective OBJECTIVES[] = {
    { "facility_location", facility_start, facility_gains, facility_take },
};

const struct objective *objective_find(const char *name)
{
    for (size_t i = 0; i < sizeof OBJECTIVES / sizeof *OBJECTIVES; i++)
        if (strcmp(OBJECTIVES[i].name, name) == 0)
            return &OBJECTIVES[i];
    return NULL;
}

void coverage_gains(double *gains, const struct coverage *c, const struct objective *objective, const int64_t *list,
                    int64_t count, double *stack)
{
    for (int l = 0; l < c->leaves; l++) {
        objective->gains(stack + tree_slot(c->tree, l) * count, c, l, list, count);
        tree_fold_f64(c->tree, l, stack, count, count);
    }
    tree_sum_nodes_f64(c->tree, gains, stack, count, count);
    for (int64_t i = 0; i < count; i++)
        require(!isnan(gains[i]), EXIT_INTERNAL, "select: the gain of candidate %lld is not a number",
                (long long)(list ? list[i] : i));
}
