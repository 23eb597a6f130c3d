/* cfn select: which vectors become the concepts, by greedy maximisation of a
 * submodular objective over all of them. Every rank holds the vectors and a
 * share of the similarities. Method: docs/methods/select.md. */
#include <string.h>

#include "concept/coverage.h"
#include "concept/greedy.h"
#include "math/vec.h"
#include "stage/stage.h"

struct candidates {
    int64_t total, count; /* rows of /cav; those that may be chosen */
    int dim;
    float *vectors; /* [count x D] */
    int64_t *row;   /* [count] of /cav */
};

static struct candidates load_candidates(struct job *job)
{
    struct store *store = job_open(job, "cav.h5", "cav");
    int64_t dims[4] = { 0 };
    store_expect(store, "/cav", STORE_F32, 2, (int64_t[]){ -1, -1 });
    store_dims(store, "/cav", dims);
    store_expect(store, "/accuracy", STORE_F32, 1, dims);
    struct candidates c = { .total = dims[0], .dim = (int)dims[1] };
    c.vectors = arena_take_raw(job->run, (size_t)(c.total * c.dim), sizeof(float));
    c.row = arena_array(job->run, int64_t, c.total);
    float *accuracy = arena_array(job->run, float, c.total);
    store_read_all(store, "/cav", c.vectors);
    store_read_all(store, "/accuracy", accuracy);
    int64_t wrong = -1;
    for (int64_t a = c.total - 1; a >= 0; a--)
        if (!vec_all_finite(c.vectors + a * c.dim, c.dim))
            wrong = a;
    agree(job->world, wrong < 0, EXIT_BAD_DATA,
          "%s: /cav row %lld holds NaN or Inf, expected finite numbers\nmake it again: cfn cav --force",
          store_path(store), (long long)wrong);
    for (int64_t a = 0; a < c.total; a++) {
        if (!((double)accuracy[a] >= job->config->select.min_accuracy))
            continue;
        memmove(c.vectors + c.count * c.dim, c.vectors + a * c.dim, (size_t)c.dim * sizeof(float));
        c.row[c.count++] = a;
    }
    store_close(store);
    agree(job->world, c.count > 0, EXIT_BAD_DATA,
          "select: none of %lld vectors reaches select.min_accuracy = %g\nlower it, or see /accuracy of cav.h5",
          (long long)c.total, job->config->select.min_accuracy);
    return c;
}

/* No more picks than candidates. */
static int64_t picks_of(const struct job *job, const struct candidates *c)
{
    int64_t wanted = job->config->select.count;
    if (wanted > c->count)
        log_warn("select.count = %lld, but there are %lld candidates: all of them are taken", (long long)wanted,
                 (long long)c->count);
    return wanted < c->count ? wanted : c->count;
}

static const struct layout LAYOUT[] = {
    { "/index", STORE_I64, "M", "index", "row of cav.h5:/cav, in pick order", NULL, false },
    { "/gain", STORE_F64, "M", "1", "marginal gain of the objective at the pick", NULL, false },
};

static void write_selection(struct job *job, const int64_t *index, const double *gain, int64_t count,
                            const struct candidates *c)
{
    const struct select_config *config = &job->config->select;
    const struct extent sizes[] = { { "M", count } };
    enum phase before = phase_enter(PHASE_WRITE);
    struct store *out = job_create(job, "selection.h5", LAYOUT, sizeof LAYOUT / sizeof *LAYOUT, sizes, 1);
    store_write_all(out, "/index", index);
    store_write_all(out, "/gain", gain);
    store_set_text(out, "/", "objective", config->objective);
    store_set_text(out, "/", "similarity", config->similarity);
    store_set_text(out, "/", "optimizer", config->optimizer);
    store_set_i64(out, "/", "candidates", c->count);
    job_publish(job, out, "select", (const char *const[]){ "cav.h5" }, 1);
    phase_enter(before);
}

/* The picks as rows of /cav. */
static void run_selection(struct job *job, const struct candidates *c, int64_t *index, double *gain, int64_t count)
{
    const struct select_config *config = &job->config->select;
    const struct similarity *similarity = similarity_find(config->similarity);
    const struct objective *objective = objective_find(config->objective);
    const struct optimiser *optimiser = optimiser_find(config->optimizer);
    require(similarity && objective && optimiser, EXIT_BAD_CONFIG,
            "select: no method for objective %s, similarity %s, optimizer %s\nsee: cfn config select",
            config->objective, config->similarity, config->optimizer);
    struct coverage *coverage = coverage_create(job->run, job->world, similarity, c->vectors, c->count, c->dim);
    struct greedy_cost cost = greedy_select(index, gain, count, coverage, objective, optimiser, job->scratch);
    double value = 0;
    for (int64_t m = 0; m < count; m++) {
        index[m] = c->row[index[m]];
        value += gain[m];
    }
    phase_count("gain_evaluations", (double)cost.evaluations);
    phase_count("gain_rounds", (double)cost.rounds);
    phase_count("similarity_bytes", 4.0 * (double)c->count * (double)coverage->rows / job->world->size);
    log_info(
        "select: %lld of %lld candidates by %s (%s, %s): objective %.6g, last gain %.3g, %lld gains in %lld rounds",
        (long long)count, (long long)c->count, config->objective, config->similarity, config->optimizer, value,
        gain[count - 1], (long long)cost.evaluations, (long long)cost.rounds);
}

int stage_select(struct job *job)
{
    if (!job->dry_run && !job_may_write(job, "selection.h5"))
        return EXIT_DONE;
    phase_start("select");
    phase_enter(PHASE_READ);
    struct candidates candidates = load_candidates(job);
    phase_enter(PHASE_COMPUTE);
    int64_t count = picks_of(job, &candidates);
    if (job->dry_run) {
        log_info("select: %lld of %lld candidates, %lld vectors in the file", (long long)count,
                 (long long)candidates.count, (long long)candidates.total);
        log_info("select: would write %s", job_path(job, "selection.h5"));
        return EXIT_DONE;
    }
    int64_t *index = arena_array(job->run, int64_t, count);
    double *gain = arena_array(job->run, double, count);
    run_selection(job, &candidates, index, gain, count);
    write_selection(job, index, gain, count, &candidates);
    return job_done(job);
}
