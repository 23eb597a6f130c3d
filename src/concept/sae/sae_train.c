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
    return t->options.epochs * ((t->train.set.rows + t->batch - 1) / t->batch);
}

bool sae_epoch_done(const struct sae_trainer *t)
{
    return t->at[SAE_ROW] >= t->train.set.rows;
}

int sae_epoch(const struct sae_trainer *t)
{
    return (int)t->at[SAE_EPOCH];
}

bool sae_lost(const struct sae_trainer *t)
{
    return t->at[SAE_LOST] != 0;
}

double sae_gemm_flops(const struct sae_trainer *t)
{
    return t->gemm_flops;
}

int64_t sae_rows_done(const struct sae_trainer *t)
{
    return t->at[SAE_ROW];
}

const double *sae_history(const struct sae_trainer *t)
{
    return t->history;
}

const struct sae *sae_model(const struct sae_trainer *t)
{
    return &t->sae;
}

void sae_forward(struct sae_trainer *t, struct sae_source *source, double *leaf_sums, double *row_loss)
{
    const struct span own = sae_own_positions(t->tree, source->batch_rows);
    memset(leaf_sums, 0, 2 * (size_t)tree_leaves(t->tree).count * sizeof *leaf_sums);
    int leaf = 0;
    for (int64_t at = 0, n; at < own.count; at += n) {
        n = own.count - at < t->work.rows ? own.count - at : t->work.rows;
        sae_copy_rows(t->x, source, own.first + at, n);
        sae_encode(&t->work, &t->sae, t->x, n);
        sae_decode(&t->work, &t->sae, t->x, n);
        for (int64_t r = 0; r < n; r++) {
            while (own.first + at + r >= sae_leaf(source, leaf).first + sae_leaf(source, leaf).count)
                leaf++;
            leaf_sums[2 * leaf] += t->work.squared[r];
            leaf_sums[2 * leaf + 1] += (double)t->work.active[r];
            if (row_loss)
                row_loss[at + r] = sae_row_loss(&t->work, &t->sae, r, t->options.penalty);
        }
    }
}

static void settle_counts(struct sae_trainer *t)
{
    world_sum_i64(t->world, t->fired, t->sae.neurons);
    for (int k = 0; k < t->sae.neurons; k++) {
        t->fired_epoch[k] += t->fired[k];
        t->fired[k] = 0;
    }
}

/* All ranks must hold the same weights: a silent difference would spoil everything built on them. */
static void check_ranks(struct sae_trainer *t)
{
    uint64_t hash = 1469598103934665603u, first;
    if (t->world->size == 1)
        return;
    for (int64_t i = 0; i < t->sae.count; i++) {
        uint32_t bits;
        memcpy(&bits, &t->sae.flat[i], sizeof bits);
        hash = (hash ^ bits) * 1099511628211u;
    }
    first = hash;
    world_broadcast(t->world, &first, sizeof first, 0);
    agree(t->world, first == hash, EXIT_INTERNAL,
          "sae: weights differ from rank 0 after epoch %lld (hash %016llx, rank 0 %016llx)\n"
          "A node may be faulty; the same command goes on from the last checkpoint.",
          (long long)t->at[SAE_EPOCH] + 1, (unsigned long long)hash, (unsigned long long)first);
}

/* FVU and mean number of active neurons of each; a batch is opened once. */
static void evaluate(double *fvu, double *l0, struct sae_trainer *const *t, int count)
{
    enum phase before = phase_enter(PHASE_EVALUATE);
    struct sae_trainer *first = t[0];
    int64_t n = first->eval.set.rows;
    for (int i = 0; i < count; i++)
        fvu[i] = l0[i] = 0;
    for (int64_t start = 0; start < n; start += first->eval_batch) {
        int64_t rows = n - start < first->eval_batch ? n - start : first->eval_batch;
        for (int i = 0; i < count; i++) {
            double sum[2];
            sae_open_batch(&t[i]->eval, NULL, start, rows);
            sae_forward(t[i], &t[i]->eval, t[i]->leaf_sums, NULL);
            tree_sum_f64(t[i]->tree, sum, t[i]->leaf_sums, 2);
            fvu[i] += sum[0];
            l0[i] += sum[1];
        }
    }
    for (int i = 0; i < count; i++) {
        fvu[i] = t[i]->at[SAE_LOST] ? NAN : t[i]->variance > 0 ? fvu[i] / t[i]->variance : 0;
        l0[i] = t[i]->at[SAE_LOST] ? NAN : l0[i] / (double)n;
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
    int K = t->sae.neurons, dead = 0, dense = 0;
    int64_t n = t->train.set.rows;
    sae_gather(t, false);
    check_ranks(t);
    settle_counts(t);
    for (int k = 0; k < K; k++) {
        dead += t->fired_epoch[k] == 0;
        dense += 10 * t->fired_epoch[k] > n;
        t->silent[k] = t->fired_epoch[k] > 0 ? 0 : t->silent[k] + 1;
        t->fired_before[k] += t->fired_epoch[k];
        t->fired_epoch[k] = 0;
    }
    if (t->at[SAE_LOST])
        return (struct sae_metrics){ (int)t->at[SAE_EPOCH] + 1, NAN, NAN, NAN, NAN, NAN, 0 };
    return (struct sae_metrics){ .epoch = (int)t->at[SAE_EPOCH] + 1,
                                 .train_loss = t->sums[SAE_LOSS] / (double)n,
                                 .dead = (double)dead / K,
                                 .dense = (double)dense / K };
}

static void open_epoch(struct sae_trainer *t, struct sae_metrics *m)
{
    const double row[SAE_HISTORY] = { m->train_loss, m->fvu, m->l0, m->dead, m->dense };
    memcpy(t->history + (m->epoch - 1) * SAE_HISTORY, row, sizeof row);
    if (sae_resample_due(&t->options, m->epoch) && !t->at[SAE_LOST])
        m->resampled = sae_resample(t);
    t->at[SAE_EPOCH] = m->epoch;
    t->at[SAE_ROW] = 0;
    t->sums[SAE_LOSS] = 0;
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
    const struct checkpoint_field all[] = {
        { "parameters", STORE_F32, t->sae.flat, t->sae.count },
        { "moment1", STORE_F32, t->moment1.flat, t->sae.count },
        { "moment2", STORE_F32, t->moment2.flat, t->sae.count },
        { "fired_epoch", STORE_I64, t->fired_epoch, t->sae.neurons },
        { "fired_before", STORE_I64, t->fired_before, t->sae.neurons },
        { "silent", STORE_I64, t->silent, t->sae.neurons },
        { "at", STORE_I64, t->at, SAE_COUNTERS },
        { "sums", STORE_F64, t->sums, SAE_SUMS },
        { "history", STORE_F64, t->history, (int64_t)t->options.epochs * SAE_HISTORY },
    };
    memcpy(fields, all, sizeof all);
    return (int)(sizeof all / sizeof all[0]);
}

void sae_settle(struct sae_trainer *t)
{
    sae_gather(t, true);
    settle_counts(t);
}

void sae_loaded(struct sae_trainer *t)
{
    struct rng rng = { t->options.seed, RNG_SAE_SHUFFLE, (uint32_t)t->at[SAE_EPOCH] };
    sae_close_batch(&t->train);
    sae_close_batch(&t->step);
    rng_permutation(&rng, 0, t->order, t->train.set.rows);
    t->dead_count = t->dead_here = 0;
    for (int k = 0; k < t->sae.neurons; k++) {
        const bool dead = t->silent[k] >= t->options.dead_after;
        t->dead_count += dead;
        if (dead && k >= t->part.first && k < t->part.first + t->part.neurons)
            t->dead_list[t->dead_here++] = k - t->part.first;
    }
    if (t->sums[SAE_THRESHOLD_WEIGHT] > 0)
        t->sae.rule.threshold = t->sums[SAE_THRESHOLD] / t->sums[SAE_THRESHOLD_WEIGHT];
}
