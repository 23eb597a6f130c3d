/* One step of the training. Two ways to the same gradient: dense products, leaf
 * by leaf straight into the folding stack of the fixed tree; or products over
 * active neurons only (sae_sparse.h), for which the codes of all rows of this
 * rank are formed first. Which one is cheaper follows from the number of active
 * neurons over all ranks, so every rank count goes the same way. */
#include <math.h>
#include <string.h>

#include "concept/sae_state.h"
#include "concept/sae_top.h"
#include "dist/progress.h"
#include "dist/world.h"
#include "math/adam.h"
#include "math/vec.h"

int sae_aux_k(const struct sae_options *o)
{
    return sae_by_count(&o->rule) && o->aux_weight > 0 ? o->aux_k : 0;
}

double sae_sparse_share(double l0, int neurons)
{
    return l0 * SAE_SPARSE_COST / neurons;
}

/* Entries over all ranks up to which a sparse step goes on: a little more than what was expected. */
static int64_t entry_limit(int neurons, int64_t rows)
{
    return rows * neurons / SAE_SPARSE_COST * 3 / 2;
}

int64_t sae_code_room(const struct sae_options *o, int neurons, int64_t batch, int64_t own, int64_t piece)
{
    if (o->rule.variant == SAE_TOPK)
        return own * o->rule.k;
    if (sae_by_batch(&o->rule))
        return batch * o->rule.k + batch * o->rule.k / 4 + piece * neurons;
    return entry_limit(neurons, batch) < own * neurons ? entry_limit(neurons, batch) : own * neurons;
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

/* Gradient of one leaf of the open batch into row `slot` of the stack; leaf_sums. */
static void dense_leaf(struct sae_trainer *t, int leaf, double penalty)
{
    struct span rows = sae_leaf(&t->train, leaf);
    struct sae grad = sae_view(t->stack + tree_slot(t->tree, leaf) * t->stride, t->sae.dim, t->sae.neurons);
    double scale = 1 / (double)t->train.batch_rows, loss = 0, active = 0;
    if (rows.count == 0)
        memset(grad.flat, 0, (size_t)grad.count * sizeof(float));
    for (int64_t at = 0; at < rows.count; at += t->work.rows) {
        int64_t n = rows.count - at < t->work.rows ? rows.count - at : t->work.rows;
        phase_enter(PHASE_FORWARD);
        sae_copy_rows(t->x, &t->train, rows.first + at, n);
        sae_encode(&t->work, &t->sae, t->x, n);
        sae_decode(&t->work, &t->sae, t->x, n);
        for (int64_t r = 0; r < n; r++) {
            loss += sae_row_loss(&t->work, &t->sae, r, penalty);
            active += (double)t->work.active[r];
        }
        phase_enter(PHASE_BACKWARD);
        sae_backward(&grad, t->fired, &t->work, &t->sae, n, penalty, scale, at > 0);
    }
    t->leaf_sums[SAE_LEAF_SUMS * leaf] = loss;
    t->leaf_sums[SAE_LEAF_SUMS * leaf + 1] = active;
}

static void dense_gradient(struct sae_trainer *t, double penalty)
{
    for (int leaf = 0; leaf < tree_leaves(t->tree).count; leaf++) {
        dense_leaf(t, leaf, penalty);
        tree_fold_f32(t->tree, leaf, t->stack, t->sae.count, t->stride);
    }
}

/* ---- sparse ---- */

/* Codes of one piece whose activations are in work.f. */
static void add_codes(struct sae_trainer *t, int64_t n, double *bound)
{
    struct sae_codes *codes = &t->sparse.codes;
    const struct sae_rule *rule = &t->sae.rule;
    const int K = t->sae.neurons;
    if (rule->variant == SAE_TOPK) {
        sae_codes_add_largest(codes, t->work.f, n, K, rule->k);
    } else if (!sae_by_batch(rule)) {
        sae_codes_add(codes, t->work.f, n, K, 0);
    } else {
        /* Only the k x rows largest of this rank can be among those of the batch: drop the others early. */
        const int64_t limit = rule->k * t->train.batch_rows;
        int64_t ties;
        sae_codes_add(codes, t->work.f, n, K, (float)*bound);
        if (codes->start[codes->rows] > limit + limit / 4) {
            const float kth = sae_kth_largest_of_list(codes->value, codes->start[codes->rows], limit, &ties);
            sae_codes_cut(codes, kth, ties);
            *bound = (double)kth;
        }
    }
    if (t->sparse.dead.start && t->dead_count > 0)
        sae_codes_add_largest_of(&t->sparse.dead, t->work.df, t->work.f, t->dead_list, t->dead_count, n, K,
                                 t->options.aux_k < t->dead_count ? t->options.aux_k : (int)t->dead_count);
}

/* Codes of all rows of this rank. */
static void encode_all(struct sae_trainer *t)
{
    double bound = 0;
    int64_t row = 0;
    sae_sparse_start(&t->sparse, &t->sae);
    for (int leaf = 0; leaf < tree_leaves(t->tree).count; leaf++) {
        struct span rows = sae_leaf(&t->train, leaf);
        t->leaf[leaf] = (struct span){ row, rows.count };
        for (int64_t at = 0; at < rows.count; at += t->work.rows) {
            int64_t n = rows.count - at < t->work.rows ? rows.count - at : t->work.rows;
            sae_copy_rows(t->x, &t->train, rows.first + at, n);
            sae_project(t->work.f, t->sparse.centred + row * t->sae.dim, t->row_sum + row, t->row_active + row, &t->sae,
                        t->x, n);
            for (int64_t r = row; r < row + n; r++)
                t->row_check[r] = t->row_sum[r] - t->row_sum[r];
            if (t->sae.rule.variant == SAE_JUMPRELU)
                sae_apply(t->work.f, t->row_sum + row, t->row_active + row, t->sparse.threshold, &t->sae, n);
            add_codes(t, n, &bound);
            row += n;
        }
    }
}

/* The k x rows largest activations of the batch stay; the smallest of them goes into the moving average. Collective. */
static void choose_over_batch(struct sae_trainer *t)
{
    struct sae_codes *codes = &t->sparse.codes;
    int64_t n = codes->start[codes->rows], ties;
    double least = INFINITY;
    float kth =
        sae_kth_largest_of_all(t->world, t->counts, codes->value, n, t->sae.rule.k * t->train.batch_rows, &ties);
    if (kth > 0)
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
    const bool counted = sae_by_count(&t->sae.rule);
    for (int leaf = 0; leaf < tree_leaves(t->tree).count; leaf++) {
        double loss = 0, active = 0;
        for (int64_t r = t->leaf[leaf].first; r < t->leaf[leaf].first + t->leaf[leaf].count; r++) {
            const int64_t on = counted ? s->codes.start[r + 1] - s->codes.start[r] : t->row_active[r];
            loss += s->squared[r] / t->sae.dim + sae_row_penalty(&t->sae.rule, penalty, t->row_sum[r], on);
            loss += t->row_check[r] + (aux ? t->options.aux_weight * s->aux[r] / t->sae.dim : 0);
            active += (double)on;
        }
        t->leaf_sums[SAE_LEAF_SUMS * leaf] = loss;
        t->leaf_sums[SAE_LEAF_SUMS * leaf + 1] = active;
    }
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
        if (entries > entry_limit(t->sae.neurons, t->train.batch_rows))
            return false;
    }
    const double scale = 1 / (double)t->train.batch_rows;
    sae_sparse_forward(s, &t->sae, penalty, scale, t->options.aux_weight, aux);
    sum_rows(t, penalty, aux);
    phase_enter(PHASE_BACKWARD);
    sae_sparse_gradient(t->stack, t->stride, t->fired, s, &t->sae, t->tree, t->leaf, aux);
    return true;
}

/* ---- the step ---- */

static bool sparse_is_cheaper(const struct sae_trainer *t)
{
    if (sae_by_count(&t->sae.rule))
        return true;
    return t->at[SAE_ACTIVE_ROWS] > 0 &&
           sae_sparse_share((double)t->at[SAE_ACTIVE] / (double)t->at[SAE_ACTIVE_ROWS], t->sae.neurons) < 1;
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

/* The same step on every rank. */
static void update(struct sae_trainer *t, struct sae *grad)
{
    sae_finish_gradient(grad, &t->sae);
    double norm = t->options.clip > 0 ? vec_norm(grad->flat, grad->count) : 0;
    if (norm > t->options.clip)
        vec_scale(grad->flat, (float)(t->options.clip / norm), grad->count);
    struct adam adam = { rate(t), 0.9, 0.999, 1e-8, 0 };
    adam_step(t->sae.flat, t->moment1.flat, t->moment2.flat, grad->flat, t->sae.count, &adam, ++t->at[SAE_STEP]);
    sae_normalise(&t->sae);
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
    sae_open_batch(&t->train, t->order, start, rows);
    if (!sparse_is_cheaper(t) || !sparse_gradient(t, penalty))
        dense_gradient(t, penalty);
    /* Sum over the leaves of all ranks. */
    phase_enter(PHASE_COMM);
    struct sae grad = sae_view(t->stack, t->sae.dim, t->sae.neurons);
    tree_sum_nodes_f32(t->tree, grad.flat, t->stack, grad.count, t->stride);
    tree_sum_f64(t->tree, sums, t->leaf_sums, SAE_LEAF_SUMS);
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
