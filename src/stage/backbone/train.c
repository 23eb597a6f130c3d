/* cfn train: the opaque model, data-parallel.
 *
 * Published recipe (FACTS in docs/methods/train.md): AdamW, constant rate,
 * drop_last, augmented images, the epoch with the best validation accuracy is
 * kept. Everything that varies is keyed by (seed, epoch, global row), so the
 * weights are the same bits at any rank count and after any resume. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "base/timer.h"
#include "dist/deadline.h"
#include "dist/tree.h"
#include "image/corpus.h"
#include "image/loader.h"
#include "math/adam.h"
#include "stage/backbone/backbone.h"
#include "stage/backbone/evaluate.h"
#include "stage/backbone/keep.h"
#include "stage/backbone/weights.h"
#include "stage/preprocess.h"
#include "store/checkpoint.h"

struct trainer {
    struct job *job;
    const struct train_config *config;
    struct store *store; /* corpus.h5 */
    struct corpus *corpus;
    struct loader *loader;
    struct preprocess view;
    struct network *net;
    struct evaluator *evaluator;
    struct adam adam;
    struct rng shuffle;
    const char *identity;                       /* what a checkpoint belongs to */
    int64_t *rows, *order;                      /* [train rows] global rows, and their order in this epoch */
    int64_t train_rows, validation_rows, steps; /* steps of one epoch; the last rows are dropped */
    struct span leaves;                         /* this rank's shards */
    int64_t shard_rows;
    enum value_type precision;
    float *images, *targets, *mask; /* this rank's part of a batch */
    int32_t *labels;
    int64_t *batch_rows;
    float *best_weights, *best_buffers;
    int64_t weights_count, buffers_count;
    struct history history;
    double progress[6]; /* epoch, step in it, loss sum, right, best accuracy, best epoch: what a checkpoint keeps */
    double last_save, step_seconds, save_seconds;
    const char *no_validation; /* why the validation split cannot choose an epoch: the last is kept; NULL: it can */
};
enum { AT_EPOCH, AT_STEP, LOSS_SUM, RIGHT, BEST, BEST_EPOCH };

/* Labels of this rank's rows: class indices, or targets with the policy for uncertain and blank ones. */
static void fill_labels(struct trainer *t, int64_t count)
{
    const struct corpus *corpus = t->corpus;
    for (int64_t i = 0; i < count; i++) {
        int64_t row = t->batch_rows[i];
        if (!corpus->multi_label) {
            t->labels[i] = corpus->label[row];
            continue;
        }
        for (int c = 0; c < corpus->classes; c++) {
            int64_t at = i * corpus->classes + c;
            evaluate_target(t->config, corpus->labels[row * corpus->classes + c], &t->targets[at], &t->mask[at]);
        }
    }
}

/* Learning rate of step `step` (from 0) of the whole run. */
static double learning_rate(const struct trainer *t, int64_t step)
{
    if (t->config->schedule == SCHEDULE_CONSTANT)
        return t->config->lr;
    return 0.5 * t->config->lr * (1 + cos(M_PI * (double)step / (double)(t->steps * t->config->epochs)));
}

/* One optimiser step on batch `step` of the epoch. */
static void train_step(struct trainer *t, int epoch, int64_t step)
{
    int64_t count = t->leaves.count * t->shard_rows;
    int64_t first = step * t->config->batch + t->leaves.first * t->shard_rows;
    for (int64_t i = 0; i < count; i++)
        t->batch_rows[i] = t->rows[t->order[first + i]];
    enum phase before = phase_enter(PHASE_DECODE);
    loader_fill(t->loader, t->images, t->batch_rows, count, epoch, t->config->augment == AUGMENTATION_PUBLISHED);
    fill_labels(t, count);
    phase_enter(before);

    int64_t right = 0;
    bool multi = t->corpus->multi_label;
    struct network_batch batch = { .images = t->images,
                                   .labels = multi ? NULL : t->labels,
                                   .targets = multi ? t->targets : NULL,
                                   .mask = multi ? t->mask : NULL,
                                   .rows = t->batch_rows,
                                   .epoch = epoch };
    double loss = network_gradient(t->net, &batch, &right);
    t->adam.lr = learning_rate(t, epoch * t->steps + step);
    network_update(t->net, &t->adam, epoch * t->steps + step + 1);
    t->progress[LOSS_SUM] += loss;
    t->progress[RIGHT] += (double)right;
}

/* All ranks must hold the same weights: a silent difference would spoil days of work. */
static void check_ranks(struct trainer *t)
{
    struct world *world = t->job->world;
    if (world->size == 1)
        return;
    network_sync(t->net);
    const float *weights = network_weights(t->net, NULL);
    agree(world, world_same_bits(world, weights, (size_t)t->weights_count * sizeof *weights), EXIT_INTERNAL,
          "train: weights differ from those of rank 0 at epoch %.0f step %.0f\n"
          "A node may be faulty; --resume goes on from the last checkpoint.",
          t->progress[AT_EPOCH] + 1, t->progress[AT_STEP] + 1);
}

static int checkpoint_fields(struct trainer *t, struct checkpoint_field *f)
{
    int64_t w = t->weights_count, b = t->buffers_count, epochs = t->config->epochs;
    struct checkpoint_field fields[] = {
        { "weights", STORE_F32, network_weights(t->net, NULL), w },
        { "buffers", STORE_F32, network_buffers(t->net, NULL), b },
        { "moment1", STORE_F32, network_moment1(t->net), w },
        { "moment2", STORE_F32, network_moment2(t->net), w },
        { "best_weights", STORE_F32, t->best_weights, w },
        { "best_buffers", STORE_F32, t->best_buffers, b },
        { "loss", STORE_F64, t->history.loss, epochs },
        { "train_accuracy", STORE_F64, t->history.train_accuracy, epochs },
        { "val_accuracy", STORE_F64, t->history.val_accuracy, epochs },
        { "progress", STORE_F64, t->progress, 6 },
    };
    memcpy(f, fields, sizeof fields);
    return (int)(sizeof fields / sizeof fields[0]);
}

static void save(struct trainer *t)
{
    struct checkpoint_field fields[16];
    double begin = timer_seconds();
    enum phase before = phase_enter(PHASE_CHECKPOINT);
    network_sync(t->net);
    int count = checkpoint_fields(t, fields);
    int64_t step = (int64_t)(t->progress[AT_EPOCH] * (double)t->steps + t->progress[AT_STEP]);
    checkpoint_save(t->job->world, job_path(t->job, "checkpoints"), "train", step, t->identity, fields, count);
    phase_enter(before);
    t->last_save = timer_seconds();
    t->save_seconds = t->last_save - begin;
}

static void resume(struct trainer *t)
{
    struct checkpoint_field fields[16];
    int count = checkpoint_fields(t, fields);
    int64_t step = checkpoint_load(t->job->world, job_path(t->job, "checkpoints"), "train", t->identity, fields, count);
    if (step < 0)
        return;
    network_changed(t->net);
    log_info("train: going on from epoch %.0f step %.0f/%lld", t->progress[AT_EPOCH] + 1, t->progress[AT_STEP],
             (long long)t->steps);
}

/* True when the job has to end now, with a checkpoint written. */
static bool stop_now(struct trainer *t)
{
    bool due = job_checkpoint_due(t->job, t->last_save);
    bool stop = deadline_reached(t->job->world, t->step_seconds, 3 * t->save_seconds + 5);
    if (due || stop)
        save(t);
    return stop;
}

static void say(const struct trainer *t, double loss)
{
    char detail[128];
    snprintf(detail, sizeof detail, "epoch %.0f/%d step %.0f/%lld loss %.4f", t->progress[AT_EPOCH] + 1,
             t->config->epochs, t->progress[AT_STEP], (long long)t->steps, loss);
    double done = t->progress[AT_EPOCH] * (double)t->steps + t->progress[AT_STEP];
    progress("train", detail, done * t->config->batch, (double)(t->steps * t->config->epochs * t->config->batch),
             "img");
}

/* The steps of one epoch from where it stands; false when the job has to stop. */
static bool train_epoch(struct trainer *t)
{
    int epoch = (int)t->progress[AT_EPOCH];
    t->shuffle.epoch = (uint32_t)epoch;
    rng_permutation(&t->shuffle, 0, t->order, t->train_rows);
    while ((int64_t)t->progress[AT_STEP] < t->steps) {
        double begin = timer_seconds(), loss_before = t->progress[LOSS_SUM];
        train_step(t, epoch, (int64_t)t->progress[AT_STEP]);
        int64_t step = (int64_t)++t->progress[AT_STEP];
        if (t->config->check_every > 0 && step % t->config->check_every == 0)
            check_ranks(t);
        say(t, t->progress[LOSS_SUM] - loss_before);
        t->step_seconds = fmax(timer_seconds() - begin, 0.9 * t->step_seconds);
        if (step < t->steps && stop_now(t))
            return false;
    }
    return true;
}

/* Validation, and the best weights so far: the first maximum is kept, or the last epoch where validation cannot say. */
static void end_epoch(struct trainer *t)
{
    int epoch = (int)t->progress[AT_EPOCH];
    double seen = (double)(t->steps * t->config->batch) * (t->corpus->multi_label ? t->corpus->classes : 1);
    enum phase before = phase_enter(PHASE_EVALUATE);
    network_sync(t->net);
    double accuracy = t->validation_rows ? evaluate_accuracy(t->evaluator, t->net, SPLIT_VAL) : (double)NAN;
    phase_enter(before);
    t->history.loss[epoch] = t->progress[LOSS_SUM] / (double)t->steps;
    t->history.train_accuracy[epoch] = t->progress[RIGHT] / seen;
    t->history.val_accuracy[epoch] = accuracy;
    if (t->no_validation || accuracy > t->progress[BEST]) {
        t->progress[BEST] = accuracy;
        t->progress[BEST_EPOCH] = epoch + 1;
        memcpy(t->best_weights, network_weights(t->net, NULL), (size_t)t->weights_count * sizeof(float));
        memcpy(t->best_buffers, network_buffers(t->net, NULL), (size_t)t->buffers_count * sizeof(float));
    }
    progress_end();
    const char *val = t->validation_rows ? arena_printf(t->job->run, "%.4f", accuracy) : "-";
    log_info("train epoch %d/%d loss %.4f accuracy %.4f val %s%s", epoch + 1, t->config->epochs, t->history.loss[epoch],
             t->history.train_accuracy[epoch], val,
             !t->no_validation && (int)t->progress[BEST_EPOCH] == epoch + 1 ? " (best)" : "");
    t->progress[AT_EPOCH] += 1;
    t->progress[AT_STEP] = t->progress[LOSS_SUM] = t->progress[RIGHT] = 0;
}

static const char *identity_of(struct job *job, const struct corpus *corpus, enum value_type precision)
{
    struct text id = text_new(job->run);
    text_add(&id, "%s", job_identity(job));
    /* What bf16 became on these processors: weights of the two do not mix. */
    text_add(&id, "arithmetic=%s\n", value_type_name(precision));
    const char *weights = job->config->train.weights;
    if (*weights)
        text_add(&id, "checksum of train.weights=%s\n", store_checksum(job->world, job->run, weights));
    text_add(&id, "classes=%d\nrows=%lld\ncorpus=%s\n", corpus->classes, (long long)corpus->rows,
             store_checksum(job->world, job->run, job_path(job, "corpus.h5")));
    return id.data;
}

static void make_buffers(struct trainer *t)
{
    struct arena *arena = t->job->run;
    int64_t count = t->leaves.count * t->shard_rows, size = t->job->config->image.size;
    int64_t values = count * t->corpus->classes;
    t->batch_rows = arena_array(arena, int64_t, count);
    t->labels = arena_array(arena, int32_t, count);
    t->images = arena_take_raw(arena, (size_t)(count * 3 * size * size), sizeof(float));
    t->targets = arena_array(arena, float, values);
    t->mask = arena_array(arena, float, values);
    t->best_weights = arena_array(arena, float, t->weights_count);
    t->best_buffers = arena_array(arena, float, t->buffers_count);
    t->history.loss = arena_array(arena, double, t->config->epochs);
    t->history.train_accuracy = arena_array(arena, double, t->config->epochs);
    t->history.val_accuracy = arena_array(arena, double, t->config->epochs);
}

static struct network *make_network(struct trainer *t)
{
    const struct config *c = t->job->config;
    struct network_spec spec = { .backbone = zoo_canonical(c->run.backbone, c->run.data),
                                 .classes = t->corpus->classes,
                                 .image_size = c->image.size,
                                 .batch = c->train.batch,
                                 .shards = c->train.shards,
                                 .loss = t->corpus->multi_label ? LOSS_BCE : LOSS_CROSS_ENTROPY,
                                 .train = true,
                                 .precision = t->precision,
                                 .checkpoint = c->train.checkpoint_activations,
                                 .local_batchnorm = c->train.batchnorm == BATCHNORM_SHARD,
                                 .fast_reduction = c->train.reduction == REDUCTION_FAST,
                                 .plan_only = t->job->dry_run,
                                 .seed = job_seed(t->job) };
    struct network *net = network_create(t->job->world, t->job->run, &spec);
    const char *weights = c->train.weights;
    if (*weights && weights_is_foreign(weights)) {
        backbone_import(t->job, net, weights, spec.backbone, spec.image_size);
    } else if (*weights) {
        struct store *start = store_open(t->job->world, t->job->run, job_input_file(t->job, weights));
        preprocess_compare(t->job, start, &t->view);
        backbone_read(net, start, true);
        store_close(start);
    }
    return net;
}

/* What keeps the validation split from choosing an epoch: it is empty, or lacks a class that is trained. */
static const char *look_at_validation(struct trainer *t)
{
    const struct corpus *corpus = t->corpus;
    int64_t *seen = arena_array(t->job->run, int64_t, SPLITS * corpus->classes);
    for (int64_t i = 0; i < corpus->rows; i++) {
        t->validation_rows += corpus->split[i] == SPLIT_VAL;
        if (!corpus->multi_label)
            seen[corpus->split[i] * corpus->classes + corpus->label[i]]++;
    }
    if (t->validation_rows == 0)
        return "there is no validation image";
    for (int c = 0; c < corpus->classes; c++)
        if (seen[SPLIT_TRAIN * corpus->classes + c] > 0 && seen[SPLIT_VAL * corpus->classes + c] == 0)
            return arena_printf(t->job->run, "the validation split has no image of class '%s'", corpus->class_names[c]);
    return NULL;
}

static void setup(struct trainer *t, struct job *job)
{
    const struct train_config *c = &job->config->train;
    struct store *store = job_open(job, "corpus.h5", "pack");
    t->job = job;
    t->store = store;
    t->config = c;
    t->corpus = corpus_load(store, job->run);
    t->rows = arena_array(job->run, int64_t, t->corpus->rows);
    t->order = arena_array(job->run, int64_t, t->corpus->rows);
    t->train_rows = corpus_rows_of(t->corpus, SPLIT_TRAIN, t->rows);
    t->steps = t->train_rows / c->batch;
    agree(job->world, t->steps > 0, EXIT_BAD_CONFIG,
          "train.batch: %d is more than the %lld training images of %s\nUse a smaller batch.", c->batch,
          (long long)t->train_rows, store_path(store));
    t->no_validation = look_at_validation(t);
    agree(job->world, !t->no_validation || c->validation != VALIDATION_REQUIRE, EXIT_BAD_DATA,
          "%s: %s\ntrain.validation: warn keeps the last epoch instead of the best one", store_path(store),
          t->no_validation ? t->no_validation : "");
    if (t->no_validation)
        log_warn("train: %s: the last epoch is kept, not the best one", t->no_validation);
    t->view = preprocess_configured(job);
    t->loader = (job->dry_run ? loader_plan : loader_open)(store, job->run, &t->view, job_seed(job));
    t->precision = network_precision(job->world, c->precision == PRECISION_BF16);
    t->net = make_network(t);
    network_weights(t->net, &t->weights_count);
    network_buffers(t->net, &t->buffers_count);
    t->leaves = tree_leaves(network_tree(t->net));
    t->shard_rows = network_shard_rows(t->net);
    t->adam = (struct adam){ c->lr, 0.9, 0.999, 1e-8, c->weight_decay };
    t->shuffle = (struct rng){ job_seed(job), RNG_SHUFFLE, 0 };
    t->evaluator = evaluator_create(job, t->corpus, t->loader);
    t->progress[BEST] = -1;
    t->last_save = timer_seconds();
    make_buffers(t);
    if (!job->dry_run)
        t->identity = identity_of(job, t->corpus, t->precision);
}

static int dry_run(const struct trainer *t)
{
    double moments = 2.0 * sizeof(float) * (double)t->weights_count; /* plain twins, made for checkpoints */
    double loading = (double)loader_bytes(t->loader, t->leaves.count * t->shard_rows);
    double summing = (double)tree_scratch_bytes(network_tree(t->net), t->weights_count);
    double libraries = 12e6; /* what HDF5, MPI and oneDNN take in a run: 8 to 17 MB were measured */
    double memory = job_memory(t->job, moments + loading + summing + libraries);
    store_close(t->store);
    log_info("train: %lld images, %lld steps per epoch, %d epochs", (long long)t->train_rows, (long long)t->steps,
             t->config->epochs);
    log_info("train: %s per rank (%s of it the network), %s per allreduce of gradients",
             text_bytes(t->job->run, memory), text_bytes(t->job->run, (double)network_bytes(t->net)),
             text_bytes(t->job->run, 4.0 * (double)t->weights_count));
    log_info("train: would write %s", job_path(t->job, "backbone.h5"));
    return EXIT_DONE;
}

static void write_backbone(struct trainer *t)
{
    memcpy(network_weights(t->net, NULL), t->best_weights, (size_t)t->weights_count * sizeof(float));
    memcpy(network_buffers(t->net, NULL), t->best_buffers, (size_t)t->buffers_count * sizeof(float));
    network_changed(t->net);
    t->history.epochs = t->config->epochs;
    backbone_write(t->job, t->net, &t->view, &t->history, t->progress[BEST], (int)t->progress[BEST_EPOCH],
                   t->corpus->multi_label);
    checkpoint_clear(t->job->world, job_path(t->job, "checkpoints"), "train");
}

int stage_train(struct job *job)
{
    struct trainer t = { 0 };
    if (!job->dry_run && !job_may_write(job, "backbone.h5"))
        return EXIT_DONE;
    job_start(job);
    if (job->config->train.epochs == 0)
        return train_keep(job);
    setup(&t, job);
    if (job->dry_run)
        return dry_run(&t);
    if (job->force)
        checkpoint_clear(job->world, job_path(job, "checkpoints"), "train");
    resume(&t);
    double first = t.progress[AT_EPOCH] * (double)t.steps + t.progress[AT_STEP];
    while ((int)t.progress[AT_EPOCH] < t.config->epochs) {
        if (!train_epoch(&t))
            break;
        end_epoch(&t);
        if ((int)t.progress[AT_EPOCH] < t.config->epochs && stop_now(&t))
            break;
    }
    store_close(t.store);
    const char *slow = network_slow_node(t.net, job->run);
    if (slow)
        log_info("train: %s", slow);
    double images = (double)t.config->batch * ((double)t.steps * t.progress[AT_EPOCH] + t.progress[AT_STEP] - first);
    phase_count("images", images / job->world->size); /* counts add up over ranks */
    if ((int)t.progress[AT_EPOCH] < t.config->epochs) {
        log_info("train: stopped (%s) with a checkpoint; the same command with --resume goes on", deadline_reason());
        job_done(job);
        return EXIT_STOPPED;
    }
    write_backbone(&t);
    if (t.no_validation)
        log_info("train: epoch %.0f is kept, the last one", t.progress[BEST_EPOCH]);
    else
        log_info("train: best validation accuracy %.4f at epoch %.0f", t.progress[BEST], t.progress[BEST_EPOCH]);
    return job_done(job);
}
