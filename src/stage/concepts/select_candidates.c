/* Candidates of cfn select: rows of cav.h5 that pass the filters, their vectors
 * on all ranks or shared out, and what the training images say of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "dist/tree.h"
#include "image/corpus.h"
#include "math/blas.h"
#include "math/vec.h"
#include "report/json.h"
#include "stage/concepts/select.h"
#include "stage/features.h"

/* keep [total]: rows with low <= value <= high stay. NaN fails. */
static int64_t keep_range(bool *keep, const float *value, const int32_t *at, int64_t total, double low, double high)
{
    int64_t left = 0;
    for (int64_t a = 0; a < total; a++) {
        double v = (double)value[at ? at[a] : a];
        keep[a] = keep[a] && v >= low && v <= high;
        left += keep[a];
    }
    return left;
}

static float *column(struct job *job, struct store *store, const char *name, int64_t rows)
{
    float *values = arena_take_raw(job->run, (size_t)rows + 1, sizeof *values);
    store_expect(store, name, STORE_F32, 1, &rows);
    store_read_all(store, name, values);
    return values;
}

/* Filters on the neurons behind the vectors: fire rate and monosemanticity. */
static void filter_neurons(struct job *job, struct candidates *c, bool *keep, const int32_t *neuron)
{
    const struct select_config *k = &job->config->select;
    struct store *sae = job_open(job, "sae.h5", "sae");
    int64_t neurons = store_rows(sae, "/fire_rate"), bad = -1;
    for (int64_t a = 0; a < c->total; a++)
        if (neuron[a] < 0 || neuron[a] >= neurons)
            bad = a;
    agree(job->world, bad < 0, EXIT_BAD_DATA, "cav.h5: /neuron of row %lld is not among the %lld of %s\nrun cfn cav",
          (long long)bad, (long long)neurons, store_path(sae));
    keep_range(keep, column(job, sae, "/fire_rate", neurons), neuron, c->total, k->min_fire_rate, k->max_fire_rate);
    if (k->min_monosemanticity > -1) {
        agree(job->world, store_has(sae, "/monosemanticity"), EXIT_BAD_DATA,
              "%s: no /monosemanticity, which select.min_monosemanticity asks for\nset it to -1", store_path(sae));
        keep_range(keep, column(job, sae, "/monosemanticity", neurons), neuron, c->total, k->min_monosemanticity, 1);
    }
    store_close(sae);
}

/* names.json: a neuron whose name has no rating, or a lower one, is out. Rank 0 reads. */
static void filter_ratings(struct job *job, struct candidates *c, bool *keep, const int32_t *neuron)
{
    const char *path = job_input(job, "names.json", "name"), *why = "";
    int64_t rated = 0;
    if (job->world->rank == 0) {
        const struct json *root = json_read(job->scratch, path, &why),
                          *list = root ? json_member(root, "neurons") : NULL;
        int64_t count = list ? json_count(list) : 0;
        for (int64_t a = 0; a < c->total; a++) {
            double rating = NAN;
            for (int64_t i = 0; i < count && isnan(rating); i++) {
                const struct json *item = json_item(list, neuron[a] < count ? (i + neuron[a]) % count : i);
                if ((int32_t)json_as_number(json_member(item, "neuron"), -1) == neuron[a]) {
                    rating = json_as_number(json_member(item, "rating"), -1);
                    rated += rating >= 0;
                }
            }
            keep[a] = keep[a] && rating >= job->config->select.min_rating;
        }
    }
    world_broadcast(job->world, &rated, sizeof rated, 0);
    agree(job->world, rated > 0, EXIT_BAD_DATA, "%s: no ratings, which select.min_rating asks for\nset it to 0 %s",
          path, why ? why : "");
    world_broadcast(job->world, keep, (size_t)c->total * sizeof *keep, 0);
}

static void filter(struct job *job, struct candidates *c, struct store *cav, bool *keep)
{
    const struct select_config *k = &job->config->select;
    bool neurons = k->min_fire_rate > 0 || k->max_fire_rate < 1 || k->min_monosemanticity > -1;
    memset(keep, 1, (size_t)c->total * sizeof *keep);
    store_expect(cav, "/accuracy", STORE_F32, 1, &c->total);
    int64_t left = keep_range(keep, column(job, cav, "/accuracy", c->total), NULL, c->total, k->min_accuracy, INFINITY);
    agree(job->world, left > 0, EXIT_BAD_DATA,
          "select: none of %lld vectors reaches select.min_accuracy = %g\nlower it, or see /accuracy of cav.h5",
          (long long)c->total, k->min_accuracy);
    if (k->max_pvalue < 1)
        keep_range(keep, column(job, cav, "/pvalue", c->total), NULL, c->total, 0, k->max_pvalue);
    if (!neurons && !(k->min_rating > 0))
        return;
    int32_t *neuron = arena_take_raw(job->run, (size_t)c->total, sizeof *neuron);
    store_expect(cav, "/neuron", STORE_I32, 1, &c->total);
    store_read_all(cav, "/neuron", neuron);
    if (neurons)
        filter_neurons(job, c, keep, neuron);
    if (k->min_rating > 0)
        filter_ratings(job, c, keep, neuron);
}

struct candidates *select_candidates(struct job *job)
{
    struct candidates *c = arena_array(job->run, struct candidates, 1);
    struct store *cav = job_open(job, "cav.h5", "cav");
    int64_t dims[4] = { 0 };
    store_expect(cav, "/cav", STORE_F32, 2, (int64_t[]){ -1, -1 });
    store_dims(cav, "/cav", dims);
    c->total = dims[0];
    c->dim = (int)dims[1];
    bool *keep = arena_array(job->run, bool, c->total + 1);
    filter(job, c, cav, keep);
    store_close(cav);
    c->row = arena_array(job->run, int64_t, c->total + 1);
    for (int64_t a = 0; a < c->total; a++)
        if (keep[a])
            c->row[c->count++] = a;
    agree(job->world, c->count > 0, EXIT_BAD_DATA,
          "select: none of %lld vectors passes the filters\nloosen select.max_pvalue, min_fire_rate, max_fire_rate, "
          "min_monosemanticity or min_rating",
          (long long)c->total);
    return c;
}

static void change_signs(float *x, int64_t count, enum signs signs)
{
    bool clip = signs == SIGNS_CLIP;
    for (int64_t i = 0; i < count; i++)
        x[i] = clip ? fmaxf(x[i], 0) : fabsf(x[i]);
}

/* The rows and columns of the candidates in a square matrix. */
static void read_matrix(struct job *job, struct candidates *c, float *out)
{
    const char *path = job->config->select.similarity_file;
    agree(job->world, *path, EXIT_BAD_CONFIG,
          "select.similarity_file: empty, expected a file for similarity: precomputed\nwith /similarity (A,A) f32");
    struct store *store = store_open(job->world, job->run, job_input_file(job, path));
    store_expect(store, "/similarity", STORE_F32, 2, (int64_t[]){ c->total, c->total });
    float *all = arena_take_raw(job->run, (size_t)(c->total * c->total), sizeof *all);
    store_read_all(store, "/similarity", all);
    store_close(store);
    int64_t bad = -1, other = -1;
    for (int64_t i = 0; i < c->count; i++)
        for (int64_t j = 0; j < c->count; j++) {
            out[i * c->count + j] = all[c->row[i] * c->total + c->row[j]];
            if (bad < 0 && !(out[i * c->count + j] - all[c->row[j] * c->total + c->row[i]] == 0))
                bad = c->row[i], other = c->row[j];
        }
    agree(job->world, bad < 0, EXIT_BAD_DATA,
          "%s: /similarity[%lld,%lld] is not finite or differs from [%lld,%lld]\nexpected a symmetric matrix", path,
          (long long)bad, (long long)other, (long long)other, (long long)bad);
}

void select_matrix(struct job *job, struct candidates *c)
{
    float *matrix = arena_take_raw(job->run, (size_t)(c->count * c->count) + 1, sizeof *matrix);
    read_matrix(job, c, matrix);
    c->ground = (struct ground){ c->count, (int)c->count, matrix, { 0, c->count }, 0 };
}

void select_vectors(struct job *job, struct candidates *c, bool share)
{
    const enum signs signs = job->config->select.signs;
    struct span mine = share ? similarities_span(job->world, c->count) : (struct span){ 0, c->count };
    float *x = arena_take_raw(job->run, (size_t)(mine.count * c->dim) + 1, sizeof *x);
    struct store *cav = job_open(job, "cav.h5", "cav");
    int64_t wrong = -1;
    if (share || c->count < c->total)
        store_read_list(cav, "/cav", c->row + mine.first, mine.count, x);
    else
        store_read_all(cav, "/cav", x);
    for (int64_t i = mine.count - 1; i >= 0; i--)
        if (!vec_all_finite(x + i * c->dim, c->dim))
            wrong = c->row[mine.first + i];
    agree(job->world, wrong < 0, EXIT_BAD_DATA,
          "%s: /cav row %lld holds NaN or Inf, expected finite numbers\nmake it again: cfn cav --force",
          store_path(cav), (long long)wrong);
    store_close(cav);
    if (signs != SIGNS_KEEP)
        change_signs(x, mine.count * c->dim, signs);
    c->ground = (struct ground){ c->count, c->dim, x, mine, 0 };
}

enum { LEAVES = 64 }; /* of the rows of embeddings.h5 */

struct statistics {
    const struct features *f;
    int64_t width;   /* doubles of a leaf: C D sums, C counts, D D products */
    int64_t product; /* where the products start; width when there are none */
};

static bool has_class(const struct features *f, int64_t row, int y)
{
    return f->multi_label ? f->labels[row * f->classes + y] == 1 : f->label[row] == y;
}

/* Sums of one leaf's training images. */
static void add_rows(double *out, struct arena *scratch, const struct statistics *s, const float *x, struct span rows)
{
    const struct features *f = s->f;
    int64_t dim = f->dim, train = 0;
    memset(out, 0, (size_t)s->width * sizeof *out);
    struct arena_mark mark = arena_mark(scratch);
    double *wide = arena_take_raw(scratch, (size_t)(rows.count * dim) + 1, sizeof *wide);
    for (int64_t i = 0; i < rows.count; i++) {
        int64_t row = rows.first + i;
        if (f->split[row] != SPLIT_TRAIN)
            continue;
        double *to = wide + train++ * dim;
        for (int64_t d = 0; d < dim; d++)
            to[d] = (double)x[i * dim + d];
        for (int y = 0; y < f->classes; y++)
            if (has_class(f, row, y)) {
                vec_daxpy(out + y * dim, 1, to, dim);
                out[f->classes * dim + y] += 1;
            }
    }
    if (train > 0 && s->product < s->width)
        blas_dgemm('T', 'N', dim, dim, train, 1, wide, dim, wide, dim, 0, out + s->product, dim);
    arena_release(scratch, mark);
}

void select_statistics(struct job *job, struct candidates *c, const double **response, int *classes,
                       const double **moment)
{
    const struct features *f = features_load(job);
    if (response)
        features_need_labels(job, f, "this objective, or choice by class,");
    agree(job->world, f->dim == c->dim, EXIT_BAD_DATA,
          "embeddings.h5: %d dimensions, but cav.h5 has %d\nrun cfn cav again", f->dim, c->dim);
    int64_t dim = f->dim, sums = f->classes * (dim + 1);
    struct statistics s = { f, sums + (moment ? dim * dim : 0), sums };
    struct tree *tree = tree_create(job->run, job->world, LEAVES);
    struct span own = tree_leaves(tree);
    struct store *store = job_open(job, "embeddings.h5", "embed");
    double *stack = arena_array(job->run, double, tree_depth(tree) * s.width);
    double *total = arena_array(job->run, double, s.width);
    for (int l = 0; l < (LEAVES + job->world->size - 1) / job->world->size; l++) {
        bool have = l < own.count;
        struct span rows = have ? shard_rows(f->rows, LEAVES, (int)own.first + l) : (struct span){ 0, 0 };
        struct arena_mark mark = arena_mark(job->scratch);
        float *x = arena_take_raw(job->scratch, (size_t)(rows.count * dim) + 1, sizeof *x);
        store_read_rows(store, "/features", rows.first, rows.count, x);
        if (have) {
            add_rows(stack + tree_slot(tree, l) * s.width, job->scratch, &s, x, rows);
            tree_fold_f64(tree, l, stack, s.width, s.width);
        }
        arena_release(job->scratch, mark);
    }
    store_close(store);
    tree_sum_nodes_f64(tree, total, stack, s.width, s.width);
    if (moment)
        *moment = total + s.product;
    if (!response)
        return;
    *classes = f->classes;
    double *out = arena_array(job->run, double, c->count * f->classes);
    for (int64_t i = 0; i < c->count; i++)
        for (int y = 0; y < f->classes; y++) {
            double dot = 0, images = total[f->classes * dim + y];
            for (int64_t d = 0; d < dim; d++)
                dot += (double)c->ground.vectors[i * dim + d] * total[y * dim + d];
            out[i * f->classes + y] = images > 0 ? dot / images : 0;
        }
    *response = out;
}

const double *select_information(struct job *job, const double *response, int64_t count, int classes)
{
    double *out = arena_array(job->run, double, count), *sum = arena_array(job->run, double, classes);
    for (int64_t i = 0; i < count; i++)
        for (int y = 0; y < classes; y++)
            sum[y] += fmax(0, response[i * classes + y]);
    for (int64_t i = 0; i < count; i++) {
        double all = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int y = 0; y < classes; y++) {
                double p = sum[y] > 0 ? fmax(0, response[i * classes + y]) / (classes * sum[y]) : 0;
                if (pass == 0)
                    all += p;
                else if (p > 0)
                    out[i] += p * log(p / (all / classes));
            }
    }
    return out;
}

const double *select_numbers(struct job *job, const char *key, const char *path, int64_t *count)
{
    const char *why = "";
    size_t length = 0;
    job_input_file(job, path);
    char *text = job->world->rank == 0 ? file_read(job->run, path, (size_t)1 << 28, &length, &why) : NULL;
    agree(job->world, text || job->world->rank != 0, EXIT_NO_INPUT, "select.%s: %s: %s", key, path, why);
    text = world_broadcast_text(job->world, job->run, text, 0);
    double *out = arena_array(job->run, double, strlen(text) / 2 + 2);
    *count = 0;
    for (char *at = text, *end = text; at[strspn(at, " \t\r\n")]; at = end) {
        out[*count] = strtod(at, &end);
        agree(job->world, end > at && isfinite(out[*count]), EXIT_BAD_DATA,
              "select.%s: %s: value %lld is no number\nexpected one number a line", key, path, (long long)*count);
        ++*count;
    }
    return out;
}
