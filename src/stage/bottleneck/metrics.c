/* metrics.json: metrics of every model on the validation and test split, each
 * with a bootstrap interval, and retention. Definitions: docs/methods/classify.md. */
#include "stage/bottleneck/metrics.h"

#include <math.h>

#include "base/file.h"
#include "concept/score.h"
#include "image/corpus.h"
#include "report/json.h"

enum { SPLITS_MEASURED = 2 };
static const enum split MEASURED[SPLITS_MEASURED] = { SPLIT_VAL, SPLIT_TEST };

/* One model on one split. */
struct measured {
    double *value;      /* [metrics] mean over trials */
    double *replicates; /* [R x metrics] */
};

struct table {
    struct job *job;
    const struct features *features;
    const struct metrics_model *models;
    const struct metrics_section *sections;
    int count, section_count, metrics, R;
    struct measured *cell[SPLITS_MEASURED]; /* [count] */
    int64_t rows[SPLITS_MEASURED];
};

/* Truth and prediction of the rows of one split, in row order. */
static struct score_rows rows_of(struct arena *run, const struct features *f, enum split split, const float *logits,
                                 int64_t n)
{
    int C = f->classes;
    float *z = arena_array(run, float, n *C);
    int32_t *label = f->multi_label ? NULL : arena_array(run, int32_t, n);
    int8_t *labels = f->multi_label ? arena_array(run, int8_t, n * C) : NULL;
    int64_t at = 0;
    for (int64_t row = 0; row < f->rows; row++) {
        if (f->split[row] != split)
            continue;
        for (int c = 0; c < C; c++)
            z[at * C + c] = logits[row * C + c];
        for (int c = 0; c < C && labels; c++)
            labels[at * C + c] = f->labels[row * C + c];
        if (label)
            label[at] = f->label[row];
        at++;
    }
    double *probability = arena_array(run, double, n *C);
    int32_t *predicted = arena_array(run, int32_t, f->multi_label ? n * C : n);
    score_probability(probability, z, n, C, f->multi_label);
    score_predict(predicted, z, n, C, f->multi_label);
    return (struct score_rows){ .rows = n,
                                .classes = C,
                                .multi_label = f->multi_label,
                                .probability = probability,
                                .predicted = predicted,
                                .label = label,
                                .labels = labels };
}

static struct measured measure(const struct table *t, const struct metrics_model *model, int s)
{
    struct job *job = t->job;
    struct measured m = { .value = arena_array(job->run, double, t->metrics),
                          .replicates = arena_array(job->run, double, (int64_t)t->R * t->metrics) };
    struct arena_mark mark = arena_mark(job->scratch);
    struct score_plan **plans = arena_array(job->scratch, struct score_plan *, model->trials);
    double *one = arena_array(job->scratch, double, t->metrics);
    for (int trial = 0; trial < model->trials; trial++) {
        struct score_rows rows = rows_of(job->run, t->features, MEASURED[s], model->logits[trial], t->rows[s]);
        plans[trial] = score_plan_create(job->scratch, &rows);
        score_compute(one, plans[trial], NULL);
        for (int i = 0; i < t->metrics; i++)
            m.value[i] += one[i] / model->trials;
    }
    if (t->R > 0)
        score_bootstrap(m.replicates, job->world, job->scratch, plans, model->trials, t->R, job_seed(job));
    arena_release(job->scratch, mark);
    return m;
}

/* Of the second model over the first, replicate by replicate: both saw the same resamples. */
static struct measured retention(const struct table *t, int s)
{
    struct arena *run = t->job->run;
    const struct measured *whole = &t->cell[s][0], *part = &t->cell[s][1];
    struct measured m = { .value = arena_array(run, double, t->metrics),
                          .replicates = arena_array(run, double, (int64_t)t->R * t->metrics) };
    for (int i = 0; i < t->metrics; i++)
        m.value[i] = part->value[i] / whole->value[i];
    for (int64_t i = 0; i < (int64_t)t->R * t->metrics; i++)
        m.replicates[i] = part->replicates[i] / whole->replicates[i];
    return m;
}

static void interval_of(const struct table *t, const struct measured *m, int metric, double bounds[2])
{
    score_interval(&bounds[0], &bounds[1], t->job->scratch, m->replicates + metric, t->R, t->metrics);
}

static void write_interval(struct json_writer *w, const struct table *t, const struct measured *m, const char *key,
                           int metric)
{
    double bounds[2];
    interval_of(t, m, metric, bounds);
    json_array(w, key);
    json_number(w, NULL, bounds[0]);
    json_number(w, NULL, bounds[1]);
    json_end_array(w);
}

/* "auroc_per_class": { name: value }, and the same of intervals. */
static void write_per_class(struct json_writer *w, const struct table *t, const struct measured *m, const char *name,
                            int first)
{
    struct arena *run = t->job->run;
    json_object(w, arena_printf(run, "%s_per_class", name));
    for (int c = 0; c < t->features->classes; c++)
        json_number(w, t->features->class_names[c], m->value[first + c]);
    json_end_object(w);
    if (t->R == 0)
        return;
    json_object(w, arena_printf(run, "%s_per_class_interval", name));
    for (int c = 0; c < t->features->classes; c++)
        write_interval(w, t, m, t->features->class_names[c], first + c);
    json_end_object(w);
}

static void write_measured(struct json_writer *w, const struct table *t, const struct measured *m, int s, bool is_ratio)
{
    json_object(w, split_name(MEASURED[s]));
    json_integer(w, "n", t->rows[s]);
    for (int i = 0; i < SCORE_SCALARS; i++) {
        if (is_ratio && i == SCORE_ECE) /* smaller is better: a ratio would read the wrong way round */
            continue;
        json_number(w, score_name(i), m->value[i]);
        if (t->R > 0)
            write_interval(w, t, m, arena_printf(t->job->run, "%s_interval", score_name(i)), i);
        if (i == SCORE_AUROC)
            write_per_class(w, t, m, "auroc", SCORE_SCALARS);
        if (i == SCORE_AUPRC)
            write_per_class(w, t, m, "auprc", SCORE_SCALARS + t->features->classes);
    }
    json_end_object(w);
}

static void write_file(const struct table *t)
{
    struct job *job = t->job;
    struct text text = text_new(job->run);
    struct json_writer w = json_start(&text);
    json_object(&w, NULL);
    for (int m = 0; m < t->count; m++) {
        json_object(&w, t->models[m].name);
        for (int s = 0; s < SPLITS_MEASURED; s++)
            write_measured(&w, t, &t->cell[s][m], s, false);
        if (t->models[m].trials > 1)
            json_integer(&w, "trials", t->models[m].trials);
        json_end_object(&w);
    }
    json_object(&w, "retention");
    json_text(&w, "of", t->models[0].name);
    for (int s = 0; s < SPLITS_MEASURED; s++) {
        struct measured ratio = retention(t, s);
        write_measured(&w, t, &ratio, s, true);
    }
    json_end_object(&w);
    for (int i = 0; i < t->section_count; i++)
        t->sections[i].write(&w, t->sections[i].data);
    json_end_object(&w);
    const char *path = job_path(job, "metrics.json"), *why = "";
    bool ok = job->world->rank != 0 || file_write(job->run, path, text.data, text.length, &why);
    agree(job->world, ok, EXIT_IO, "%s: %s", path, why);
}

/* One row: accuracy, AUROC and macro F1 with their intervals. */
static void print_row(const struct table *t, const char *name, const struct measured *m)
{
    static const int shown[] = { SCORE_ACCURACY, SCORE_BALANCED, SCORE_AUROC, SCORE_F1 };
    struct text line = text_new(t->job->run);
    text_add(&line, "  %-16s", name);
    for (int i = 0; i < 4; i++) {
        double bounds[2];
        interval_of(t, m, shown[i], bounds);
        text_add(&line, "  %6.3f", m->value[shown[i]]);
        if (t->R > 0)
            text_add(&line, " (%.3f-%.3f)", bounds[0], bounds[1]);
        else
            text_add(&line, "%14s", "");
    }
    log_info("%s", line.data);
}

static void print_table(const struct table *t, int s)
{
    log_info("%s split, %lld images%s", split_name(MEASURED[s]), (long long)t->rows[s],
             t->R > 0 ? ", with 95 % bootstrap intervals" : "");
    log_info("  %-16s  %-20s  %-20s  %-20s  %-20s", "", "accuracy", "balanced accuracy", "AUROC (macro)", "F1 (macro)");
    for (int m = 0; m < t->count; m++)
        print_row(t, t->models[m].name, &t->cell[s][m]);
    struct measured ratio = retention(t, s);
    print_row(t, "retention", &ratio);
}

double metrics_main(struct job *job, const struct features *f, const float *logits, enum split split)
{
    struct arena_mark mark = arena_mark(job->scratch);
    int64_t n = 0;
    for (int64_t row = 0; row < f->rows; row++)
        n += f->split[row] == split;
    struct score_rows rows = rows_of(job->scratch, f, split, logits, n);
    double *scores = arena_array(job->scratch, double, score_count(f->classes));
    score_compute(scores, score_plan_create(job->scratch, &rows), NULL);
    double value = n > 0 ? scores[f->multi_label ? SCORE_AUROC : SCORE_ACCURACY] : NAN;
    arena_release(job->scratch, mark);
    return value;
}

void metrics_write(struct job *job, const struct features *features, const struct metrics_model *models, int count,
                   const struct metrics_section *sections, int section_count)
{
    struct table t = { .job = job,
                       .features = features,
                       .models = models,
                       .count = count,
                       .sections = sections,
                       .section_count = section_count,
                       .metrics = score_count(features->classes),
                       .R = job->config->classify.bootstrap };
    for (int s = 0; s < SPLITS_MEASURED; s++) {
        for (int64_t row = 0; row < features->rows; row++)
            t.rows[s] += features->split[row] == MEASURED[s];
        t.cell[s] = arena_array(job->run, struct measured, count);
        for (int m = 0; m < count; m++)
            t.cell[s][m] = measure(&t, &models[m], s);
    }
    write_file(&t);
    print_table(&t, t.rows[1] > 0 ? 1 : 0);
}
