/* The hybrid head (Yuksekgonul, Wang & Zou, ICLR 2023): the head on concepts
 * stays as it is, and a second one on what the concepts do not explain of the
 * representation is fitted with the first one's logits as a fixed offset.
 * Method and the share reported: docs/methods/classify.md. */
#include <math.h>
#include <string.h>

#include "image/corpus.h"
#include "report/json.h"
#include "stage/classify.h"

static const enum split MEASURED[2] = { SPLIT_VAL, SPLIT_TEST };

/* x [mine.count x D] = representation - what its code rebuilds. */
static void subtract_rebuilt(float *x, const struct classify *t, const struct classify_codes *codes)
{
    const struct features *f = t->features;
    int D = f->dim;
    double *row = arena_array(t->job->scratch, double, D);
    for (int64_t i = 0; i < f->mine.count; i++) {
        for (int d = 0; d < D; d++)
            row[d] = (double)f->x[i * D + d] - codes->constant[i];
        for (int s = 0; s < t->S && codes->atom[i * t->S + s] >= 0; s++) {
            const float *atom = t->atoms + (int64_t)codes->atom[i * t->S + s] * D;
            double value = codes->value[i * t->S + s];
            for (int d = 0; d < D; d++)
                row[d] -= value * (double)atom[d];
        }
        for (int d = 0; d < D; d++)
            x[i * D + d] = (float)row[d];
    }
}

struct classify_residual *classify_residual_fit(struct classify *t, const struct classify_codes *codes,
                                                const float *concepts)
{
    const struct features *f = t->features;
    struct arena *run = t->job->run;
    int64_t entries = f->mine.count * f->classes;
    struct classify_residual *r = arena_array(run, struct classify_residual, 1);
    struct arena_mark mark = arena_mark(t->job->scratch);
    float *x = arena_take_raw(run, (size_t)f->mine.count * (size_t)f->dim, sizeof *x);
    subtract_rebuilt(x, t, codes);
    arena_release(t->job->scratch, mark);
    r->local = arena_array(run, float, entries);
    r->hybrid_local = arena_array(run, float, entries);
    struct classify_model model = { .x = x, .width = f->dim, .offset = concepts, .smallest = true };
    model.rows = classify_rows(t, x, f->dim, concepts);
    r->search = classify_fit(t, &r->head, r->hybrid_local, &model);
    classify_logits(r->local, t, &r->head, x, NULL);
    r->part = classify_take_logits(t);
    r->hybrid = classify_take_logits(t);
    classify_gather(t, r->part, r->local);
    classify_gather(t, r->hybrid, r->hybrid_local);
    log_info("classify: residual: C = %.3g, validation %s %.4f", r->search.c, f->multi_label ? "AUROC" : "accuracy",
             r->search.score);
    return r;
}

/* ---- what it carries ---- */

/* Mean over the training rows of each class's logit [C]. */
static void training_mean(double *mean, const struct classify *t, const float *logits)
{
    int C = t->features->classes;
    memset(mean, 0, (size_t)C * sizeof *mean);
    for (int64_t i = 0; i < t->train_rows; i++)
        for (int c = 0; c < C; c++)
            mean[c] += (double)logits[t->train[i] * C + c] / (double)t->train_rows;
}

/* Sum of |logit - its training mean| of one row; one label per image: of what differs between classes. */
static double size_of(const float *logits, const double *mean, int C, bool multi_label)
{
    double middle = 0, sum = 0;
    for (int c = 0; c < C && !multi_label; c++)
        middle += ((double)logits[c] - mean[c]) / C;
    for (int c = 0; c < C; c++)
        sum += fabs((double)logits[c] - mean[c] - middle);
    return sum;
}

/* The answer of a row differs: class, or any finding. */
static bool differs(const float *a, const float *b, int C, bool multi_label)
{
    int best_a = 0, best_b = 0;
    bool other = false;
    for (int c = 0; c < C; c++) {
        best_a = a[c] > a[best_a] ? c : best_a;
        best_b = b[c] > b[best_b] ? c : best_b;
        other |= (a[c] > 0) != (b[c] > 0);
    }
    return multi_label ? other : best_a != best_b;
}

struct carried {
    double concepts, residual; /* mean |part of a logit| */
    double changed;            /* share of images answered otherwise than by the concepts alone */
    double score[2];           /* concepts, hybrid */
};

static struct carried measure(const struct classify_residual_report *r, enum split split)
{
    const struct classify *t = r->task;
    const struct features *f = t->features;
    int C = f->classes;
    struct arena_mark mark = arena_mark(t->job->scratch);
    double *first = arena_array(t->job->scratch, double, C), *second = arena_array(t->job->scratch, double, C);
    training_mean(first, t, r->concepts);
    training_mean(second, t, r->residual->part);
    struct carried out = { 0 };
    double n = 0;
    for (int64_t row = 0; row < f->rows; row++) {
        if (f->split[row] != split)
            continue;
        const float *concepts = r->concepts + row * C;
        n += 1;
        out.concepts += size_of(concepts, first, C, f->multi_label);
        out.residual += size_of(r->residual->part + row * C, second, C, f->multi_label);
        out.changed += differs(concepts, r->residual->hybrid + row * C, C, f->multi_label);
    }
    out.concepts /= n * C;
    out.residual /= n * C;
    out.changed /= n;
    out.score[0] = metrics_main(t->job, f, r->concepts, split);
    out.score[1] = metrics_main(t->job, f, r->residual->hybrid, split);
    arena_release(t->job->scratch, mark);
    return out;
}

static double share(const struct carried *c)
{
    double sum = c->concepts + c->residual;
    return sum > 0 ? c->residual / sum : 0;
}

void classify_residual_write(struct json_writer *w, const void *data)
{
    const struct classify_residual_report *r = data;
    json_object(w, "residual");
    json_number(w, "c", r->residual->search.c);
    json_text(w, "metric", r->task->features->multi_label ? "auroc" : "accuracy");
    for (int s = 0; s < 2; s++) {
        struct carried c = measure(r, MEASURED[s]);
        json_object(w, split_name(MEASURED[s]));
        json_number(w, "share", share(&c));
        json_number(w, "mean_absolute_concepts", c.concepts);
        json_number(w, "mean_absolute_residual", c.residual);
        json_number(w, "changed", c.changed);
        json_number(w, "without", c.score[0]);
        json_number(w, "with", c.score[1]);
        json_end_object(w);
    }
    json_end_object(w);
}

void classify_residual_print(const struct classify_residual_report *r)
{
    int s = isfinite(metrics_main(r->task->job, r->task->features, r->concepts, MEASURED[1])) ? 1 : 0;
    struct carried c = measure(r, MEASURED[s]);
    log_info(
        "residual, %s split: %.1f %% of the logits, other answers for %.1f %% of the images, %s %.3f with it, %.3f "
        "without",
        split_name(MEASURED[s]), 100 * share(&c), 100 * c.changed,
        r->task->features->multi_label ? "AUROC" : "accuracy", c.score[1], c.score[0]);
}
