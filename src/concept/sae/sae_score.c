/* Scores of neurons. Sums over rows go batch by batch along the fixed tree;
 * a cosine has the same bits in a tile of any shape (math/blas.h), so none depends on the ranks. */
#include "concept/sae_score.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/phase.h"
#include "concept/sae/sae_state.h"
#include "dist/world.h"
#include "math/blas.h"
#include "math/vec.h"

enum { SUM, SQUARE, STATS };         /* of a neuron's activations */
enum { TILE = SAE_ROWS, BAND = 64 }; /* rows of cosines formed at once; neurons whose statistics stay in cache */

/* Sums needed by the closed form: weighted [K x D] sum of a e, whole [D] sum of e, stats [K x STATS], least [K]; of a
 * batch part [own leaves x K x STATS], sum [K x STATS]. */
struct totals {
    float *weighted, *whole;
    double *stats, *least, *part, *sum;
};

/* Statistics of a piece's activations, neuron by neuron. */
static void add_stats(double *stats, double *least, const float *f, int64_t rows, int K)
{
#pragma omp parallel for schedule(static)
    for (int first = 0; first < K; first += BAND) {
        const int end = K - first < BAND ? K : first + BAND;
        for (int64_t r = 0; r < rows; r++)
            for (int k = first; k < end; k++) {
                const double a = (double)f[r * K + k];
                stats[k * STATS + SUM] += a;
                stats[k * STATS + SQUARE] += a * a;
                least[k] = a < least[k] ? a : least[k];
            }
    }
}

/* One leaf of the open batch: its weighted sum into the stack, its statistics into `stats`. */
static void add_leaf(struct sae_workspace *s, const struct sae *sae, struct totals *all, int leaf, float *out,
                     double *stats)
{
    const int D = sae->dim, K = sae->neurons;
    const struct span rows = sae_leaf(&s->train, leaf);
    float *whole = out + (int64_t)K * D;
    memset(out, 0, (size_t)(K + 1) * (size_t)D * sizeof *out);
    memset(stats, 0, (size_t)K * STATS * sizeof *stats);
    for (int64_t at = 0; at < rows.count; at += s->work.rows) {
        const int64_t n = rows.count - at < s->work.rows ? rows.count - at : s->work.rows;
        sae_copy_rows(s->x, &s->train, rows.first + at, n);
        sae_encode(&s->work, sae, s->x, n);
#pragma omp parallel for simd schedule(static)
        for (int64_t i = 0; i < n * K; i++) /* marks of jumprelu are no activations */
            s->work.f[i] = s->work.f[i] > 0 ? s->work.f[i] : 0;
        for (int64_t r = 0; r < n; r++) {
            vec_normalise(s->x + r * D, D);
            vec_add(whole, s->x + r * D, D);
        }
        add_stats(stats, all->least, s->work.f, n, K);
        blas_sgemm('T', 'N', K, D, n, 1, s->work.f, K, s->x, D, 1, out, D);
    }
}

static struct totals totals(struct arena *arena, const struct sae *sae, int64_t leaves)
{
    const int64_t D = sae->dim, K = sae->neurons;
    float *weighted = arena_array(arena, float, (K + 1) * D);
    return (struct totals){ .weighted = weighted,
                            .whole = weighted + K * D,
                            .part = arena_array(arena, double, (leaves + 1) * K * STATS),
                            .sum = arena_array(arena, double, K *STATS),
                            .stats = arena_array(arena, double, K *STATS),
                            .least = arena_array(arena, double, K) };
}

/* Takes all training rows. Collective. */
static void take_totals(struct totals *all, struct sae_workspace *s, const struct sae *sae)
{
    const int D = sae->dim, K = sae->neurons;
    const int64_t n = s->train.set.rows, floats = (int64_t)(K + 1) * D, stride = sae_stride(sae->count);
    const int64_t leaves = tree_leaves(s->tree).count;
    double *part = all->part, *sum = all->sum;
    for (int k = 0; k < K; k++)
        all->least[k] = INFINITY;
    for (int64_t start = 0; start < n; start += s->batch) {
        sae_open_batch(&s->train, NULL, start, n - start < s->batch ? n - start : s->batch);
        for (int l = 0; l < leaves; l++) {
            add_leaf(s, sae, all, l, s->stack + tree_slot(s->tree, l) * stride, part + l * K * STATS);
            tree_fold_f32(s->tree, l, s->stack, floats, stride);
        }
        tree_sum_nodes_f32(s->tree, s->stack, s->stack, floats, stride);
        tree_sum_f64(s->tree, sum, part, K * STATS);
        vec_add(all->weighted, s->stack, floats);
        for (int i = 0; i < K * STATS; i++)
            all->stats[i] += sum[i];
    }
    world_min_f64(s->world, all->least, K);
}

/* score [K], of n rows. */
static void score_all(double *score, const struct totals *all, int K, int D, double n)
{
#pragma omp parallel for schedule(static)
    for (int k = 0; k < K; k++) {
        /* a = f - least; the range cancels. Pairs: (||sum a e||^2 - sum a^2) / ((sum a)^2 - sum a^2). */
        const double least = all->least[k], f = all->stats[k * STATS + SUM];
        const double sum = f - n * least, square = all->stats[k * STATS + SQUARE] - 2 * least * f + n * least * least;
        double norm = 0;
        for (int d = 0; d < D; d++) {
            const double v = (double)all->weighted[(int64_t)k * D + d] - least * (double)all->whole[d];
            norm += v * v;
        }
        const double pairs = sum * sum - square;
        const bool varies = sum > 1e-5 * fabs(f); /* a range of rounding alone has no scale */
        score[k] = varies && pairs > 1e-6 * sum * sum ? (norm - square) / pairs : NAN;
    }
}

void sae_monosemanticity(double *score, struct sae_trainer *t, struct arena *scratch)
{
    const struct sae *sae = &t->model.sae;
    struct arena_mark mark = arena_mark(scratch);
    struct totals all = totals(scratch, sae, tree_leaves(t->space->tree).count);
    if (!arena_is_plan(scratch)) {
        enum phase before = phase_enter(PHASE_EVALUATE);
        take_totals(&all, t->space, sae);
        score_all(score, &all, sae->neurons, sae->dim, (double)t->space->train.set.rows);
        phase_enter(before);
    }
    arena_release(scratch, mark);
}

/* Largest |cosine| to neurons first..end-1 that are alive. */
static float largest(const float *cosine, const int64_t *alive, int64_t first, int64_t end)
{
    float most = 0;
#pragma omp simd reduction(max : most)
    for (int64_t k = first; k < end; k++) {
        const float c = alive[k] > 0 ? fabsf(cosine[k]) : 0;
        most = c > most ? c : most;
    }
    return most;
}

/* nearest [count] of neurons first..first+count-1; cosine [TILE x neurons]. */
static void nearest_of(double *nearest, float *cosine, const float *decoder, const int64_t *alive, struct span mine,
                       int neurons, int dim)
{
    const int64_t end = mine.first + mine.count;
    for (int64_t first = mine.first; first < end; first += TILE) {
        const int64_t n = end - first < TILE ? end - first : TILE;
        blas_sgemm('N', 'T', n, neurons, dim, 1, decoder + first * dim, dim, decoder, dim, 0, cosine, neurons);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < n; i++) {
            const int64_t k = first + i;
            const float *row = cosine + i * neurons;
            const float before = largest(row, alive, 0, k), after = largest(row, alive, k + 1, neurons);
            nearest[k - mine.first] = alive[k] <= 0 ? 0 : (double)(before > after ? before : after);
        }
    }
}

void sae_coherence(double *nearest, struct world *world, struct arena *scratch, const float *decoder,
                   const int64_t *alive, int neurons, int dim)
{
    struct arena_mark mark = arena_mark(scratch);
    const struct span mine = shard_rows(neurons, world->size, world->rank);
    float *cosine = arena_take_raw(scratch, (size_t)TILE * (size_t)neurons, sizeof *cosine);
    double *own = arena_array(scratch, double, mine.count + 1);
    if (!arena_is_plan(scratch)) {
        enum phase before = phase_enter(PHASE_EVALUATE);
        nearest_of(own, cosine, decoder, alive, mine, neurons, dim);
        world_allgather_rows(world, nearest, own, mine.count, sizeof *own);
        phase_enter(before);
    }
    arena_release(scratch, mark);
}
