/* cfn name: what each neuron of the sparse autoencoder stands for, offline:
 * its top images on a contact sheet, and a name from the correlation of its
 * activation with ground truth beside the images and with the classes. Sums go
 * over fixed chunks of rows and the fixed tree, so names do not depend on the
 * rank count; the ranks share the sheets. Method: docs/methods/name.md. */
#include <math.h>
#include <string.h>

#include "dist/tree.h"
#include "stage/concepts/name.h"
#include "stage/tiles.h"

enum { LEAVES = 64 }; /* chunks of rows whose sums are added up the tree */

/* ---- input ---- */

/* 1 positive, 0 not, NaN not known: uncertain mentions say nothing, blank ones count as absent. */
static float class_value(const struct corpus *c, int64_t row, int k)
{
    if (!c->multi_label)
        return c->label[row] == k ? 1 : 0;
    int8_t state = c->labels[row * c->classes + k];
    return state == LABEL_UNCERTAIN ? NAN : state == LABEL_POSITIVE ? 1 : 0;
}

/* Attributes, then classes, as columns; attributes are summed around their mean over the rows that know them. */
static void make_targets(struct name_task *t)
{
    const struct corpus *c = t->corpus;
    struct arena *arena = t->job->run;
    int J = c->attributes + c->classes;
    float *value = arena_take_raw(arena, (size_t)c->rows * (size_t)J, sizeof(float));
    double *centre = arena_array(arena, double, J);
    const char **name = arena_array(arena, const char *, J);
    for (int j = 0; j < J; j++) {
        bool attribute = j < c->attributes;
        name[j] = attribute ? c->attribute_names[j] : c->class_names[j - c->attributes];
        double sum = 0, known = 0;
        for (int64_t i = 0; i < c->rows; i++) {
            float v = attribute ? c->attribute[j][i] : class_value(c, i, j - c->attributes);
            value[i * J + j] = isfinite(v) ? v : NAN;
            if (isfinite(v))
                sum += (double)v, known++;
        }
        centre[j] = attribute && known > 0 ? sum / known : 0;
    }
    t->targets = (struct names_targets){ J, c->attributes, name, value, centre };
}

static void read_tops(struct name_task *t)
{
    int64_t dims[4], count = (int64_t)t->neurons * t->T;
    store_dims(t->sae, "/top/index", dims);
    store_expect(t->sae, "/top/value", STORE_F32, 2, dims);
    t->top_index = arena_array(t->job->run, int64_t, count);
    t->top_value = arena_array(t->job->run, float, count);
    store_read_all(t->sae, "/top/value", t->top_value);
    store_expect(t->sae, "/top/index", STORE_I64, 2, dims);
    store_read_all(t->sae, "/top/index", t->top_index);
    int64_t i = 0; /* the same on every rank */
    while (i < count && t->top_index[i] >= -1 && t->top_index[i] < t->corpus->rows)
        i++;
    agree(t->job->world, i == count, EXIT_BAD_DATA, "%s: /top/index holds row %lld of %lld\nrun `cfn sae` again",
          store_path(t->sae), i < count ? (long long)t->top_index[i] : 0, (long long)t->corpus->rows);
}

static void open_inputs(struct name_task *t)
{
    struct job *job = t->job;
    t->gallery = gallery_open(job);
    t->corpus = t->gallery->corpus;
    t->sae = job_open(job, "sae.h5", "sae");
    int64_t dims[4] = { 0 };
    require(store_dims(t->sae, "/top/index", dims) == 2, EXIT_BAD_DATA,
            "%s: /top/index is missing or not a table\nrun `cfn sae` again", store_path(t->sae));
    t->neurons = (int)dims[0];
    t->T = (int)dims[1];
    t->top = job->config->name.top < t->T ? job->config->name.top : t->T;
    store_expect(t->sae, "/fire_rate", STORE_F32, 1, dims);
    store_expect(t->sae, "/codes/indptr", STORE_I64, 1, (int64_t[]){ t->corpus->rows + 1 });
    t->fire_rate = arena_array(job->run, float, t->neurons);
    store_read_all(t->sae, "/fire_rate", t->fire_rate);
    read_tops(t);
    make_targets(t);
}

/* ---- sums over all rows ---- */

/* The codes of one leaf; memory from scratch. */
static struct names_codes read_leaf(struct name_task *t, const int64_t *indptr, struct span rows)
{
    struct arena *scratch = t->job->scratch;
    int64_t first = indptr[rows.first], entries = indptr[rows.first + rows.count] - first;
    int32_t *index = arena_take_raw(scratch, (size_t)entries + 1, sizeof *index);
    float *value = arena_take_raw(scratch, (size_t)entries + 1, sizeof *value);
    enum phase before = phase_enter(PHASE_READ);
    store_read_range(t->sae, "/codes/index", first, entries, index);
    store_read_range(t->sae, "/codes/value", first, entries, value);
    phase_enter(before);
    for (int64_t e = 0; e < entries; e++)
        require(index[e] >= 0 && index[e] < t->neurons, EXIT_BAD_DATA,
                "%s: /codes/index holds neuron %d, expected 0 to %d", store_path(t->sae), index[e], t->neurons - 1);
    return (struct names_codes){ rows.count, indptr + rows.first, index, value };
}

static const int64_t *read_indptr(struct name_task *t)
{
    int64_t rows = t->corpus->rows, *indptr = arena_array(t->job->run, int64_t, rows + 1);
    store_read_all(t->sae, "/codes/indptr", indptr);
    int64_t i = 0; /* the same on every rank */
    while (i < rows && indptr[0] == 0 && indptr[i] <= indptr[i + 1])
        i++;
    agree(t->job->world, i == rows, EXIT_BAD_DATA,
          "%s: /codes/indptr does not ascend from 0 at row %lld\n"
          "run `cfn sae` again",
          store_path(t->sae), (long long)i);
    store_expect(t->sae, "/codes/index", STORE_I32, 1, &indptr[rows]);
    store_expect(t->sae, "/codes/value", STORE_F32, 1, &indptr[rows]);
    return indptr;
}

static void add_up(struct name_task *t)
{
    struct job *job = t->job;
    const int64_t *indptr = read_indptr(t);
    int64_t length = names_sums_length(t->neurons, t->targets.count);
    struct tree *tree = tree_create(job->run, job->world, LEAVES);
    struct span mine = tree_leaves(tree);
    struct arena_mark mark = arena_mark(job->scratch);
    double *stack = arena_take_raw(job->scratch, (size_t)tree_depth(tree) * (size_t)length, sizeof *stack);
    for (int leaf = 0; leaf < mine.count; leaf++) {
        struct span rows = shard_rows(t->corpus->rows, LEAVES, (int)mine.first + leaf);
        struct arena_mark here = arena_mark(job->scratch);
        struct names_codes codes = read_leaf(t, indptr, rows);
        double *slot = stack + tree_slot(tree, leaf) * length;
        memset(slot, 0, (size_t)length * sizeof *slot);
        names_add_rows(slot, t->neurons, &t->targets, &codes, t->corpus->split, rows.first);
        arena_release(job->scratch, here);
        tree_fold_f64(tree, leaf, stack, length, length);
    }
    t->sums = arena_take_raw(job->run, (size_t)length, sizeof *t->sums);
    enum phase before = phase_enter(PHASE_COMM);
    tree_sum_nodes_f64(tree, t->sums, stack, length, length);
    phase_enter(before);
    arena_release(job->scratch, mark);
}

/* ---- names ---- */

double name_correlation(const struct name_task *t, unsigned mask, int k, int j)
{
    return j < 0 ? NAN : names_correlation(t->sums, t->neurons, t->targets.count, mask, k, j);
}

/* The most frequent class among the top images and its share. */
static void find_top_class(const struct name_task *t, int k, struct name_neuron *n)
{
    const struct corpus *c = t->corpus;
    struct arena_mark mark = arena_mark(t->job->scratch);
    int64_t *rows = arena_array(t->job->scratch, int64_t, t->top + 1);
    n->tops = tiles_top_rows(rows, t->top, t->top_index + (int64_t)k * t->T, t->top_value + (int64_t)k * t->T, t->T);
    int most = 0;
    n->top_class = -1;
    for (int y = 0; y < c->classes; y++) {
        int count = 0;
        for (int i = 0; i < n->tops; i++)
            count += class_value(c, rows[i], y) > 0;
        if (count > most)
            most = count, n->top_class = y;
    }
    n->top_share = n->tops > 0 ? (double)most / n->tops : 0;
    arena_release(t->job->scratch, mark);
}

static void name_one(struct name_task *t, int k)
{
    struct name_neuron *n = &t->neuron[k];
    int A = t->targets.attributes, C = t->corpus->classes, J = t->targets.count;
    n->attribute = names_best_target(t->sums, t->neurons, J, NAME_TRAIN, k, 0, A);
    n->class_match = names_best_target(t->sums, t->neurons, J, NAME_TRAIN, k, A, C);
    n->r = name_correlation(t, NAME_TRAIN, k, n->attribute);
    n->class_r = name_correlation(t, NAME_TRAIN, k, n->class_match);
    double a = n->attribute < 0 ? 0 : fabs(n->r), c = n->class_match < 0 ? 0 : fabs(n->class_r);
    n->score = a >= NAMES_CLEAR ? a : fmax(a, c);
    find_top_class(t, k, n);
    struct names_facts facts = { .attribute = n->attribute < 0 ? NULL : t->targets.name[n->attribute],
                                 .attribute_r = n->r,
                                 .class_match = n->class_match < 0 ? NULL : t->targets.name[n->class_match],
                                 .class_r = n->class_r,
                                 .top_class = n->top_class < 0 ? NULL : t->corpus->class_names[n->top_class],
                                 .top_share = n->top_share,
                                 .fire_rate = (double)t->fire_rate[k] };
    n->text = names_text(t->job->run, &facts);
}

static void name_all(struct name_task *t)
{
    t->neuron = arena_array(t->job->run, struct name_neuron, t->neurons);
    for (int k = 0; k < t->neurons; k++)
        if (t->fire_rate[k] > 0)
            name_one(t, k);
        else
            t->neuron[k] = (struct name_neuron){ .attribute = -1, .class_match = -1, .top_class = -1 };
}

/* ---- the stage ---- */

static void summarise(const struct name_task *t, int64_t sheets)
{
    int64_t alive = 0, clear = 0;
    for (int k = 0; k < t->neurons; k++) {
        alive += t->neuron[k].text != NULL;
        clear += t->neuron[k].text && t->neuron[k].score >= NAMES_CLEAR;
    }
    log_info("name: %lld of %d neurons fire, %lld with a clear match (|r| >= %.1f); %lld contact sheets",
             (long long)alive, t->neurons, (long long)clear, NAMES_CLEAR, (long long)sheets);
    for (int j = 0; j < t->targets.attributes; j++) {
        int best = names_best_neuron(t->sums, t->neurons, t->targets.count, NAME_TEST, j);
        int chosen = names_best_neuron(t->sums, t->neurons, t->targets.count, NAME_CHOOSE, j);
        if (best >= 0 && chosen >= 0)
            log_info("name: %-24s best |r| on test %.2f (neuron %d); chosen without test %.2f (neuron %d)",
                     t->targets.name[j], fabs(name_correlation(t, NAME_TEST, best, j)), best,
                     fabs(name_correlation(t, NAME_TEST, chosen, j)), chosen);
    }
}

int stage_name(struct job *job)
{
    const char *endpoint = job->config->name.endpoint;
    agree(job->world, !endpoint || !*endpoint, EXIT_BAD_CONFIG,
          "name.endpoint: \"%s\", but naming by a language model is not part of this version\n"
          "Leave name.endpoint empty: neurons are then named offline, from attributes and classes.",
          endpoint ? endpoint : "");
    if (!job->dry_run && !job_may_write(job, "names.json"))
        return EXIT_DONE;
    job_start(job);
    struct name_task task = { .job = job };
    phase_enter(PHASE_READ);
    open_inputs(&task);
    phase_enter(PHASE_COMPUTE);
    if (job->dry_run) {
        log_info("name: %d neurons, %d attributes, %d classes; would write %s and sheets/", task.neurons,
                 task.targets.attributes, task.corpus->classes, job_path(job, "names.json"));
        return job_done(job);
    }
    add_up(&task);
    name_all(&task);
    phase_enter(PHASE_WRITE);
    int64_t sheets = name_write_sheets(&task);
    name_write_json(&task, sheets);
    summarise(&task, sheets);
    return job_done(job);
}
