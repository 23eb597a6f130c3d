/* cfn name: what each neuron of the sparse autoencoder stands for, offline:
 * its top images on a contact sheet, and a name from the correlation of its
 * activation with ground truth beside the images and with the classes. Sums go
 * over fixed chunks of rows and the fixed tree, so names do not depend on the
 * rank count; the ranks share the sheets. Method: docs/methods/name.md. */
#include <dirent.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "concept/names.h"
#include "dist/tree.h"
#include "image/corpus.h"
#include "image/loader.h"
#include "report/json.h"
#include "stage/stage.h"
#include "stage/tiles.h"

enum {
    LEAVES = 64,     /* chunks of rows whose sums are added up the tree */
    SHEET_TILE = 96, /* pixels, or image.size if that is smaller */
    TILES_KEPT = 1 << 12,
    TRAIN = 1 << SPLIT_TRAIN,
    TEST = 1 << SPLIT_TEST,
    CHOOSE = TRAIN | 1 << SPLIT_VAL
};

/* What is known of one neuron. */
struct neuron {
    int attribute, class_match; /* targets, -1 = none */
    double r, class_r;          /* on the training split */
    double score;               /* |r| of the match the name is made of */
    int top_class;              /* -1 = none */
    double top_share;
    int tops;
    const char *text; /* NULL = never fires */
};

struct task {
    struct job *job;
    struct store *sae, *pixels;
    struct corpus *corpus;
    struct names_targets targets;
    int neurons;           /* K */
    int T;                 /* length of /top */
    int top;               /* images per neuron wanted */
    float *fire_rate;      /* [K] */
    int64_t *top_index;    /* [K x T] */
    float *top_value;      /* [K x T] */
    double *sums;          /* of names_add_rows, over all rows */
    struct neuron *neuron; /* [K] */
};

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
static void make_targets(struct task *t)
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

static void read_tops(struct task *t)
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

static void open_inputs(struct task *t)
{
    struct job *job = t->job;
    t->pixels = job_open(job, "corpus.h5", "pack");
    t->sae = job_open(job, "sae.h5", "sae");
    t->corpus = corpus_load(t->pixels, job->run);
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
static struct names_codes read_leaf(struct task *t, const int64_t *indptr, struct span rows)
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

static const int64_t *read_indptr(struct task *t)
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

static void add_up(struct task *t)
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

static double correlation(const struct task *t, unsigned mask, int k, int j)
{
    return j < 0 ? NAN : names_correlation(t->sums, t->neurons, t->targets.count, mask, k, j);
}

/* The most frequent class among the top images and its share. */
static void find_top_class(const struct task *t, int k, struct neuron *n)
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

static void name_one(struct task *t, int k)
{
    struct neuron *n = &t->neuron[k];
    int A = t->targets.attributes, C = t->corpus->classes, J = t->targets.count;
    n->attribute = names_best_target(t->sums, t->neurons, J, TRAIN, k, 0, A);
    n->class_match = names_best_target(t->sums, t->neurons, J, TRAIN, k, A, C);
    n->r = correlation(t, TRAIN, k, n->attribute);
    n->class_r = correlation(t, TRAIN, k, n->class_match);
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

static void name_all(struct task *t)
{
    t->neuron = arena_array(t->job->run, struct neuron, t->neurons);
    for (int k = 0; k < t->neurons; k++)
        if (t->fire_rate[k] > 0)
            name_one(t, k);
        else
            t->neuron[k] = (struct neuron){ .attribute = -1, .class_match = -1, .top_class = -1 };
}

/* ---- contact sheets ---- */

/* Neurons that get a sheet: all that fire, or the `sheets` that fire most often; in ascending order. */
static int64_t choose_sheets(const struct task *t, int32_t *out)
{
    int limit = t->job->config->name.sheets;
    int64_t alive = 0, count = 0;
    bool *taken = arena_array(t->job->run, bool, t->neurons);
    for (int k = 0; k < t->neurons; k++)
        alive += t->neuron[k].text != NULL;
    for (int64_t pick = 0; limit > 0 && pick < limit && pick < alive; pick++) {
        int best = -1;
        for (int k = 0; k < t->neurons; k++)
            if (t->neuron[k].text && !taken[k] && (best < 0 || t->fire_rate[k] > t->fire_rate[best]))
                best = k;
        taken[best] = true;
    }
    for (int k = 0; k < t->neurons; k++)
        if (t->neuron[k].text && (limit <= 0 || taken[k]))
            out[count++] = k;
    return count;
}

static const char *sheet_name(struct arena *arena, int k)
{
    return arena_printf(arena, "sheets/neuron-%05d.png", k);
}

/* Sheets of an earlier run do not belong to these neurons. Rank 0. */
static void remove_old_sheets(struct job *job, const char *dir)
{
    DIR *open = opendir(dir);
    for (struct dirent *e = open ? readdir(open) : NULL; e; e = readdir(open))
        if (text_starts(e->d_name, "neuron-") && (text_ends(e->d_name, ".png") || text_ends(e->d_name, ".part")))
            unlink(text_path(job->scratch, dir, e->d_name));
    if (open)
        closedir(open);
}

static void prepare_sheets(struct job *job)
{
    const char *dir = job_path(job, "sheets"), *why = "";
    bool ok = true;
    if (job->world->rank == 0) {
        ok = text_make_dirs(job->scratch, dir, &why);
        if (ok && !job->resume)
            remove_old_sheets(job, dir);
    }
    agree(job->world, ok, EXIT_CANNOT_CREATE, "%s: %s\nname writes one contact sheet per neuron there", dir, why);
}

static void write_sheet(struct task *t, struct tiles *tiles, int k)
{
    struct arena *scratch = t->job->scratch;
    const char *path = job_path(t->job, sheet_name(scratch, k)), *why = "";
    if (t->job->resume && text_file_exists(path))
        return;
    int64_t *rows = arena_array(scratch, int64_t, t->top + 1);
    int count = tiles_top_rows(rows, t->top, t->top_index + (int64_t)k * t->T, t->top_value + (int64_t)k * t->T, t->T);
    int columns = (int)ceil(sqrt((double)count));
    struct picture sheet = tiles_sheet(tiles, scratch, rows, count, (struct sheet_style){ columns, 1, 3 });
    size_t length;
    uint8_t *png = picture_png(scratch, sheet, arena_printf(scratch, "neuron %d", k), t->neuron[k].text, &length);
    require(text_write_file(scratch, path, (const char *)png, length, &why), EXIT_IO, "%s: %s", path, why);
}

/* Each rank draws its block of the sheets. */
static int64_t write_sheets(struct task *t)
{
    struct job *job = t->job;
    int32_t *chosen = arena_array(job->run, int32_t, t->neurons);
    int64_t count = choose_sheets(t, chosen);
    struct span mine = shard_rows(count, job->world->size, job->world->rank);
    struct loader *loader = loader_open(t->pixels, job->run, job->config->image.size, (uint64_t)job->config->run.seed);
    int size = job->config->image.size < SHEET_TILE ? job->config->image.size : SHEET_TILE;
    int64_t room = t->corpus->rows < TILES_KEPT ? t->corpus->rows : TILES_KEPT;
    prepare_sheets(job);
    if (mine.count > 0) {
        struct tiles *tiles = tiles_create(job->run, loader, size, room);
        for (int64_t i = 0; i < mine.count; i++) {
            struct arena_mark mark = arena_mark(job->scratch);
            write_sheet(t, tiles, chosen[mine.first + i]);
            arena_release(job->scratch, mark);
            progress("name", "sheets", (double)(i + 1) * job->world->size, (double)count, "sheet");
        }
    }
    progress_end();
    world_barrier(job->world); /* names.json says that all sheets are there */
    phase_count("sheets", (double)mine.count);
    return count;
}

/* ---- names.json ---- */

static void put_neuron(const struct task *t, struct json_writer *w, int k)
{
    const struct neuron *n = &t->neuron[k];
    json_object(w, NULL);
    json_integer(w, "neuron", k);
    json_text(w, "name", n->text ? n->text : "never fires");
    json_number(w, "fire_rate", (double)t->fire_rate[k]);
    if (n->text) {
        json_number(w, "score", n->score);
        if (n->attribute >= 0) {
            json_text(w, "attribute", t->targets.name[n->attribute]);
            json_number(w, "r_train", n->r);
            json_number(w, "r_test", correlation(t, TEST, k, n->attribute));
        }
        if (n->class_match >= 0) {
            json_text(w, "class", t->targets.name[n->class_match]);
            json_number(w, "class_r_train", n->class_r);
            json_number(w, "class_r_test", correlation(t, TEST, k, n->class_match));
            json_number(w, "class_lift", names_lift(t->sums, t->neurons, &t->targets, TRAIN, k, n->class_match));
        }
        if (n->top_class >= 0) {
            json_text(w, "top_class", t->corpus->class_names[n->top_class]);
            json_number(w, "top_class_share", n->top_share);
        }
        json_integer(w, "top_images", n->tops);
    }
    json_end_object(w);
}

/* For one attribute: the neuron that follows it best on the test split, and honestly, the neuron chosen without
 * looking at the test split. */
static void put_region(const struct task *t, struct json_writer *w, int j)
{
    int best = names_best_neuron(t->sums, t->neurons, t->targets.count, TEST, j);
    int chosen = names_best_neuron(t->sums, t->neurons, t->targets.count, CHOOSE, j);
    json_object(w, t->targets.name[j]);
    json_integer(w, "neuron", best);
    json_number(w, "r_test", best < 0 ? NAN : correlation(t, TEST, best, j));
    json_object(w, "chosen_without_test");
    json_integer(w, "neuron", chosen);
    json_number(w, "r_train_val", chosen < 0 ? NAN : correlation(t, CHOOSE, chosen, j));
    json_number(w, "r_test", chosen < 0 ? NAN : correlation(t, TEST, chosen, j));
    json_end_object(w);
    json_end_object(w);
}

static void write_names(struct task *t, int64_t sheets)
{
    struct job *job = t->job;
    const char *path = job_path(job, "names.json"), *why = "";
    bool ok = true;
    if (job->world->rank == 0) {
        struct text out = text_new(job->run);
        struct json_writer w = json_start(&out);
        json_object(&w, NULL);
        json_text(&w, "method", "offline: correlation of activations with attributes and classes, training split");
        json_integer(&w, "sheets", sheets);
        json_object(&w, "regions");
        for (int j = 0; j < t->targets.attributes; j++)
            put_region(t, &w, j);
        json_end_object(&w);
        json_array(&w, "neurons");
        for (int k = 0; k < t->neurons; k++)
            put_neuron(t, &w, k);
        json_end_array(&w);
        json_end_object(&w);
        ok = text_write_file(job->scratch, path, out.data, out.length, &why);
    }
    agree(job->world, ok, EXIT_IO, "%s: %s", path, why);
}

/* ---- the stage ---- */

static void summarise(const struct task *t, int64_t sheets)
{
    int64_t alive = 0, clear = 0;
    for (int k = 0; k < t->neurons; k++) {
        alive += t->neuron[k].text != NULL;
        clear += t->neuron[k].text && t->neuron[k].score >= NAMES_CLEAR;
    }
    log_info("name: %lld of %d neurons fire, %lld with a clear match (|r| >= %.1f); %lld contact sheets",
             (long long)alive, t->neurons, (long long)clear, NAMES_CLEAR, (long long)sheets);
    for (int j = 0; j < t->targets.attributes; j++) {
        int best = names_best_neuron(t->sums, t->neurons, t->targets.count, TEST, j);
        int chosen = names_best_neuron(t->sums, t->neurons, t->targets.count, CHOOSE, j);
        if (best >= 0 && chosen >= 0)
            log_info("name: %-24s best |r| on test %.2f (neuron %d); chosen without test %.2f (neuron %d)",
                     t->targets.name[j], fabs(correlation(t, TEST, best, j)), best,
                     fabs(correlation(t, TEST, chosen, j)), chosen);
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
    phase_start("name");
    struct task task = { .job = job };
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
    int64_t sheets = write_sheets(&task);
    write_names(&task, sheets);
    summarise(&task, sheets);
    return job_done(job);
}
