/* cfn decompose: every representation as a sparse sum of the selected concept
 * vectors, by orthogonal matching pursuit or lasso (concept/pursuit.h). Ranks share the rows
 * in whole chunks; each keeps the dictionary and one Gram matrix. */
#include <math.h>
#include <string.h>

#include "base/timer.h"
#include "concept/pursuit.h"
#include "image/corpus.h"
#include "math/vec.h"
#include "stage/decompose.h"
#include "stage/features.h"

enum { BLOCK_CHUNKS = 32 }; /* chunks of one write */

struct decompose_stage {
    struct job *job;
    const struct features *features;
    int M, S;
    const float *atoms; /* [M x D] selected concept vectors, in pick order */
    struct pursuit *pursuit;
    struct pursuit_codes codes; /* one chunk */
    struct pursuit_counts counts;
    /* One block of rows, as written. */
    int32_t *atom;
    float *value, *constant, *residual;
    int longest;               /* where the number of concepts is searched: the most tried; otherwise 0 */
    double *path;              /* [longest] FVU of the validation split with 1, 2, ... concepts */
    double squared, explained; /* over this rank's rows: ||x - mean||^2, and what the code explains of it */
};

struct pursuit_spec decompose_spec(const struct job *job, int nonzeros)
{
    const struct decompose_config *c = &job->config->decompose;
    return (struct pursuit_spec){ .nonzeros = nonzeros,
                                  .intercept = c->intercept,
                                  .positive = c->positive,
                                  .lasso = c->method == DECOMPOSE_LASSO,
                                  .single = c->precision == DECOMPOSE_SINGLE,
                                  .tolerance = c->tolerance,
                                  .lambda = c->lambda };
}

/* The selected rows of /cav, on every rank. */
static void read_atoms(struct decompose_stage *s)
{
    struct job *job = s->job;
    enum phase before = phase_enter(PHASE_READ);
    struct store *cav = job_open(job, "cav.h5", "cav"), *selection = job_open(job, "selection.h5", "select");
    store_expect(cav, "/cav", STORE_F32, 2, (int64_t[]){ -1, s->features->dim });
    store_expect(selection, "/index", STORE_I64, 1, (int64_t[]){ -1 });
    int64_t vectors = store_rows(cav, "/cav"), picks = store_rows(selection, "/index"), bad = -1;
    agree(job->world, picks > 0, EXIT_BAD_DATA, "%s: /index is empty\nRun cfn select again.", store_path(selection));
    int64_t *index = arena_array(job->run, int64_t, picks);
    float *atoms = arena_array(job->run, float, picks * s->features->dim);
    store_read_all(selection, "/index", index);
    for (int64_t i = 0; i < picks && bad < 0; i++)
        bad = index[i] < 0 || index[i] >= vectors ? i : -1;
    agree(job->world, bad < 0, EXIT_BAD_DATA,
          "%s: /index[%lld] is %lld, but %s has %lld vectors\nRun cfn select again.", store_path(selection),
          (long long)bad, bad < 0 ? 0LL : (long long)index[bad], store_path(cav), (long long)vectors);
    store_read_list(cav, "/cav", index, picks, atoms);
    agree(job->world, vec_all_finite(atoms, picks * s->features->dim), EXIT_BAD_DATA,
          "%s: a selected row of /cav holds a value that is not finite\nRun cfn cav again.", store_path(cav));
    store_close(cav);
    store_close(selection);
    s->M = (int)picks;
    s->atoms = atoms;
    phase_enter(before);
}

static void setup(struct decompose_stage *s, struct job *job)
{
    s->job = job;
    s->features = features_load(job);
    read_atoms(s);
    s->S = job->config->decompose.nonzeros;
    if (s->S > s->M) {
        log_info("decompose: decompose.nonzeros %d is more than the %d selected concepts; using %d", s->S, s->M, s->M);
        s->S = s->M;
    }
}

static int threads_of(const struct decompose_stage *s)
{
    return s->job->world->threads > 0 ? s->job->world->threads : 1;
}

/* Sums of one chunk over its validation rows: what each number of concepts leaves [S], rows, |x|^2, and x [D]. */
static void sum_chunk(struct decompose_stage *s, double *sums, int64_t at, int64_t rows)
{
    int S = s->S, D = s->features->dim;
    for (int64_t i = 0; i < rows; i++) {
        const float *x = s->features->x + (at + i) * D;
        double left = s->codes.residual[i] * s->codes.residual[i];
        if (s->features->split[s->features->mine.first + at + i] != SPLIT_VAL)
            continue;
        for (int j = S - 1; j >= 0; left += s->codes.drop[i * S + j--])
            sums[j] += left;
        sums[S]++;
        sums[S + 1] += vec_dot(x, x, D);
        for (int d = 0; d < D; d++)
            sums[S + 2 + d] += (double)x[d];
    }
}

/* The path's FVU on the validation split: one pursuit of S concepts goes through all smaller ones. Sums are formed by
 * chunk and added in the order of the chunks: the same at any rank count. */
static void walk(struct decompose_stage *s)
{
    const struct features *f = s->features;
    struct arena *scratch = s->job->scratch;
    struct arena_mark mark = arena_mark(scratch);
    int64_t length = s->S + 2 + f->dim, own = (f->mine.count + FEATURES_CHUNK - 1) / FEATURES_CHUNK;
    int64_t chunks = (f->rows + FEATURES_CHUNK - 1) / FEATURES_CHUNK;
    double *local = arena_array(scratch, double, own *length), *all = arena_array(scratch, double, chunks *length);
    double *sums = arena_array(scratch, double, length), centre = 0;
    struct pursuit_spec spec = decompose_spec(s->job, s->S);
    struct pursuit_counts counts = { 0 };
    s->pursuit = pursuit_create(scratch, s->atoms, s->M, f->dim, &spec, FEATURES_CHUNK, threads_of(s));
    s->codes = (struct pursuit_codes){ arena_array(scratch, int32_t, FEATURES_CHUNK * s->S),
                                       arena_array(scratch, double, FEATURES_CHUNK * s->S),
                                       arena_array(scratch, double, FEATURES_CHUNK),
                                       arena_array(scratch, double, FEATURES_CHUNK),
                                       arena_array(scratch, double, FEATURES_CHUNK * s->S) };
    for (int64_t c = 0; c < own; c++) {
        int64_t at = c * FEATURES_CHUNK,
                rows = f->mine.count - at < FEATURES_CHUNK ? f->mine.count - at : FEATURES_CHUNK;
        pursuit_solve(s->pursuit, &s->codes, f->x + at * f->dim, rows, &counts);
        sum_chunk(s, local + c * length, at, rows);
    }
    world_allgather_rows(s->job->world, all, local, own, (size_t)length * sizeof *all);
    for (int64_t c = 0; c < chunks; c++)
        vec_daxpy(sums, 1, all + c * length, length);
    agree(s->job->world, sums[s->S] > 0, EXIT_BAD_DATA,
          "decompose: decompose.search: validation needs a validation split\nSet decompose.search: fixed.");
    for (int d = 0; d < f->dim; d++)
        centre += sums[s->S + 2 + d] * sums[s->S + 2 + d] / sums[s->S];
    for (int j = 0; j < s->S; j++)
        s->path[j] = sums[j] / fmax(sums[s->S + 1] - centre, 1e-300);
    arena_release(scratch, mark);
}

/* S <- the fewest concepts whose FVU on the validation split is within decompose.slack of the path's best. */
static void search_nonzeros(struct decompose_stage *s)
{
    const struct decompose_config *c = &s->job->config->decompose;
    agree(s->job->world, c->method == DECOMPOSE_OMP && !c->positive, EXIT_BAD_CONFIG,
          "decompose.search: validation goes along the path of decompose.method: omp without decompose.positive\n"
          "Set decompose.search: fixed, or change these.");
    s->longest = s->S;
    s->path = arena_array(s->job->run, double, s->longest);
    walk(s);
    double best = s->path[0];
    for (int j = 1; j < s->longest; j++)
        best = fmin(best, s->path[j]);
    for (s->S = 1; s->S < s->longest && s->path[s->S - 1] > best + c->slack; s->S++)
        ;
    log_info("decompose: concepts  validation FVU");
    for (int n = 1, next; n <= s->longest; n = next) {
        next = n < s->S && 2 * n > s->S ? s->S : n < s->longest && 2 * n > s->longest ? s->longest : 2 * n;
        log_info("decompose: %8d  %14.4f%s", n, s->path[n - 1],
                 n == s->S ? "  chosen: fewest within decompose.slack of the best" : "");
    }
}

static void make_buffers(struct decompose_stage *s)
{
    struct arena *arena = s->job->run;
    int64_t block = BLOCK_CHUNKS * FEATURES_CHUNK;
    s->codes = (struct pursuit_codes){ arena_array(arena, int32_t, FEATURES_CHUNK * s->S),
                                       arena_array(arena, double, FEATURES_CHUNK * s->S),
                                       arena_array(arena, double, FEATURES_CHUNK),
                                       arena_array(arena, double, FEATURES_CHUNK), NULL };
    s->atom = arena_array(arena, int32_t, block * s->S);
    s->value = arena_array(arena, float, block * s->S);
    s->constant = arena_array(arena, float, block);
    s->residual = arena_array(arena, float, block);
}

static struct store *create(struct decompose_stage *s)
{
    static const struct layout layout[] = {
        { "/atom", STORE_I32, "N,S", "1",
          "concepts of each image in the order they were chosen: positions in selection.h5:/index, 0 to M-1; "
          "-1 = unused",
          NULL, false },
        { "/value", STORE_F32, "N,S", "1", "coefficient of each concept; 0 where unused", NULL, false },
        { "/intercept", STORE_F32, "N", "1", "constant added to every coordinate; 0 without decompose.intercept", NULL,
          false },
        { "/residual_norm", STORE_F32, "N", "1", "norm of the part of the representation that is left over", NULL,
          false },
        { "/validation_fvu", STORE_F64, "P", "1", "FVU of the validation split with 1, 2, ... concepts an image", NULL,
          false }, /* last: only where the number is searched */
    };
    const struct extent sizes[] = { { "N", s->features->rows }, { "S", s->S }, { "P", s->longest } };
    size_t searched = s->longest > 0;
    return job_create(s->job, "codes.h5", layout, 4 + searched, sizes, 2 + searched);
}

/* Solves rows at..at+n-1 of this rank into place `to` of the block. */
static void solve_chunk(struct decompose_stage *s, int64_t at, int64_t n, int64_t to)
{
    const float *x = s->features->x + at * s->features->dim;
    pursuit_solve(s->pursuit, &s->codes, x, n, &s->counts);
    memcpy(s->atom + to * s->S, s->codes.atom, (size_t)(n * s->S) * sizeof(int32_t));
    for (int64_t i = 0; i < n * s->S; i++)
        s->value[to * s->S + i] = (float)s->codes.value[i];
    for (int64_t i = 0; i < n; i++) {
        s->constant[to + i] = (float)s->codes.constant[i];
        s->residual[to + i] = (float)s->codes.residual[i];
        double mean = 0, squared = 0;
        for (int d = 0; d < s->features->dim; d++)
            mean += (double)x[i * s->features->dim + d] / s->features->dim;
        for (int d = 0; d < s->features->dim; d++)
            squared += pow((double)x[i * s->features->dim + d] - mean, 2);
        s->squared += squared;
        s->explained += squared - pow(s->codes.residual[i], 2);
    }
}

/* All rows, a block of chunks at a time; the same number of writes on every rank. */
static void solve_all(struct decompose_stage *s, struct store *store)
{
    struct job *job = s->job;
    struct span mine = s->features->mine;
    int64_t step = BLOCK_CHUNKS * FEATURES_CHUNK;
    double blocks = (double)((mine.count + step - 1) / step);
    world_max_f64(job->world, &blocks, 1);
    for (int64_t b = 0; b < (int64_t)blocks; b++) {
        int64_t done = b * step < mine.count ? b * step : mine.count;
        int64_t count = mine.count - done < step ? mine.count - done : step;
        for (int64_t at = 0; at < count; at += FEATURES_CHUNK) {
            int64_t n = count - at < FEATURES_CHUNK ? count - at : FEATURES_CHUNK;
            solve_chunk(s, done + at, n, at);
            progress("decompose", "", (double)((done + at + n) * job->world->size), (double)s->features->rows, "img");
        }
        enum phase before = phase_enter(PHASE_WRITE);
        store_write_rows(store, "/atom", mine.first + done, count, s->atom);
        store_write_rows(store, "/value", mine.first + done, count, s->value);
        store_write_rows(store, "/intercept", mine.first + done, count, s->constant);
        store_write_rows(store, "/residual_norm", mine.first + done, count, s->residual);
        phase_enter(before);
    }
    progress_end();
}

/* How well the codes do, and why some ended early. */
static void say(struct decompose_stage *s, double seconds)
{
    const struct pursuit_counts *c = &s->counts;
    int64_t early[5] = { c->exact, c->dependent, c->reached, c->cut, c->unsettled };
    double sums[2] = { s->squared, s->explained };
    world_sum_i64(s->job->world, early, 5);
    world_sum_f64_any_order(s->job->world, sums, 2); /* shown only */
    log_info("decompose: %lld images in %.1f s (%.0f img/s), at most %d of %d concepts each, %.1f %% of the variance",
             (long long)s->features->rows, seconds, (double)s->features->rows / seconds, s->S, s->M,
             sums[0] > 0 ? 100 * sums[1] / sums[0] : 100.0);
    if (early[0] + early[1] > 0)
        log_info(
            "decompose: %lld images ended early: no concept correlates with what is left; %lld at a dependent concept",
            (long long)early[0], (long long)early[1]);
    if (early[2] > 0)
        log_info("decompose: %lld images reached the tolerance with fewer concepts", (long long)early[2]);
    if (early[3] > 0)
        log_info("decompose: %lld images had more than %d concepts; the largest coefficients were kept, as the lasso "
                 "left them\nA larger decompose.lambda gives fewer.",
                 (long long)early[3], s->S);
    if (early[4] > 0)
        log_info("decompose: the lasso of %lld images did not settle", (long long)early[4]);
}

static int dry_run(const struct decompose_stage *s)
{
    log_info("decompose: %lld images, %d of %d concepts each, %s per rank", (long long)s->features->rows, s->S, s->M,
             text_bytes(s->job->run, job_memory(s->job, 0)));
    log_info("decompose: would write %s", job_path(s->job, "codes.h5"));
    return EXIT_DONE;
}

int stage_decompose(struct job *job)
{
    struct decompose_stage s = { 0 };
    if (!job->dry_run && !job_may_write(job, "codes.h5"))
        return EXIT_DONE;
    job_start(job);
    setup(&s, job);
    double begin = timer_seconds();
    phase_enter(PHASE_COMPUTE);
    if (!job->dry_run && job->config->decompose.search == DECOMPOSE_VALIDATION)
        search_nonzeros(&s);
    make_buffers(&s);
    struct pursuit_spec spec = decompose_spec(job, s.S);
    s.pursuit = pursuit_create(job->run, s.atoms, s.M, s.features->dim, &spec, FEATURES_CHUNK, threads_of(&s));
    if (job->dry_run)
        return dry_run(&s);
    struct store *store = create(&s);
    solve_all(&s, store);
    store_set_i64(store, "/", "concepts", s.M);
    if (s.longest > 0)
        store_write_all(store, "/validation_fvu", s.path);
    phase_enter(PHASE_WRITE);
    job_publish(job, store);
    phase_count("images", (double)s.features->rows / job->world->size);
    say(&s, timer_seconds() - begin);
    return job_done(job);
}
