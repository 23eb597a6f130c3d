/* Sparse passes of the autoencoder. Forward: a row of the reconstruction is a
 * sum of few decoder rows, which are still in cache when the slopes of the same
 * entries are formed from them. Backward: entries are sorted by neuron, and the
 * gradient of a neuron is a sum over its entries, leaf by leaf on a folding
 * stack of its own, so no full gradient per leaf is ever written. */
#include "concept/sae_sparse.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "dist/tree.h"
#include "math/vec.h"

enum { BLOCKS = 16 }; /* blocks of neurons or columns that threads share out */

/* One active neuron of one row. */
struct sae_entry {
    int32_t row, error; /* rows of centred and of error */
    float f, slope, cut;
};

static int64_t stack_row(int dim)
{
    return (2 * (int64_t)dim + 2 + 15) / 16 * 16;
}

static bool has_cuts(const struct sae_rule *rule)
{
    return rule->variant == SAE_JUMPRELU;
}

struct sae_sparse sae_sparse(struct arena *arena, const struct sae_rule *rule, const struct tree *tree, int dim,
                             int neurons, int64_t rows, int64_t entries, int aux_k)
{
    const int64_t aux_entries = rows * aux_k;
    struct sae_sparse s = { .dim = dim, .neurons = neurons, .room = rows, .planes = sae_prefixes(rule) };
    s.codes = sae_codes(arena, rows, entries, has_cuts(rule));
    if (aux_k > 0) {
        s.dead = sae_codes(arena, rows, aux_entries, false);
        s.planes++;
    }
    s.centred = arena_take_raw(arena, (size_t)(rows * dim + 1), sizeof(float));
    s.error = arena_take_raw(arena, (size_t)(s.planes * rows * dim + 1), sizeof(float));
    s.squared = arena_array(arena, double, rows + 1);
    s.aux = arena_array(arena, double, rows + 1);
    s.first = arena_array(arena, int64_t, neurons + 2);
    s.entry = arena_take_raw(arena, (size_t)(entries + aux_entries + 1), sizeof(struct sae_entry));
    s.stack_floats = tree_depth(tree) * stack_row(dim);
    s.stacks = arena_take_raw(arena, (size_t)(BLOCKS * s.stack_floats), sizeof(float));
    s.threshold = has_cuts(rule) ? arena_array(arena, float, neurons) : NULL;
    return s;
}

void sae_sparse_fit(struct sae_sparse *s, int neurons, int aux_k)
{
    s->neurons = neurons;
    if (s->dead.start && aux_k == 0) {
        s->dead = (struct sae_codes){ 0 };
        s->planes--;
    }
}

int64_t sae_sparse_bytes(const struct sae_rule *rule, int dim, int neurons, int64_t rows, int64_t entries, int aux_k,
                         int depth)
{
    const int64_t aux_entries = rows * aux_k, codes = has_cuts(rule) ? 16 : 12;
    return codes * (entries + aux_entries) + (entries + aux_entries) * (int64_t)sizeof(struct sae_entry) +
           (2 + sae_prefixes(rule)) * rows * dim * 4 + 12 * (int64_t)neurons + BLOCKS * depth * stack_row(dim) * 4;
}

void sae_sparse_start(struct sae_sparse *s, const struct sae *sae)
{
    s->codes.rows = 0;
    s->dead.rows = 0;
    if (s->threshold)
        for (int k = 0; k < s->neurons; k++)
            s->threshold[k] = expf(sae->log_threshold[k]);
}

static double squared_norm(const float *restrict x, int D)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int d = 0; d < D; d++)
        sum += (double)x[d] * (double)x[d];
    return sum;
}

static float dot(const float *restrict a, const float *restrict b, int D)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int d = 0; d < D; d++)
        sum += a[d] * b[d];
    return sum;
}

/* y += a x, of `count` vectors in turn; four at a time, so that y is read and written less often. */
static void add_vectors(float *restrict y, const float *a, const float *const *x, int64_t count, int D)
{
    int64_t i = 0;
    for (; i + 4 <= count; i += 4) {
        const float *restrict x0 = x[i], *restrict x1 = x[i + 1], *restrict x2 = x[i + 2], *restrict x3 = x[i + 3];
        const float a0 = a[i], a1 = a[i + 1], a2 = a[i + 2], a3 = a[i + 3];
#pragma omp simd
        for (int d = 0; d < D; d++)
            y[d] += (a0 * x0[d] + a1 * x1[d]) + (a2 * x2[d] + a3 * x3[d]);
    }
    for (; i < count; i++) {
        const float *restrict x0 = x[i];
        const float a0 = a[i];
#pragma omp simd
        for (int d = 0; d < D; d++)
            y[d] += a0 * x0[d];
    }
}

enum { BATCH = 64 }; /* entries whose places are listed at once */

/* y += sum of f_k d_k over entries from..end-1. */
static void add_entries(float *y, const struct sae_codes *c, int64_t from, int64_t end, const struct sae *sae)
{
    const float *row[BATCH];
    float f[BATCH];
    while (from < end) {
        int n = 0;
        for (; n < BATCH && from < end; from++) {
            row[n] = sae->decoder + (int64_t)c->index[from] * sae->dim;
            f[n++] = c->value[from];
        }
        add_vectors(y, f, row, n, sae->dim);
    }
}

static float *plane(const struct sae_sparse *s, int g, int64_t row)
{
    return s->error + (g * s->room + row) * s->dim;
}

/* Errors x^ - x of each prefix, and of the auxiliary explanation. */
static void reconstruct(struct sae_sparse *s, const struct sae *sae, int64_t r, int prefixes, bool aux)
{
    const int D = s->dim;
    int64_t at = s->codes.start[r], end = s->codes.start[r + 1];
    s->squared[r] = s->aux[r] = 0;
    for (int g = 0; g < prefixes; g++) {
        float *e = plane(s, g, r);
        if (g > 0)
            memcpy(e, plane(s, g - 1, r), (size_t)D * sizeof *e);
        else
            for (int d = 0; d < D; d++)
                e[d] = -s->centred[r * D + d];
        const int limit = sae_prefix(&sae->rule, s->neurons, g);
        int64_t from = at;
        while (at < end && s->codes.index[at] < limit)
            at++;
        add_entries(e, &s->codes, from, at, sae);
        s->squared[r] += squared_norm(e, D) / prefixes;
    }
    if (aux) {
        float *e = plane(s, prefixes, r);
        memcpy(e, plane(s, prefixes - 1, r), (size_t)D * sizeof *e);
        add_entries(e, &s->dead, s->dead.start[r], s->dead.start[r + 1], sae);
        s->aux[r] = squared_norm(e, D);
    }
}

/* Errors become gradients with respect to the part of x^ that the neurons of a prefix add: theirs and all later ones'.
 */
static void scale_errors(struct sae_sparse *s, int64_t r, int prefixes, float factor, float aux_factor, bool aux)
{
    const int D = s->dim;
    for (int g = prefixes - 1; g >= 0; g--) {
        float *e = plane(s, g, r);
        const float *later = plane(s, g + 1, r);
        for (int d = 0; d < D; d++)
            e[d] = factor * e[d] + (g + 1 < prefixes ? later[d] : 0);
    }
    float *e = plane(s, prefixes, r);
    for (int d = 0; aux && d < D; d++)
        e[d] *= aux_factor;
}

/* Gradients with respect to p of the entries of one row. */
static void form_slopes(struct sae_sparse *s, const struct sae *sae, int64_t r, int prefixes, float slope, bool aux)
{
    const int D = s->dim;
    struct sae_codes *c = &s->codes;
    int g = 0;
    for (int64_t at = c->start[r]; at < c->start[r + 1]; at++) {
        const int32_t k = c->index[at];
        while (k >= sae_prefix(&sae->rule, s->neurons, g) && g + 1 < prefixes)
            g++;
        const float df = dot(plane(s, g, r), sae->decoder + (int64_t)k * D, D), f = c->value[at];
        c->slope[at] = f > 0 ? df + (s->threshold ? 0 : slope) : 0;
        if (s->threshold)
            c->cut[at] = !(f > 0) || f < s->threshold[k] + (float)(sae->rule.bandwidth / 2)
                             ? sae_jump_gradient(df, slope, s->threshold[k], &sae->rule)
                             : 0;
    }
    for (int64_t at = aux ? s->dead.start[r] : 0; aux && at < s->dead.start[r + 1]; at++)
        s->dead.slope[at] = dot(plane(s, prefixes, r), sae->decoder + (int64_t)s->dead.index[at] * D, D);
}

void sae_sparse_forward(struct sae_sparse *s, const struct sae *sae, double penalty, double scale, double aux_weight,
                        bool aux)
{
    const int prefixes = sae_prefixes(&sae->rule), D = s->dim;
    const float factor = (float)(2 * scale / D / prefixes), aux_factor = (float)(2 * scale * aux_weight / D);
    const float slope = sae->rule.variant == SAE_RELU || s->threshold ? (float)(scale * penalty) : 0;
#pragma omp parallel for schedule(dynamic, 8)
    for (int64_t r = 0; r < s->codes.rows; r++) {
        reconstruct(s, sae, r, prefixes, aux);
        scale_errors(s, r, prefixes, factor, aux_factor, aux);
        form_slopes(s, sae, r, prefixes, slope, aux);
    }
}

/* Entries by neuron, rows rising, a row's own entry before its auxiliary one. */
static void sort_entries(struct sae_sparse *s, int64_t *fired, const struct sae *sae, bool aux)
{
    const struct sae_codes *all[2] = { &s->codes, aux ? &s->dead : NULL };
    const int prefixes = sae_prefixes(&sae->rule);
    int64_t *place = s->first + 1; /* place[k]: where the next entry of k goes; ends as first[k + 1] */
    memset(s->first, 0, (size_t)(s->neurons + 2) * sizeof *s->first);
    for (int list = 0; list < 2 && all[list]; list++)
        for (int64_t at = 0; at < all[list]->start[all[list]->rows]; at++)
            s->first[all[list]->index[at] + 2]++;
    for (int k = 0; k < s->neurons; k++)
        s->first[k + 2] += s->first[k + 1];
    for (int64_t r = 0; r < s->codes.rows; r++)
        for (int list = 0; list < 2 && all[list]; list++) {
            const struct sae_codes *c = all[list];
            int g = list == 1 ? prefixes : 0;
            for (int64_t at = c->start[r]; at < c->start[r + 1]; at++) {
                const int32_t k = c->index[at];
                while (list == 0 && k >= sae_prefix(&sae->rule, s->neurons, g) && g + 1 < prefixes)
                    g++;
                fired[k] += list == 0 && c->value[at] > 0;
                s->entry[place[k]++] = (struct sae_entry){ .row = (int32_t)r,
                                                           .error = (int32_t)(g * s->room + r),
                                                           .f = c->value[at],
                                                           .slope = c->slope[at],
                                                           .cut = c->cut ? c->cut[at] : 0 };
            }
        }
}

/* As tree_fold_f32, for short rows inside a parallel loop. */
static void fold(const struct tree *tree, int leaf, float *rows, int64_t n, int64_t stride)
{
    const int next = leaf + 1 < tree_leaves(tree).count ? tree_slot(tree, leaf + 1) : tree_nodes(tree);
    for (int slot = tree_slot(tree, leaf); slot >= next; slot--)
        vec_add(rows + (slot - 1) * stride, rows + slot * stride, n);
}

/* One leaf of one neuron: decoder [D], encoder [D], encoder bias, threshold. */
static void leaf_of_neuron(float *out, const struct sae_sparse *s, const struct sae_entry *e, int64_t count)
{
    const int D = s->dim;
    const float *error[BATCH], *centred[BATCH];
    float f[BATCH], slope[BATCH];
    memset(out, 0, (size_t)(2 * D + 2) * sizeof *out);
    while (count > 0) {
        int n = 0;
        for (; n < BATCH && count > 0; n++, e++, count--) {
            error[n] = s->error + (int64_t)e->error * D;
            centred[n] = s->centred + (int64_t)e->row * D;
            f[n] = e->f;
            slope[n] = e->slope;
            out[2 * D] += e->slope;
            out[2 * D + 1] += e->cut;
        }
        add_vectors(out, f, error, n, D);
        add_vectors(out + D, slope, centred, n, D);
    }
}

/* A neuron's folded rows to their places in the nodes. */
static void store_neuron(float *stack, int64_t stride, const float *rows, int nodes, int k, const struct sae *sae)
{
    const int D = sae->dim;
    for (int node = 0; node < nodes; node++) {
        struct sae g = sae_view(stack + node * stride, D, sae->neurons);
        const float *from = rows + node * stack_row(D);
        memcpy(g.decoder + (int64_t)k * D, from, (size_t)D * sizeof *from);
        memcpy(g.encoder + (int64_t)k * D, from + D, (size_t)D * sizeof *from);
        g.encoder_bias[k] = from[2 * D];
        g.log_threshold[k] = from[2 * D + 1];
    }
}

static void neuron_gradient(float *stack, int64_t stride, float *rows, const struct sae_sparse *s,
                            const struct sae *sae, const struct tree *tree, const struct span *leaf, int k)
{
    const struct sae_entry *e = s->entry + s->first[k], *end = s->entry + s->first[k + 1];
    const int64_t row = stack_row(s->dim);
    if (e == end) {
        memset(rows, 0, (size_t)(tree_nodes(tree) * row) * sizeof *rows);
    } else {
        for (int l = 0; l < tree_leaves(tree).count; l++) {
            const struct sae_entry *from = e;
            while (e < end && e->row < leaf[l].first + leaf[l].count)
                e++;
            leaf_of_neuron(rows + tree_slot(tree, l) * row, s, from, e - from);
            fold(tree, l, rows, 2 * s->dim + 2, row);
        }
    }
    store_neuron(stack, stride, rows, tree_nodes(tree), k, sae);
}

/* Columns first..first+count-1 of the gradient of b: sums of the whole reconstruction's gradient down each leaf. */
static void bias_gradient(float *stack, int64_t stride, float *rows, const struct sae_sparse *s, const struct sae *sae,
                          const struct tree *tree, const struct span *leaf, struct span columns)
{
    for (int l = 0; l < tree_leaves(tree).count; l++) {
        float *out = rows + tree_slot(tree, l) * columns.count;
        memset(out, 0, (size_t)columns.count * sizeof *out);
        for (int64_t r = leaf[l].first; r < leaf[l].first + leaf[l].count; r++) {
            const float *e = plane(s, 0, r) + columns.first;
            for (int64_t d = 0; d < columns.count; d++)
                out[d] += e[d];
        }
        fold(tree, l, rows, columns.count, columns.count);
    }
    for (int node = 0; node < tree_nodes(tree); node++) {
        struct sae g = sae_view(stack + node * stride, s->dim, sae->neurons);
        memcpy(g.bias + columns.first, rows + node * columns.count, (size_t)columns.count * sizeof *rows);
    }
}

void sae_sparse_gradient(float *stack, int64_t stride, int64_t *fired, struct sae_sparse *s, const struct sae *sae,
                         const struct tree *tree, const struct span *leaf, bool aux)
{
    sort_entries(s, fired, sae, aux);
#pragma omp parallel for schedule(dynamic, 1)
    for (int block = 0; block < BLOCKS; block++) {
        float *rows = s->stacks + block * s->stack_floats;
        const struct span neurons = shard_rows(s->neurons, BLOCKS, block);
        for (int64_t k = neurons.first; k < neurons.first + neurons.count; k++)
            neuron_gradient(stack, stride, rows, s, sae, tree, leaf, (int)k);
        bias_gradient(stack, stride, rows, s, sae, tree, leaf, shard_rows(s->dim, BLOCKS, block));
    }
}
