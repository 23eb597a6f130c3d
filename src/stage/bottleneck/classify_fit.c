/* The dense head of a model: search for C on the validation rows, and logits. */
#include <math.h>
#include <string.h>

#include "concept/score.h"
#include "image/corpus.h"
#include "stage/bottleneck/classify.h"

/* Its square is how far above its minimum an objective may end, as a share of it. */
static const double TOLERANCE = 5e-5;

struct fitting {
    struct classify *task;
    const struct classify_model *model;
    const double *scale; /* [width] of the columns while fitting; NULL = 1 */
    float *logits;       /* [mine.count x C] */
};

void classify_logits(float *logits, const struct classify *t, const struct head *head, const float *x,
                     const float *offset)
{
    int C = head->classes;
    for (int64_t at = 0; at < t->features->mine.count; at += FEATURES_CHUNK) {
        int64_t left = t->features->mine.count - at;
        head_logits(logits + at * C, head, x + at * head->dim, left < FEATURES_CHUNK ? left : FEATURES_CHUNK,
                    t->job->scratch);
    }
    for (int64_t i = 0; i < t->features->mine.count * C && offset; i++)
        logits[i] += offset[i];
}

/* Macro AUROC of the validation rows, whose logits are gathered on every rank. */
static double validate_auroc(const struct classify *t, const float *local_logits, int C)
{
    const struct features *features = t->features;
    struct arena *scratch = t->job->scratch;
    struct arena_mark mark = arena_mark(scratch);
    int64_t n = t->val_rows, local = 0, all = 0;
    float *mine = arena_array(scratch, float, features->mine.count *C), *logits = arena_array(scratch, float, n *C);
    int8_t *labels = arena_array(scratch, int8_t, n * C);
    for (int64_t row = 0; row < features->rows; row++) {
        if (features->split[row] != SPLIT_VAL)
            continue;
        memcpy(labels + all++ * C, features->labels + row * C, (size_t)C);
        int64_t i = row - features->mine.first;
        if (i >= 0 && i < features->mine.count)
            memcpy(mine + local++ * C, local_logits + i * C, (size_t)C * sizeof *mine);
    }
    world_allgather_rows(t->job->world, logits, mine, local, (size_t)C * sizeof *mine);
    double *probability = arena_array(scratch, double, n *C);
    int32_t *predicted = arena_array(scratch, int32_t, n * C);
    double *scores = arena_array(scratch, double, score_count(C));
    score_probability(probability, logits, n, C, true);
    score_predict(predicted, logits, n, C, true);
    struct score_rows rows = { .rows = n,
                               .classes = C,
                               .multi_label = true,
                               .probability = probability,
                               .predicted = predicted,
                               .labels = labels };
    score_compute(scores, score_plan_create(scratch, &rows), NULL);
    double auroc = scores[SCORE_AUROC];
    arena_release(scratch, mark);
    return auroc;
}

static double validate_accuracy(const struct classify *t, const float *local_logits, int C)
{
    const struct features *features = t->features;
    int64_t right = 0;
    for (int64_t i = 0; i < features->mine.count; i++) {
        int64_t row = features->mine.first + i;
        int32_t predicted;
        score_predict(&predicted, local_logits + i * C, 1, C, false);
        right += features->split[row] == SPLIT_VAL && predicted == features->label[row];
    }
    world_sum_i64(t->job->world, &right, 1);
    return (double)right / (double)t->val_rows;
}

double classify_validate(const struct classify *t, const float *logits, int C)
{
    enum phase before = phase_enter(PHASE_EVALUATE);
    double score = t->features->multi_label ? validate_auroc(t, logits, C) : validate_accuracy(t, logits, C);
    phase_enter(before);
    return score;
}

/* A head on scaled columns as one on the columns as they are. */
static struct head unscaled(struct arena *arena, const struct head *head, const double *scale)
{
    struct head out = head_create(arena, head->classes, head->dim);
    memcpy(out.weight, head->weight, (size_t)head->classes * (size_t)(head->dim + 1) * sizeof *out.weight);
    for (int c = 0; c < head->classes && scale; c++)
        for (int d = 0; d < head->dim; d++)
            out.weight[(int64_t)c * head->dim + d] *= scale[d];
    return out;
}

static double validate(void *data, const struct head *head)
{
    const struct fitting *f = data;
    struct arena *scratch = f->task->job->scratch;
    struct arena_mark mark = arena_mark(scratch);
    struct head plain = unscaled(scratch, head, f->scale);
    classify_logits(f->logits, f->task, &plain, f->model->x, f->model->offset);
    double score = classify_validate(f->task, f->logits, head->classes);
    arena_release(scratch, mark);
    return score;
}

/* Divides the training columns by their standard deviation; returns what they were multiplied by. A constant column is
 * left as it is. */
static const double *standardise(struct classify *t, struct head_rows *rows)
{
    int D = rows->dim;
    double *scale = arena_array(t->job->run, double, D);
    for (int d = 0; d < D; d++) {
        double variance = rows->gram[(int64_t)d * D + d] / (double)rows->total;
        scale[d] = variance > 1e-12 * rows->mean[d] * rows->mean[d] ? 1 / sqrt(variance) : 1;
    }
    float *x = arena_take_raw(t->job->run, (size_t)rows->mine.count * (size_t)D, sizeof *x);
    for (int64_t i = 0; i < rows->mine.count * D; i++)
        x[i] = (float)((double)rows->x[i] * scale[i % D]);
    rows->x = x;
    head_rows_prepare(rows, t->job->scratch);
    return scale;
}

struct head_search classify_fit(struct classify *t, struct head *head, float *logits,
                                const struct classify_model *model)
{
    struct job *job = t->job;
    const struct classify_config *config = &job->config->classify;
    struct head_rows *rows = model->rows;
    struct fitting fitting = { .task = t, .model = model, .logits = logits };
    if (model->standardise)
        fitting.scale = standardise(t, rows);
    struct head_search search = { .c = config->c, .score = NAN };
    if (config->search == SEARCH_FIXED) {
        *head = head_create(job->run, t->features->classes, model->width);
        struct head_trial *trial = arena_array(job->run, struct head_trial, 1);
        trial->log10_c = log10(config->c);
        trial->iterations = head_fit(head, rows, config->c, TOLERANCE, config->max_iter, job->scratch);
        trial->score = t->val_rows > 0 ? validate(&fitting, head) : NAN;
        search.score = trial->score;
        search.fits = 1;
        search.trials = trial;
    } else {
        search = (model->smallest ? head_search_smallest : head_search)(head, rows, TOLERANCE, config->max_iter,
                                                                        validate, &fitting, job->run, job->scratch);
    }
    *head = unscaled(job->run, head, fitting.scale);
    classify_logits(logits, t, head, model->x, model->offset);
    return search;
}

void classify_gather(const struct classify *t, float *all, const float *local)
{
    world_allgather_rows(t->job->world, all, local, t->features->mine.count,
                         (size_t)t->features->classes * sizeof *all);
}

float *classify_take_logits(const struct classify *t)
{
    return arena_take_raw(t->job->run, (size_t)t->features->rows * (size_t)t->features->classes, sizeof(float));
}
