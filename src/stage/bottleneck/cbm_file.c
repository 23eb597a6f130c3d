/* cbm.h5: layout and writing. */
#include "stage/bottleneck/cbm_file.h"

#include <string.h>

#include "concept/score.h"

static const struct layout LAYOUT[] = {
    { "/weight", STORE_F32, "C,D", "1", "weights on the representation", NULL, false },
    { "/bias", STORE_F32, "C", "1", "bias of each class", NULL, false },
    { "/concept_weight", STORE_F32, "C,M", "1",
      "contribution of concept k to the logit of class c = code of k * this; <weight of c, vector of k>", NULL, false },
    { "/logits", STORE_F32, "N,C", "1", "output of the model, corpus row order; the residual's part included", NULL,
      false },
    { "/residual_weight", STORE_F32, "C,D", "1", "second head, on the representation minus what its codes rebuild",
      NULL, false },
    { "/residual_bias", STORE_F32, "C", "1", "its bias of each class", NULL, false },
    { "/residual_logits", STORE_F32, "N,C", "1", "its part of /logits", NULL, false },
    { "/probe_weight", STORE_F32, "C,D", "1", "the linear probe: a head on the whole representation", NULL, false },
    { "/probe_bias", STORE_F32, "C", "1", "its bias of each class", NULL, false },
    { "/prediction", STORE_I32, "N", "class", "class with the largest logit, the lowest on a tie", NULL, true },
    { "/prediction", STORE_I32, "rows,C", "1", "1 where the logit is above 0", NULL, true },
    { "/search/log10_c", STORE_F64, "F", "1", "C of each fit of the search, in the order made", NULL, false },
    { "/search/score", STORE_F64, "F", "1", "its validation accuracy (several labels: macro AUROC)", NULL, false },
    { "/search/iterations", STORE_I32, "F", "1", "iterations of L-BFGS (sparse head: Newton steps)", NULL, false },
    { "/path/lambda", STORE_F64, "points", "1", "penalties of the sparse heads, largest first", NULL, true },
    { "/path/objective", STORE_F64, "points", "1", "mean loss + penalty there", NULL, true },
    { "/path/nonzeros", STORE_I64, "points", "1", "nonzero weights of all classes", NULL, true },
    { "/sparse/nec", STORE_I32, "levels", "concepts a class", "wanted mean number of nonzero weights a class", NULL,
      true },
    { "/sparse/weight", STORE_F32, "levels,C,M", "1", "sparse heads on the codes", NULL, true },
    { "/sparse/bias", STORE_F32, "levels,C", "1", "their biases", NULL, true },
};

enum { ROWS = sizeof LAYOUT / sizeof *LAYOUT };

static float *to_f32(struct arena *arena, const double *x, int64_t n)
{
    float *out = arena_array(arena, float, n);
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)x[i];
    return out;
}

/* Writes the dataset of `from[0..n-1].member`, each as `type`. */
#define WRITE_COLUMN(out, name, arena, type, from, n, member)                                                          \
    do {                                                                                                               \
        type *column_ = arena_array(arena, type, n);                                                                   \
        for (int i_ = 0; i_ < (n); i_++)                                                                               \
            column_[i_] = (from)[i_].member;                                                                           \
        store_write_all(out, name, column_);                                                                           \
    } while (0)

static void write_search(struct arena *arena, struct store *out, const struct head_search *search)
{
    WRITE_COLUMN(out, "/search/log10_c", arena, double, search->trials, search->fits, log10_c);
    WRITE_COLUMN(out, "/search/score", arena, double, search->trials, search->fits, score);
    WRITE_COLUMN(out, "/search/iterations", arena, int32_t, search->trials, search->fits, iterations);
    store_set_f64(out, "/", "c", search->c);
}

static void write_path(struct arena *arena, struct store *out, const struct cbm *cbm, int C)
{
    const struct sparse_path *path = cbm->path;
    int64_t size = (int64_t)C * cbm->concepts;
    WRITE_COLUMN(out, "/path/lambda", arena, double, path->points, path->count, lambda);
    WRITE_COLUMN(out, "/path/objective", arena, double, path->points, path->count, objective);
    WRITE_COLUMN(out, "/path/nonzeros", arena, int64_t, path->points, path->count, nonzeros);
    store_write_all(out, "/sparse/nec", cbm->levels);
    float *weight = arena_array(arena, float, cbm->level_count *size);
    float *bias = arena_array(arena, float, cbm->level_count *C);
    for (int64_t l = 0; l < cbm->level_count; l++) {
        for (int64_t i = 0; i < size; i++)
            weight[l * size + i] = (float)path->level[l].weight[i];
        for (int64_t c = 0; c < C; c++)
            bias[l * C + c] = (float)path->level[l].bias[c];
    }
    store_write_all(out, "/sparse/weight", weight);
    store_write_all(out, "/sparse/bias", bias);
}

static void write_residual(struct arena *arena, struct store *out, const struct cbm *cbm, const struct features *f)
{
    store_write_all(out, "/residual_weight", to_f32(arena, cbm->residual->weight, (int64_t)f->classes * f->dim));
    store_write_all(out, "/residual_bias", to_f32(arena, cbm->residual->bias, f->classes));
    store_write_rows(out, "/residual_logits", f->mine.first, f->mine.count, cbm->residual_logits);
    store_set_f64(out, "/", "residual_c", cbm->residual_c);
}

/* Is this row of the table written? Of the two on /prediction the one that fits. */
static bool is_there(const struct layout *row, const struct cbm *cbm, bool multi_label)
{
    if (strcmp(row->name, "/prediction") == 0)
        return (strcmp(row->dims, "N") != 0) == multi_label;
    if (strcmp(row->name, "/weight") == 0)
        return cbm->weight != NULL;
    return cbm->residual || strncmp(row->name, "/residual", strlen("/residual")) != 0;
}

static size_t layout_of(struct layout *out, const struct cbm *cbm, bool multi_label)
{
    size_t datasets = 0;
    for (size_t i = 0; i < ROWS; i++)
        if (is_there(&LAYOUT[i], cbm, multi_label))
            out[datasets++] = LAYOUT[i];
    return datasets;
}

void cbm_write(struct job *job, const struct features *f, const struct cbm *cbm)
{
    int C = f->classes;
    struct extent sizes[8] = {
        { "C", C }, { "M", cbm->concepts }, { "N", f->rows }, { "F", cbm->search.fits }, { "D", f->dim }
    };
    size_t extents = 5;
    if (f->multi_label)
        sizes[extents++] = (struct extent){ "rows", f->rows };
    if (cbm->path && cbm->path->count > 0) {
        sizes[extents++] = (struct extent){ "points", cbm->path->count };
        sizes[extents++] = (struct extent){ "levels", cbm->level_count };
    }
    struct layout layout[ROWS];
    size_t datasets = layout_of(layout, cbm, f->multi_label);
    enum phase before = phase_enter(PHASE_WRITE);
    struct store *out = job_create(job, "cbm.h5", layout, datasets, sizes, extents);
    if (cbm->weight)
        store_write_all(out, "/weight", to_f32(job->run, cbm->weight, (int64_t)C * f->dim));
    store_write_all(out, "/bias", to_f32(job->run, cbm->bias, C));
    store_write_all(out, "/concept_weight", to_f32(job->run, cbm->concept_weight, (int64_t)C * cbm->concepts));
    store_write_rows(out, "/logits", f->mine.first, f->mine.count, cbm->logits);
    int32_t *predicted = arena_array(job->run, int32_t, f->mine.count * (f->multi_label ? C : 1));
    score_predict(predicted, cbm->logits, f->mine.count, C, f->multi_label);
    store_write_rows(out, "/prediction", f->mine.first, f->mine.count, predicted);
    store_write_all(out, "/probe_weight", to_f32(job->run, cbm->probe->weight, (int64_t)C * f->dim));
    store_write_all(out, "/probe_bias", to_f32(job->run, cbm->probe->bias, C));
    store_set_f64(out, "/", "probe_c", cbm->probe_c);
    write_search(job->run, out, &cbm->search);
    if (cbm->residual)
        write_residual(job->run, out, cbm, f);
    if (cbm->path && cbm->path->count > 0)
        write_path(job->run, out, cbm, C);
    store_set_text(out, "/", "input", config_choice("classify.input", (int)job->config->classify.input));
    store_set_f64(out, "/", "temperature", cbm->temperature);
    store_set_text(out, "/", "head", config_choice("classify.head", (int)job->config->classify.head));
    store_set_texts(out, "/", "class_names", f->class_names, C);
    job_publish(job, out);
    phase_enter(before);
}
