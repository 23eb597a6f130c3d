/* cfn classify: the concept-bottleneck head on representations rebuilt from
 * concepts (or on the codes), the same pipeline with random directions as a
 * control, and the metrics of all models. Method: docs/methods/classify.md. */
#include <math.h>
#include <string.h>

#include "concept/cbm.h"
#include "concept/cbm_basis.h"
#include "concept/control.h"
#include "concept/omp.h"
#include "concept/score.h"
#include "image/corpus.h"
#include "math/vec.h"
#include "stage/cbm_file.h"
#include "stage/decompose.h"
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
    const float *atoms; /* [M x D] selected vectors */
    int64_t *train;     /* [train_rows] */
    int64_t train_rows, val_rows;
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

/* x [mine.count x width]: what the head sees of each image; basis is NULL when that is the codes. */
static void inputs_from_codes(float *x, const struct task *t, const struct codes *codes, const struct head_basis *basis)
{
    int width = basis ? basis->width : t->M;
    for (int64_t i = 0; i < t->features->mine.count; i++) {
        const int32_t *atom = codes->atom + i * t->S;
        const double *value = codes->value + i * t->S;
        float *row = x + i * width;
        if (basis) {
            head_basis_rebuild(row, basis, atom, value, t->S, codes->constant[i]);
            continue;
        }
        memset(row, 0, (size_t)width * sizeof *row);
        for (int s = 0; s < t->S && atom[s] >= 0; s++)
            row[atom[s]] = (float)value[s];
    }
}

static void find_training_rows(struct task *t)
{
    const struct features *f = t->features;
    struct job *job = t->job;
    t->train = arena_array(job->run, int64_t, f->rows);
    for (int64_t row = 0; row < f->rows; row++) {
        if (f->split[row] == SPLIT_TRAIN)
            t->train[t->train_rows++] = row;
        t->val_rows += f->split[row] == SPLIT_VAL;
    }
    agree(job->world, t->train_rows > 0, EXIT_BAD_DATA,
          "classify: no training rows\nthe split is decided by `cfn pack`");
    agree(job->world, t->val_rows > 0 || strcmp(job->config->classify.search, "published") != 0, EXIT_BAD_DATA,
          "classify: the search for C needs a validation split, and this corpus has none\n"
          "set classify.search: fixed and classify.c");
}

/* Training rows of this rank's leaves: inputs fetched from the ranks that hold them (x [mine.count x width]), labels.
 */
static struct head_rows *place_training_rows(const struct task *t, const float *x, int width)
{
    const struct features *f = t->features;
    struct job *job = t->job;
    struct head_rows *rows = head_rows_create(job->run, job->world, t->train_rows, f->classes, width, f->multi_label);
    int64_t n = rows->mine.count;
    const int64_t *train = t->train + rows->mine.first;
    int32_t *label = f->label ? arena_array(job->run, int32_t, n) : NULL;
    int8_t *labels = f->labels ? arena_array(job->run, int8_t, n * f->classes) : NULL;
    for (int64_t i = 0; i < n && label; i++)
        label[i] = f->label[train[i]];
    for (int64_t i = 0; i < n && labels; i++)
        memcpy(labels + i * f->classes, f->labels + train[i] * f->classes, (size_t)f->classes);
    float *inputs = arena_take_raw(job->run, (size_t)n * (size_t)width, sizeof(float));
    world_fetch_rows(job->world, inputs, train, n, x, f->mine.first, f->mine.count, (size_t)width * sizeof(float));
    rows->x = inputs;
    rows->label = label;
    rows->labels = labels;
    head_rows_prepare(rows, job->scratch);
    return rows;
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
        head_logits(f->logits + at * head->classes, head, f->x + at * head->dim,
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
static struct head_search fit_model(struct task *t, struct head *head, float *logits, const float *x, int width)
{
    struct job *job = t->job;
    const struct classify_config *config = &job->config->classify;
    const struct head_rows *rows = place_training_rows(t, x, width);
    struct fitting fitting = { .task = t, .x = x, .logits = logits };
    struct head_search search = { .c = config->c, .score = NAN };
    if (strcmp(config->search, "fixed") == 0) {
        *head = head_create(job->run, t->features->classes, width);
        struct head_trial *trial = arena_array(job->run, struct head_trial, 1);
        trial->log10_c = log10(config->c);
        trial->iterations = head_fit(head, rows, config->c, TOLERANCE, config->max_iter, job->scratch);
        trial->score = t->val_rows > 0 ? validate(&fitting, head) : NAN;
        search.score = trial->score;
        search.fits = 1;
        search.trials = trial;
    } else {
        search = head_search(head, rows, TOLERANCE, config->max_iter, validate, &fitting, job->run, job->scratch);
    }
    logits_of(&fitting, head);
    return search;
}

/* all [N x C] <- local [mine.count x C] of all ranks, on every rank. */
static void gather(const struct task *t, float *all, const float *local)
{
    world_allgather_rows(t->job->world, all, local, t->features->mine.count,
                         (size_t)t->features->classes * sizeof *all);
}

static float *take_logits(const struct task *t)
{
    return arena_take_raw(t->job->run, (size_t)t->features->rows * (size_t)t->features->classes, sizeof(float));
}

static struct head_basis *basis_of(const struct task *t, const float *atoms)
{
    return t->rebuild ? head_basis_create(t->job->run, t->job->world, atoms, t->M, t->features->dim) : NULL;
}

/* Codes of this rank's rows on other atoms, with the settings of cfn decompose. */
static void pursue(struct codes *codes, const struct task *t, const float *atoms)
{
    struct job *job = t->job;
    const struct features *f = t->features;
    struct arena_mark mark = arena_mark(job->scratch);
    struct omp_spec spec = decompose_spec(job, t->S);
    struct omp *omp = omp_create(job->scratch, atoms, t->M, f->dim, &spec, FEATURES_CHUNK,
                                 job->world->threads > 0 ? job->world->threads : 1);
    double *residual = arena_array(job->scratch, double, FEATURES_CHUNK);
    struct omp_counts counts = { 0 };
    for (int64_t at = 0; at < f->mine.count; at += FEATURES_CHUNK) {
        int64_t rows = f->mine.count - at < FEATURES_CHUNK ? f->mine.count - at : FEATURES_CHUNK;
        struct omp_codes chunk = { codes->atom + at * t->S, codes->value + at * t->S, codes->constant + at, residual,
                                   NULL };
        omp_solve(omp, &chunk, f->x + at * f->dim, rows, &counts);
    }
    arena_release(job->scratch, mark);
}

/* The whole pipeline with random unit vectors in place of concepts; logits [N x C] of each trial. */
static void run_controls(struct task *t, float **logits, float *x)
{
    struct job *job = t->job;
    const struct features *f = t->features;
    int trials = job->config->classify.controls;
    float *atoms = arena_array(job->run, float, (int64_t)t->M * f->dim);
    float *local = arena_array(job->run, float, f->mine.count * f->classes);
    struct codes codes = codes_take(job->run, f->mine.count, t->S);
    for (int trial = 0; trial < trials; trial++)
        logits[trial] = take_logits(t);
    for (int trial = 0; trial < trials; trial++) {
        struct arena_mark mark = arena_mark(job->run);
        control_random_vectors(atoms, t->M, f->dim, job_seed(job), trial);
        pursue(&codes, t, atoms);
        struct head_basis *basis = basis_of(t, atoms);
        inputs_from_codes(x, t, &codes, basis);
        struct head head;
        struct head_search search = fit_model(t, &head, local, x, basis ? basis->width : t->M);
        gather(t, logits[trial], local);
        log_info("classify: random concepts, trial %d of %d: C = %.3g, validation score %.4f", trial + 1, trials,
                 search.c, search.score);
        arena_release(job->run, mark);
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

static void measure_all(struct task *t, const float *cbm, float *const *controls)
{
    struct job *job = t->job;
    int trials = job->config->classify.controls;
    float *whole = take_logits(t);
    gather(t, whole, t->features->logits);
    const float *backbone = whole, *majority = majority_logits(t);
    const float **random = arena_array(job->run, const float *, trials);
    for (int trial = 0; trial < trials; trial++)
        random[trial] = controls[trial];
    const struct metrics_model models[] = {
        { "backbone", 1, &backbone },
        { "cbm", 1, &cbm },
        { "majority", 1, &majority },
        { "random_concepts", trials, random },
    };
    enum phase before = phase_enter(PHASE_EVALUATE);
    metrics_write(job, t->features, models, trials > 0 ? 4 : 3);
    phase_enter(before);
}

/* The head in terms of the representation and of the concepts. */
static struct cbm describe(const struct task *t, const struct head *head, const struct head_basis *basis)
{
    struct arena *run = t->job->run;
    int C = head->classes, D = t->features->dim;
    struct cbm cbm = { .concepts = t->M, .bias = head->bias, .concept_weight = head->weight };
    if (!basis) /* the head sees the codes */
        return cbm;
    double *weight = arena_array(run, double, (int64_t)C *D), *concept = arena_array(run, double, (int64_t)C * t->M);
    head_basis_weight(weight, head->weight, basis, C);
    for (int c = 0; c < C; c++)
        for (int64_t k = 0; k < t->M; k++)
    concept[c * (int64_t)t->M + k] =
        vec_ddot(head->weight + (int64_t)c * head->dim, basis->atoms + k * head->dim, head->dim);
    cbm.weight = weight;
    cbm.concept_weight = concept;
    return cbm;
}

static int dry_run(const struct task *t)
{
    log_info("classify: %lld training and %lld validation rows, %d concepts, %d per image, %d classes",
             (long long)t->train_rows, (long long)t->val_rows, t->M, t->S, t->features->classes);
    log_info("classify: would write %s and %s", job_path(t->job, "cbm.h5"), job_path(t->job, "metrics.json"));
    return EXIT_DONE;
}

static void run(struct task *t, const struct codes *codes)
{
    struct job *job = t->job;
    const struct features *f = t->features;
    int most = t->rebuild ? f->dim : t->M;
    float *x = arena_take_raw(job->run, (size_t)f->mine.count * (size_t)most, sizeof(float));
    float *local = arena_array(job->run, float, f->mine.count * f->classes), *logits = take_logits(t);
    struct head_basis *basis = basis_of(t, t->atoms);
    inputs_from_codes(x, t, codes, basis);
    struct head head;
    struct head_search search = fit_model(t, &head, local, x, basis ? basis->width : t->M);
    gather(t, logits, local);
    log_info("classify: C = %.3g after %d fits, validation %s %.4f", search.c, search.fits,
             f->multi_label ? "AUROC" : "accuracy", search.score);
    float **controls = arena_array(job->run, float *, job->config->classify.controls);
    run_controls(t, controls, x);
    progress_end();
    measure_all(t, logits, controls);
    struct cbm cbm = describe(t, &head, basis);
    cbm.search = search;
    cbm.logits = local;
    cbm_write(job, f, &cbm);
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
    struct codes codes = read_codes(&t);
    phase_enter(PHASE_COMPUTE);
    find_training_rows(&t);
    if (job->dry_run)
        return dry_run(&t);
    run(&t, &codes);
    return job_done(job);
}
