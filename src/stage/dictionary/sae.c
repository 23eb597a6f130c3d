/* cfn sae: a sparse autoencoder on the representations of the training images;
 * its neurons are the candidates for concepts. Trains over all ranks
 * (concept/sae_train.h), then measures the model (sae_measure.c) and writes it
 * with the codes of every image (sae_write.c). */
#include "stage/dictionary/sae.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/timer.h"
#include "concept/sae_cost.h"
#include "concept/sae_score.h"
#include "dist/deadline.h"
#include "image/corpus.h"
#include "stage/sae_summary.h"

/* Rows of one split in this rank's block, packed; numbered over all ranks. */
static struct sae_set pack_split(struct job *job, const struct features *f, enum split split)
{
    struct sae_set set = { 0 };
    struct span mine = f->mine;
    for (int64_t i = 0; i < f->rows; i++) {
        bool wanted = f->split[i] == split, own = i >= mine.first && i < mine.first + mine.count;
        set.rows += wanted;
        set.first += wanted && i < mine.first;
        set.mine += wanted && own;
    }
    float *x = arena_take_raw(job->run, (size_t)(set.mine * f->dim + 1), sizeof(float)), *to = x;
    for (int64_t i = 0; i < mine.count; i++)
        if (f->split[mine.first + i] == split) {
            memcpy(to, f->x + i * f->dim, (size_t)f->dim * sizeof(float));
            to += f->dim;
        }
    set.x = x;
    return set;
}

static const char *identity_of(struct sae_stage *s)
{
    struct job *job = s->job;
    struct text id = text_new(job->run);
    text_add(&id, "%s", job_identity(job));
    /* What bf16 became on these processors: weights of the two do not mix. */
    for (int p = 0; p < s->points; p++)
        text_add(&id, "arithmetic=%s\n", s->point[p].options.half ? "bf16" : "fp32");
    text_add(&id, "embeddings=%s\n", store_checksum(job->world, job->run, job_path(job, "embeddings.h5")));
    return id.data;
}

static void setup(struct sae_stage *s, struct job *job)
{
    s->job = job;
    s->features = features_load(job);
    s->train = pack_split(job, s->features, SPLIT_TRAIN);
    s->eval = pack_split(job, s->features, SPLIT_VAL);
    agree(job->world, s->train.rows > 0, EXIT_BAD_DATA, "%s: no row is in the training split\nLook at `cfn audit`.",
          job_path(job, "embeddings.h5"));
    sae_sweep_points(s);
    if (s->config->shards < job->world->size)
        log_warn("sae: %d of %d ranks have no part in a step; set sae.shards to a power of two >= %d",
                 job->world->size - s->config->shards, job->world->size, job->world->size);
    if (s->eval.rows == 0) {
        log_warn("sae: no validation rows; FVU and L0 are those of the training rows");
        s->eval = s->train;
    }
}

/* Settings of all trainings as the trainer takes them. */
static struct sae_options *all_options(const struct sae_stage *s, int *neurons)
{
    struct sae_options *options = arena_array(s->job->run, struct sae_options, s->points);
    for (int p = 0; p < s->points; p++) {
        options[p] = s->point[p].options;
        neurons[p] = s->point[p].neurons;
    }
    return options;
}

/* What a step of all trainings sends when ranks share out rows or neurons. */
static struct sae_traffic traffic(const struct sae_stage *s, enum sae_way way)
{
    int neurons[SWEEP_POINTS];
    const struct sae_options *options = all_options(s, neurons);
    return sae_traffic_of(options, way, s->features->dim, neurons, s->points, s->train.rows, s->job->world->size);
}

/* All trainings go one way: as asked for, or the one that sends less. */
static void choose_way(struct sae_stage *s)
{
    int neurons[SWEEP_POINTS];
    const struct sae_options *options = all_options(s, neurons);
    enum dictionary_parallel asked = s->config->parallel;
    bool half = false;
    for (int p = 0; p < s->points; p++)
        half = half || options[p].half;
    require(
        !half || asked != PARALLEL_FEATURE, EXIT_BAD_CONFIG,
        "sae.parallel: feature needs sae.precision: fp32, found bf16\nproducts in bf16 are made with all neurons on "
        "every rank: leave sae.parallel at auto");
    const enum sae_way way =
        asked == PARALLEL_FEATURE ? SAE_BY_NEURONS
        : asked == PARALLEL_DATA || half
            ? SAE_BY_ROWS
            : sae_cheaper_way(options, s->features->dim, neurons, s->points, s->train.rows, s->job->world->size);
    for (int p = 0; p < s->points; p++)
        s->point[p].options.way = way;
}

static void say_traffic(const struct sae_stage *s)
{
    struct arena *arena = s->job->run;
    const enum sae_way way = s->point[0].options.way;
    const struct sae_traffic t = traffic(s, way), data = traffic(s, SAE_BY_ROWS), feature = traffic(s, SAE_BY_NEURONS);
    if (s->job->world->size == 1)
        return;
    log_info("sae: a rank sends %s a step data-parallel, %s feature-parallel: %s-parallel (sae.parallel: %s)",
             text_bytes(arena, sae_traffic_all(&data)), text_bytes(arena, sae_traffic_all(&feature)),
             way == SAE_BY_NEURONS ? "feature" : "data", config_choice("sae.parallel", (int)s->config->parallel));
    log_info("sae: a rank sends %s a step: sums of %s %s, rows %s, choice of the largest %s",
             text_bytes(arena, sae_traffic_all(&t)), way == SAE_BY_NEURONS ? "reconstructions" : "gradients",
             text_bytes(arena, t.gradients + t.sums), text_bytes(arena, t.rows), text_bytes(arena, t.choice));
}

/* What all trainings take, and then the measuring and repeating of the one that takes most: the same functions as in
 * earnest, in plans. */
static double planned_bytes(struct sae_stage *s)
{
    struct arena *run = arena_plan("sae run"), *scratch = arena_plan("sae scratch");
    const struct sae_repeats repeats = { .count = 1 };
    int neurons[SWEEP_POINTS];
    const struct sae_options *options = all_options(s, neurons);
    sae_trainers_create(s->trainers, run, s->job->world, options, s->features->dim, neurons, s->points, s->train,
                        s->eval);
    s->trainer = s->trainers[0];
    for (int p = 0; p < s->points; p++)
        if (neurons[p] > sae_model(s->trainer)->neurons)
            s->trainer = s->trainers[p];
    s->stability = arena_array(run, double, sae_model(s->trainer)->neurons);
    for (int p = 0; s->config->stability > 0 && p < s->points; p++)
        sae_stability(s->stability, s->trainers[p], scratch, &repeats);
    sae_measure_plan(s, run, scratch);
    const double bytes = (double)(arena_peak_bytes(run) + arena_peak_bytes(scratch));
    sae_trainers_end(s->trainers, s->points);
    arena_destroy(run);
    arena_destroy(scratch);
    return bytes;
}

static int dry_run(struct sae_stage *s)
{
    struct arena *arena = s->job->run;
    int D = s->features->dim, batch = s->point[0].options.batch;
    int64_t steps = (s->train.rows + batch - 1) / batch;
    for (int p = 0; p < s->points; p++)
        log_info("sae: %s%s%d neurons", s->point[p].name, s->points > 1 ? ": " : "", s->point[p].neurons);
    log_info("sae: %lld training rows of %d values, %lld steps of %d rows per epoch, %d epochs",
             (long long)s->train.rows, D, (long long)steps, batch, s->config->epochs);
    log_info("sae: %s per rank%s", text_bytes(arena, job_memory(s->job, planned_bytes(s))),
             s->points > 1 ? ", for all trainings together" : "");
    say_traffic(s);
    log_info("sae: would write %s", job_path(s->job, "sae.h5"));
    return EXIT_DONE;
}

/* The state of all trainings; returns how many fields. */
static int all_fields(struct sae_stage *s, struct checkpoint_field *fields)
{
    int count = 0;
    for (int p = 0; p < s->points; p++) {
        int own = sae_fields(s->trainers[p], fields + count);
        for (int f = count; s->points > 1 && f < count + own; f++)
            fields[f].name = arena_printf(s->job->scratch, "training%d_%s", p + 1, fields[f].name);
        count += own;
    }
    return count;
}

static void save(struct sae_stage *s)
{
    struct checkpoint_field fields[SWEEP_POINTS * SAE_FIELDS];
    struct arena_mark mark = arena_mark(s->job->scratch);
    double begin = timer_seconds();
    enum phase before = phase_enter(PHASE_CHECKPOINT);
    for (int p = 0; p < s->points; p++)
        sae_settle(s->trainers[p]);
    int count = all_fields(s, fields);
    int64_t step = sae_epoch(s->trainer) * s->train.rows + sae_rows_done(s->trainer);
    checkpoint_save(s->job->world, job_path(s->job, "checkpoints"), "sae", step, s->identity, fields, count);
    arena_release(s->job->scratch, mark);
    phase_enter(before);
    s->last_save = timer_seconds();
    s->save_seconds = s->last_save - begin;
}

static void resume(struct sae_stage *s)
{
    struct checkpoint_field fields[SWEEP_POINTS * SAE_FIELDS];
    struct arena_mark mark = arena_mark(s->job->scratch);
    const char *dir = job_path(s->job, "checkpoints");
    if (s->job->force)
        checkpoint_clear(s->job->world, dir, "sae");
    int count = all_fields(s, fields);
    bool found = checkpoint_load(s->job->world, dir, "sae", s->identity, fields, count) >= 0;
    arena_release(s->job->scratch, mark);
    if (!found)
        return;
    for (int p = 0; p < s->points; p++)
        sae_loaded(s->trainers[p]);
    log_info("sae: going on from epoch %d, row %lld of it", sae_epoch(s->trainer) + 1,
             (long long)sae_rows_done(s->trainer));
}

/* True when the job has to end now, with a checkpoint written. At the end of an epoch also saves by time. */
static bool stop_now(struct sae_stage *s, bool epoch_end)
{
    bool due = epoch_end && job_checkpoint_due(s->job, s->last_save);
    bool stop = deadline_reached(s->job->world, s->step_seconds, 3 * s->save_seconds + 5);
    if (due || stop)
        save(s);
    return stop;
}

static void say(const struct sae_stage *s, double loss)
{
    char detail[96];
    double n = (double)s->train.rows, done = sae_epoch(s->trainer) * n + (double)sae_rows_done(s->trainer);
    if (s->points > 1)
        snprintf(detail, sizeof detail, "epoch %d/%d of %d trainings", sae_epoch(s->trainer) + 1, s->config->epochs,
                 s->points);
    else
        snprintf(detail, sizeof detail, "epoch %d/%d loss %.5f", sae_epoch(s->trainer) + 1, s->config->epochs, loss);
    progress("sae", detail, done, n * s->config->epochs, "row");
}

/* Trains to the end of an epoch; false when the job has to stop. */
static bool train_epoch(struct sae_stage *s)
{
    while (!sae_epoch_done(s->trainer)) {
        double begin = timer_seconds();
        double loss = 0;
        for (int p = 0; p < s->points; p++) {
            const bool there = !sae_lost(s->trainers[p]);
            loss = sae_step(s->trainers[p]);
            if (there && sae_lost(s->trainers[p]) && s->job->world->rank == 0)
                log_warn("sae: %s given up in epoch %d: loss or gradient not finite", s->point[p].name,
                         sae_epoch(s->trainer) + 1);
        }
        say(s, loss);
        s->step_seconds = fmax(timer_seconds() - begin, 0.9 * s->step_seconds);
        if (!sae_epoch_done(s->trainer) && stop_now(s, false))
            return false;
    }
    return true;
}

static void say_products(const struct sae_stage *s)
{
    for (int p = 0; p < s->points; p++)
        if (!sae_by_count(&s->point[p].options.rule))
            log_info("sae: %s%sproducts over active neurons only once fewer than %.0f of %d are active in a batch",
                     s->point[p].name, s->points > 1 ? ": " : "",
                     s->point[p].neurons /
                         sae_sparse_share(&s->point[p].options, s->point[p].neurons, s->point[p].neurons),
                     s->point[p].neurons);
}

/* True when all epochs are done. */
static bool train(struct sae_stage *s)
{
    struct sae_metrics metrics[SWEEP_POINTS];
    int neurons[SWEEP_POINTS];
    double begin, rows = 0, flops = 0;
    bool go = true;
    const struct sae_options *options = all_options(s, neurons);
    sae_trainers_create(s->trainers, s->job->run, s->job->world, options, s->features->dim, neurons, s->points,
                        s->train, s->eval);
    s->trainer = s->trainers[0];
    s->identity = identity_of(s);
    s->last_save = timer_seconds();
    resume(s);
    say_products(s);
    say_traffic(s);
    begin = timer_seconds();
    while (go && sae_epoch(s->trainer) < s->config->epochs) {
        rows -= (double)sae_rows_done(s->trainer);
        go = train_epoch(s);
        rows += (double)sae_rows_done(s->trainer);
        if (!go)
            break;
        sae_end_epochs(metrics, s->trainers, s->points);
        sae_sweep_say(s, metrics);
        go = sae_epoch(s->trainer) == s->config->epochs || !stop_now(s, true);
    }
    progress_end();
    for (int p = 0; p < s->points; p++)
        flops += sae_gemm_flops(s->trainers[p]);
    const struct sae_traffic data = traffic(s, SAE_BY_ROWS), feature = traffic(s, SAE_BY_NEURONS);
    const bool by_neurons = s->point[0].options.way == SAE_BY_NEURONS;
    phase_count("step_bytes", sae_traffic_all(by_neurons ? &feature : &data) / s->job->world->size);
    phase_count("step_bytes_data", sae_traffic_all(&data) / s->job->world->size);
    phase_count("step_bytes_feature", sae_traffic_all(&feature) / s->job->world->size);
    phase_count("rows", rows / s->job->world->size);
    phase_count("gemm_flops", flops);
    if (rows > 0)
        log_info("sae: %.0f rows in %.1f s (%.0f row/s)", rows, timer_seconds() - begin,
                 rows / (timer_seconds() - begin));
    return go;
}

static bool stop_repeat(void *data)
{
    const struct sae_stage *s = data;
    return deadline_reached(s->job->world, s->step_seconds, 3 * s->save_seconds + 5);
}

/* Trains again with other seeds; false when the job has to stop, with a checkpoint of the training itself. */
static bool repeat(struct sae_stage *s)
{
    const struct sae_repeats repeats = { s->config->stability, stop_repeat, s };
    s->stability = arena_array(s->job->run, double, s->neurons);
    for (int k = 0; k < s->neurons; k++)
        s->stability[k] = NAN;
    if (repeats.count == 0)
        return true;
    log_info("sae: training again with %d other seeds, for the stability of neurons", repeats.count);
    if (sae_stability(s->stability, s->trainer, s->job->scratch, &repeats))
        return true;
    save(s);
    return false;
}

int stage_sae(struct job *job)
{
    struct sae_stage s = { 0 };
    if (!job->dry_run && !job_may_write(job, "sae.h5"))
        return EXIT_DONE;
    job_start(job);
    setup(&s, job);
    choose_way(&s);
    if (job->dry_run)
        return dry_run(&s);
    bool whole = train(&s);
    if (whole) {
        sae_sweep_choose(&s);
        whole = repeat(&s);
    }
    if (!whole) {
        log_info("sae: stopped (%s) with a checkpoint; the same command goes on from it", deadline_reason());
        job_done(job);
        return EXIT_STOPPED;
    }
    sae_trainers_end(s.trainers, s.points);
    sae_measure(&s);
    sae_write(&s);
    log_info("sae: FVU %s, L0 %.1f of %d neurons, %.1f %% dead, %.1f %% dense",
             isnan(s.fvu) ? "undefined" : arena_printf(job->run, "%.4f", s.fvu), s.l0, s.neurons, 100 * s.dead,
             100 * s.dense);
    const char *warning = sae_warning(job->run, s.fvu, s.dead);
    if (*warning)
        log_warn("sae: %s", warning);
    log_info("sae: monosemanticity %.3f, nearest direction of another neuron at cosine %.3f (means)",
             s.mean_monosemanticity, s.coherence);
    if (s.config->stability > 0)
        log_info("sae: stability %.3f: mean cosine to the matched neurons of %d trainings with other seeds",
                 s.mean_stability, s.config->stability);
    return job_done(job);
}
