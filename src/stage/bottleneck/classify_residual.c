/* The hybrid head (Yuksekgonul, Wang & Zou, ICLR 2023): the head on concepts
 * stays as it is, and a second one on what the concepts do not explain of the
 * representation is fitted with the first one's logits as a fixed offset.
 * Method and the share reported: docs/methods/classify.md. */
#include <math.h>

#include "concept/hybrid.h"
#include "concept/pursuit.h"
#include "image/corpus.h"
#include "report/json.h"
#include "stage/bottleneck/classify.h"

static const enum split MEASURED[2] = { SPLIT_VAL, SPLIT_TEST };

/* x [mine.count x D] = representation - what its code rebuilds. */
static void subtract_rebuilt(float *x, const struct classify *t, const struct classify_codes *codes)
{
    const struct features *f = t->features;
    int D = f->dim;
    double *rebuilt = arena_array(t->job->scratch, double, D);
    for (int64_t i = 0; i < f->mine.count; i++) {
        pursuit_reconstruct(rebuilt, codes->atom + i * t->S, codes->value + i * t->S, codes->constant[i], t->S,
                            t->atoms, D);
        for (int d = 0; d < D; d++)
            x[i * D + d] = (float)((double)f->x[i * D + d] - rebuilt[d]);
    }
}

struct classify_residual classify_residual_fit(struct classify *t, const struct classify_codes *codes,
                                               const float *concepts)
{
    const struct features *f = t->features;
    struct arena *run = t->job->run;
    int64_t entries = f->mine.count * f->classes;
    struct classify_residual r = { .local = arena_array(run, float, entries),
                                   .hybrid_local = arena_array(run, float, entries) };
    struct arena_mark mark = arena_mark(t->job->scratch);
    float *x = arena_take_raw(run, (size_t)f->mine.count * (size_t)f->dim, sizeof *x);
    subtract_rebuilt(x, t, codes);
    arena_release(t->job->scratch, mark);
    struct classify_model model = { .x = x, .width = f->dim, .offset = concepts, .smallest = true };
    model.rows = classify_rows(t, x, f->dim, concepts);
    r.search = classify_fit(t, &r.head, r.hybrid_local, &model);
    classify_logits(r.local, t, &r.head, x, NULL);
    r.part = classify_take_logits(t);
    r.hybrid = classify_take_logits(t);
    classify_gather(t, r.part, r.local);
    classify_gather(t, r.hybrid, r.hybrid_local);
    log_info("classify: residual: C = %.3g, validation %s %.4f", r.search.c, f->multi_label ? "AUROC" : "accuracy",
             r.search.score);
    return r;
}

/* ---- what it carries ---- */

struct carried {
    struct hybrid_parts parts;
    double score[2]; /* concepts, hybrid */
};

static struct carried measure(const struct classify_residual_report *r, enum split split)
{
    const struct classify *t = r->task;
    const struct features *f = t->features;
    const struct hybrid_logits logits = { r->concepts, r->residual->part, r->residual->hybrid, f->classes,
                                          f->multi_label };
    struct arena_mark mark = arena_mark(t->job->scratch);
    int64_t *list = arena_array(t->job->scratch, int64_t, f->rows), count = 0;
    for (int64_t row = 0; row < f->rows; row++)
        if (f->split[row] == split)
            list[count++] = row;
    struct carried out = { hybrid_parts(&logits, list, count, t->train, t->train_rows, t->job->scratch),
                           { metrics_main(t->job, f, r->concepts, split),
                             metrics_main(t->job, f, r->residual->hybrid, split) } };
    arena_release(t->job->scratch, mark);
    return out;
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
        json_number(w, "share", hybrid_share(&c.parts));
        json_number(w, "mean_absolute_concepts", c.parts.first);
        json_number(w, "mean_absolute_residual", c.parts.second);
        json_number(w, "changed", c.parts.changed);
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
        split_name(MEASURED[s]), 100 * hybrid_share(&c.parts), 100 * c.parts.changed,
        r->task->features->multi_label ? "AUROC" : "accuracy", c.score[1], c.score[0]);
}
