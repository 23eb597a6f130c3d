/* cfn cav: one concept activation vector per alive neuron of the sparse
 * autoencoder: which neurons, dealt to the ranks by cost, the examples a fit may
 * take, the summary. The fits are in cav_run.c, the file in cav_write.c.
 * Method: docs/methods/cav.md. */
#include "stage/concepts/cav.h"

#include <math.h>
#include <string.h>

#include "concept/cav_deal.h"
#include "concept/svm.h"
#include "dist/deadline.h"
#include "image/corpus.h"
#include "math/vec.h"

static void find_training_rows(struct cav_task *t)
{
    const struct features *f = t->features;
    t->train = arena_array(t->job->run, int64_t, f->rows);
    t->position = arena_array(t->job->run, int64_t, f->rows);
    for (int64_t row = 0; row < f->rows; row++) {
        t->position[row] = f->split[row] == SPLIT_TRAIN ? t->train_rows : -1;
        if (f->split[row] == SPLIT_TRAIN)
            t->train[t->train_rows++] = row;
    }
    agree(t->job->world, t->train_rows >= 2 * CAV_MIN_EXAMPLES, EXIT_BAD_DATA,
          "cav: %lld training rows, at least %d needed\nthe split is decided by `cfn pack`", (long long)t->train_rows,
          2 * CAV_MIN_EXAMPLES);
}

/* What a fit costs grows with the square of its examples. */
static void deal(struct cav_task *t, const float *rate)
{
    struct arena_mark mark = arena_mark(t->job->scratch);
    double *cost = arena_array(t->job->scratch, double, t->alive_count);
    for (int64_t i = 0; i < t->alive_count; i++) {
        double fires = round((double)rate[t->alive[i]] * (double)t->train_rows);
        double silent = (double)t->train_rows - fires;
        bool few = fires < CAV_MIN_EXAMPLES || silent < CAV_MIN_EXAMPLES;
        cost[i] = few ? 0 : pow(fmin(fires, t->spec.positives) + fmin(silent, t->spec.negatives), 2);
    }
    cav_deal(t->alive, cost, t->alive_count, t->job->scratch);
    arena_release(t->job->scratch, mark);
}

static void find_alive(struct cav_task *t)
{
    struct job *job = t->job;
    float *rate = arena_array(job->run, float, t->codes->neurons);
    store_read_all(t->codes->store, "/fire_rate", rate);
    t->alive = arena_array(job->run, int32_t, t->codes->neurons);
    for (int64_t k = 0; k < t->codes->neurons; k++)
        if (rate[k] > 0)
            t->alive[t->alive_count++] = (int32_t)k;
    deal(t, rate);
    t->mine = shard_rows(t->alive_count, job->world->size, job->world->rank);
    t->state = arena_array(job->run, uint8_t, t->mine.count);
    t->cav = arena_array(job->run, float, t->mine.count * t->spec.dim);
    t->score = arena_array(job->run, struct cav_score, t->mine.count);
}

static const char *identity_of(struct job *job)
{
    struct text id = text_new(job->run);
    text_add(&id, "%sorder=dealt\n", job_identity(job));
    text_add(&id, "embeddings=%s\n", store_checksum(job->world, job->run, job_path(job, "embeddings.h5")));
    text_add(&id, "sae=%s\n", store_checksum(job->world, job->run, job_path(job, "sae.h5")));
    return id.data;
}

static void summarise(const struct cav_task *t, const struct cav_kept *k)
{
    struct job *job = t->job;
    float *accuracy = arena_array(job->run, float, k->total), *pvalue = arena_array(job->run, float, k->total);
    world_allgather_rows(job->world, accuracy, k->accuracy, k->count, sizeof *accuracy);
    world_allgather_rows(job->world, pvalue, k->pvalue, k->count, sizeof *pvalue);
    double *sorted = arena_array(job->run, double, k->total);
    int64_t significant = 0;
    for (int64_t a = 0; a < k->total; a++) {
        sorted[a] = (double)accuracy[a];
        significant += pvalue[a] < 0.05f;
    }
    log_info("cav: %lld vectors from %lld alive neurons; held-out accuracy %.3f (median), %lld with p < 0.05",
             (long long)k->total, (long long)t->alive_count, vec_median(sorted, k->total), (long long)significant);
    if (k->few > 0)
        log_info("cav: %lld neurons left out: fewer than %d activating or silent training images", (long long)k->few,
                 CAV_MIN_EXAMPLES);
    if (k->degenerate > 0)
        log_info("cav: %lld neurons left out: their examples have no separating direction", (long long)k->degenerate);
}

static const enum cav_method methods[] = { [SEPARATOR_SVM] = CAV_SVM,
                                           [SEPARATOR_LOGISTIC] = CAV_LOGISTIC,
                                           [SEPARATOR_MEAN] = CAV_MEAN,
                                           [SEPARATOR_PATTERN] = CAV_PATTERN };

/* No more examples than there are training rows. */
static struct cav_spec spec_of(const struct job *job, int dim, int64_t train_rows)
{
    const struct cav_config *config = &job->config->cav;
    return (struct cav_spec){ .dim = dim,
                              .positives = config->positives < train_rows ? config->positives : (int)train_rows,
                              .negatives = config->negatives < train_rows ? config->negatives : (int)train_rows,
                              .c = config->c,
                              .tolerance = 1e-3, /* as scikit-learn's SVC */
                              .holdout = config->holdout,
                              .random = config->random,
                              .seed = job_seed(job),
                              .method = methods[config->method] };
}

/* The vectors in the order of the file. */
static double vector_bytes(const struct cav_task *t)
{
    return (double)t->mine.count * (4.0 * t->spec.dim + 40);
}

static void plan(const struct cav_task *t)
{
    log_info("cav: %lld alive of %lld neurons, %lld training rows of %d, up to %d + %d examples each",
             (long long)t->alive_count, (long long)t->codes->neurons, (long long)t->train_rows, t->spec.dim,
             t->spec.positives, t->spec.negatives);
}

int stage_cav(struct job *job)
{
    if (!job->dry_run && !job_may_write(job, "cav.h5"))
        return EXIT_DONE;
    job_start(job);
    struct cav_task task = { .job = job, .decoder = job->config->cav.source == VECTORS_DECODER };
    phase_enter(PHASE_READ);
    task.features = features_load(job);
    find_training_rows(&task);
    task.spec = spec_of(job, task.features->dim, task.train_rows);
    task.codes = cav_codes_open(job, task.features, task.position);
    find_alive(&task);
    phase_enter(PHASE_COMPUTE);
    plan(&task);
    if (job->dry_run) {
        log_info("cav: %s per rank", text_bytes(job->run, job_memory(job, cav_fit_bytes(&task) + vector_bytes(&task))));
        log_info("cav: would write %s", job_path(job, "cav.h5"));
        return EXIT_DONE;
    }

    task.identity = identity_of(job);
    if (task.decoder)
        cav_read_decoder(&task);
    cav_resume(&task);
    svm_start();
    if (!cav_fit_all(&task)) {
        log_info("cav: stopped (%s) with a checkpoint; the same command goes on from it", deadline_reason());
        job_done(job);
        return EXIT_STOPPED;
    }
    store_close(task.codes->store);
    struct cav_kept kept = cav_gather(&task);
    agree(job->world, kept.total > 0, EXIT_BAD_DATA,
          "cav: no neuron has %d activating and %d silent training images\n"
          "train the autoencoder longer, or with another sae.l1",
          CAV_MIN_EXAMPLES, CAV_MIN_EXAMPLES);
    phase_count("vectors", (double)kept.count);
    cav_write(&task, &kept);
    summarise(&task, &kept);
    return job_done(job);
}
