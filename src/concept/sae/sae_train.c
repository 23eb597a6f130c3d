/* Training of the sparse autoencoder: one epoch, evaluation, what a checkpoint
 * keeps. Memory is taken in sae_create.c, a step is in sae_step.c, dead neurons
 * are planted anew by sae_resample.c. */
#include "concept/sae_train.h"

#include <math.h>
#include <string.h>

#include "base/phase.h"
#include "base/rng.h"
#include "concept/sae/sae_feature.h"
#include "concept/sae/sae_state.h"
#include "dist/world.h"

int64_t sae_total_steps(const struct sae_trainer *t)
{
    return t->options.epochs * ((t->space->train.set.rows + t->space->batch - 1) / t->space->batch);
}

bool sae_epoch_done(const struct sae_trainer *t)
{
    return t->model.at[SAE_ROW] >= t->space->train.set.rows;
}

int sae_epoch(const struct sae_trainer *t)
{
    return (int)t->model.at[SAE_EPOCH];
}

bool sae_lost(const struct sae_trainer *t)
{
    return t->model.at[SAE_LOST] != 0;
}

double sae_gemm_flops(const struct sae_trainer *t)
{
    return t->model.gemm_flops;
}

int64_t sae_rows_done(const struct sae_trainer *t)
{
    return t->model.at[SAE_ROW];
}

const double *sae_history(const struct sae_trainer *t)
{
    return t->model.history;
}

const struct sae *sae_model(const struct sae_trainer *t)
{
    return &t->model.sae;
}

void sae_forward(struct sae_workspace *s, struct sae_source *source, const struct sae *sae, double penalty,
                 double *row_loss)
{
    struct sae_work *work = &s->work;
    double *leaf_sums = s->leaf_sums;
    const struct span own = sae_own_positions(s->tree, source->batch_rows);
    memset(leaf_sums, 0, 2 * (size_t)tree_leaves(s->tree).count * sizeof *leaf_sums);
    int leaf = 0;
    for (int64_t at = 0, n; at < own.count; at += n) {
        n = own.count - at < work->rows ? own.count - at : work->rows;
        sae_copy_rows(s->x, source, own.first + at, n);
        sae_encode(work, sae, s->x, n);
        sae_decode(work, sae, s->x, n);
        for (int64_t r = 0; r < n; r++) {
            while (own.first + at + r >= sae_leaf(source, leaf).first + sae_leaf(source, leaf).count)
                leaf++;
            leaf_sums[2 * leaf] += work->squared[r];
            leaf_sums[2 * leaf + 1] += (double)work->active[r];
            if (row_loss)
                row_loss[at + r] = sae_row_loss(work, sae, r, penalty);
        }
    }
}

static void settle_counts(const struct world *world, struct sae_model *m)
{
    world_sum_i64(world, m->fired, m->sae.neurons);
    for (int k = 0; k < m->sae.neurons; k++) {
        m->fired_epoch[k] += m->fired[k];
        m->fired[k] = 0;
    }
}

/* All ranks must hold the same weights: a silent difference would spoil everything built on them. */
static void check_ranks(struct world *world, const struct sae *sae, int64_t epoch)
{
    agree(world, world_same_bits(world, sae->flat, (size_t)sae->count * sizeof *sae->flat), EXIT_INTERNAL,
          "sae: weights differ from those of rank 0 after epoch %lld\n"
          "A node may be faulty; the same command goes on from the last checkpoint.",
          (long long)epoch);
}

/* FVU and mean number of active neurons of each; a batch is opened once. */
static void evaluate(double *fvu, double *l0, struct sae_trainer *const *t, int count)
{
    enum phase before = phase_enter(PHASE_EVALUATE);
    struct sae_workspace *s = t[0]->space;
    int64_t n = s->eval.set.rows;
    for (int i = 0; i < count; i++)
        fvu[i] = l0[i] = 0;
    for (int64_t start = 0; start < n; start += s->eval_batch) {
        int64_t rows = n - start < s->eval_batch ? n - start : s->eval_batch;
        for (int i = 0; i < count; i++) {
            double sum[2];
            sae_open_batch(&s->eval, NULL, start, rows);
            sae_forward(s, &s->eval, &t[i]->model.sae, 0, NULL);
            tree_sum_f64(s->tree, sum, s->leaf_sums, 2);
            fvu[i] += sum[0];
            l0[i] += sum[1];
        }
    }
    for (int i = 0; i < count; i++) {
        fvu[i] = t[i]->model.at[SAE_LOST] ? NAN : fvu[i] / s->variance;
        l0[i] = t[i]->model.at[SAE_LOST] ? NAN : l0[i] / (double)n;
    }
    phase_enter(before);
}

void sae_evaluate(struct sae_trainer *t, double *fvu, double *l0)
{
    evaluate(fvu, l0, &t, 1);
}

/* Counts of the epoch that ends; its metrics but for those of the evaluation set. */
static struct sae_metrics close_epoch(struct sae_trainer *t)
{
    struct sae_model *m = &t->model;
    int K = m->sae.neurons, dead = 0, dense = 0;
    int64_t n = t->space->train.set.rows;
    sae_gather(t, false);
    check_ranks(t->space->world, &m->sae, m->at[SAE_EPOCH] + 1);
    settle_counts(t->space->world, &t->model);
    for (int k = 0; k < K; k++) {
        dead += m->fired_epoch[k] == 0;
        dense += 10 * m->fired_epoch[k] > n;
        m->silent[k] = m->fired_epoch[k] > 0 ? 0 : m->silent[k] + 1;
        m->fired_before[k] += m->fired_epoch[k];
        m->fired_epoch[k] = 0;
    }
    if (m->at[SAE_LOST])
        return (struct sae_metrics){ (int)m->at[SAE_EPOCH] + 1, NAN, NAN, NAN, NAN, NAN, 0 };
    return (struct sae_metrics){ .epoch = (int)m->at[SAE_EPOCH] + 1,
                                 .train_loss = m->sums[SAE_LOSS] / (double)n,
                                 .dead = (double)dead / K,
                                 .dense = (double)dense / K };
}

static void open_epoch(struct sae_trainer *t, struct sae_metrics *m)
{
    struct sae_model *model = &t->model;
    const double row[SAE_HISTORY] = { m->train_loss, m->fvu, m->l0, m->dead, m->dense };
    memcpy(model->history + (m->epoch - 1) * SAE_HISTORY, row, sizeof row);
    if (sae_resample_due(&t->options, m->epoch) && !model->at[SAE_LOST])
        m->resampled = sae_resample(t->space, &t->model, &t->options);
    model->at[SAE_EPOCH] = m->epoch;
    model->at[SAE_ROW] = 0;
    model->sums[SAE_LOSS] = 0;
    sae_loaded(t);
}

void sae_end_epochs(struct sae_metrics *metrics, struct sae_trainer *const *t, int count)
{
    double fvu[SAE_TRAINERS], l0[SAE_TRAINERS];
    for (int i = 0; i < count; i++)
        metrics[i] = close_epoch(t[i]);
    evaluate(fvu, l0, t, count);
    for (int i = 0; i < count; i++) {
        metrics[i].fvu = fvu[i];
        metrics[i].l0 = l0[i];
        open_epoch(t[i], &metrics[i]);
    }
}

struct sae_metrics sae_end_epoch(struct sae_trainer *t)
{
    struct sae_metrics metrics;
    sae_end_epochs(&metrics, &t, 1);
    return metrics;
}

int sae_fields(struct sae_trainer *t, struct checkpoint_field fields[SAE_FIELDS])
{
    struct sae_model *m = &t->model;
    const struct checkpoint_field all[] = {
        { "parameters", STORE_F32, m->sae.flat, m->sae.count },
        { "moment1", STORE_F32, m->moment1.flat, m->sae.count },
        { "moment2", STORE_F32, m->moment2.flat, m->sae.count },
        { "fired_epoch", STORE_I64, m->fired_epoch, m->sae.neurons },
        { "fired_before", STORE_I64, m->fired_before, m->sae.neurons },
        { "silent", STORE_I64, m->silent, m->sae.neurons },
        { "at", STORE_I64, m->at, SAE_COUNTERS },
        { "sums", STORE_F64, m->sums, SAE_SUMS },
        { "history", STORE_F64, m->history, (int64_t)t->options.epochs * SAE_HISTORY },
    };
    memcpy(fields, all, sizeof all);
    return (int)(sizeof all / sizeof all[0]);
}

void sae_settle(struct sae_trainer *t)
{
    sae_gather(t, true);
    settle_counts(t->space->world, &t->model);
}

void sae_loaded(struct sae_trainer *t)
{
    struct sae_model *m = &t->model;
    struct rng rng = { t->options.seed, RNG_SAE_SHUFFLE, (uint32_t)m->at[SAE_EPOCH] };
    sae_close_batch(&t->space->train);
    sae_close_batch(&t->step.rows);
    rng_permutation(&rng, 0, t->space->order, t->space->train.set.rows);
    t->step.dead_count = t->step.dead_here = 0;
    for (int k = 0; k < m->sae.neurons; k++) {
        const bool dead = m->silent[k] >= t->options.dead_after;
        t->step.dead_count += dead;
        if (dead && k >= t->step.part.first && k < t->step.part.first + t->step.part.neurons)
            t->step.dead_list[t->step.dead_here++] = k - t->step.part.first;
    }
    if (m->sums[SAE_THRESHOLD_WEIGHT] > 0)
        m->sae.rule.threshold = m->sums[SAE_THRESHOLD] / m->sums[SAE_THRESHOLD_WEIGHT];
}
