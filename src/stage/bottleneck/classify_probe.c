/* The linear probe: the same head, search and training rows as the bottleneck's, on the whole representation. It says
 * what a linear head can get out of it at all: without a backbone's own head, retention is measured against it. */
#include <string.h>

#include "stage/bottleneck/classify.h"

struct classify_probe classify_probe_fit(struct classify *t)
{
    const struct features *f = t->features;
    struct arena *run = t->job->run;
    struct classify_probe probe = { .head = head_create(run, f->classes, f->dim), .logits = classify_take_logits(t) };
    struct arena_mark mark = arena_mark(run); /* the training rows are wanted once */
    struct head head;
    float *local = arena_array(run, float, f->mine.count * f->classes);
    struct classify_model model = { .x = f->x, .width = f->dim, .rows = classify_rows(t, f->x, f->dim, NULL) };
    struct head_search search = classify_fit(t, &head, local, &model);
    classify_gather(t, probe.logits, local);
    memcpy(probe.head.weight, head.weight, (size_t)f->classes * (size_t)(f->dim + 1) * sizeof *head.weight);
    probe.c = search.c;
    arena_release(run, mark);
    log_info("classify: linear probe: C = %.3g, validation %s %.4f", search.c, f->multi_label ? "AUROC" : "accuracy",
             search.score);
    return probe;
}
