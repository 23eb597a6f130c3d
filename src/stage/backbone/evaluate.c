/* The network on rows as they are: validation accuracy and embedding share it. */
#include "stage/backbone/evaluate.h"

#include <string.h>

struct evaluator {
    struct job *job;
    struct corpus *corpus;
    struct loader *loader;
    struct network *net;
    int batch;
    float *images;   /* [batch x 3 x S x S] */
    float *features; /* [batch x D] */
    float *logits;   /* [batch x C] */
    int64_t *rows[SPLITS], counts[SPLITS];
};

struct evaluator *evaluator_create(struct job *job, struct corpus *corpus, struct loader *loader)
{
    const struct config *c = job->config;
    struct evaluator *e = arena_array(job->run, struct evaluator, 1);
    int64_t size = c->image.size;
    struct network_spec spec = { .backbone = zoo_canonical(c->run.backbone, c->run.data),
                                 .classes = corpus->classes,
                                 .image_size = c->image.size,
                                 .batch = c->embed.batch,
                                 .shards = 1,
                                 .loss = corpus->multi_label ? LOSS_BCE : LOSS_CROSS_ENTROPY,
                                 .train = false,
                                 .precision = network_precision(job->world, c->embed.precision == PRECISION_BF16),
                                 .plan_only = job->dry_run,
                                 .seed = job_seed(job) };
    *e = (struct evaluator){ .job = job, .corpus = corpus, .loader = loader, .batch = c->embed.batch };
    e->net = network_create(job->world, job->run, &spec);
    e->images = arena_array(job->run, float, e->batch * 3 * size * size);
    e->features = arena_array(job->run, float, (int64_t)e->batch *network_feature_dim(e->net));
    e->logits = arena_array(job->run, float, (int64_t)e->batch * corpus->classes);
    for (int s = 0; s < SPLITS; s++) {
        e->rows[s] = arena_array(job->run, int64_t, corpus->rows);
        e->counts[s] = corpus_rows_of(corpus, (enum split)s, e->rows[s]);
    }
    return e;
}

struct network *evaluator_network(struct evaluator *evaluator)
{
    return evaluator->net;
}

void evaluator_run(struct evaluator *e, float *features, float *logits, const int64_t *rows, int64_t count)
{
    int64_t pixels = 3 * (int64_t)e->job->config->image.size * e->job->config->image.size;
    enum phase before = phase_enter(PHASE_DECODE);
    loader_fill(e->loader, e->images, rows, count, 0, false);
    memset(e->images + count * pixels, 0, (size_t)((e->batch - count) * pixels) * sizeof(float));
    phase_enter(before);
    network_infer(e->net, e->features, e->logits, e->images);
    if (features)
        memcpy(features, e->features, (size_t)(count * network_feature_dim(e->net)) * sizeof(float));
    if (logits)
        memcpy(logits, e->logits, (size_t)(count * e->corpus->classes) * sizeof(float));
}

void evaluate_target(const struct train_config *config, int8_t state, float *target, float *mask)
{
    bool open = state == LABEL_UNCERTAIN || state == LABEL_BLANK;
    enum label_policy policy = state == LABEL_UNCERTAIN ? config->uncertain : config->blank;
    *target = open ? policy == POLICY_POSITIVE : state == LABEL_POSITIVE;
    *mask = !open || policy != POLICY_IGNORE;
}

static void take_weights(struct network *to, struct network *from)
{
    int64_t weights, buffers;
    float *w = network_weights(to, &weights), *b = network_buffers(to, &buffers);
    memcpy(w, network_weights(from, NULL), (size_t)weights * sizeof(float));
    memcpy(b, network_buffers(from, NULL), (size_t)buffers * sizeof(float));
    network_changed(to);
}

void evaluator_score(const struct evaluator *e, const float *logits, int64_t row, int64_t score[2])
{
    const struct corpus *corpus = e->corpus;
    if (!corpus->multi_label) {
        int best = 0;
        for (int c = 1; c < corpus->classes; c++)
            if (logits[c] > logits[best])
                best = c;
        score[0] += best == corpus->label[row];
        score[1] += 1;
        return;
    }
    for (int c = 0; c < corpus->classes; c++) {
        float target, mask;
        evaluate_target(&e->job->config->train, corpus->labels[row * corpus->classes + c], &target, &mask);
        if (mask > 0) {
            score[0] += (logits[c] > 0) == (target > 0);
            score[1] += 1;
        }
    }
}

double evaluate_accuracy(struct evaluator *e, struct network *net, enum split split)
{
    struct world *world = e->job->world;
    struct span mine = shard_chunks(e->counts[split], e->batch, world->size, world->rank);
    int64_t score[2] = { 0, 0 };
    if (net != e->net)
        take_weights(e->net, net);
    for (int64_t at = mine.first; at < mine.first + mine.count; at += e->batch) {
        int64_t left = mine.first + mine.count - at, count = left < e->batch ? left : e->batch;
        const int64_t *rows = e->rows[split] + at;
        evaluator_run(e, NULL, NULL, rows, count);
        for (int64_t i = 0; i < count; i++)
            evaluator_score(e, e->logits + i * e->corpus->classes, rows[i], score);
    }
    world_sum_i64(world, score, 2);
    return score[1] ? (double)score[0] / (double)score[1] : 0;
}
