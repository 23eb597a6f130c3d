/* cfn classify: the concept-bottleneck head on representations rebuilt from
 * concepts (or on the codes), the same pipeline with random directions as a
 * control, and the metrics of all models. Method: docs/methods/classify.md. */
#include <math.h>
#include <string.h>

#include "concept/cbm.h"
#include "concept/control.h"
#include "concept/omp.h"
#include "concept/score.h"
#include "image/corpus.h"
#include "math/vec.h"
#include "stage/features.h"
#include "stage/metrics.h"
#include "stage/stage.h"

/* Largest |gradient| at the end of a fit, in coordinates of unit curvature (concept/cbm_scale.h). */
static const double TOLERANCE = 3e-5;

struct task {
    struct job *job;
    const struct features *features;
    int M, S;
    bool rebuild;       /* input is the rebuilt representation, else the codes */
    int width;          /* of the input: D or M */
    const float *atoms; /* [M x D] selected vectors */
    int64_t *train;     /* [train_rows] */
    int64_t train_rows, val_rows;
    struct head_rows *rows;
    float *train_x; /* [rows->mine.count x width] */
};

/* Codes of this rank's rows. */
struct codes {
    int32_t *atom;    /* [mine.count x S] */
    double *value;    /* [mine.count x S] */
    double *constant; /* [mine.count] */
};

static void read_atoms(struct task *t)
{
    struct job *job = t->job;
    struct store *cav = job_open(job, "cav.h5", "cav"), *selection = job_open(job, "selection.h5", "select");
    store_expect(cav, "/cav", STORE_F32, 2, (int64_t[]){ -1, t->features->dim });
    store_expect(selection, "/index", STORE_I64, 1, (int64_t[]){ -1 });
    int64_t vectors = store_rows(cav, "/cav"), M = store_rows(selection, "/index"), bad = -1;
    int64_t *index = arena_array(job->run, int64_t, M);
    store_read_all(selection, "/index", index);
    for (int64_t m = M - 1; m >= 0; m--)
        bad = index[m] < 0 || index[m] >= vectors ? m : bad;
    agree(job->world, M > 0 && bad < 0, EXIT_BAD_DATA,
          "%s: /index[%lld] is not a row of /cav, which has %lld\nmake it again: cfn select --force",
          store_path(selection), (long long)bad, (long long)vectors);
    float *atoms = arena_array(job->run, float, M * t->features->dim);
    store_read_list(cav, "/cav", index, M, atoms);
    store_close(cav);
    store_close(selection);
    t->M = (int)M;
    t->atoms = atoms;
}

static struct codes codes_take(struct arena *arena, int64_t rows, int S)
{
    return (struct codes){ arena_array(arena, int32_t, rows * S), arena_array(arena, double, rows *S),
                           arena_array(arena, double, rows) };
}

static struct codes read_codes(struct task *t)
{
    struct job *job = t->job;
    struct span mine = t->features->mine;
    struct store *store = job_open(job, "codes.h5", "decompose");
    store_expect(store, "/atom", STORE_I32, 2, (int64_t[]){ t->features->rows, -1 });
    int64_t dims[4];
    store_dims(store, "/atom", dims);
    store_expect(store, "/value", STORE_F32, 2, dims);
    store_expect(store, "/intercept", STORE_F32, 1, dims);
    t->S = (int)dims[1];
    struct codes codes = codes_take(job->run, mine.count, t->S);
    int64_t entries = mine.count * t->S, bad = -1;
    float *value = arena_array(job->run, float, entries), *constant = arena_array(job->run, float, mine.count);
    store_read_rows(store, "/atom", mine.first, mine.count, codes.atom);
    store_read_rows(store, "/value", mine.first, mine.count, value);
    store_read_rows(store, "/intercept", mine.first, mine.count, constant);
    for (int64_t i = 0; i < entries; i++) {
        codes.value[i] = (double)value[i];
        bad = bad < 0 && (codes.atom[i] < -1 || codes.atom[i] >= t->M) ? i : bad;
    }
    for (int64_t i = 0; i < mine.count; i++)
        codes.constant[i] = (double)constant[i];
    agree(job->world, bad < 0, EXIT_BAD_DATA,
          "%s: /atom of row %lld names concept %d, but %d are selected\nmake it again: cfn decompose --force",
          store_path(store), (long long)(mine.first + bad / t->S), bad < 0 ? 0 : codes.atom[bad], t->M);
    store_close(store);
    return codes;
}

/* x [mine.count x width]: what the head sees of each image. */
static void inputs_from_codes(float *x, const struct task *t, const struct codes *codes, const float *atoms)
{
    struct arena_mark mark = arena_mark(t->job->scratch);
    int D = t->features->dim, S = t->S;
    double *rebuilt = arena_array(t->job->scratch, double, D);
    memset(x, 0, (size_t)(t->features->mine.count * t->width) * sizeof *x);
    for (int64_t i = 0; i < t->features->mine.count; i++) {
        const int32_t *atom = codes->atom + i * S;
        const double *value = codes->value + i * S;
        if (t->rebuild)
            omp_reconstruct(rebuilt, atom, value, codes->constant[i], S, atoms, D);
        for (int d = 0; d < D && t->rebuild; d++)
            x[i * D + d] = (float)rebuilt[d];
        for (int s = 0; s < S && !t->rebuild && atom[s] >= 0; s++)
            x[i * t->M + atom[s]] = (float)value[s];
    }
    arena_release(t->job->scratch, mark);
}

/* Training rows of this rank's leaves: where they are, and their labels. */
static void place_training_rows(struct task *t)
{
    const struct features *f = t->features;
    struct job *job = t->job;
    t->train = arena_array(job->run, int64_t, f->rows);
    for (int64_t row = 0; row < f->rows; row++) {
        if (f->split[row] == SPLIT_TRAIN)
            t->train[t->train_rows++] = row;
        t->val_rows += f->split[row] == SPLIT_VAL;
    }
    agree(job->world, t->train_rows > 0, EXIT_BAD_DATA, "classify: no training rows");
    agree(job->world, t->val_rows > 0 || strcmp(job->config->classify.search, "published") != 0, EXIT_BAD_DATA,
          "classify: the search for C needs a validation split, and this corpus has none\n"
          "set classify.search: fixed and classify.c");
    struct head_rows *rows =
        head_rows_create(job->run, job->world, t->train_rows, f->classes, t->width, f->multi_label);
    int64_t n = rows->mine.count;
    int32_t *label = f->label ? arena_array(job->run, int32_t, n) : NULL;
    int8_t *labels = f->labels ? arena_array(job->run, int8_t, n * f->classes) : NULL;
    for (int64_t i = 0; i < n; i++) {
        int64_t row = t->train[rows->mine.first + i];
        if (label)
            label[i] = f->label[row];
        else
            memcpy(labels + i * f->classes, f->labels + row * f->classes, (size_t)f->classes);
    }
    rows->label = label;
    rows->labels = labels;
    rows->x = t->train_x = arena_take_raw(job->run, (size_t)n * (size_t)t->width, sizeof(float));
    t->rows = rows;
}

/* The inputs of a model at hand while its head is searched for. */
struct fitting {
    struct task *task;
    const float *x; /* [mine.count x width] */
    float *logits;  /* [mine.count x C] */
};

/* Logits of this rank's rows, chunk by chunk so that their bits do not depend on the ranks. */
static void logits_of(const struct fitting *f, const struct head *head)
{
    const struct task *t = f->task;
    for (int64_t at = 0; at < t->features->mine.count; at += FEATURES_CHUNK) {
        int64_t left = t->features->mine.count - at;
        head_logits(f->logits + at * head->classes, head, f->x + at * t->width,
                    left < FEATURES_CHUNK ? left : FEATURES_CHUNK, t->job->scratch);
    }
}

/* Macro AUROC of the validation rows, whose logits are gathered on every rank. */
static double validate_auroc(const struct fitting *f, int C)
{
    const struct features *features = f->task->features;
    struct arena *scratch = f->task->job->scratch;
    struct arena_mark mark = arena_mark(scratch);
    int64_t n = f->task->val_rows, local = 0, all = 0;
    float *mine = arena_array(scratch, float, features->mine.count *C), *logits = arena_array(scratch, float, n *C);
    int8_t *labels = arena_array(scratch, int8_t, n * C);
    for (int64_t row = 0; row < features->rows; row++) {
        if (features->split[row] != SPLIT_VAL)
            continue;
        memcpy(labels + all++ * C, features->labels + row * C, (size_t)C);
        int64_t i = row - features->mine.first;
        if (i >= 0 && i < features->mine.count)
            memcpy(mine + local++ * C, f->logits + i * C, (size_t)C * sizeof *mine);
    }
    world_allgather_rows(f->task->job->world, logits, mine, local, (size_t)C * sizeof *mine);
    double *probability = arena_array(scratch, double, n *C);
    int32_t *predicted = arena_array(scratch, int32_t, n * C);
    double *scores = arena_array(scratch, double, score_count(C));
    score_probability(probability, logits, n, C, true);
    score_predict(predicted, logits, n, C, true);
    struct score_rows rows = { .rows = n,
                               .classes = C,
                               .multi_label = true,
                               .probability = probability,
                               .predicted = predicted,
                               .labels = labels };
    score_compute(scores, score_plan_create(scratch, &rows), NULL);
    double auroc = scores[SCORE_AUROC];
    arena_release(scratch, mark);
    return auroc;
}

static double validate_accuracy(const struct fitting *f, int C)
{
    const struct features *features = f->task->features;
    int64_t right = 0;
    for (int64_t i = 0; i < features->mine.count; i++) {
        int64_t row = features->mine.first + i;
        int32_t predicted;
        score_predict(&predicted, f->logits + i * C, 1, C, false);
        right += features->split[row] == SPLIT_VAL && predicted == features->label[row];
    }
    world_sum_i64(f->task->job->world, &right, 1);
    return (double)right / (double)f->task->val_rows;
}

static double validate(void *data, const struct head *head)
{
    const struct fitting *f = data;
    enum phase before = phase_enter(PHASE_EVALUATE);
    logits_of(f, head);
    double score =
        f->task->features->multi_label ? validate_auroc(f, head->classes) : validate_accuracy(f, head->classes);
    phase_enter(before);
    return score;
}

/* Fits the head of one model. x [mine.count x width]; logits [mine.count x C] out. */
static struct head_search fit_model(struct task *t, struct head *head, float *logits, const float *x)
{
    struct job *job = t->job;
    const struct classify_config *config = &job->config->classify;
    struct arena_mark mark = arena_mark(job->scratch);
    int64_t *wanted = arena_array(job->scratch, int64_t, t->rows->mine.count);
    for (int64_t i = 0; i < t->rows->mine.count; i++)
        wanted[i] = t->train[t->rows->mine.first + i];
    world_fetch_rows(job->world, t->train_x, wanted, t->rows->mine.count, x, t->features->mine.first,
                     t->features->mine.count, (size_t)t->width * sizeof(float));
    head_rows_prepare(t->rows, job->scratch);
    arena_release(job->scratch, mark);

    struct fitting fitting = { .task = t, .x = x, .logits = logits };
    struct head_search search = { .c = config->c, .score = NAN };
    if (strcmp(config->search, "fixed") == 0) {
        *head = head_create(job->run, t->features->classes, t->width);
        struct head_trial *trial = arena_array(job->run, struct head_trial, 1);
        trial->log10_c = log10(config->c);
        trial->iterations = head_fit(head, t->rows, config->c, TOLERANCE, config->max_iter, job->scratch);
        trial->score = t->val_rows > 0 ? validate(&fitting, head) : NAN;
        search.score = trial->score;
        search.fits = 1;
        search.trials = trial;
    } else {
        search = head_search(head, t->rows, TOLERANCE, config->max_iter, validate, &fitting, job->run, job->scratch);
    }
    logits_of(&fitting, head);
    return search;
}

/* [N x C] of all ranks, on every rank. */
static const float *gather(const struct task *t, const float *local)
{
    int C = t->features->classes;
    float *all = arena_take_raw(t->job->run, (size_t)t->features->rows * (size_t)C, sizeof *all);
    world_allgather_rows(t->job->world, all, local, t->features->mine.count, (size_t)C * sizeof *all);
    return all;
}

/* Codes of this rank's rows on other atoms, with the settings of cfn decompose. */
static void pursue(struct codes *codes, const struct task *t, const float *atoms)
{
    struct job *job = t->job;
    const struct features *f = t->features;
    struct arena_mark mark = arena_mark(job->scratch);
    struct omp *omp = omp_create(job->scratch, atoms, t->M, f->dim, t->S, job->config->decompose.intercept,
                                 FEATURES_CHUNK, job->world->threads > 0 ? job->world->threads : 1);
    double *residual = arena_array(job->scratch, double, FEATURES_CHUNK);
    struct omp_counts counts = { 0 };
    for (int64_t at = 0; at < f->mine.count; at += FEATURES_CHUNK) {
        int64_t rows = f->mine.count - at < FEATURES_CHUNK ? f->mine.count - at : FEATURES_CHUNK;
        struct omp_codes chunk = { codes->atom + at * t->S, codes->value + at * t->S, codes->constant + at, residual };
        omp_solve(omp, &chunk, f->x + at * f->dim, rows, &counts);
    }
    arena_release(job->scratch, mark);
}

/* The whole pipeline with random unit vectors in place of concepts; logits [N x C] of each trial. */
static void run_controls(struct task *t, const float **logits, float *x)
{
    struct job *job = t->job;
    const struct features *f = t->features;
    float *atoms = arena_array(job->run, float, (int64_t)t->M * f->dim);
    float *local = arena_array(job->run, float, f->mine.count * f->classes);
    struct codes codes = codes_take(job->run, f->mine.count, t->S);
    for (int trial = 0; trial < job->config->classify.controls; trial++) {
        control_random_vectors(atoms, t->M, f->dim, job_seed(job), trial);
        pursue(&codes, t, atoms);
        inputs_from_codes(x, t, &codes, atoms);
        struct head head;
        struct head_search search = fit_model(t, &head, local, x);
        logits[trial] = gather(t, local);
        log_info("classify: random concepts, trial %d of %d: C = %.3g, validation score %.4f", trial + 1,
                 job->config->classify.controls, search.c, search.score);
    }
}

/* The answer that ignores the image, for every row. */
static const float *majority_logits(const struct task *t)
{
    const struct features *f = t->features;
    int C = f->classes;
    int64_t n = t->train_rows;
    int32_t *label = f->label ? arena_array(t->job->run, int32_t, n) : NULL;
    int8_t *labels = f->labels ? arena_array(t->job->run, int8_t, n * C) : NULL;
    for (int64_t i = 0; i < n; i++)
        if (label)
            label[i] = f->label[t->train[i]];
        else
            memcpy(labels + i * C, f->labels + t->train[i] * C, (size_t)C);
    float *all = arena_array(t->job->run, float, f->rows *C);
    float *one = arena_array(t->job->run, float, C);
    control_majority(one, label, labels, n, C, f->multi_label);
    for (int64_t row = 0; row < f->rows; row++)
        memcpy(all + row * C, one, (size_t)C * sizeof *all);
    return all;
}

static const struct layout LAYOUT[] = {
    { "/weight", STORE_F32, "C,D", "1", "weights on the representation", NULL, true },
    { "/bias", STORE_F32, "C", "1", "bias of each class", NULL, false },
    { "/concept_weight", STORE_F32, "C,M", "1",
      "contribution of concept k to the logit of class c = code of k * this; <weight of c, vector of k>", NULL, false },
    { "/logits", STORE_F32, "N,C", "1", "output of the head, corpus row order", NULL, false },
    { "/prediction", STORE_I32, "N", "class", "class with the largest logit, the lowest on a tie", NULL, true },
    { "/prediction", STORE_I32, "rows,C", "1", "1 where the logit is above 0", NULL, true },
    { "/search/log10_c", STORE_F64, "F", "1", "C of each fit of the search, in the order made", NULL, false },
    { "/search/score", STORE_F64, "F", "1", "its validation accuracy (several labels: macro AUROC)", NULL, false },
    { "/search/iterations", STORE_I32, "F", "1", "iterations of L-BFGS", NULL, false },
};

static float *to_f32(struct arena *arena, const double *x, int64_t n)
{
    float *out = arena_array(arena, float, n);
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)x[i];
    return out;
}

/* [C x M]: <w_c, concept k>, or the weight itself when the head sees codes. */
static const float *concept_weights(const struct task *t, const struct head *head)
{
    if (!t->rebuild)
        return to_f32(t->job->run, head->weight, (int64_t)head->classes * head->dim);
    float *out = arena_array(t->job->run, float, (int64_t)head->classes * t->M);
    for (int c = 0; c < head->classes; c++)
        for (int k = 0; k < t->M; k++) {
            double sum = 0;
            for (int d = 0; d < head->dim; d++)
                sum += head->weight[(int64_t)c * head->dim + d] * (double)t->atoms[(int64_t)k * head->dim + d];
            out[(int64_t)c * t->M + k] = (float)sum;
        }
    return out;
}

static void write_search(struct arena *arena, struct store *out, const struct head_search *search)
{
    double *log10_c = arena_array(arena, double, search->fits), *score = arena_array(arena, double, search->fits);
    int32_t *iterations = arena_array(arena, int32_t, search->fits);
    for (int i = 0; i < search->fits; i++) {
        log10_c[i] = search->trials[i].log10_c;
        score[i] = search->trials[i].score;
        iterations[i] = search->trials[i].iterations;
    }
    store_write_all(out, "/search/log10_c", log10_c);
    store_write_all(out, "/search/score", score);
    store_write_all(out, "/search/iterations", iterations);
    store_set_f64(out, "/", "c", search->c);
}

/* logits [mine.count x C] of this rank. */
static void write_head(struct task *t, const struct head *head, const struct head_search *search, const float *logits)
{
    struct job *job = t->job;
    const struct features *f = t->features;
    int C = f->classes;
    struct extent sizes[6] = { { "C", C }, { "M", t->M }, { "N", f->rows }, { "F", search->fits } };
    size_t extents = 4;
    if (t->rebuild)
        sizes[extents++] = (struct extent){ "D", f->dim };
    /* One of the two rows of the table that describe /prediction. */
    struct layout layout[sizeof LAYOUT / sizeof *LAYOUT];
    size_t datasets = 0;
    for (size_t i = 0; i < sizeof LAYOUT / sizeof *LAYOUT; i++)
        if (strcmp(LAYOUT[i].name, "/prediction") != 0 || (strcmp(LAYOUT[i].dims, "N") != 0) == f->multi_label)
            layout[datasets++] = LAYOUT[i];
    if (f->multi_label)
        sizes[extents++] = (struct extent){ "rows", f->rows };
    enum phase before = phase_enter(PHASE_WRITE);
    struct store *out = job_create(job, "cbm.h5", layout, datasets, sizes, extents);
    if (t->rebuild)
        store_write_all(out, "/weight", to_f32(job->run, head->weight, (int64_t)C * f->dim));
    store_write_all(out, "/bias", to_f32(job->run, head->bias, C));
    store_write_all(out, "/concept_weight", concept_weights(t, head));
    store_write_rows(out, "/logits", f->mine.first, f->mine.count, logits);
    int32_t *predicted = arena_array(job->run, int32_t, f->mine.count * (f->multi_label ? C : 1));
    score_predict(predicted, logits, f->mine.count, C, f->multi_label);
    store_write_rows(out, "/prediction", f->mine.first, f->mine.count, predicted);
    write_search(job->run, out, search);
    store_set_text(out, "/", "input", job->config->classify.input);
    store_set_texts(out, "/", "class_names", f->class_names, C);
    job_publish(job, out, "classify", (const char *const[]){ "embeddings.h5", "cav.h5", "selection.h5", "codes.h5" },
                4);
    phase_enter(before);
}

static void measure_all(struct task *t, const float *cbm, const float *const *controls)
{
    const float *backbone = gather(t, t->features->logits), *majority = majority_logits(t);
    struct metrics_model models[] = {
        { "backbone", 1, &backbone },
        { "cbm", 1, &cbm },
        { "majority", 1, &majority },
        { "random_concepts", t->job->config->classify.controls, controls },
    };
    enum phase before = phase_enter(PHASE_EVALUATE);
    metrics_write(t->job, t->features, models, t->job->config->classify.controls > 0 ? 4 : 3);
    phase_enter(before);
}

static int dry_run(const struct task *t)
{
    log_info("classify: %lld training and %lld validation rows, %d concepts, %d per image, head of %d x %d",
             (long long)t->train_rows, (long long)t->val_rows, t->M, t->S, t->features->classes, t->width + 1);
    log_info("classify: would write %s and %s", job_path(t->job, "cbm.h5"), job_path(t->job, "metrics.json"));
    return EXIT_DONE;
}

int stage_classify(struct job *job)
{
    if (!job->dry_run && !job_may_write(job, "cbm.h5"))
        return EXIT_DONE;
    phase_start("classify");
    phase_enter(PHASE_READ);
    struct task t = { .job = job, .rebuild = strcmp(job->config->classify.input, "reconstruction") == 0 };
    t.features = features_load(job);
    read_atoms(&t);
    t.width = t.rebuild ? t.features->dim : t.M;
    struct codes codes = read_codes(&t);
    phase_enter(PHASE_COMPUTE);
    place_training_rows(&t);
    if (job->dry_run)
        return dry_run(&t);

    float *x = arena_take_raw(job->run, (size_t)t.features->mine.count * (size_t)t.width, sizeof(float));
    float *logits = arena_array(job->run, float, t.features->mine.count *t.features->classes);
    struct head head;
    inputs_from_codes(x, &t, &codes, t.atoms);
    struct head_search search = fit_model(&t, &head, logits, x);
    const float *cbm = gather(&t, logits);
    log_info("classify: C = %.3g after %d fits, validation %s %.4f", search.c, search.fits,
             t.features->multi_label ? "AUROC" : "accuracy", search.score);
    const float **controls = arena_array(job->run, const float *, job->config->classify.controls);
    run_controls(&t, controls, x);
    progress_end();
    measure_all(&t, cbm, controls);
    write_head(&t, &head, &search, logits);
    return job_done(job);
}
