/* cfn sae: a sparse autoencoder on the representations of the training images;
 * its neurons are the candidates for concepts. Trains over all ranks
 * (concept/sae_train.h), then writes the model and the codes of every image:
 * once over the rows to count and rank, once more to write, so that memory
 * does not grow with the number of nonzeros. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/timer.h"
#include "concept/sae_codes.h"
#include "concept/sae_score.h"
#include "concept/sae_train.h"
#include "dist/deadline.h"
#include "image/corpus.h"
#include "stage/features.h"

enum { RESIDENT_BYTES = 1 << 30, BLOCK_CHUNKS = 16, SAID_EPOCHS = 20 };

struct sae_stage {
    struct job *job;
    const struct sae_config *config;
    const struct features *features;
    struct sae_options options;
    struct sae_set train, eval;
    struct sae_trainer *trainer;
    int neurons;
    const char *identity;
    double last_save, step_seconds, save_seconds;
    /* After training. */
    struct sae_census *census;
    bool *is_train;  /* [own rows] */
    int64_t *active; /* [own rows] entries of each row's code */
    struct sae_work work;
    double fvu, l0, dead, dense;
    double *monosemanticity, *nearest, *stability; /* [K] */
    double mean_monosemanticity, coherence, mean_stability;
};

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
    text_add(&id, "seed=%s\ntrial=%s\n", config_value(job->run, job->config, "seed"),
             config_value(job->run, job->config, "trial"));
    text_add(&id, "%s", config_section_text(job->run, job->config, "sae"));
    text_add(&id, "embeddings=%s\n", store_checksum(job->world, job->run, job_path(job, "embeddings.h5")));
    return id.data;
}

static struct sae_options options_of(const struct sae_config *c, uint64_t seed)
{
    static const char *const names[] = { "relu", "topk", "batchtopk", "jumprelu", "matryoshka" };
    static const char *const starts[] = { "published", "tied", "data" };
    struct sae_options o = { .lr = c->lr,
                             .warmup = c->warmup,
                             .penalty_warmup = c->l1_warmup,
                             .clip = c->clip,
                             .aux_k = c->aux_k,
                             .dead_after = c->dead_after,
                             .aux_weight = c->aux_weight,
                             .threshold_decay = c->threshold_decay,
                             .first_threshold = c->threshold,
                             .epochs = c->epochs,
                             .resample_every = c->resample_every,
                             .resample_scale = c->resample_scale,
                             .leaves = c->shards,
                             .seed = seed,
                             .resident_bytes = RESIDENT_BYTES };
    o.rule = (struct sae_rule){ .k = c->k, .prefixes = c->prefixes, .bandwidth = c->bandwidth };
    for (int v = 0; v < (int)(sizeof names / sizeof *names); v++)
        if (strcmp(c->variant, names[v]) == 0)
            o.rule.variant = (enum sae_variant)v;
    const bool relu = o.rule.variant == SAE_RELU;
    o.penalty = o.rule.variant == SAE_JUMPRELU ? c->l0 : c->l1;
    o.start = relu ? SAE_START_PUBLISHED : SAE_START_TIED;
    for (int i = 0; i < (int)(sizeof starts / sizeof *starts); i++)
        if (strcmp(c->init, starts[i]) == 0)
            o.start = (enum sae_start)i;
    o.median = strcmp(c->bias, "median") == 0 || (strcmp(c->bias, "auto") == 0 && !relu);
    return o;
}

/* Settings that follow the data where the configuration leaves them open (docs/methods/sae.md, "Settings"): as
 * published for relu and jumprelu. The topk family gets neurons that can fire on FIRES training images each on average,
 * and batches small enough for BATCHES steps an epoch. */
enum { PUBLISHED_BATCH = 4096, LEAST_BATCH = 128, BATCHES = 8, FIRES = 128 };
static const double FAMILY_DECAY = 0.2;

static int neurons_of(const struct sae_config *c, const struct sae_rule *rule, int dim, int64_t rows)
{
    int64_t most = (int64_t)c->expansion * dim;
    if (c->neurons > 0)
        return c->neurons;
    if (sae_by_count(rule) && rows * rule->k / FIRES < most)
        most = rows * rule->k / FIRES > rule->k ? rows * rule->k / FIRES : rule->k;
    return (int)most;
}

/* A power of two. */
static int batch_of(const struct sae_config *c, const struct sae_rule *rule, int64_t rows)
{
    int batch = LEAST_BATCH;
    if (c->batch > 0)
        return c->batch;
    while (batch < PUBLISHED_BATCH && (!sae_by_count(rule) || 2 * batch * (int64_t)BATCHES <= rows))
        batch *= 2;
    return batch;
}

static void setup(struct sae_stage *s, struct job *job)
{
    const struct sae_config *c = &job->config->sae;
    s->job = job;
    s->config = c;
    s->features = features_load(job);
    s->options = options_of(c, job_seed(job));
    s->train = pack_split(job, s->features, SPLIT_TRAIN);
    s->neurons = neurons_of(c, &s->options.rule, s->features->dim, s->train.rows);
    s->options.batch = batch_of(c, &s->options.rule, s->train.rows);
    s->options.decay = c->decay >= 0 ? c->decay : sae_by_count(&s->options.rule) ? FAMILY_DECAY : 0;
    agree(job->world, c->k <= s->neurons, EXIT_BAD_CONFIG,
          "sae.k: expected at most the %d neurons there are, found %d\nLower sae.k, or raise sae.expansion.",
          s->neurons, c->k);
    s->eval = pack_split(job, s->features, SPLIT_VAL);
    agree(job->world, s->train.rows > 0, EXIT_BAD_DATA, "%s: no row is in the training split\nLook at `cfn audit`.",
          job_path(job, "embeddings.h5"));
    if (c->shards < job->world->size)
        log_warn("sae: %d of %d ranks have no part in a step; set sae.shards to a power of two >= %d",
                 job->world->size - c->shards, job->world->size, job->world->size);
    if (s->eval.rows == 0) {
        log_warn("sae: no validation rows; FVU and L0 are those of the training rows");
        s->eval = s->train;
    }
}

static int dry_run(const struct sae_stage *s)
{
    struct arena *arena = s->job->run;
    int D = s->features->dim, K = s->neurons;
    int64_t steps = (s->train.rows + s->options.batch - 1) / s->options.batch;
    log_info("sae: %lld training rows of %d values, %d neurons, %lld steps of %d rows per epoch, %d epochs",
             (long long)s->train.rows, D, K, (long long)steps, s->options.batch, s->config->epochs);
    log_info("sae: %s per rank, %s per allreduce of gradients",
             text_bytes(arena,
                        (double)sae_trainer_bytes(&s->options, D, K, s->train.rows, s->eval.rows, s->job->world->size)),
             text_bytes(arena, 4.0 * (double)sae_count(D, K)));
    log_info("sae: would write %s", job_path(s->job, "sae.h5"));
    return EXIT_DONE;
}

static void save(struct sae_stage *s)
{
    struct checkpoint_field fields[SAE_FIELDS];
    double begin = timer_seconds();
    enum phase before = phase_enter(PHASE_CHECKPOINT);
    sae_settle(s->trainer);
    int count = sae_fields(s->trainer, fields);
    int64_t step = sae_epoch(s->trainer) * s->train.rows + sae_rows_done(s->trainer);
    checkpoint_save(s->job->world, job_path(s->job, "checkpoints"), "sae", step, s->identity, fields, count);
    phase_enter(before);
    s->last_save = timer_seconds();
    s->save_seconds = s->last_save - begin;
}

static void resume(struct sae_stage *s)
{
    struct checkpoint_field fields[SAE_FIELDS];
    const char *dir = job_path(s->job, "checkpoints");
    if (s->job->force)
        checkpoint_clear(s->job->world, dir, "sae");
    int count = sae_fields(s->trainer, fields);
    if (checkpoint_load(s->job->world, dir, "sae", s->identity, fields, count) < 0)
        return;
    sae_loaded(s->trainer);
    log_info("sae: going on from epoch %d, row %lld of it", sae_epoch(s->trainer) + 1,
             (long long)sae_rows_done(s->trainer));
}

/* True when the job has to end now, with a checkpoint written. At the end of an epoch also saves by time. */
static bool stop_now(struct sae_stage *s, bool epoch_end)
{
    bool due = epoch_end && timer_seconds() - s->last_save > 60.0 * s->job->config->train.checkpoint_minutes;
    if (epoch_end)
        world_broadcast(s->job->world, &due, sizeof due, 0);
    bool stop = deadline_reached(s->job->world, s->step_seconds, 3 * s->save_seconds + 5);
    if (due || stop)
        save(s);
    return stop;
}

static void say(const struct sae_stage *s, double loss)
{
    char detail[96];
    double n = (double)s->train.rows, done = sae_epoch(s->trainer) * n + (double)sae_rows_done(s->trainer);
    snprintf(detail, sizeof detail, "epoch %d/%d loss %.5f", sae_epoch(s->trainer) + 1, s->config->epochs, loss);
    progress("sae", detail, done, n * s->config->epochs, "row");
}

/* Trains to the end of an epoch; false when the job has to stop. */
static bool train_epoch(struct sae_stage *s)
{
    while (!sae_epoch_done(s->trainer)) {
        double begin = timer_seconds();
        double loss = sae_step(s->trainer);
        say(s, loss);
        s->step_seconds = fmax(timer_seconds() - begin, 0.9 * s->step_seconds);
        if (!sae_epoch_done(s->trainer) && stop_now(s, false))
            return false;
    }
    return true;
}

static void say_epoch(const struct sae_stage *s, const struct sae_metrics *m)
{
    int every = s->config->epochs / SAID_EPOCHS;
    if (m->epoch != s->config->epochs && m->resampled == 0 && every > 0 && m->epoch % every != 0)
        return;
    char resampled[64] = "";
    if (m->resampled > 0)
        snprintf(resampled, sizeof resampled, " resampled %d", m->resampled);
    progress_end();
    log_info("sae epoch %d/%d loss %.5f fvu %.4f l0 %.1f dead %.1f %% dense %.1f %%%s", m->epoch, s->config->epochs,
             m->train_loss, m->fvu, m->l0, 100 * m->dead, 100 * m->dense, resampled);
}

/* True when all epochs are done. */
static bool train(struct sae_stage *s)
{
    s->trainer =
        sae_trainer_create(s->job->run, s->job->world, &s->options, s->features->dim, s->neurons, s->train, s->eval);
    s->identity = identity_of(s);
    s->last_save = timer_seconds();
    resume(s);
    if (!sae_by_count(&s->options.rule))
        log_info("sae: products over active neurons only once fewer than %.0f of %d are active in a batch",
                 s->neurons / sae_sparse_share(s->neurons, s->neurons), s->neurons);
    double begin = timer_seconds(), rows = 0;
    bool go = true;
    while (go && sae_epoch(s->trainer) < s->config->epochs) {
        rows -= (double)sae_rows_done(s->trainer);
        go = train_epoch(s);
        rows += (double)sae_rows_done(s->trainer);
        if (!go)
            break;
        struct sae_metrics m = sae_end_epoch(s->trainer);
        say_epoch(s, &m);
        go = sae_epoch(s->trainer) == s->config->epochs || !stop_now(s, true);
    }
    progress_end();
    phase_count("rows", rows / s->job->world->size);
    phase_count("gemm_flops", 10 * rows * s->neurons * s->features->dim / s->job->world->size);
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

/* Activations of one chunk of this rank's rows, chunk by chunk of FEATURES_CHUNK; returns its rows. */
static int64_t encode_chunk(struct sae_stage *s, int64_t at)
{
    int64_t left = s->features->mine.count - at, n = left < FEATURES_CHUNK ? left : FEATURES_CHUNK;
    sae_encode(&s->work, sae_model(s->trainer), s->features->x + at * s->features->dim, n);
    return n;
}

/* First pass over all rows: counts, most exciting images, and the metrics that follow from them. */
static void take_census(struct sae_stage *s)
{
    struct job *job = s->job;
    const struct features *f = s->features;
    enum phase before = phase_enter(PHASE_EVALUATE);
    s->census = sae_census_create(job->run, s->neurons, s->config->top);
    s->is_train = arena_array(job->run, bool, f->mine.count + 1);
    s->active = arena_array(job->run, int64_t, f->mine.count + 1);
    s->work = sae_work(job->run, f->dim, s->neurons, FEATURES_CHUNK);
    for (int64_t i = 0; i < f->mine.count; i++)
        s->is_train[i] = f->split[f->mine.first + i] == SPLIT_TRAIN;
    for (int64_t at = 0; at < f->mine.count; at += FEATURES_CHUNK) {
        int64_t n = encode_chunk(s, at);
        sae_census_add(s->census, s->active + at, s->work.f, s->is_train + at, f->mine.first + at, n);
    }
    sae_census_merge(s->census, job->world, job->scratch, s->train.rows);

    int dead = 0, dense = 0;
    for (int k = 0; k < s->neurons; k++) {
        dead += s->census->fired[k] == 0;
        dense += 10 * s->census->fired[k] > s->train.rows;
    }
    s->dead = (double)dead / s->neurons;
    s->dense = (double)dense / s->neurons;
    sae_evaluate(s->trainer, &s->fvu, &s->l0);
    phase_enter(before);
}

/* Scores of neurons; their means over neurons that fire. */
static void score(struct sae_stage *s)
{
    struct job *job = s->job;
    int scored = 0, alive = 0;
    s->monosemanticity = arena_array(job->run, double, s->neurons);
    s->nearest = arena_array(job->run, double, s->neurons);
    sae_monosemanticity(s->monosemanticity, s->trainer, job->scratch);
    sae_coherence(s->nearest, job->world, job->scratch, sae_model(s->trainer)->decoder, s->census->fired, s->neurons,
                  s->features->dim);
    for (int k = 0; k < s->neurons; k++) {
        if (isfinite(s->monosemanticity[k])) {
            s->mean_monosemanticity += s->monosemanticity[k];
            scored++;
        }
        s->coherence += s->nearest[k];
        alive += s->census->fired[k] > 0;
        s->mean_stability += s->census->fired[k] > 0 ? s->stability[k] : 0;
    }
    s->mean_monosemanticity = scored > 0 ? s->mean_monosemanticity / scored : 0;
    s->coherence = alive > 0 ? s->coherence / alive : 0;
    s->mean_stability = alive > 0 ? s->mean_stability / alive : 0;
}

static struct store *create(struct sae_stage *s, int64_t entries)
{
    static const struct layout layout[] = {
        { "/encoder", STORE_F32, "K,D", "1", "encoder weights, one row per neuron", NULL, false },
        { "/encoder_bias", STORE_F32, "K", "1", "encoder bias", NULL, false },
        { "/decoder", STORE_F32, "K,D", "1", "decoder directions, unit rows", NULL, false },
        { "/bias", STORE_F32, "D", "1", "bias taken off before encoding and added after decoding", NULL, false },
        { "/threshold", STORE_F32, "K", "1", "a neuron is active above it; topk: the k largest of an image above 0",
          NULL, false },
        { "/monosemanticity", STORE_F64, "K", "1",
          "mean cosine of pairs of training images weighted by activation; NaN where there is no pair", NULL, false },
        { "/nearest_cosine", STORE_F64, "K", "1", "largest |cosine| to the direction of another neuron that fires",
          NULL, false },
        { "/stability", STORE_F64, "K", "1",
          "mean cosine to the neuron matched one to one in trainings with other seeds; "
          "NaN without them",
          NULL, false },
        { "/history/loss", STORE_F64, "epochs", "1", "mean loss of the epoch", NULL, false },
        { "/history/fvu", STORE_F64, "epochs", "1", "fraction of variance unexplained, validation", NULL, false },
        { "/history/l0", STORE_F64, "epochs", "1", "active neurons per validation image", NULL, false },
        { "/history/dead", STORE_F64, "epochs", "1", "share of neurons that never fired in the epoch", NULL, false },
        { "/history/dense", STORE_F64, "epochs", "1", "share that fired on more than 10 % of its images", NULL, false },
        { "/fire_rate", STORE_F32, "K", "1", "share of training images in which the neuron is active", NULL, false },
        { "/mean_activation", STORE_F32, "K", "1", "mean activation over all training images, zeros included", NULL,
          false },
        { "/codes/indptr", STORE_I64, "N+1", "1", "entries of image i are indptr[i] .. indptr[i+1]-1", NULL, false },
        { "/codes/index", STORE_I32, "entries", "1", "neuron of each entry, rising within an image", NULL, false },
        { "/codes/value", STORE_F32, "entries", "1", "activation of each entry, > 0", NULL, false },
        { "/top/index", STORE_I64, "K,T", "1",
          "images of any split that excite the neuron most, strongest first; -1 = no more", NULL, false },
        { "/top/value", STORE_F32, "K,T", "1", "their activations; 0 where index is -1", NULL, false },
    };
    const struct extent sizes[] = {
        { "K", s->neurons },    { "D", s->features->dim }, { "N+1", s->features->rows + 1 },
        { "entries", entries }, { "T", s->config->top },   { "epochs", s->config->epochs }
    };
    return job_create(s->job, "sae.h5", layout, sizeof layout / sizeof layout[0], sizes,
                      sizeof sizes / sizeof sizes[0]);
}

/* Entries of all rows before this rank's block, and of all rows. */
static int64_t entries_before(struct sae_stage *s, int64_t *all)
{
    int64_t mine = 0, before = 0;
    for (int64_t i = 0; i < s->features->mine.count; i++)
        mine += s->active[i];
    int64_t *counts = arena_array(s->job->run, int64_t, s->job->world->size);
    world_allgather_rows(s->job->world, counts, &mine, 1, sizeof mine);
    *all = 0;
    for (int r = 0; r < s->job->world->size; r++) {
        before += r < s->job->world->rank ? counts[r] : 0;
        *all += counts[r];
    }
    return before;
}

/* Row pointers of this rank's rows; the rank of the last row adds the end. */
static void write_indptr(struct sae_stage *s, struct store *store, int64_t before)
{
    struct span mine = s->features->mine;
    int64_t *indptr = arena_array(s->job->run, int64_t, mine.count + 1), n = mine.count;
    indptr[0] = before;
    for (int64_t i = 0; i < mine.count; i++)
        indptr[i + 1] = indptr[i] + s->active[i];
    if (mine.count > 0 && mine.first + mine.count == s->features->rows)
        n++;
    store_write_rows(store, "/codes/indptr", mine.first, n, indptr);
}

static int64_t block_entries(const struct sae_stage *s, int64_t at, int64_t rows)
{
    int64_t sum = 0;
    for (int64_t i = at; i < at + rows && i < s->features->mine.count; i++)
        sum += s->active[i];
    return sum;
}

/* Second pass: encodes again and writes, a block of chunks at a time; the same number of writes on every rank. */
static void write_codes(struct sae_stage *s, struct store *store, int64_t before)
{
    struct job *job = s->job;
    int64_t step = BLOCK_CHUNKS * FEATURES_CHUNK, rows = s->features->mine.count, most = 0;
    double blocks = (double)((rows + step - 1) / step);
    for (int64_t at = 0; at < rows; at += step)
        most = block_entries(s, at, step) > most ? block_entries(s, at, step) : most;
    int32_t *index = arena_take_raw(job->run, (size_t)most + 1, sizeof(int32_t));
    float *value = arena_take_raw(job->run, (size_t)most + 1, sizeof(float));
    world_max_f64(job->world, &blocks, 1);
    for (int64_t b = 0; b < (int64_t)blocks; b++) {
        int64_t entries = 0, expected = block_entries(s, b * step, step);
        for (int64_t at = b * step; at < rows && at < (b + 1) * step; at += FEATURES_CHUNK) {
            int64_t n = encode_chunk(s, at);
            sae_census_total(s->census, s->work.f, s->is_train + at, n);
            if (entries + block_entries(s, at, n) <= expected)
                entries += sae_compress(index + entries, value + entries, s->work.f, n, s->neurons);
        }
        require(entries == expected, EXIT_INTERNAL, "sae: codes of one row differ between two passes");
        enum phase phase = phase_enter(PHASE_WRITE);
        store_write_rows(store, "/codes/index", before, entries, index);
        store_write_rows(store, "/codes/value", before, entries, value);
        phase_enter(phase);
        before += entries;
    }
}

static void write_model(struct sae_stage *s, struct store *store)
{
    const struct sae *sae = sae_model(s->trainer);
    struct sae_census *c = s->census;
    float *rate = arena_array(s->job->run, float, s->neurons), *mean = arena_array(s->job->run, float, s->neurons);
    world_sum_i64(s->job->world, c->total, s->neurons);
    for (int k = 0; k < s->neurons; k++) {
        rate[k] = (float)((double)c->fired[k] / (double)s->train.rows);
        mean[k] = (float)((double)c->total[k] / c->scale / (double)s->train.rows);
    }
    store_write_all(store, "/encoder", sae->encoder);
    store_write_all(store, "/encoder_bias", sae->encoder_bias);
    store_write_all(store, "/decoder", sae->decoder);
    store_write_all(store, "/bias", sae->bias);
    store_write_all(store, "/fire_rate", rate);
    store_write_all(store, "/mean_activation", mean);
    store_write_all(store, "/top/index", c->top_index);
    store_write_all(store, "/top/value", c->top_value);
}

static void write_scores(struct sae_stage *s, struct store *store)
{
    static const char *const names[SAE_HISTORY] = { "/history/loss", "/history/fvu", "/history/l0", "/history/dead",
                                                    "/history/dense" };
    const struct sae *sae = sae_model(s->trainer);
    double *column = arena_array(s->job->run, double, s->config->epochs);
    float *threshold = arena_array(s->job->run, float, s->neurons);
    for (int c = 0; c < SAE_HISTORY; c++) {
        for (int e = 0; e < s->config->epochs; e++)
            column[e] = sae_history(s->trainer)[e * SAE_HISTORY + c];
        store_write_all(store, names[c], column);
    }
    for (int k = 0; k < s->neurons; k++)
        threshold[k] = sae_by_batch(&sae->rule)            ? (float)sae->rule.threshold
                       : sae->rule.variant == SAE_JUMPRELU ? expf(sae->log_threshold[k])
                                                           : 0;
    store_write_all(store, "/threshold", threshold);
    store_write_all(store, "/monosemanticity", s->monosemanticity);
    store_write_all(store, "/nearest_cosine", s->nearest);
    store_write_all(store, "/stability", s->stability);
    store_set_i64(store, "/", "k", s->config->k);
    store_set_f64(store, "/", "monosemanticity", s->mean_monosemanticity);
    store_set_f64(store, "/", "coherence", s->coherence);
    if (s->config->stability > 0)
        store_set_f64(store, "/", "stability", s->mean_stability);
}

static void write_all(struct sae_stage *s)
{
    static const char *const inputs[] = { "embeddings.h5" };
    struct job *job = s->job;
    int64_t entries, before = entries_before(s, &entries);
    enum phase phase = phase_enter(PHASE_WRITE);
    struct store *store = create(s, entries);
    write_indptr(s, store, before);
    phase_enter(PHASE_EVALUATE);
    write_codes(s, store, before);
    phase_enter(PHASE_WRITE);
    write_model(s, store);
    write_scores(s, store);
    store_set_text(store, "/", "variant", s->config->variant);
    store_set_text(store, "/", "evaluated_on", s->eval.x == s->train.x ? "train" : "val");
    store_set_f64(store, "/", "fvu_val", s->fvu);
    store_set_f64(store, "/", "l0_val", s->l0);
    store_set_f64(store, "/", "dead", s->dead);
    store_set_f64(store, "/", "dense", s->dense);
    job_publish(job, store, "sae", inputs, 1);
    checkpoint_clear(job->world, job_path(job, "checkpoints"), "sae");
    phase_enter(phase);
}

int stage_sae(struct job *job)
{
    struct sae_stage s = { 0 };
    if (!job->dry_run && !job_may_write(job, "sae.h5"))
        return EXIT_DONE;
    phase_start("sae");
    setup(&s, job);
    if (job->dry_run)
        return dry_run(&s);
    if (!train(&s) || !repeat(&s)) {
        log_info("sae: stopped (%s) with a checkpoint; the same command goes on from it", deadline_reason());
        job_done(job);
        return EXIT_STOPPED;
    }
    take_census(&s);
    score(&s);
    write_all(&s);
    log_info("sae: FVU %.4f, L0 %.1f of %d neurons, %.1f %% dead, %.1f %% dense", s.fvu, s.l0, s.neurons, 100 * s.dead,
             100 * s.dense);
    log_info("sae: monosemanticity %.3f, nearest direction of another neuron at cosine %.3f (means)",
             s.mean_monosemanticity, s.coherence);
    if (s.config->stability > 0)
        log_info("sae: stability %.3f: mean cosine to the matched neurons of %d trainings with other seeds",
                 s.mean_stability, s.config->stability);
    return job_done(job);
}
