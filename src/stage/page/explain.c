/* cfn explain: for every image and class the strongest contributions of
 * concepts and what they leave over (explanations.h5), and one offline page
 * (report/index.html) made on rank 0 by page*.c. Rows go in fixed chunks, so
 * that averages do not depend on the rank count. Method: docs/methods/explain.md. */
#include "concept/explain.h"

#include <string.h>

#include "base/file.h"
#include "dist/tree.h"
#include "job/home.h"
#include "report/json.h"
#include "stage/gallery.h"
#include "stage/page/page.h"
#include "stage/sae_summary.h"
#include "stage/stage.h"

enum { LEAVES = 64, THUMB = 56, VIEW = 224, VIEWS_KEPT = 8, THUMBS_KEPT = 1 << 12 };

struct task {
    struct job *job;
    const struct gallery *gallery;
    const struct corpus *corpus;
    struct store *codes, *cbm;
    int split;
    int C, M, S, T;
    bool hybrid;     /* a residual head adds to the logits */
    float *weight;   /* [C x M] */
    int32_t *neuron; /* [M] of the sparse autoencoder */
    double *effect;  /* [C x M] mean contribution over the split's images of a class */
    double *used;    /* [M] share of the split's images */
};

/* ---- input ---- */

static int extent(struct store *store, const char *name, int which)
{
    int64_t dims[4] = { 0 };
    require(store_dims(store, name, dims) == 2, EXIT_BAD_DATA, "%s: %s is missing or not a table", store_path(store),
            name);
    return (int)dims[which];
}

/* Neuron of each selected concept: selection -> row of cav.h5 -> neuron. */
static void read_neurons(struct task *t)
{
    struct job *job = t->job;
    struct store *selection = job_open(job, "selection.h5", "select"), *cav = job_open(job, "cav.h5", "cav");
    int64_t A = store_rows(cav, "/neuron"), M = t->M;
    store_expect(cav, "/neuron", STORE_I32, 1, &A);
    store_expect(selection, "/index", STORE_I64, 1, &M);
    int32_t *neuron = arena_array(job->run, int32_t, A + 1);
    int64_t *index = arena_array(job->run, int64_t, M + 1);
    store_read_all(cav, "/neuron", neuron);
    store_read_all(selection, "/index", index);
    t->neuron = arena_array(job->run, int32_t, M);
    int64_t good = 0; /* the same on every rank */
    while (good < M && index[good] >= 0 && index[good] < A)
        good++;
    agree(job->world, good == M, EXIT_BAD_DATA,
          "%s: /index[%lld] is %lld, but cav.h5 has %lld vectors\nrun `cfn select` again", store_path(selection),
          (long long)good, good < M ? (long long)index[good] : 0, (long long)A);
    for (int64_t m = 0; m < M; m++)
        t->neuron[m] = neuron[index[m]];
    store_close(selection);
    store_close(cav);
}

static const enum split split_of[] = {
    [EXPLAIN_TEST] = SPLIT_TEST, [EXPLAIN_VAL] = SPLIT_VAL, [EXPLAIN_TRAIN] = SPLIT_TRAIN
};

static void open_inputs(struct task *t)
{
    struct job *job = t->job;
    t->gallery = gallery_open(job);
    t->corpus = t->gallery->corpus;
    t->cbm = job_open(job, "cbm.h5", "classify");
    t->codes = job_open(job, "codes.h5", "decompose");
    t->C = t->corpus->classes;
    t->M = extent(t->cbm, "/concept_weight", 1);
    t->S = extent(t->codes, "/atom", 1);
    t->T = job->config->explain.top;
    t->split = (int)split_of[job->config->explain.split];
    int64_t N = t->corpus->rows;
    store_expect(t->cbm, "/concept_weight", STORE_F32, 2, (int64_t[]){ t->C, t->M });
    store_expect(t->cbm, "/logits", STORE_F32, 2, (int64_t[]){ N, t->C });
    store_expect(t->codes, "/atom", STORE_I32, 2, (int64_t[]){ N, t->S });
    store_expect(t->codes, "/value", STORE_F32, 2, (int64_t[]){ N, t->S });
    t->hybrid = store_has(t->cbm, "/residual_logits");
    if (t->hybrid)
        store_expect(t->cbm, "/residual_logits", STORE_F32, 2, (int64_t[]){ N, t->C });
    t->weight = arena_array(job->run, float, (int64_t)t->C * t->M);
    store_read_all(t->cbm, "/concept_weight", t->weight);
    read_neurons(t);
}

/* ---- contributions ---- */

/* Buffers for the rows of one leaf. */
struct block {
    int32_t *atom, *concept;
    float *code, *logit, *value, *rest;
    float *residual; /* part of the logit; zeros without a residual head */
};
static struct block block_create(const struct task *t, int64_t rows)
{
    struct arena *a = t->job->run;
    int64_t all = rows * t->C;
    return (struct block){ .atom = arena_array(a, int32_t, rows * t->S + 1),
                           .code = arena_array(a, float, rows * t->S + 1),
                           .logit = arena_array(a, float, all + 1),
                           .concept = arena_array(a, int32_t, all * t->T + 1),
                           .value = arena_array(a, float, all * t->T + 1),
                           .rest = arena_array(a, float, all + 1),
                           .residual = arena_array(a, float, all + 1) };
}

static bool belongs(const struct corpus *c, int64_t row, int k)
{
    return c->multi_label ? c->labels[row * c->classes + k] == LABEL_POSITIVE : c->label[row] == k;
}

/* sums: [C x M] code over images of the class, [M] images that use the concept, [C] images of the class, [1] images. */
static int64_t sums_length(const struct task *t)
{
    return (int64_t)t->C * t->M + t->M + t->C + 1;
}

static void add_codes(const struct task *t, double *sums, const struct block *b, struct span rows)
{
    double *used = sums + (int64_t)t->C * t->M, *images = used + t->M;
    for (int64_t i = 0; i < rows.count; i++) {
        int64_t row = rows.first + i;
        if (t->corpus->split[row] != t->split)
            continue;
        images[t->C] += 1;
        for (int c = 0; c < t->C; c++)
            images[c] += belongs(t->corpus, row, c);
        for (int s = 0; s < t->S; s++) {
            int32_t m = b->atom[i * t->S + s];
            if (m < 0)
                continue;
            used[m] += 1;
            for (int c = 0; c < t->C; c++)
                if (belongs(t->corpus, row, c))
                    sums[(int64_t)c * t->M + m] += (double)b->code[i * t->S + s];
        }
    }
}

static void explain_rows(struct task *t, struct store *out, struct block *b, struct span rows)
{
    enum phase before = phase_enter(PHASE_READ);
    store_read_rows(t->codes, "/atom", rows.first, rows.count, b->atom);
    store_read_rows(t->codes, "/value", rows.first, rows.count, b->code);
    store_read_rows(t->cbm, "/logits", rows.first, rows.count, b->logit);
    if (t->hybrid)
        store_read_rows(t->cbm, "/residual_logits", rows.first, rows.count, b->residual);
    for (int64_t i = 0; i < rows.count * t->S; i++)
        require(b->atom[i] >= -1 && b->atom[i] < t->M, EXIT_BAD_DATA,
                "%s: /atom holds concept %d, but there are %d\nrun `cfn decompose` again", store_path(t->codes),
                b->atom[i], t->M);
    phase_enter(PHASE_COMPUTE);
    for (int64_t i = 0; i < rows.count * t->C; i++)
        b->logit[i] -= b->residual[i];
    for (int64_t i = 0; i < rows.count; i++) {
        int64_t at = i * t->C;
        explain_row(b->concept + at * t->T, b->value + at * t->T, b->rest + at, b->atom + i * t->S, b->code + i * t->S,
                    t->weight, b->logit + at, t->C, t->M, t->S, t->T);
    }
    phase_enter(PHASE_WRITE);
    store_write_rows(out, "/contribution/concept", rows.first, rows.count, b->concept);
    store_write_rows(out, "/contribution/value", rows.first, rows.count, b->value);
    store_write_rows(out, "/rest", rows.first, rows.count, b->rest);
    if (t->hybrid)
        store_write_rows(out, "/residual", rows.first, rows.count, b->residual);
    phase_enter(before);
}

/* From sums over all leaves to means. */
static void finish_effects(struct task *t, const double *sums)
{
    const double *used = sums + (int64_t)t->C * t->M, *images = used + t->M;
    t->effect = arena_array(t->job->run, double, (int64_t)t->C * t->M);
    t->used = arena_array(t->job->run, double, t->M);
    for (int m = 0; m < t->M; m++)
        t->used[m] = images[t->C] > 0 ? used[m] / images[t->C] : 0;
    for (int c = 0; c < t->C; c++)
        for (int m = 0; m < t->M && images[c] > 0; m++) {
            int64_t at = (int64_t)c * t->M + m;
            t->effect[at] = (double)t->weight[at] * sums[at] / images[c];
        }
}

/* All rows, leaf by leaf; every rank makes the same number of collective calls. */
static void explain_all(struct task *t, struct store *out)
{
    struct job *job = t->job;
    struct tree *tree = tree_create(job->run, job->world, LEAVES);
    struct span mine = tree_leaves(tree);
    int64_t length = sums_length(t), N = t->corpus->rows;
    double *stack = arena_array(job->run, double, tree_depth(tree) * length), most = (double)mine.count;
    world_max_f64(job->world, &most, 1);
    struct block block = block_create(t, N / LEAVES + 1);
    for (int leaf = 0; leaf < (int)most; leaf++) {
        bool real = leaf < mine.count;
        struct span rows = real ? shard_rows(N, LEAVES, (int)mine.first + leaf) : (struct span){ 0, 0 };
        explain_rows(t, out, &block, rows);
        if (!real)
            continue;
        double *slot = stack + tree_slot(tree, leaf) * length;
        memset(slot, 0, (size_t)length * sizeof *slot);
        add_codes(t, slot, &block, rows);
        tree_fold_f64(tree, leaf, stack, length, length);
        progress("explain", "", (double)(leaf + 1) * job->world->size / LEAVES * (double)N, (double)N, "img");
    }
    progress_end();
    double *sums = arena_array(job->run, double, length);
    tree_sum_nodes_f64(tree, sums, stack, length, length);
    finish_effects(t, sums);
}

/* ---- the page ---- */

/* On rank 0; NULL on the others. */
static const struct json *read_json(struct job *job, const char *name, const char *made_by)
{
    const char *path = job_input(job, name, made_by), *why = "";
    const struct json *tree = job->world->rank == 0 ? json_read(job->run, path, &why) : NULL;
    agree(job->world, tree || job->world->rank != 0, EXIT_BAD_DATA, "%s: %s", path, why);
    return tree;
}

static const struct json *read_optional(struct job *job, const char *name, const char *made_by)
{
    return job_has_input(job, name) ? read_json(job, name, made_by) : NULL;
}

static struct page_concept *describe_concepts(struct task *t, const struct json *names)
{
    struct page_concept *list = arena_array(t->job->run, struct page_concept, t->M);
    const struct json *neurons = json_member(names, "neurons");
    for (int m = 0; m < t->M; m++) {
        const struct json *n = json_item(neurons, t->neuron[m]);
        list[m] = (struct page_concept){ .neuron = t->neuron[m], .used = t->used[m] };
        list[m].name = json_as_text(json_member(n, "name"), "without a name");
    }
    return list;
}

/* What the page shows beside the contributions. */
static void open_page(struct task *t, struct page *page)
{
    struct job *job = t->job;
    page->names = read_json(job, "names.json", "name");
    page->metrics = read_optional(job, "metrics.json", "classify");
    page->audit = t->gallery->pixels ? read_optional(job, "audit.json", "audit") : NULL;
    page->sae = job_open(job, "sae.h5", "sae");
    page->autoencoder = sae_summary_load(job);
    bool own = !t->gallery->encoder && job_has_input(job, "backbone.h5");
    page->backbone = own ? job_open(job, "backbone.h5", "train") : NULL;
}

/* Everything of the page that is read collectively. */
static void fill_page(struct task *t, struct page *page)
{
    struct job *job = t->job;
    page->neurons = extent(page->sae, "/top/index", 0);
    page->T = extent(page->sae, "/top/index", 1);
    int64_t dims[2] = { page->neurons, page->T }, tops = dims[0] * dims[1], logits = t->corpus->rows * t->C;
    store_expect(page->sae, "/top/index", STORE_I64, 2, dims);
    store_expect(page->sae, "/top/value", STORE_F32, 2, dims);
    page->top_index = arena_array(job->run, int64_t, tops);
    page->top_value = arena_array(job->run, float, tops);
    store_read_all(page->sae, "/top/index", page->top_index);
    store_read_all(page->sae, "/top/value", page->top_value);
    float *all = arena_array(job->run, float, logits);
    store_read_all(t->cbm, "/logits", all);
    page->logits = all;
    if (t->hybrid) {
        float *residual = arena_array(job->run, float, logits);
        store_read_all(t->cbm, "/residual_logits", residual);
        page->residual = residual;
    }
    int size = job->config->image.size;
    struct loader *loader = gallery_loader(job, t->gallery);
    if (job->world->rank == 0) {
        for (int64_t i = 0; i < t->corpus->rows; i++)
            page->split_rows += t->corpus->split[i] == t->split;
        page->concept = describe_concepts(t, page->names);
        const int64_t *picture = t->gallery->picture;
        page->thumbs =
            loader ? tiles_create(job->run, loader, picture, size < THUMB ? size : THUMB, THUMBS_KEPT) : NULL;
        page->views = loader ? tiles_create(job->run, loader, picture, size < VIEW ? size : VIEW, VIEWS_KEPT) : NULL;
    }
}

/* The same values on every rank, so that all of them stop at the same one. */
static void check_neurons(const struct task *t, const struct page *page)
{
    int m = 0;
    while (m < t->M && t->neuron[m] >= 0 && t->neuron[m] < page->neurons)
        m++;
    agree(t->job->world, m == t->M, EXIT_BAD_DATA,
          "cav.h5: /neuron holds %d, but sae.h5 has %d neurons\nrun `cfn cav` again", m < t->M ? t->neuron[m] : 0,
          page->neurons);
    int64_t i = 0, all = (int64_t)page->neurons * page->T;
    while (i < all && page->top_index[i] >= -1 && page->top_index[i] < t->corpus->rows)
        i++;
    agree(t->job->world, i == all, EXIT_BAD_DATA, "%s: /top/index holds row %lld of %lld\nrun `cfn sae` again",
          store_path(page->sae), i < all ? (long long)page->top_index[i] : 0, (long long)t->corpus->rows);
}

/* Returns the page's path. Collective. */
static const char *write_page(struct task *t, struct page *page)
{
    struct job *job = t->job;
    page->job = job;
    page->arena = job->run;
    page->gallery = t->gallery;
    page->corpus = t->corpus;
    page->split = t->split;
    page->classes = t->C;
    page->concepts = t->M;
    page->atoms = t->S;
    page->weight = t->weight;
    page->effect = t->effect;
    page->codes = t->codes;
    page->cbm = t->cbm;
    fill_page(t, page);
    check_neurons(t, page);
    const char *dir = job_path(job, "report"), *path = path_join(job->run, dir, "index.html"), *why = "";
    bool ok = true;
    if (job->world->rank == 0) {
        size_t length = 0;
        char *html = page_make(page, &length);
        ok = path_make_dirs(job->run, dir, &why) && file_write(job->run, path, html, length, &why);
        phase_count("page_bytes", (double)length);
    }
    agree(job->world, ok, EXIT_IO, "%s: %s", path, why);
    return path;
}

/* ---- the stage ---- */

static struct store *create(struct task *t)
{
    static const struct layout layout[] = {
        { "/contribution/concept", STORE_I32, "N,C,T", "1",
          "concepts that contribute most to the logit, by their place in the selection; -1 unused", NULL, false },
        { "/contribution/value", STORE_F32, "N,C,T", "logit", "what each of them adds: code times weight", NULL,
          false },
        { "/rest", STORE_F32, "N,C", "logit", "logit minus the contributions above and the residual's", NULL, false },
        { "/residual", STORE_F32, "N,C", "logit", "what the residual head adds, from what no concept explains", NULL,
          false },
    };
    size_t datasets = sizeof layout / sizeof *layout - !t->hybrid;
    const struct extent sizes[] = { { "N", t->corpus->rows }, { "C", t->C }, { "T", t->T } };
    struct store *out = job_create(t->job, "explanations.h5", layout, datasets, sizes, 3);
    store_set_texts(out, "/", "class_names", t->corpus->class_names, t->C);
    return out;
}

int stage_explain(struct job *job)
{
    if (!job->dry_run && !job_may_write(job, "explanations.h5"))
        return EXIT_DONE;
    job_start(job);
    phase_enter(PHASE_READ);
    struct task task = { .job = job };
    struct page page = { .job = job };
    open_inputs(&task);
    open_page(&task, &page);
    if (job->dry_run) {
        log_info("explain: %lld images, %d classes, %d of %d concepts each; would write %s and report/index.html",
                 (long long)task.corpus->rows, task.C, task.T, task.M, job_path(job, "explanations.h5"));
        return EXIT_DONE;
    }
    struct store *out = create(&task);
    phase_enter(PHASE_COMPUTE);
    explain_all(&task, out);
    phase_enter(PHASE_WRITE);
    const char *path = write_page(&task, &page);
    job_publish(job, out);
    phase_count("images", (double)task.corpus->rows / job->world->size);
    log_info("explain: %lld images explained by up to %d concepts per class", (long long)task.corpus->rows, task.T);
    log_info("explain: page %s", path);
    return job_done(job);
}
