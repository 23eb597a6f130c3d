/* cfn classify: the concept-bottleneck head on representations rebuilt from
 * concepts (or on the codes), the same pipeline with random directions as a
 * control, and the metrics of all models. Method: docs/methods/classify.md.
 * Inputs, fits and sparse heads are in classify_*.c. */
#include "stage/bottleneck/classify.h"

#include <math.h>
#include <string.h>

#include "concept/control.h"
#include "concept/pursuit.h"
#include "image/corpus.h"
#include "math/vec.h"
#include "report/json.h"
#include "stage/bottleneck/cbm_file.h"
#include "stage/decompose.h"
#include "stage/sae_summary.h"

/* What was found with one set of vectors, ours or random ones; its arrays live in run. */
struct found {
    struct head head;
    struct head_basis *basis; /* of its columns; NULL: the codes */
    struct head_search search;
    struct classify_sparse sparse; /* path NULL when none was made */
    float *logits;                 /* [N x C] on every rank */
    float *local;                  /* [mine.count x C] */
    double temperature;            /* of the validation rows */
};

/* What is kept of one set of random vectors. */
struct control {
    float *logits; /* [N x C] on every rank */
    struct classify_curve curve;
};

static struct head_basis *basis_of(const struct classify *t, const float *atoms)
{
    return t->rebuild ? head_basis_create(t->job->run, t->job->world, atoms, t->M, t->features->dim) : NULL;
}

/* Codes of this rank's rows on other atoms, with the settings of cfn decompose. */
static void pursue(struct classify_codes *codes, const struct classify *t, const float *atoms)
{
    struct job *job = t->job;
    const struct features *f = t->features;
    struct arena_mark mark = arena_mark(job->scratch);
    struct pursuit_spec spec = decompose_spec(job, t->S);
    struct pursuit *pursuit = pursuit_create(job->scratch, atoms, t->M, f->dim, &spec, FEATURES_CHUNK,
                                             job->world->threads > 0 ? job->world->threads : 1);
    double *residual = arena_array(job->scratch, double, FEATURES_CHUNK);
    struct pursuit_counts counts = { 0 };
    for (int64_t at = 0; at < f->mine.count; at += FEATURES_CHUNK) {
        int64_t rows = f->mine.count - at < FEATURES_CHUNK ? f->mine.count - at : FEATURES_CHUNK;
        struct pursuit_codes chunk = { codes->atom + at * t->S, codes->value + at * t->S, codes->constant + at,
                                       residual, NULL };
        pursuit_solve(pursuit, &chunk, f->x + at * f->dim, rows, &counts);
    }
    arena_release(job->scratch, mark);
}

/* The sparse head of classify.nec in place of a dense one. */
static void take_sparse(struct classify *t, struct found *f, const float *x, int64_t n)
{
    struct job *job = t->job;
    f->head = f->sparse.chosen;
    classify_logits(f->local, t, &f->head, x, NULL);
    const struct sparse_path *path = f->sparse.path;
    struct head_trial *trial = arena_array(job->run, struct head_trial, 1);
    double lambda = path->count > 0 ? path->points[path->count - 1].lambda : NAN;
    for (int p = path->count - 1; p >= 0; p--)
        if ((double)path->points[p].nonzeros >= f->sparse.chosen_nec * t->features->classes) {
            lambda = path->points[p].lambda;
            trial->iterations = path->points[p].steps;
        }
    f->search = (struct head_search){ .c = 1 / (lambda * (double)n), .fits = 1, .trials = trial };
    trial->log10_c = log10(f->search.c);
    f->search.score = trial->score = t->val_rows > 0 ? classify_validate(t, f->local, t->features->classes) : NAN;
}

/* The heads of one set of vectors and codes. */
static void fit_all(struct found *f, struct classify *t, const float *atoms, const struct classify_codes *codes)
{
    struct job *job = t->job;
    const struct classify_config *config = &job->config->classify;
    int64_t mine = t->features->mine.count;
    bool sparse = config->head == HEAD_SPARSE;
    f->basis = basis_of(t, atoms);
    int width = f->basis ? f->basis->width : t->M;
    float *x = arena_take_raw(job->run, (size_t)mine * (size_t)width, sizeof *x);
    classify_inputs(x, t, codes, f->basis);
    struct head_rows *rows = sparse ? NULL : classify_rows(t, x, width, NULL);
    if (config->path || sparse) {
        struct arena_mark mark = arena_mark(job->scratch);
        float *plain = x;
        if (f->basis) { /* sparse heads see the codes */
            plain = arena_take_raw(job->scratch, (size_t)mine * (size_t)t->M, sizeof *x);
            classify_inputs(plain, t, codes, NULL);
        }
        f->sparse = classify_sparse_path(t, rows && !f->basis ? rows : classify_rows(t, plain, t->M, NULL), plain);
        arena_release(job->scratch, mark);
    }
    if (sparse) {
        take_sparse(t, f, x, t->train_rows);
    } else {
        struct classify_model model = { .x = x, .width = width, .rows = rows };
        model.standardise = !f->basis && config->standardise;
        f->search = classify_fit(t, &f->head, f->local, &model);
    }
    classify_gather(t, f->logits, f->local);
}

/* The whole pipeline with random unit vectors in place of concepts. */
static struct control run_control(struct classify *t, int trial)
{
    struct job *job = t->job;
    const struct features *f = t->features;
    struct control control = { .logits = classify_take_logits(t) };
    struct arena_mark mark = arena_mark(job->run); /* heads and codes are wanted once */
    float *atoms = arena_array(job->run, float, (int64_t)t->M * f->dim);
    struct classify_codes codes = classify_codes_take(job->run, f->mine.count, t->S);
    struct found found = { .logits = control.logits,
                           .local = arena_array(job->run, float, f->mine.count * f->classes) };
    control_random_vectors(atoms, t->M, f->dim, job_seed(job), trial);
    pursue(&codes, t, atoms);
    fit_all(&found, t, atoms, &codes);
    control.curve = found.sparse.curve;
    log_info("classify: random concepts, trial %d of %d: C = %.3g, validation score %.4f", trial + 1,
             job->config->classify.controls, found.search.c, found.search.score);
    arena_release(job->run, mark);
    return control;
}

/* The answer that ignores the image, for every row. */
static const float *majority_logits(const struct classify *t)
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

/* Logits of the backbone's own head on every rank; NULL for imported representations, which come without. */
static const float *backbone_logits(const struct classify *t)
{
    if (!t->features->logits)
        return NULL;
    float *whole = classify_take_logits(t);
    classify_gather(t, whole, t->features->logits);
    return whole;
}

/* Fits are minimised until they settle; one that used up its iterations has other weights than its minimum. */
static bool is_settled(const struct classify *t, const struct found *f)
{
    return t->job->config->classify.head == HEAD_SPARSE ||
           head_search_iterations(&f->search) < t->job->config->classify.max_iter;
}

static void warn_unsettled(const struct classify *t, const struct found *f)
{
    int most = t->job->config->classify.max_iter;
    if (!is_settled(t, f))
        log_warn(
            "classify: the head with C = %.3g used all %d iterations without reaching its minimum: its weights and "
            "explanations are not final; raise classify.max_iter",
            f->search.c, most);
}

struct head_report {
    const struct classify *task;
    const struct found *found;
};

/* The object "head" of metrics.json. */
static void write_head(struct json_writer *w, const void *data)
{
    const struct head_report *r = data;
    json_object(w, "head");
    json_number(w, "c", r->found->search.c);
    json_integer(w, "fits", r->found->search.fits);
    json_integer(w, "iterations", head_search_iterations(&r->found->search));
    json_bool(w, "converged", is_settled(r->task, r->found));
    json_end_object(w);
}

static void measure_all(struct classify *t, const struct found *ours, const struct control *controls,
                        const struct classify_probe *linear, const struct classify_residual *residual,
                        double hybrid_temperature)
{
    struct job *job = t->job;
    int trials = job->config->classify.controls;
    const float *backbone = backbone_logits(t), *probe = linear->logits;
    const float *majority = majority_logits(t), *cbm = ours->logits;
    const float **random = arena_array(job->run, const float *, trials);
    struct classify_curve *curves = arena_array(job->run, struct classify_curve, trials);
    for (int trial = 0; trial < trials; trial++) {
        random[trial] = controls[trial].logits;
        curves[trial] = controls[trial].curve;
    }
    const float *hybrid = residual ? residual->hybrid : NULL;
    const struct metrics_model own = { "backbone", 1, &backbone }, linear_probe = { "probe", 1, &probe };
    struct metrics_model models[6] = { backbone ? own : linear_probe,
                                       { "cbm", 1, &cbm },
                                       { "majority", 1, &majority } };
    int count = 3, parts = 0;
    if (backbone)
        models[count++] = linear_probe;
    if (trials > 0)
        models[count++] = (struct metrics_model){ "random_concepts", trials, random };
    if (residual)
        models[count++] = (struct metrics_model){ "hybrid", 1, &hybrid };
    struct classify_sparse_report report = { t, &ours->sparse.curve, curves, trials };
    const struct classify_calibration calibration[] = {
        { models[0].name, t, *models[0].logits, classify_temperature(t, *models[0].logits) },
        { "cbm", t, cbm, ours->temperature },
        { residual ? "hybrid" : NULL, t, hybrid, hybrid_temperature },
        { NULL, NULL, NULL, 0 },
    };
    const struct sae_summary *sae = sae_summary_load(job);
    const struct classify_residual_report left = { t, residual, cbm };
    const struct head_report head = { t, ours };
    struct metrics_section sections[5] = { { classify_calibration_write, calibration }, { write_head, &head } };
    parts += 2;
    if (sae)
        sections[parts++] = (struct metrics_section){ sae_summary_write, sae };
    if (ours->sparse.path)
        sections[parts++] = (struct metrics_section){ classify_sparse_write, &report };
    if (residual)
        sections[parts++] = (struct metrics_section){ classify_residual_write, &left };
    enum phase before = phase_enter(PHASE_EVALUATE);
    metrics_write(job, t->features, models, count, sections, parts);
    classify_calibration_print(calibration);
    if (ours->sparse.path)
        classify_sparse_print(&report);
    if (residual)
        classify_residual_print(&left);
    phase_enter(before);
}

/* The head in terms of the representation and of the concepts. */
static struct cbm describe(const struct classify *t, const struct found *found)
{
    const struct head *head = &found->head;
    const struct head_basis *basis = found->basis;
    struct arena *run = t->job->run;
    int C = head->classes, D = t->features->dim;
    struct cbm cbm = { .concepts = t->M,
                       .bias = head->bias,
                       .concept_weight = head->weight,
                       .search = found->search,
                       .logits = found->local,
                       .temperature = found->temperature,
                       .path = found->sparse.path,
                       .levels = found->sparse.levels,
                       .level_count = found->sparse.level_count };
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

static int dry_run(const struct classify *t)
{
    log_info("classify: %lld training and %lld validation rows, %d concepts, %d per image, %d classes",
             (long long)t->train_rows, (long long)t->val_rows, t->M, t->S, t->features->classes);
    log_info("classify: %s per rank", text_bytes(t->job->run, job_memory(t->job, classify_memory(t))));
    log_info("classify: would write %s and %s", job_path(t->job, "cbm.h5"), job_path(t->job, "metrics.json"));
    return EXIT_DONE;
}

static void run(struct classify *t, const struct classify_codes *codes)
{
    struct job *job = t->job;
    const struct features *f = t->features;
    struct found ours = { .logits = classify_take_logits(t),
                          .local = arena_array(job->run, float, f->mine.count * f->classes) };
    const struct classify_config *config = &job->config->classify;
    struct control *controls = arena_array(job->run, struct control, config->controls);
    struct classify_probe probe = classify_probe_fit(t);
    fit_all(&ours, t, t->atoms, codes);
    log_info("classify: C = %.3g after %d fits, validation %s %.4f", ours.search.c, ours.search.fits,
             f->multi_label ? "AUROC" : "accuracy", ours.search.score);
    warn_unsettled(t, &ours);
    ours.temperature = classify_temperature(t, ours.logits);
    struct classify_residual residual = { .hybrid = NULL };
    double hybrid_temperature = 1;
    if (config->residual) {
        residual = classify_residual_fit(t, codes, ours.local);
        hybrid_temperature = classify_temperature(t, residual.hybrid);
    }
    for (int trial = 0; trial < config->controls; trial++)
        controls[trial] = run_control(t, trial);
    progress_end();
    measure_all(t, &ours, controls, &probe, config->residual ? &residual : NULL, hybrid_temperature);
    struct cbm cbm = describe(t, &ours);
    cbm.probe = &probe.head;
    cbm.probe_c = probe.c;
    if (config->residual) {
        cbm.logits = residual.hybrid_local;
        cbm.temperature = hybrid_temperature;
        cbm.residual = &residual.head;
        cbm.residual_logits = residual.local;
        cbm.residual_c = residual.search.c;
    }
    cbm_write(job, f, &cbm);
}

int stage_classify(struct job *job)
{
    const struct classify_config *config = &job->config->classify;
    agree(job->world, config->head != HEAD_SPARSE || config->input == INPUT_CODES, EXIT_BAD_CONFIG,
          "classify.head: sparse needs classify.input: codes, found %s\nsparse heads weigh the codes of concepts",
          config_choice("classify.input", (int)config->input));
    if (!job->dry_run && !job_may_write(job, "cbm.h5"))
        return EXIT_DONE;
    job_start(job);
    phase_enter(PHASE_READ);
    struct classify t = { .job = job, .rebuild = config->input == INPUT_RECONSTRUCTION };
    struct classify_codes codes = classify_open(&t);
    phase_enter(PHASE_COMPUTE);
    if (job->dry_run)
        return dry_run(&t);
    run(&t, &codes);
    return job_done(job);
}
