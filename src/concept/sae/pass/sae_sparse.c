/* Sparse passes of the autoencoder. Forward: a row of the reconstruction is a
 * sum of few decoder rows, block by block of neurons along their fixed tree;
 * they are still in cache when the slopes of the same entries are formed from
 * them, unless other ranks have a part in the sum. Backward: entries are sorted by neuron, and the
 * gradient of a neuron is a sum over its entries, leaf by leaf on a folding
 * stack of its own, so no full gradient per leaf is ever written. */
#include "concept/sae/sae_sparse.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "dist/tree.h"
#include "math/bf16.h"
#include "math/half_product.h"
#include "math/rows.h"
#include "math/vec.h"

enum { SHARES = 16, ROW_SHARES = 64 }; /* of neurons or columns, and of rows, that threads share out */
enum { DEEPEST = 40 };                 /* rows of a folding stack over blocks */

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

/* Floats of the folding stacks, and of one of each kind. */
static int64_t stack_room(const struct sae_depths *depths, int dim, int64_t *stack, int64_t *row)
{
    *stack = depths->leaves * stack_row(dim);
    *row = depths->blocks * (int64_t)dim;
    return SHARES * *stack > ROW_SHARES * *row ? SHARES * *stack : ROW_SHARES * *row;
}

struct sae_sparse sae_sparse(struct arena *arena, const struct sae_rule *rule, const struct sae_depths *depths,
                             const struct sae_sizes *z)
{
    const int64_t rows = z->rows, aux_entries = rows * z->aux_k;
    struct sae_sparse s = {
        .dim = z->dim, .neurons = z->neurons, .room = rows, .half = z->half, .planes = sae_prefixes(rule)
    };
    s.codes = sae_codes(arena, rows, z->entries, z->kept, has_cuts(rule));
    if (z->aux_k > 0) {
        s.dead = sae_codes(arena, rows, aux_entries, aux_entries, false);
        s.planes++;
    }
    s.centred = arena_take_raw(arena, (size_t)(rows * s.dim + 1), sizeof(float));
    s.node_stride = s.planes * rows * s.dim;
    s.error = arena_take_raw(arena, (size_t)(depths->nodes * s.node_stride + 1), sizeof(float));
    if (s.half) {
        s.half_decoder = arena_take_raw(arena, (size_t)s.neurons * (size_t)s.dim, sizeof(uint16_t));
        s.half_centred = arena_take_raw(arena, (size_t)(rows * s.dim + 1), sizeof(uint16_t));
        s.half_error = arena_take_raw(arena, (size_t)(s.node_stride + 1), sizeof(uint16_t));
    }
    s.squared = arena_array(arena, double, rows + 1);
    s.aux = arena_array(arena, double, rows + 1);
    s.first = arena_array(arena, int64_t, s.neurons + 2);
    s.entry = arena_take_raw(arena, (size_t)(z->kept + aux_entries + 1), sizeof(struct sae_entry));
    const int64_t stacks = stack_room(depths, s.dim, &s.stack_floats, &s.row_floats);
    s.stacks = arena_take_raw(arena, (size_t)stacks, sizeof(float));
    s.threshold = has_cuts(rule) ? arena_array(arena, float, s.neurons) : NULL;
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

void sae_sparse_start(struct sae_sparse *s, const struct sae *sae)
{
    s->codes.rows = 0;
    s->dead.rows = 0;
    if (s->threshold)
        for (int k = 0; k < s->neurons; k++)
            s->threshold[k] = expf(sae->log_threshold[k]);
    if (s->half)
        half_round(s->half_decoder, sae->decoder, (int64_t)s->neurons * s->dim);
}

void sae_sparse_round(struct sae_sparse *s, int64_t first, int64_t rows)
{
    if (s->half)
        half_round(s->half_centred + first * s->dim, s->centred + first * s->dim, rows * s->dim);
}

/* ---- products over rows of single precision, or of bf16; sums are single ---- */

static enum value_type type_of(const struct sae_sparse *s)
{
    return s->half ? VALUE_BF16 : VALUE_F32;
}

static const void *decoder_row(const struct sae_sparse *s, const struct sae *sae, int32_t k)
{
    const int64_t at = (int64_t)k * s->dim;
    return s->half ? (const void *)(s->half_decoder + at) : (const void *)(sae->decoder + at);
}

static const void *centred_row(const struct sae_sparse *s, int64_t row)
{
    return s->half ? (const void *)(s->half_centred + row * s->dim) : (const void *)(s->centred + row * s->dim);
}

/* `row` counts through all planes. */
static const void *error_row(const struct sae_sparse *s, int64_t row)
{
    return s->half ? (const void *)(s->half_error + row * s->dim) : (const void *)(s->error + row * s->dim);
}

static double squared_norm(const float *restrict x, int D)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int d = 0; d < D; d++)
        sum += (double)x[d] * (double)x[d];
    return sum;
}

enum { BATCH = 64 }; /* entries whose places are listed at once */

/* y += sum of f_k d_k over entries from..end-1. */
static void add_entries(float *y, const struct sae_sparse *s, const struct sae_codes *c, int64_t from, int64_t end,
                        const struct sae *sae)
{
    const void *row[BATCH];
    float f[BATCH];
    while (from < end) {
        int n = 0;
        for (; n < BATCH && from < end; from++) {
            row[n] = decoder_row(s, sae, c->index[from]);
            f[n++] = c->value[from];
        }
        rows_add(y, f, row, n, sae->dim, type_of(s));
    }
}

static float *plane(const struct sae_sparse *s, int g, int64_t row)
{
    return s->error + (g * s->room + row) * s->dim;
}

/* Stack rows from..from+1.. become one, `into`, which may hold nothing yet. */
static void merge(float *stack, bool *empty, int into, int D)
{
    float *left = stack + into * D, *right = left + D;
    if (!empty[into] && !empty[into + 1])
        vec_add(left, right, D);
    else if (empty[into] && !empty[into + 1])
        memcpy(left, right, (size_t)D * sizeof *left);
    empty[into] = empty[into] && empty[into + 1];
}

/* Sum of f_k d_k over entries from..end-1, block by block, into row r of plane g for each complete subtree of blocks.
 * A block without entries adds nothing, as zeros would. */
static void sum_entries(struct sae_sparse *s, float *stack, const struct sae *sae, int g, int64_t r,
                        const struct sae_codes *c, int64_t from, int64_t end)
{
    const int D = s->dim, blocks = sae_blocks(sae), nodes = sae->blocks ? tree_nodes(sae->blocks) : 1;
    bool empty[DEEPEST];
    for (int b = 0; b < blocks; b++) {
        int slot = sae->blocks ? tree_slot(sae->blocks, b) : 0;
        const int next = b + 1 == blocks ? nodes : tree_slot(sae->blocks, b + 1);
        const struct span k = sae_block(sae, b);
        int64_t at = from;
        while (from < end && c->index[from] < k.first + k.count)
            from++;
        empty[slot] = at == from;
        if (!empty[slot]) {
            memset(stack + slot * D, 0, (size_t)D * sizeof *stack);
            add_entries(stack + slot * D, s, c, at, from, sae);
        }
        for (; slot >= next; slot--)
            merge(stack, empty, slot - 1, D);
    }
    for (int node = 0; node < nodes; node++) {
        float *out = plane(s, g, r) + node * s->node_stride;
        if (empty[node])
            memset(out, 0, (size_t)D * sizeof *out);
        else
            memcpy(out, stack + node * D, (size_t)D * sizeof *out);
    }
}

/* What each prefix adds to the reconstruction of a row, and the auxiliary neurons to it: the part of the neurons here.
 */
static void sum_row(struct sae_sparse *s, float *stack, const struct sae *sae, int64_t r, int prefixes, bool aux)
{
    int64_t at = s->codes.start[r], end = s->codes.start[r + 1];
    for (int g = 0; g < prefixes; g++) {
        const int limit = sae_prefix(&sae->rule, sae->whole, g) - sae->first;
        const int64_t from = at;
        while (at < end && s->codes.index[at] < limit)
            at++;
        sum_entries(s, stack, sae, g, r, &s->codes, from, at);
    }
    if (aux)
        sum_entries(s, stack, sae, prefixes, r, &s->dead, s->dead.start[r], s->dead.start[r + 1]);
}

/* Sums over all neurons become errors x^ - x of each prefix, and of the auxiliary explanation. */
static void form_errors(struct sae_sparse *s, int64_t r, int prefixes, bool aux)
{
    const int D = s->dim;
    s->squared[r] = s->aux[r] = 0;
    for (int g = 0; g < prefixes + aux; g++) {
        float *restrict e = plane(s, g, r);
        const float *restrict before = g > 0 ? plane(s, g - 1, r) : s->centred + r * D;
        for (int d = 0; d < D; d++) /* + 0: a sum that is -0 where no rank had a part is 0 where another one had */
            e[d] = (e[d] + 0.0f) + (g > 0 ? before[d] : -before[d]);
        if (g < prefixes)
            s->squared[r] += squared_norm(e, D) / prefixes;
        else
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
    for (int g = 0; s->half && g < prefixes + aux; g++)
        for (int d = 0; d < D; d++)
            s->half_error[(g * s->room + r) * D + d] = bf16_from_float(plane(s, g, r)[d]);
}

/* Gradients with respect to p of the entries of one row. */
static void form_slopes(struct sae_sparse *s, const struct sae *sae, int64_t r, int prefixes, float slope, bool aux)
{
    const int D = s->dim;
    struct sae_codes *c = &s->codes;
    int g = 0;
    for (int64_t at = c->start[r]; at < c->start[r + 1]; at++) {
        const int32_t k = c->index[at];
        while (sae->first + k >= sae_prefix(&sae->rule, sae->whole, g) && g + 1 < prefixes)
            g++;
        const float df = rows_dot(error_row(s, g * s->room + r), decoder_row(s, sae, k), D, type_of(s)),
                    f = c->value[at];
        c->slope[at] = f > 0 ? df + (s->threshold ? 0 : slope) : 0;
        if (s->threshold)
            c->cut[at] = !(f > 0) || f < s->threshold[k] + (float)(sae->rule.bandwidth / 2)
                             ? sae_jump_gradient(df, slope, s->threshold[k], &sae->rule)
                             : 0;
    }
    for (int64_t at = aux ? s->dead.start[r] : 0; aux && at < s->dead.start[r + 1]; at++)
        s->dead.slope[at] =
            rows_dot(error_row(s, prefixes * s->room + r), decoder_row(s, sae, s->dead.index[at]), D, type_of(s));
}

void sae_sparse_forward(struct sae_sparse *s, const struct sae *sae, double penalty, double scale, double aux_weight,
                        bool aux)
{
    const int prefixes = sae_prefixes(&sae->rule), D = s->dim;
    const float factor = (float)(2 * scale / D / prefixes), aux_factor = (float)(2 * scale * aux_weight / D);
    const float slope = sae->rule.variant == SAE_RELU || s->threshold ? (float)(scale * penalty) : 0;
    const bool alone = !sae->blocks || tree_is_local(sae->blocks);
    for (int pass = alone ? 1 : 0; pass < 2; pass++) {
#pragma omp parallel for schedule(dynamic, 1)
        for (int share = 0; share < ROW_SHARES; share++) {
            const struct span rows = shard_rows(s->codes.rows, ROW_SHARES, share);
            for (int64_t r = rows.first; r < rows.first + rows.count; r++) {
                if (alone || pass == 0)
                    sum_row(s, s->stacks + share * s->row_floats, sae, r, prefixes, aux);
                if (pass == 0)
                    continue;
                form_errors(s, r, prefixes, aux);
                scale_errors(s, r, prefixes, factor, aux_factor, aux);
                form_slopes(s, sae, r, prefixes, slope, aux);
            }
        }
        for (int g = 0; pass == 0 && g < prefixes + aux; g++)
            tree_sum_nodes_f32(sae->blocks, plane(s, g, 0), plane(s, g, 0), s->codes.rows * D, s->node_stride);
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
                while (list == 0 && sae->first + k >= sae_prefix(&sae->rule, sae->whole, g) && g + 1 < prefixes)
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

/* One leaf of one neuron: decoder [D], encoder [D], encoder bias, threshold. */
static void leaf_of_neuron(float *out, const struct sae_sparse *s, const struct sae_entry *e, int64_t count)
{
    const int D = s->dim;
    const void *error[BATCH], *centred[BATCH];
    float f[BATCH], slope[BATCH];
    memset(out, 0, (size_t)(2 * D + 2) * sizeof *out);
    while (count > 0) {
        int n = 0;
        for (; n < BATCH && count > 0; n++, e++, count--) {
            error[n] = error_row(s, e->error);
            centred[n] = centred_row(s, e->row);
            f[n] = e->f;
            slope[n] = e->slope;
            out[2 * D] += e->slope;
            out[2 * D + 1] += e->cut;
        }
        rows_add(out, f, error, n, D, type_of(s));
        rows_add(out + D, slope, centred, n, D, type_of(s));
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
            tree_fold_f32(tree, l, rows, 2 * s->dim + 2, row);
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
        tree_fold_f32(tree, l, rows, columns.count, columns.count);
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
    for (int share = 0; share < SHARES; share++) {
        float *rows = s->stacks + share * s->stack_floats;
        const struct span neurons = shard_rows(s->neurons, SHARES, share);
        for (int64_t k = neurons.first; k < neurons.first + neurons.count; k++)
            neuron_gradient(stack, stride, rows, s, sae, tree, leaf, (int)k);
        bias_gradient(stack, stride, rows, s, sae, tree, leaf, shard_rows(s->dim, SHARES, share));
    }
}
