/* Sparse heads on the codes at equal numbers of effective concepts (NEC), for
 * the concepts and for random directions. Method: docs/methods/classify.md. */
#include <math.h>
#include <string.h>

#include "image/corpus.h"
#include "report/json.h"
#include "stage/bottleneck/classify.h"

const int CLASSIFY_NEC[CLASSIFY_LEVELS] = { 5, 10, 15, 20, 25, 30 };
/* Penalties fall by a tenth a point, to a ten thousandth of the largest; conditions hold within 1e-4 of the penalty. */
static const struct sparse_spec SPEC = { .ratio = 0.9, .least = 1e-4, .tolerance = 1e-4, .max_iter = 200 };
static const enum split MEASURED[2] = { SPLIT_VAL, SPLIT_TEST };

/* The levels of the curve and the wanted one, ascending, each once. */
static int all_levels(int *levels, int wanted)
{
    int count = 0;
    for (int l = 0; l <= CLASSIFY_LEVELS; l++) {
        int next = l < CLASSIFY_LEVELS ? CLASSIFY_NEC[l] : INT32_MAX;
        if (wanted < next && (count == 0 || levels[count - 1] < wanted))
            levels[count++] = wanted;
        if (l < CLASSIFY_LEVELS)
            levels[count++] = next;
    }
    return count;
}

struct classify_sparse classify_sparse_path(struct classify *t, struct head_rows *rows, const float *x)
{
    struct job *job = t->job;
    const struct features *f = t->features;
    struct classify_sparse out = { 0 };
    int *levels = out.levels, wanted = job->config->classify.nec;
    struct sparse_spec spec = SPEC;
    out.level_count = all_levels(levels, wanted);
    spec.alpha = job->config->classify.l1_ratio;
    spec.levels = levels;
    spec.level_count = out.level_count;
    out.path = head_sparse_path(rows, &spec, job->run, job->scratch);
    struct arena_mark mark = arena_mark(job->scratch);
    float *local = arena_array(job->scratch, float, f->mine.count * f->classes);
    float *all = arena_array(job->scratch, float, f->rows * f->classes);
    for (int l = 0, at = 0; l < spec.level_count; l++) {
        if (levels[l] == wanted) {
            out.chosen = out.path->level[l];
            out.chosen_nec = out.path->nec[l];
        }
        if (at == CLASSIFY_LEVELS || levels[l] != CLASSIFY_NEC[at])
            continue;
        classify_logits(local, t, &out.path->level[l], x, NULL);
        classify_gather(t, all, local);
        for (int s = 0; s < 2; s++)
            out.curve.value[s][at] = metrics_main(job, f, all, MEASURED[s]);
        out.curve.nec[at++] = out.path->nec[l];
    }
    arena_release(job->scratch, mark);
    return out;
}

static double mean(const double *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i] / n;
    return sum;
}

static void write_numbers(struct json_writer *w, const char *key, const double *x)
{
    json_array(w, key);
    for (int l = 0; l < CLASSIFY_LEVELS; l++)
        json_number(w, NULL, x[l]);
    json_end_array(w);
}

/* Mean, least and most of the trials at each level. */
static void write_values(struct json_writer *w, const struct classify_curve *trial, int trials, int s)
{
    double middle[CLASSIFY_LEVELS], low[CLASSIFY_LEVELS], high[CLASSIFY_LEVELS];
    for (int l = 0; l < CLASSIFY_LEVELS; l++) {
        middle[l] = 0;
        low[l] = high[l] = trial[0].value[s][l];
        for (int k = 0; k < trials; k++) {
            double v = trial[k].value[s][l];
            middle[l] += v / trials;
            low[l] = fmin(low[l], v);
            high[l] = fmax(high[l], v);
        }
    }
    json_object(w, split_name(MEASURED[s]));
    write_numbers(w, "values", middle);
    if (trials > 1) {
        write_numbers(w, "least", low);
        write_numbers(w, "most", high);
    }
    json_number(w, "at_5", middle[0]);
    json_number(w, "average", mean(middle, CLASSIFY_LEVELS));
    json_end_object(w);
}

static void write_model(struct json_writer *w, const char *name, const struct classify_curve *trial, int trials)
{
    double reached[CLASSIFY_LEVELS] = { 0 };
    json_object(w, name);
    for (int l = 0; l < CLASSIFY_LEVELS; l++)
        for (int k = 0; k < trials; k++)
            reached[l] += trial[k].nec[l] / trials;
    write_numbers(w, "nec", reached);
    for (int s = 0; s < 2; s++)
        write_values(w, trial, trials, s);
    if (trials > 1)
        json_integer(w, "trials", trials);
    json_end_object(w);
}

void classify_sparse_write(struct json_writer *w, const void *data)
{
    const struct classify_sparse_report *r = data;
    json_object(w, "sparse");
    json_text(w, "metric", r->task->features->multi_label ? "auroc" : "accuracy");
    json_array(w, "levels");
    for (int l = 0; l < CLASSIFY_LEVELS; l++)
        json_integer(w, NULL, CLASSIFY_NEC[l]);
    json_end_array(w);
    write_model(w, "cbm", r->cbm, 1);
    if (r->trials > 0)
        write_model(w, "random_concepts", r->controls, r->trials);
    json_end_object(w);
}

static void print_model(const struct classify_sparse_report *r, const char *name, const struct classify_curve *trial,
                        int trials, int s)
{
    double middle[CLASSIFY_LEVELS] = { 0 };
    struct text line = text_new(r->task->job->run);
    text_add(&line, "  %-16s", name);
    for (int l = 0; l < CLASSIFY_LEVELS; l++) {
        for (int k = 0; k < trials; k++)
            middle[l] += trial[k].value[s][l] / trials;
        text_add(&line, "  %6.3f", middle[l]);
    }
    text_add(&line, "   %6.3f", mean(middle, CLASSIFY_LEVELS));
    log_info("%s", line.data);
}

void classify_sparse_print(const struct classify_sparse_report *r)
{
    int s = isfinite(r->cbm->value[1][0]) ? 1 : 0;
    struct text head = text_new(r->task->job->run);
    for (int l = 0; l < CLASSIFY_LEVELS; l++)
        text_add(&head, "  %6d", CLASSIFY_NEC[l]);
    log_info("%s of sparse heads, %s split, by concepts a class (NEC)",
             r->task->features->multi_label ? "AUROC" : "accuracy", split_name(MEASURED[s]));
    log_info("  %-16s%s  average", "", head.data);
    print_model(r, "cbm", r->cbm, 1, s);
    if (r->trials > 0)
        print_model(r, "random_concepts", r->controls, r->trials, s);
}
