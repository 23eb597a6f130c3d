/* cfn embed: the representation and the logits of every image of the corpus,
 * in corpus row order. Ranks share the rows in whole inference batches and
 * write blocks of them, so memory stays bounded at any corpus size. */
#include <string.h>

#include "base/timer.h"
#include "stage/backbone/backbone.h"
#include "stage/backbone/evaluate.h"
#include "stage/preprocess.h"

enum { BLOCK_BATCHES = 32 }; /* inference batches of one write */

struct block {
    float *features, *logits;
    int64_t *rows;
    int64_t score[2]; /* right and counted predictions of the backbone's own head on validation rows */
};

static struct store *create(struct job *job, const struct corpus *corpus, int dim)
{
    static const struct layout layout[] = {
        { "/features", STORE_F32, "N,D", "1", "representation of each image, corpus row order", NULL, false },
        { "/logits", STORE_F32, "N,C", "1", "output of the backbone's own head", NULL, false },
        { "/split", STORE_U8, "N", "1", "0 train, 1 val, 2 test", NULL, false },
        { "/label", STORE_I32, "N", "1", "class index", NULL, false },
        { "/labels", STORE_I8, "N,L", "1", "1 positive, 0 negative, -1 uncertain, -2 blank", NULL, false },
    };
    struct extent sizes[] = { { "N", corpus->rows }, { "D", dim }, { "C", corpus->classes }, { "L", corpus->classes } };
    struct layout chosen[4];
    memcpy(chosen, layout, sizeof chosen);
    if (corpus->multi_label)
        chosen[3] = layout[4];
    return job_create(job, "embeddings.h5", chosen, 4, sizes, 4);
}

/* Embeds and writes rows first..first+count-1 of this rank (count may be 0: the write is collective). */
static void embed_block(struct evaluator *e, struct store *store, struct block *b, int64_t first, int64_t count,
                        const uint8_t *split, int batch, int dim, int classes)
{
    for (int64_t at = 0; at < count; at += batch) {
        int64_t n = count - at < batch ? count - at : batch;
        for (int64_t i = 0; i < n; i++)
            b->rows[i] = first + at + i;
        evaluator_run(e, b->features + at * dim, b->logits + at * classes, b->rows, n);
        for (int64_t i = 0; i < n; i++)
            if (split[b->rows[i]] == SPLIT_VAL)
                evaluator_score(e, b->logits + (at + i) * classes, b->rows[i], b->score);
    }
    enum phase before = phase_enter(PHASE_WRITE);
    store_write_rows(store, "/features", first, count, b->features);
    store_write_rows(store, "/logits", first, count, b->logits);
    phase_enter(before);
}

static void embed_all(struct job *job, struct evaluator *e, struct store *store, const struct corpus *corpus)
{
    int batch = job->config->embed.batch, dim = network_feature_dim(evaluator_network(e));
    int64_t step = (int64_t)batch * BLOCK_BATCHES;
    struct span mine = shard_chunks(corpus->rows, batch, job->world->size, job->world->rank);
    struct block b = { arena_array(job->run, float, step *dim),
                       arena_array(job->run, float, step * corpus->classes),
                       arena_array(job->run, int64_t, batch),
                       { 0, 0 } };
    double blocks = (double)((mine.count + step - 1) / step); /* the same number of writes on every rank */
    world_max_f64(job->world, &blocks, 1);
    enum phase before = phase_enter(PHASE_FORWARD);
    for (int64_t k = 0; k < (int64_t)blocks; k++) {
        int64_t done = k * step < mine.count ? k * step : mine.count;
        int64_t count = mine.count - done < step ? mine.count - done : step;
        embed_block(e, store, &b, mine.first + done, count, corpus->split, batch, dim, corpus->classes);
        progress("embed", "", (double)(done + count) * job->world->size, (double)corpus->rows, "img");
    }
    progress_end();
    world_sum_i64(job->world, b.score, 2);
    if (b.score[1] > 0)
        log_info("embed: accuracy of the backbone on the validation split %.4f",
                 (double)b.score[0] / (double)b.score[1]);
    phase_enter(before);
}

static void check_backbone(struct job *job, struct store *backbone, const struct corpus *corpus)
{
    int64_t classes = 0, size = 0;
    bool known = store_get_i64(backbone, "/", "classes", &classes) && store_get_i64(backbone, "/", "image_size", &size);
    agree(job->world, !known || classes > 0, EXIT_BAD_DATA, "%s: it has no head: train it, or import a model with one",
          store_path(backbone));
    require(known && classes == corpus->classes && size == job->config->image.size, EXIT_BAD_DATA,
            "%s: trained for %lld classes at %lld pixels, but the corpus has %d and image.size is %d\n"
            "Train again on this corpus, or set image.size as it was.",
            store_path(backbone), (long long)classes, (long long)size, corpus->classes, job->config->image.size);
}

static int dry_run(struct job *job, const struct corpus *corpus, const struct loader *loader, int dim)
{
    int batch = job->config->embed.batch;
    int64_t mine = shard_chunks(corpus->rows, batch, job->world->size, job->world->rank).count;
    int64_t step = mine < (int64_t)batch * BLOCK_BATCHES ? mine : (int64_t)batch * BLOCK_BATCHES;
    double block = (double)(step * (dim + corpus->classes)) * sizeof(float);
    double memory = job_memory(job, block + (double)loader_bytes(loader, batch));
    log_info("embed: %lld images, %d values each, %s per rank", (long long)corpus->rows, dim,
             text_bytes(job->run, memory));
    log_info("embed: would write %s", job_path(job, "embeddings.h5"));
    return EXIT_DONE;
}

int stage_embed(struct job *job)
{
    if (!job->dry_run && !job_may_write(job, "embeddings.h5"))
        return EXIT_DONE;
    job_start(job);
    struct store *store = job_open(job, "corpus.h5", "pack"), *backbone = job_open(job, "backbone.h5", "train");
    struct corpus *corpus = corpus_load(store, job->run);
    check_backbone(job, backbone, corpus);
    struct preprocess view = preprocess_of_model(job, backbone, true);
    struct loader *loader = (job->dry_run ? loader_plan : loader_open)(store, job->run, &view, job_seed(job));
    struct evaluator *e = evaluator_create(job, corpus, loader);
    backbone_read(evaluator_network(e), backbone, false);
    store_close(backbone);
    if (job->dry_run)
        return dry_run(job, corpus, loader, network_feature_dim(evaluator_network(e)));
    double begin = timer_seconds();
    struct store *out = create(job, corpus, network_feature_dim(evaluator_network(e)));
    store_set_texts(out, "/", "class_names", corpus->class_names, corpus->classes);
    preprocess_write(job, out, &view);
    embed_all(job, e, out, corpus);
    if (corpus->multi_label)
        store_write_all(out, "/labels", corpus->labels);
    else
        store_write_all(out, "/label", corpus->label);
    store_write_all(out, "/split", corpus->split);
    store_close(store);
    job_publish(job, out);
    double seconds = timer_seconds() - begin;
    phase_count("images", (double)corpus->rows / job->world->size);
    log_info("embed: %lld images in %.1f s (%.0f img/s)", (long long)corpus->rows, seconds,
             (double)corpus->rows / seconds);
    return job_done(job);
}
