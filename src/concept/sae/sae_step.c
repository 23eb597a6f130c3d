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

int64_t sae_code_room(const struct sae_options *o, int neurons, int here, int64_t batch, int64_t own, int64_t *kept)
{
    const int64_t limit = entry_limit(o, neurons, batch), all = own * here;
    *kept = o->rule.variant == SAE_TOPK ? own * o->rule.k
            : sae_by_batch(&o->rule)    ? batch * o->rule.k
            : limit < all               ? limit
                                        : all;
    return sae_by_batch(&o->rule) ? *kept + *kept / 4 + (int64_t)SAE_BAND * here : *kept;
}

/* From 0 to 1 over the first `share` of all steps. */
static double rise(const struct sae_trainer *t, double share)
{
    double steps = share * (double)sae_total_steps(t);
    return steps > 1 ? fmin(1, (double)(t->model.at[SAE_STEP] + 1) / steps) : 1;
}

static double rate(const struct sae_trainer *t)
{
    double steps = t->options.decay * (double)sae_total_steps(t);
    double left = (double)(sae_total_steps(t) - t->model.at[SAE_STEP]);
    return t->options.lr * rise(t, t->options.warmup) * (steps > 1 ? fmax(0, fmin(1, left / steps)) : 1);
}

/* ---- dense ---- */

/* What the neurons here say of `leaf`: of `n` more rows. `active` NULL: it is counted later. */
static void add_neuron_sums(struct sae_step *s, int leaf, const double *sum, const int64_t *active, int64_t n)
{
    const int64_t leaves = tree_leaves(s->tree).count;
    const int blocks = sae_blocks(&s->part);
    for (int b = 0; b < blocks; b++) {
        double *out = s->neuron_sums + (b * leaves + leaf) * SAE_NEURON_SUMS;
        for (int64_t r = 0; r < n; r++) {
            out[SAE_SUM] += sum[r * blocks + b];
            out[SAE_CHECK] += sum[r * blocks + b] - sum[r * blocks + b];
            out[SAE_ON] += b == 0 && active ? (double)active[r] : 0;
        }
    }
}

static void clear_sums(struct sae_step *s)
{
    const int64_t leaves = tree_leaves(s->tree).count;
    memset(s->neuron_sums, 0, (size_t)(sae_blocks(&s->part) * leaves * SAE_NEURON_SUMS) * sizeof(double));
    memset(s->leaf_sums, 0, (size_t)(leaves * SAE_LEAF_SUMS) * sizeof(double));
}

/* leaf_sums: losses get what all neurons say. Collective when blocks are spread over ranks. */
static void take_neuron_sums(struct sae_step *s, double penalty)
{
    const int64_t leaves = tree_leaves(s->tree).count;
    double *all = s->neuron_sums;
    tree_sum_f64(s->part.blocks, all, all, leaves * SAE_NEURON_SUMS);
    for (int64_t leaf = 0; leaf < leaves; leaf++) {
        const double *one = all + leaf * SAE_NEURON_SUMS;
        s->leaf_sums[SAE_LEAF_SUMS * leaf] +=
            sae_row_penalty(&s->part.rule, penalty, one[SAE_SUM], (int64_t)one[SAE_ON]) + one[SAE_CHECK];
        s->leaf_sums[SAE_LEAF_SUMS * leaf + 1] = one[SAE_ON];
    }
}

/* Gradient of one leaf of the open batch into row `slot` of the stack; its sums. */
static void dense_leaf(struct sae_workspace *space, struct sae_step *s, int64_t *fired, int leaf, double penalty)
{
    struct span rows = sae_leaf(&s->rows, leaf);
    struct sae grad = sae_view(space->stack + tree_slot(s->tree, leaf) * s->stride, s->part.dim, s->part.neurons);
    struct sae_work work = space->work;
    double scale = 1 / (double)s->rows.batch_rows;
    work.half = s->half;
    if (rows.count == 0)
        memset(grad.flat, 0, (size_t)grad.count * sizeof(float));
    for (int64_t at = 0; at < rows.count; at += s->piece) {
        int64_t n = rows.count - at < s->piece ? rows.count - at : s->piece;
        phase_enter(PHASE_FORWARD);
        sae_copy_rows(space->x, &s->rows, rows.first + at, n);
        sae_encode(&work, &s->part, space->x, n);
        sae_decode(&work, &s->part, space->x, n);
        add_neuron_sums(s, leaf, space->work.sum, space->work.active, n);
        for (int64_t r = 0; r < n; r++)
            s->leaf_sums[SAE_LEAF_SUMS * leaf] += space->work.squared[r] / s->part.dim;
        phase_enter(PHASE_BACKWARD);
        sae_backward(&grad, fired + s->part.first, &work, &s->part, n, penalty, scale, at > 0);
    }
}

/* A rank's product of the rows of a step with a matrix of the neurons here. */
static double product_flops(const struct sae_step *s)
{
    return 2 * (double)sae_own_positions(s->tree, s->rows.batch_rows).count * s->part.neurons * s->part.dim;
}

static void dense_gradient(struct sae_trainer *t, double penalty)
{
    struct sae_step *s = &t->step;
    clear_sums(s);
    t->model.gemm_flops += 5 * product_flops(s);
    if (s->half)
        sae_half_weights(s->half, &t->model.sae, true);
    for (int leaf = 0; leaf < tree_leaves(s->tree).count; leaf++) {
        dense_leaf(t->space, s, t->model.fired, leaf, penalty);
        tree_fold_f32(s->tree, leaf, t->space->stack, s->part.count, s->stride);
    }
    take_neuron_sums(s, penalty);
}

/* ---- sparse ---- */

/* Dead neurons that explain what is left of a row. */
static int dead_k(const struct sae_step *s, const struct sae_options *o)
{
    return o->aux_k < s->dead_count ? o->aux_k : (int)s->dead_count;
}

/* Codes of n rows with activations f. */
static void add_codes(struct sae_step *s, float *scratch, const struct sae_options *o, const float *f, int64_t n,
                      double *bound)
{
    struct sae_codes *codes = &s->sparse.codes;
    const struct sae_rule *rule = &o->rule;
    const int K = s->part.neurons;
    if (rule->variant == SAE_TOPK) {
        sae_codes_add_largest(codes, f, n, K, rule->k);
    } else if (!sae_by_batch(rule)) {
        sae_codes_add(codes, f, n, K, 0);
    } else {
        /* Only the k x rows largest of this rank can be among those of the batch: drop the others early. */
        const int64_t limit = rule->k * s->rows.batch_rows;
        int64_t ties;
        sae_codes_add(codes, f, n, K, (float)*bound);
        if (codes->start[codes->rows] > limit + limit / 4) {
            const float kth = sae_kth_largest_of_list(codes->value, codes->start[codes->rows], limit, &ties);
            sae_codes_cut(codes, kth, ties);
            *bound = (double)kth;
        }
    }
    if (s->sparse.dead.start && s->dead_count > 0)
        sae_codes_add_largest_of(&s->sparse.dead, scratch, f, s->dead_list, s->dead_here, n, K, dead_k(s, o));
}

/* Activations and codes of the n rows of a piece, a band that stays in cache at a time. */
static void encode_piece(struct sae_step *s, struct sae_work *work, const struct sae_options *o, int64_t n,
                         double *bound)
{
    const int blocks = sae_blocks(&s->part);
    for (int64_t at = 0; at < n; at += SAE_BAND) {
        const int64_t rows = n - at < SAE_BAND ? n - at : SAE_BAND;
        float *f = work->f + at * s->part.neurons;
        sae_activate(f, work->sum + at * blocks, work->active + at, &s->part, rows);
        if (o->rule.variant == SAE_JUMPRELU)
            sae_apply(f, work->active + at, s->sparse.threshold, &s->part, rows);
        add_codes(s, work->df, o, f, rows, bound);
    }
}

/* Rows of the piece that begins at row `at` of this rank: in bfloat16, where bits depend on shapes, of one leaf. */
static int64_t piece_at(const struct sae_step *s, int64_t at, int64_t end)
{
    for (int leaf = 0; s->half && leaf < tree_leaves(s->tree).count; leaf++)
        if (at >= s->leaf[leaf].first && at < s->leaf[leaf].first + s->leaf[leaf].count)
            end = s->leaf[leaf].first + s->leaf[leaf].count;
    return end - at < s->piece ? end - at : s->piece;
}

/* What the n rows from row `at` of this rank on add to their leaves. */
static void add_piece_sums(struct sae_step *s, const struct sae_work *work, int64_t at, int64_t n)
{
    const int64_t *active = sae_by_count(&s->part.rule) ? NULL : work->active;
    for (int leaf = 0; leaf < tree_leaves(s->tree).count; leaf++) {
        const struct span rows = s->leaf[leaf];
        const int64_t first = rows.first > at ? rows.first - at : 0;
        const int64_t end = rows.first + rows.count < at + n ? rows.first + rows.count - at : n;
        if (first < end)
            add_neuron_sums(s, leaf, work->sum + first * sae_blocks(&s->part), active ? active + first : NULL,
                            end - first);
    }
}

/* Codes of all rows of this rank. Collective when neurons are split. */
static void encode_all(struct sae_trainer *t)
{
    struct sae_step *s = &t->step;
    struct sae_work *work = &t->space->work;
    const struct sae_options *o = &t->options;
    const struct span own = sae_own_positions(s->tree, s->rows.batch_rows);
    double bound = 0;
    sae_sparse_start(&s->sparse, &s->part);
    t->model.gemm_flops += product_flops(s);
    if (s->half)
        sae_half_weights(s->half, &t->model.sae, false);
    clear_sums(s);
    for (int leaf = 0; leaf < tree_leaves(s->tree).count; leaf++) {
        const struct span rows = sae_leaf(&s->rows, leaf);
        s->leaf[leaf] = (struct span){ rows.first - own.first, rows.count };
    }
    for (int64_t at = 0, n; at < own.count; at += n) {
        n = piece_at(s, at, own.count);
        sae_copy_rows(t->space->x, &s->rows, own.first + at, n);
        sae_project(work->f, s->sparse.centred + at * s->part.dim, s->half, &s->part, t->space->x, n);
        sae_sparse_round(&s->sparse, at, n);
        encode_piece(s, work, o, n, &bound);
        add_piece_sums(s, work, at, n);
    }
    if (sae_is_split(t) && o->rule.variant == SAE_TOPK)
        sae_choose_rows(&s->sparse.codes, &s->offers, t->space->world, o->rule.k);
    if (sae_is_split(t) && s->sparse.dead.start && s->dead_count > 0)
        sae_choose_rows(&s->sparse.dead, &s->offers, t->space->world, dead_k(s, o));
}

/* The k x rows largest activations of the batch stay; the smallest of them goes into the moving average. Collective. */
static void choose_over_batch(struct sae_trainer *t)
{
    const struct world *world = t->space->world;
    struct sae_model *m = &t->model;
    struct sae_step *s = &t->step;
    struct sae_codes *codes = &s->sparse.codes;
    int64_t n = codes->start[codes->rows], ties;
    double least = INFINITY;
    float kth = sae_kth_largest_of_all(world, s->counts, codes->value, n, m->sae.rule.k * s->rows.batch_rows, &ties);
    if (kth > 0 && sae_is_split(t))
        sae_cut_batch(s, world, kth, ties);
    else if (kth > 0)
        sae_codes_cut(codes, kth, ties);
    for (int64_t i = 0; !(kth > 0) && i < n; i++)
        least = fmin(least, (double)codes->value[i]);
    world_min_f64(world, &least, 1);
    least = kth > 0 ? (double)kth : isfinite(least) ? least : 0;
    const double keep = t->options.threshold_decay;
    m->sums[SAE_THRESHOLD] = keep * m->sums[SAE_THRESHOLD] + (1 - keep) * least;
    m->sums[SAE_THRESHOLD_WEIGHT] = keep * m->sums[SAE_THRESHOLD_WEIGHT] + (1 - keep);
    m->sae.rule.threshold = m->sums[SAE_THRESHOLD] / m->sums[SAE_THRESHOLD_WEIGHT];
}

static void sum_rows(struct sae_step *s, double aux_weight, double penalty)
{
    const struct sae_sparse *sparse = &s->sparse;
    for (int leaf = 0; leaf < tree_leaves(s->tree).count; leaf++) {
        const int64_t first = s->leaf[leaf].first, end = first + s->leaf[leaf].count;
        double *loss = s->leaf_sums + SAE_LEAF_SUMS * leaf;
        for (int64_t r = first; r < end; r++)
            *loss += (sparse->squared[r] + (aux_weight > 0 ? aux_weight * sparse->aux[r] : 0)) / s->part.dim;
        if (sae_by_count(&s->part.rule) && s->part.neurons > 0)
            s->neuron_sums[leaf * SAE_NEURON_SUMS + SAE_ON] =
                (double)(sparse->codes.start[end] - sparse->codes.start[first]);
    }
    take_neuron_sums(s, penalty);
}

/* False, with nothing done, when far more neurons are active than expected. Collective. */
static bool sparse_gradient(struct sae_trainer *t, double penalty)
{
    struct sae_step *s = &t->step;
    struct sae_sparse *sparse = &s->sparse;
    const bool aux = sparse->dead.start && s->dead_count > 0;
    phase_enter(PHASE_FORWARD);
    encode_all(t);
    if (sae_by_batch(&t->model.sae.rule)) {
        choose_over_batch(t);
    } else if (!sae_by_count(&t->model.sae.rule)) {
        int64_t entries = sparse->codes.start[sparse->codes.rows];
        world_sum_i64(t->space->world, &entries, 1);
        if (entries > entry_limit(&t->options, t->model.sae.neurons, s->rows.batch_rows))
            return false;
    }
    const double scale = 1 / (double)s->rows.batch_rows;
    sae_sparse_forward(sparse, &s->part, penalty, scale, t->options.aux_weight, aux);
    sum_rows(s, aux ? t->options.aux_weight : 0, penalty);
    phase_enter(PHASE_BACKWARD);
    sae_sparse_gradient(t->space->stack, s->stride, t->model.fired + s->part.first, sparse, &s->part, s->tree, s->leaf,
                        aux);
    return true;
}

/* ---- the step ---- */

static bool sparse_is_cheaper(const struct sae_trainer *t)
{
    if (sae_by_count(&t->model.sae.rule))
        return true;
    return t->model.at[SAE_ACTIVE_ROWS] > 0 &&
           sae_sparse_share(&t->options, (double)t->model.at[SAE_ACTIVE] / (double)t->model.at[SAE_ACTIVE_ROWS],
                            t->model.sae.neurons) < 1;
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
        world_max_f64(t->space->world, &lost, 1);
        t->model.at[SAE_LOST] = lost > 0;
        return !t->model.at[SAE_LOST];
    }
    agree(t->space->world, what == NULL, EXIT_INTERNAL,
          "sae: the %s is not finite at epoch %lld, row %lld of it\n"
          "Lower sae.lr, or look for values that are not finite in embeddings.h5.",
          what ? what : "", (long long)t->model.at[SAE_EPOCH] + 1, (long long)t->model.at[SAE_ROW]);
    return true;
}

/* The neurons here, and b, which every rank holds, take their step. */
static void update(struct sae_trainer *t, struct sae *grad)
{
    const struct sae w = t->step.part, m = sae_part(&t->model.moment1, w.blocks),
                     v = sae_part(&t->model.moment2, w.blocks);
    const int64_t matrix = (int64_t)w.neurons * w.dim, step = ++t->model.at[SAE_STEP];
    sae_finish_gradient(grad, t->step.bias_part, &w);
    double norm = t->options.clip > 0 ? sae_gradient_norm(grad, t->step.norm_part, &w) : 0;
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
    struct sae_model *m = &t->model;
    struct sae_step *s = &t->step;
    int64_t start = m->at[SAE_ROW], left = t->space->train.set.rows - start;
    int64_t rows = left < t->space->batch ? left : t->space->batch;
    double penalty = t->options.penalty * rise(t, t->options.penalty_warmup), sums[SAE_LEAF_SUMS];
    if (m->at[SAE_LOST]) {
        m->at[SAE_ROW] += rows;
        return NAN;
    }
    enum phase before = phase_enter(PHASE_FORWARD);
    sae_open_batch(&s->rows, t->space->order, start, rows);
    if (!sparse_is_cheaper(t) || !sparse_gradient(t, penalty))
        dense_gradient(t, penalty);
    /* Sum over the leaves of all ranks. */
    phase_enter(PHASE_COMM);
    struct sae grad = sae_view(t->space->stack, m->sae.dim, s->part.neurons);
    tree_sum_nodes_f32(s->tree, grad.flat, t->space->stack, grad.count, s->stride);
    tree_sum_f64(s->tree, sums, s->leaf_sums, SAE_LEAF_SUMS);
    phase_enter(PHASE_OPTIMISER);
    if (check_finite(t, sums[0], &grad))
        update(t, &grad);
    phase_enter(before);
    m->at[SAE_ROW] += rows;
    m->at[SAE_ACTIVE] = (int64_t)sums[1];
    m->at[SAE_ACTIVE_ROWS] = rows;
    m->sums[SAE_LOSS] += sums[0];
    return sums[0] / (double)rows;
}
