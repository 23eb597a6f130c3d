/* Calibration of the models in metrics.json: a temperature from the validation
 * rows, and confidence against correctness before and after it. */
#include <math.h>
#include <string.h>

#include "concept/head_calibrate.h"
#include "image/corpus.h"
#include "report/json.h"
#include "stage/bottleneck/classify.h"

static const enum split MEASURED[2] = { SPLIT_VAL, SPLIT_TEST };

static struct calibrate_rows rows_of(const struct classify *t, const float *logits, enum split split)
{
    const struct features *f = t->features;
    struct arena *run = t->job->run;
    int C = f->classes;
    int64_t n = 0;
    float *z = arena_array(run, float, f->rows *C);
    int32_t *label = f->multi_label ? NULL : arena_array(run, int32_t, f->rows);
    int8_t *labels = f->multi_label ? arena_array(run, int8_t, f->rows * C) : NULL;
    for (int64_t row = 0; row < f->rows; row++) {
        if (f->split[row] != split)
            continue;
        memcpy(z + n * C, logits + row * C, (size_t)C * sizeof *z);
        if (label)
            label[n] = f->label[row];
        else
            memcpy(labels + n * C, f->labels + row * C, (size_t)C);
        n++;
    }
    return (struct calibrate_rows){ n, C, z, label, labels };
}

double classify_temperature(const struct classify *t, const float *logits)
{
    struct arena_mark mark = arena_mark(t->job->run);
    struct calibrate_rows rows = rows_of(t, logits, SPLIT_VAL);
    double temperature = calibrate_temperature(&rows, t->job->scratch);
    arena_release(t->job->run, mark);
    return temperature;
}

static void write_bins(struct json_writer *w, const char *key, const double *x)
{
    json_array(w, key);
    for (int b = 0; b < CALIBRATE_BINS; b++)
        json_number(w, NULL, x[b]);
    json_end_array(w);
}

static void write_report(struct json_writer *w, const char *key, const struct calibrate_report *r)
{
    json_object(w, key);
    json_number(w, "ece", r->ece);
    json_number(w, "log_loss", r->loss);
    json_array(w, "count");
    for (int b = 0; b < CALIBRATE_BINS; b++)
        json_integer(w, NULL, r->count[b]);
    json_end_array(w);
    write_bins(w, "confidence", r->confidence);
    write_bins(w, "right", r->right);
    json_end_object(w);
}

void classify_calibration_write(struct json_writer *w, const void *data)
{
    const struct classify_calibration *models = data;
    json_object(w, "calibration");
    for (const struct classify_calibration *m = models; m->name; m++) {
        json_object(w, m->name);
        json_number(w, "temperature", m->temperature);
        for (int s = 0; s < 2; s++) {
            struct arena_mark mark = arena_mark(m->task->job->run);
            struct calibrate_rows rows = rows_of(m->task, m->logits, MEASURED[s]);
            struct calibrate_report before, after;
            calibrate_measure(&before, &rows, 1, m->task->job->scratch);
            calibrate_measure(&after, &rows, m->temperature, m->task->job->scratch);
            arena_release(m->task->job->run, mark); /* before the text may grow in the same arena */
            json_object(w, split_name(MEASURED[s]));
            write_report(w, "before", &before);
            write_report(w, "after", &after);
            json_end_object(w);
        }
        json_end_object(w);
    }
    json_end_object(w);
}

void classify_calibration_print(const struct classify_calibration *m)
{
    for (; m->name; m++) {
        struct arena_mark mark = arena_mark(m->task->job->run);
        struct calibrate_rows rows = rows_of(m->task, m->logits, SPLIT_TEST);
        if (rows.rows == 0)
            rows = rows_of(m->task, m->logits, SPLIT_VAL);
        struct calibrate_report before, after;
        calibrate_measure(&before, &rows, 1, m->task->job->scratch);
        calibrate_measure(&after, &rows, m->temperature, m->task->job->scratch);
        log_info("calibration of %s: temperature %.3g from validation, error (ECE) %.4f before, %.4f after", m->name,
                 m->temperature, before.ece, after.ece);
        arena_release(m->task->job->run, mark);
    }
}
