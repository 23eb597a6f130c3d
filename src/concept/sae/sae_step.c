/* One step of the training. Two ways to the same gradient: dense products, leaf
 * by leaf straight into the folding stack of the fixed tree; or products over
 * active neurons only (sae_sparse.h), for which the codes of all rows of this
 * rank are formed first. Which one is cheaper follows from the number of active
 * neurons over all ranks, so every rank count goes the same way. */
#include <math.h>
#include <string.h>

#include "base/phase.h"
#include "concept/sae/sae_feature.h"
#include "concept/sae/sae_top.h"
#include "dist/world.h"
#include "math/adam.h"
#include "math/vec.h"

int sae_aux_k(const struct sae_options *o)
{
    return sae_by_count(&o->rule) && o->aux_weight > 0 ? o->aux_k : 0;
}

static int sparse_cost(const struct sae_options *o)
{
    return o->half ? SAE_SPARSE_COST_HALF : SAE_SPARSE_COST;
}

double sae_sparse_share(const struct sae_options *o, double l0, int neurons)
{
    return l0 * sparse_cost(o) / neurons;
}

/* Entries over all ranks up to which a sparse step goes on: a little more than what was expected. */
static int64_t entry_limit(const struct sae_options *o, int neurons, int64_t rows)
{
    return rows * neurons / sparse_cost(o) * 3 / 2;
}

int64_t sae_code_room(const struct sae_options *o, int neurons, int here, int64_t batch, int64_t own)
{
    if (o->rule.variant == SAE_TOPK)
        return own * o->rule.k;
    if (sae_by_batch(&o->rule))
        return batch * o->rule.k + batch * o->rule.k / 4 + (int64_t)SAE_BAND * here;
    return entry_limit(o, neurons, batch) < own * here ? entry_limit(o, neurons, batch) : own * here;
}

/* From 0 to 1 over the first `share` of all steps. */
static double rise(const struct sae_trainer *t, double share)
{
    double steps = share * (double)sae_total_steps(t);
    return steps > 1 ? fmin(1, (double)(t->at[SAE_STEP] + 1) / steps) : 1;
}

static double rate(const struct sae_trainer *t)
{
    double steps = t->options.decay * (double)sae_total_steps(t);
    double left = (double)(sae_total_steps(t) - t->at[SAE_STEP]);
    return t->options.lr * rise(t, t->options.warmup) * (steps > 1 ? fmax(0, fmin(1, left / steps)) : 1);
}

/* ---- dense ---- */

/* What the neurons here say of `leaf`: of `n` more rows. `active` NULL: it is counted later. */
static void add_neuron_sums(struct sae_trainer *t, int leaf, const double *sum, const int64_t *active, int64_t n)
{
    const int64_t leaves = tree_leaves(t->step_tree).count;
    const int blocks = sae_blocks(&t->part);
    for (int b = 0; b < blocks; b++) {
        double *out = t->neuron_sums + (b * leaves + leaf) * SAE_NEURON_SUMS;
        for (int64_t r = 0; r < n; r++) {
            out[SAE_SUM] += sum[r * blocks + b];
            out[SAE_CHECK] += sum[r * blocks + b] - sum[r * blocks + b];
            out[SAE_ON] += b == 0 && active ? (double)active[r] : 0;
        }
    }
}

static void clear_sums(struct sae_trainer *t)
{
    const int64_t leaves = tree_leaves(t->step_tree).count;
    memset(t->neuron_sums, 0, (size_t)(sae_blocks(&t->part) * leaves * SAE_NEURON_SUMS) * sizeof(double));
    memset(t->leaf_sums, 0, (size_t)(leaves * SAE_LEAF_SUMS) * sizeof(double));
}

/* leaf_sums: losses get what all neurons say. Collective when blocks are spread over ranks. */
static void take_neuron_sums(struct sae_trainer *t, double penalty)
{
    const int64_t leaves = tree_leaves(t->step_tree).count;
    double *all = t->neuron_sums;
    tree_sum_f64(t->part.blocks, all, all, leaves * SAE_NEURON_SUMS);
    for (int64_t leaf = 0; leaf < leaves; leaf++) {
        const double *one = all + leaf * SAE_NEURON_SUMS;
        t->leaf_sums[SAE_LEAF_SUMS * leaf] +=
            sae_row_penalty(&t->sae.rule, penalty, one[SAE_SUM], (int64_t)one[SAE_ON]) + one[SAE_CHECK];
        t->leaf_sums[SAE_LEAF_SUMS * leaf + 1] = one[SAE_ON];
    }
}

/* Gradient of one leaf of the open batch into row `slot` of the stack; its sums. */
static void dense_leaf(struct sae_trainer *t, int leaf, double penalty)
{
    struct span rows = sae_leaf(&t->step, leaf);
    struct sae grad = sae_view(t->stack + tree_slot(t->step_tree, leaf) * t->step_stride, t->sae.dim, t->part.neurons);
    struct sae_work work = t->work;
    double scale = 1 / (double)t->step.batch_rows;
    work.half = t->half;
    if (rows.count == 0)
        memset(grad.flat, 0, (size_t)grad.count * sizeof(float));
    for (int64_t at = 0; at < rows.count; at += t->work.rows) {
        int64_t n = rows.count - at < t->work.rows ? rows.count - at : t->work.rows;
        phase_enter(PHASE_FORWARD);
        sae_copy_rows(t->x, &t->step, rows.first + at, n);
        sae_encode(&work, &t->part, t->x, n);
        sae_decode(&work, &t->part, t->x, n);
        add_neuron_sums(t, leaf, t->work.sum, t->work.active, n);
        for (int64_t r = 0; r < n; r++)
            t->leaf_sums[SAE_LEAF_SUMS * leaf] += t->work.squared[r] / t->sae.dim;
        phase_enter(PHASE_BACKWARD);
        sae_backward(&grad, t->fired + t->part.first, &work, &t->part, n, penalty, scale, at > 0);
    }
}

/* A rank's product of the rows of a step with a matrix of the neurons here. */
static double product_flops(const struct sae_trainer *t)
{
    return 2 * (double)sae_own_positions(t->step_tree, t->step.batch_rows).count * t->part.neurons * t->sae.dim;
}

static void dense_gradient(struct sae_trainer *t, double penalty)
{
    clear_sums(t);
    t->gemm_flops += 5 * product_flops(t);
    if (t->half)
        sae_half_weights(t->half, &t->sae, true);
    for (int leaf = 0; leaf < tree_leaves(t->step_tree).count; leaf++) {
        dense_leaf(t, leaf, penalty);
        tree_fold_f32(t->step_tree, leaf, t->stack, t->part.count, t->step_stride);
    }
    take_neuron_sums(t, penalty);
}

/* ---- sparse ---- */

/* Dead neurons that explain what is left of a row. */
static int dead_k(const struct sae_trainer *t)
{
    return t->options.aux_k < t->dead_count ? t->options.aux_k : (int)t->dead_count;
}

/* Codes of n rows with activations f. */
static void add_codes(struct sae_trainer *t, const float *f, int64_t n, double *bound)
{
    struct sae_codes *codes = &t->sparse.codes;
    const struct sae_rule *rule = &t->sae.rule;
    const int K = t->part.neurons;
    if (rule->variant == SAE_TOPK) {
        sae_codes_add_largest(codes, f, n, K, rule->k);
    } else if (!sae_by_batch(rule)) {
        sae_codes_add(codes, f, n, K, 0);
    } else {
        /* Only the k x rows largest of this rank can be among those of the batch: drop the others early. */
        const int64_t limit = rule->k * t->step.batch_rows;
        int64_t ties;
        sae_codes_add(codes, f, n, K, (float)*bound);
        if (codes->start[codes->rows] > limit + limit / 4) {
            const float kth = sae_kth_largest_of_list(codes->value, codes->start[codes->rows], limit, &ties);
            sae_codes_cut(codes, kth, ties);
            *bound = (double)kth;
        }
    }
    if (t->sparse.dead.start && t->dead_count > 0)
        sae_codes_add_largest_of(&t->sparse.dead, t->work.df, f, t->dead_list, t->dead_here, n, K, dead_k(t));
}

/* Activations and codes of the n rows of a piece, a band that stays in cache at a time. */
static void encode_piece(struct sae_trainer *t, int64_t n, double *bound)
{
    const int blocks = sae_blocks(&t->part);
    for (int64_t at = 0; at < n; at += SAE_BAND) {
        const int64_t rows = n - at < SAE_BAND ? n - at : SAE_BAND;
        float *f = t->work.f + at * t->part.neurons;
        sae_activate(f, t->work.sum + at * blocks, t->work.active + at, &t->part, rows);
        if (t->sae.rule.variant == SAE_JUMPRELU)
            sae_apply(f, t->work.active + at, t->sparse.threshold, &t->part, rows);
        add_codes(t, f, rows, bound);
    }
}

/* Rows of the piece that begins at row `at` of this rank: in bfloat16, where bits depend on shapes, of one leaf. */
static int64_t piece_at(const struct sae_trainer *t, int64_t at, int64_t end)
{
    for (int leaf = 0; t->half && leaf < tree_leaves(t->step_tree).count; leaf++)
        if (at >= t->leaf[leaf].first && at < t->leaf[leaf].first + t->leaf[leaf].count)
            end = t->leaf[leaf].first + t->leaf[leaf].count;
    return end - at < t->work.rows ? end - at : t->work.rows;
}

/* What the n rows from row `at` of this rank on add to their leaves. */
static void add_piece_sums(struct sae_trainer *t, int64_t at, int64_t n)
{
    const int64_t *active = sae_by_count(&t->sae.rule) ? NULL : t->work.active;
    for (int leaf = 0; leaf < tree_leaves(t->step_tree).count; leaf++) {
        const struct span rows = t->leaf[leaf];
        const int64_t first = rows.first > at ? rows.first - at : 0;
        const int64_t end = rows.first + rows.count < at + n ? rows.first + rows.count - at : n;
        if (first < end)
            add_neuron_sums(t, leaf, t->work.sum + first * sae_blocks(&t->part), active ? active + first : NULL,
                            end - first);
    }
}

/* Codes of all rows of this rank. Collective when neurons are split. */
static void encode_all(struct sae_trainer *t)
{
    const struct span own = sae_own_positions(t->step_tree, t->step.batch_rows);
    double bound = 0;
    sae_sparse_start(&t->sparse, &t->part);
    t->gemm_flops += product_flops(t);
    if (t->half)
        sae_half_weights(t->half, &t->sae, false);
    clear_sums(t);
    for (int leaf = 0; leaf < tree_leaves(t->step_tree).count; leaf++) {
        const struct span rows = sae_leaf(&t->step, leaf);
        t->leaf[leaf] = (struct span){ rows.first - own.first, rows.count };
    }
    for (int64_t at = 0, n; at < own.count; at += n) {
        n = piece_at(t, at, own.count);
        sae_copy_rows(t->x, &t->step, own.first + at, n);
        sae_project(t->work.f, t->sparse.centred + at * t->sae.dim, t->half, &t->part, t->x, n);
        sae_sparse_round(&t->sparse, at, n);
        encode_piece(t, n, &bound);
        add_piece_sums(t, at, n);
    }
    if (sae_is_split(t) && t->sae.rule.variant == SAE_TOPK)
        sae_choose_rows(t, &t->sparse.codes, t->sae.rule.k);
    if (sae_is_split(t) && t->sparse.dead.start && t->dead_count > 0)
        sae_choose_rows(t, &t->sparse.dead, dead_k(t));
}

/* The k x rows largest activations of the batch stay; the smallest of them goes into the moving average. Collective. */
static void choose_over_batch(struct sae_trainer *t)
{
    struct sae_codes *codes = &t->sparse.codes;
    int64_t n = codes->start[codes->rows], ties;
    double least = INFINITY;
    float kth = sae_kth_largest_of_all(t->world, t->counts, codes->value, n, t->sae.rule.k * t->step.batch_rows, &ties);
    if (kth > 0 && sae_is_split(t))
        sae_cut_batch(t, kth, ties);
    else if (kth > 0)
        sae_codes_cut(codes, kth, ties);
    for (int64_t i = 0; !(kth > 0) && i < n; i++)
        least = fmin(least, (double)codes->value[i]);
    world_min_f64(t->world, &least, 1);
    least = kth > 0 ? (double)kth : isfinite(least) ? least : 0;
    const double keep = t->options.threshold_decay;
    t->sums[SAE_THRESHOLD] = keep * t->sums[SAE_THRESHOLD] + (1 - keep) * least;
    t->sums[SAE_THRESHOLD_WEIGHT] = keep * t->sums[SAE_THRESHOLD_WEIGHT] + (1 - keep);
    t->sae.rule.threshold = t->sums[SAE_THRESHOLD] / t->sums[SAE_THRESHOLD_WEIGHT];
}

static void sum_rows(struct sae_trainer *t, double penalty, bool aux)
{
    const struct sae_sparse *s = &t->sparse;
    for (int leaf = 0; leaf < tree_leaves(t->step_tree).count; leaf++) {
        const int64_t first = t->leaf[leaf].first, end = first + t->leaf[leaf].count;
        double *loss = t->leaf_sums + SAE_LEAF_SUMS * leaf;
        for (int64_t r = first; r < end; r++)
            *loss += (s->squared[r] + (aux ? t->options.aux_weight * s->aux[r] : 0)) / t->sae.dim;
        if (sae_by_count(&t->sae.rule) && t->part.neurons > 0)
            t->neuron_sums[leaf * SAE_NEURON_SUMS + SAE_ON] = (double)(s->codes.start[end] - s->codes.start[first]);
    }
    take_neuron_sums(t, penalty);
}

/* False, with nothing done, when far more neurons are active than expected. Collective. */
static bool sparse_gradient(struct sae_trainer *t, double penalty)
{
    struct sae_sparse *s = &t->sparse;
    const bool aux = s->dead.start && t->dead_count > 0;
    phase_enter(PHASE_FORWARD);
    encode_all(t);
    if (sae_by_batch(&t->sae.rule)) {
        choose_over_batch(t);
    } else if (!sae_by_count(&t->sae.rule)) {
        int64_t entries = s->codes.start[s->codes.rows];
        world_sum_i64(t->world, &entries, 1);
        if (entries > entry_limit(&t->options, t->sae.neurons, t->step.batch_rows))
            return false;
    }
    const double scale = 1 / (double)t->step.batch_rows;
    sae_sparse_forward(s, &t->part, penalty, scale, t->options.aux_weight, aux);
    sum_rows(t, penalty, aux);
    phase_enter(PHASE_BACKWARD);
    sae_sparse_gradient(t->stack, t->step_stride, t->fired + t->part.first, s, &t->part, t->step_tree, t->leaf, aux);
    return true;
}

/* ---- the step ---- */

static bool sparse_is_cheaper(const struct sae_trainer *t)
{
    if (sae_by_count(&t->sae.rule))
        return true;
    return t->at[SAE_ACTIVE_ROWS] > 0 &&
           sae_sparse_share(&t->options, (double)t->at[SAE_ACTIVE] / (double)t->at[SAE_ACTIVE_ROWS], t->sae.neurons) <
               1;
}

static bool all_finite(const float *x, int64_t n)
{
    enum { PIECE = 1 << 16 };
    bool finite = true;
#pragma omp parallel for schedule(static) reduction(&& : finite)
    for (int64_t at = 0; at < n; at += PIECE)
        finite = finite && vec_all_finite(x + at, n - at < PIECE ? n - at : PIECE);
    return finite;
}

/* All ranks learn of a number that blew up on the step it does. */
static bool check_finite(struct sae_trainer *t, double loss, const struct sae *grad)
{
    const char *what = !isfinite(loss) ? "loss" : !all_finite(grad->flat, grad->count) ? "gradient" : NULL;
    if (t->options.may_be_lost) {
        double lost = what != NULL;
        world_max_f64(t->world, &lost, 1);
        t->at[SAE_LOST] = lost > 0;
        return !t->at[SAE_LOST];
    }
    agree(t->world, what == NULL, EXIT_INTERNAL,
          "sae: the %s is not finite at epoch %lld, row %lld of it\n"
          "Lower sae.lr, or look for values that are not finite in embeddings.h5.",
          what ? what : "", (long long)t->at[SAE_EPOCH] + 1, (long long)t->at[SAE_ROW]);
    return true;
}

/* The neurons here, and b, which every rank holds, take their step. */
static void update(struct sae_trainer *t, struct sae *grad)
{
    const struct sae w = t->part, m = sae_part(&t->moment1, w.blocks), v = sae_part(&t->moment2, w.blocks);
    const int64_t matrix = (int64_t)w.neurons * w.dim, step = ++t->at[SAE_STEP];
    sae_finish_gradient(grad, t->bias_part, &w);
    double norm = t->options.clip > 0 ? sae_gradient_norm(grad, t->norm_part, &w) : 0;
    if (norm > t->options.clip)
        vec_scale(grad->flat, (float)(t->options.clip / norm), grad->count);
    const struct adam adam = { rate(t), 0.9, 0.999, 1e-8, 0 };
    adam_step(w.encoder, m.encoder, v.encoder, grad->encoder, matrix, &adam, step);
    adam_step(w.encoder_bias, m.encoder_bias, v.encoder_bias, grad->encoder_bias, w.neurons, &adam, step);
    adam_step(w.decoder, m.decoder, v.decoder, grad->decoder, matrix, &adam, step);
    adam_step(w.bias, m.bias, v.bias, grad->bias, w.dim, &adam, step);
    adam_step(w.log_threshold, m.log_threshold, v.log_threshold, grad->log_threshold, w.neurons, &adam, step);
    struct sae here = w;
    sae_normalise(&here);
}

double sae_step(struct sae_trainer *t)
{
    int64_t start = t->at[SAE_ROW], left = t->train.set.rows - start;
    int64_t rows = left < t->batch ? left : t->batch;
    double penalty = t->options.penalty * rise(t, t->options.penalty_warmup), sums[SAE_LEAF_SUMS];
    if (t->at[SAE_LOST]) {
        t->at[SAE_ROW] += rows;
        return NAN;
    }
    enum phase before = phase_enter(PHASE_FORWARD);
    sae_open_batch(&t->step, t->order, start, rows);
    if (!sparse_is_cheaper(t) || !sparse_gradient(t, penalty))
        dense_gradient(t, penalty);
    /* Sum over the leaves of all ranks. */
    phase_enter(PHASE_COMM);
    struct sae grad = sae_view(t->stack, t->sae.dim, t->part.neurons);
    tree_sum_nodes_f32(t->step_tree, grad.flat, t->stack, grad.count, t->step_stride);
    tree_sum_f64(t->step_tree, sums, t->leaf_sums, SAE_LEAF_SUMS);
    phase_enter(PHASE_OPTIMISER);
    if (check_finite(t, sums[0], &grad))
        update(t, &grad);
    phase_enter(before);
    t->at[SAE_ROW] += rows;
    t->at[SAE_ACTIVE] = (int64_t)sums[1];
    t->at[SAE_ACTIVE_ROWS] = rows;
    t->sums[SAE_LOSS] += sums[0];
    return sums[0] / (double)rows;
}
