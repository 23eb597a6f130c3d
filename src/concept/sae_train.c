/* Training of the sparse autoencoder: its memory, one epoch, what a checkpoint
 * keeps. A step is in sae_step.c; dead neurons are planted anew by
 * sae_resample.c. */
#include "concept/sae_train.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "concept/sae_state.h"
#include "dist/progress.h"
#include "dist/world.h"

/* Sums that need no other rank go along trees made for this one. */
static struct world alone = { .size = 1 };

/* Floats between rows of the folding stack: whole cache lines. */
static int64_t stack_stride(int64_t count)
{
    return (count + 15) / 16 * 16;
}

int64_t sae_piece_rows(const struct sae_options *options, int64_t train_rows)
{
    int64_t batch = options->batch < train_rows ? options->batch : train_rows;
    int64_t leaf = (batch + options->leaves - 1) / options->leaves;
    return leaf < SAE_ROWS ? leaf : SAE_ROWS;
}

/* Mean per dimension and sum of squared deviations of the evaluation set, two passes. */
static double total_variance(struct sae_trainer *t, struct arena *arena)
{
    struct sae_source *s = &t->eval;
    struct span leaves = tree_leaves(t->tree);
    double *mean = arena_array(arena, double, s->dim), *sum = arena_array(arena, double, s->dim);
    double *part = arena_array(arena, double, (leaves.count + 1) * s->dim), total = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t start = 0; start < s->set.rows; start += t->eval_batch) {
            sae_open_batch(s, NULL, start, s->set.rows - start < t->eval_batch ? s->set.rows - start : t->eval_batch);
            memset(part, 0, (size_t)(leaves.count * s->dim) * sizeof(double));
            for (int l = 0; l < leaves.count; l++) {
                struct span rows = sae_leaf(s, l);
                for (int64_t i = 0; i < rows.count; i++) {
                    sae_copy_rows(t->x, s, rows.first + i, 1);
                    for (int d = 0; d < s->dim; d++)
                        part[l * s->dim + d] += pass == 0 ? (double)t->x[d] : pow((double)t->x[d] - mean[d], 2);
                }
            }
            tree_sum_f64(t->tree, sum, part, s->dim);
            for (int d = 0; d < s->dim; d++) {
                mean[d] += pass == 0 ? sum[d] / (double)s->set.rows : 0;
                total += pass == 1 ? sum[d] : 0;
            }
        }
    }
    return total;
}

/* What trainers of one pass share: rows, and what does not outlast a step, as large as the largest of `count` needs. */
static struct sae_trainer shared_parts(struct arena *arena, struct world *world, const struct sae_options *options,
                                       int dim, const int *neurons, int count, struct sae_set train,
                                       struct sae_set eval)
{
    struct sae_trainer t = { .world = world, .tree = tree_create(arena, world, options->leaves) };
    int most = neurons[0];
    for (int i = 1; i < count; i++)
        most = neurons[i] > most ? neurons[i] : most;
    const int blocks = sae_block_count(most, options->leaves);
    t.batch = options->batch < train.rows ? options->batch : train.rows;
    t.eval_batch = t.batch < eval.rows ? t.batch : eval.rows;
    t.train = sae_source(arena, world, t.tree, train, dim, t.batch, options->resident_bytes);
    t.eval = sae_source(arena, world, t.tree, eval, dim, t.eval_batch, options->resident_bytes);

    int64_t piece = sae_piece_rows(options, train.rows), stride = stack_stride(sae_count(dim, most));
    t.stack = arena_take_raw(arena, (size_t)(tree_depth(t.tree) * stride), sizeof(float));
    memset(t.stack, 0, (size_t)stride * sizeof(float)); /* a rank without leaves never writes it */
    t.work = sae_work(arena, dim, most, piece, tree_create(arena, &alone, blocks));
    t.x = arena_array(arena, float, piece *dim);
    int64_t leaves = tree_leaves(t.tree).count;
    t.leaf = arena_array(arena, struct span, leaves + 1);
    t.leaf_sums = arena_array(arena, double, SAE_LEAF_SUMS *(leaves + 1));
    t.neuron_sums = arena_array(arena, double, blocks *(leaves + 1) * SAE_NEURON_SUMS);
    t.bias_part = arena_array(arena, float, blocks *dim);
    t.norm_part = arena_array(arena, double, blocks);
    t.counts = arena_array(arena, int64_t, world->size);
    t.row_loss = arena_array(arena, double, t.batch);
    t.order = arena_array(arena, int64_t, train.rows);
    t.cumulative = arena_array(arena, double, train.rows);
    t.drawn = arena_array(arena, struct drawn, train.rows);
    t.dead = arena_array(arena, int64_t, most);
    t.picked = arena_array(arena, int64_t, piece);
    t.median = arena_array(arena, float, dim);
    t.median[0] = NAN;
    t.variance = total_variance(&t, arena);
    return t;
}

static bool same_rule(const struct sae_options *a, const struct sae_options *b)
{
    return a->rule.variant == b->rule.variant && sae_prefixes(&a->rule) == sae_prefixes(&b->rule);
}

/* Most neurons, entries and auxiliary neurons among the trainings from `first` on that choose neurons in its way. */
struct most {
    int neurons, aux_k;
    int64_t entries;
};
static struct most most_of(const struct sae_options *options, const int *neurons, int first, int count, int64_t batch,
                           int64_t own, int64_t piece)
{
    struct most m = { 0 };
    for (int i = first; i < count; i++) {
        if (!same_rule(&options[first], &options[i]))
            continue;
        int64_t entries = sae_code_room(&options[i], neurons[i], batch, own, piece);
        int aux = sae_aux_k(&options[i]);
        m.neurons = neurons[i] > m.neurons ? neurons[i] : m.neurons;
        m.aux_k = aux > m.aux_k ? aux : m.aux_k;
        m.entries = entries > m.entries ? entries : m.entries;
    }
    return m;
}
/* The first training that chooses neurons as training i does. */
static int first_alike(const struct sae_options *options, int i)
{
    int first = 0;
    while (!same_rule(&options[first], &options[i]))
        first++;
    return first;
}

/* Rows of a folding stack over all blocks. */
static int block_depth(int neurons, int leaves)
{
    int depth = 1;
    for (int blocks = sae_block_count(neurons, leaves); blocks > 1; blocks /= 2)
        depth++;
    return depth;
}

/* Weights, moments, counts: what outlasts a step. */
static void own_parts(struct sae_trainer *t, struct arena *arena, const struct sae_options *options, int dim,
                      int neurons)
{
    int64_t count = sae_count(dim, neurons);
    t->options = *options;
    t->sae = sae_view(arena_array(arena, float, count), dim, neurons);
    t->moment1 = sae_view(arena_array(arena, float, count), dim, neurons);
    t->moment2 = sae_view(arena_array(arena, float, count), dim, neurons);
    t->stride = stack_stride(count);
    t->history = arena_array(arena, double, (int64_t)options->epochs *SAE_HISTORY);
    t->silent = arena_array(arena, int64_t, neurons);
    t->dead_list = arena_array(arena, int32_t, neurons);
    t->fired = arena_array(arena, int64_t, neurons);
    t->fired_epoch = arena_array(arena, int64_t, neurons);
    t->fired_before = arena_array(arena, int64_t, neurons);
    t->sae.rule = options->rule;
    t->sae.blocks = tree_create(arena, &alone, sae_block_count(neurons, options->leaves));
    t->part = sae_part(&t->sae, t->sae.blocks);
}

void sae_trainers_create(struct sae_trainer **out, struct arena *arena, struct world *world,
                         const struct sae_options *options, int dim, const int *neurons, int count,
                         struct sae_set train, struct sae_set eval)
{
    struct sae_trainer shared = shared_parts(arena, world, options, dim, neurons, count, train, eval);
    int64_t own = sae_own_positions(shared.tree, shared.batch).count, piece = sae_piece_rows(options, train.rows);
    for (int i = 0; i < count; i++) {
        struct sae_trainer *t = out[i] = arena_array(arena, struct sae_trainer, 1);
        int first = first_alike(options, i);
        *t = shared;
        own_parts(t, arena, &options[i], dim, neurons[i]);
        if (first == i) {
            struct most most = most_of(options, neurons, i, count, t->batch, own, piece);
            const struct sae_depths depths = { tree_depth(t->tree), block_depth(most.neurons, options->leaves), 1 };
            t->sparse = sae_sparse(arena, &options[i].rule, &depths, dim, most.neurons, own, most.entries, most.aux_k);
        } else {
            t->sparse = out[first]->sparse;
        }
    }
    for (int i = 0; i < count; i++) {
        sae_sparse_fit(&out[i]->sparse, neurons[i], sae_aux_k(&options[i]));
        sae_first_weights(out[i], arena);
        sae_loaded(out[i]);
    }
}

struct sae_trainer *sae_trainer_create(struct arena *arena, struct world *world, const struct sae_options *options,
                                       int dim, int neurons, struct sae_set train, struct sae_set eval)
{
    struct sae_trainer *t;
    sae_trainers_create(&t, arena, world, options, dim, &neurons, 1, train, eval);
    return t;
}

int64_t sae_trainers_bytes(const struct sae_options *options, int dim, const int *neurons, int count,
                           int64_t train_rows, int64_t eval_rows, int ranks)
{
    int64_t depth = ranks > 1 ? 2 : 1, piece = sae_piece_rows(options, train_rows);
    int64_t row = dim * (int64_t)sizeof(float), bytes = 0;
    for (int leaves = (options->leaves + ranks - 1) / ranks; leaves > 1; leaves = (leaves + 1) / 2)
        depth++;
    int64_t batch = options->batch < train_rows ? options->batch : train_rows, own = (batch + ranks - 1) / ranks;
    int most = 0;
    for (int i = 0; i < count; i++) {
        most = neurons[i] > most ? neurons[i] : most;
        bytes += 3 * 4 * sae_count(dim, neurons[i]) + 36 * (int64_t)neurons[i];
        if (first_alike(options, i) == i) {
            struct most m = most_of(options, neurons, i, count, batch, own, piece);
            if (sae_by_batch(&options[i].rule)) /* of a piece that nothing is dropped from, half is above 0 */
                m.entries -= piece * m.neurons / 2;
            const struct sae_depths depths = { (int)depth, block_depth(m.neurons, options->leaves), 1 };
            bytes += sae_sparse_bytes(&options[i].rule, &depths, dim, m.neurons, own, m.entries, m.aux_k);
        }
    }
    bytes += train_rows * row <= options->resident_bytes ? train_rows * row : (batch / ranks + 1) * row;
    bytes += eval_rows * row <= options->resident_bytes ? eval_rows * row : (batch / ranks + 1) * row;
    const int64_t error = 4 * block_depth(most, options->leaves) * (int64_t)dim;
    return bytes + depth * 4 * sae_count(dim, most) + piece * (8 * (int64_t)most + 8 * dim + error) + train_rows * 32 +
           8 * (int64_t)most;
}

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
    int64_t own = 0;
    for (int leaf = 0; leaf < tree_leaves(t->tree).count; leaf++) {
        struct span rows = sae_leaf(source, leaf);
        double squared = 0, active = 0;
        for (int64_t at = 0; at < rows.count; at += t->work.rows) {
            int64_t n = rows.count - at < t->work.rows ? rows.count - at : t->work.rows;
            sae_copy_rows(t->x, source, rows.first + at, n);
            sae_encode(&t->work, &t->sae, t->x, n);
            sae_decode(&t->work, &t->sae, t->x, n);
            for (int64_t r = 0; r < n; r++) {
                squared += t->work.squared[r];
                active += (double)t->work.active[r];
                if (row_loss)
                    row_loss[own++] = sae_row_loss(&t->work, &t->sae, r, t->options.penalty);
            }
        }
        leaf_sums[2 * leaf] = squared;
        leaf_sums[2 * leaf + 1] = active;
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
    check_ranks(t);
    sae_settle(t);
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
    world_sum_i64(t->world, t->fired, t->sae.neurons);
    for (int k = 0; k < t->sae.neurons; k++) {
        t->fired_epoch[k] += t->fired[k];
        t->fired[k] = 0;
    }
}

void sae_loaded(struct sae_trainer *t)
{
    struct rng rng = { t->options.seed, RNG_SAE_SHUFFLE, (uint32_t)t->at[SAE_EPOCH] };
    sae_close_batch(&t->train);
    rng_permutation(&rng, 0, t->order, t->train.set.rows);
    t->dead_count = 0;
    for (int k = 0; k < t->sae.neurons; k++)
        if (t->silent[k] >= t->options.dead_after)
            t->dead_list[t->dead_count++] = k;
    if (t->sums[SAE_THRESHOLD_WEIGHT] > 0)
        t->sae.rule.threshold = t->sums[SAE_THRESHOLD] / t->sums[SAE_THRESHOLD_WEIGHT];
}
