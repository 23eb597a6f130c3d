/* Facility location: similarity and selection together, 800 of n vectors.
 *
 *   bench_select [threads [seconds]]             n = 8192 and 10000 at D = 1024, the first run on fresh memory
 *   bench_select lazy N K THREADS REPEATS        for scripts/peers/bench_select.py
 *   mpirun -n P bench_select scale N D K OPTIMISER PARTS ARITY   vectors shared out: scripts/bench-scale */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "base/timer.h"
#include "concept/greedy.h"
#include "dist/world.h"
#include "math/blas.h"
#include "math/vec.h"

/* Vectors around 2000 centres, a value per (row, dimension), the same at any rank count and cheap;
 * scripts/peers/bench_select.py makes the same. */
static void generate(float *x, struct span rows, int dim)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows.count; i++) {
        uint32_t row = (uint32_t)(rows.first + i), centre = (row + 1) * 2654435761u;
        centre = (centre ^ centre >> 15) * 2246822519u;
        uint32_t a = ((centre ^ centre >> 13) % 2000) * 2654435761u, b = row * 2246822519u + 374761393u;
        for (int d = 0; d < dim; d++) {
            a = a * 1664525u + 1013904223u;
            b = b * 22695477u + 1u;
            x[i * dim + d] = ((float)(a >> 8) + (float)(b >> 8)) / 16777216.0f - 1.0f;
        }
    }
}

static struct greedy_problem *problem_of(struct arena *arena, struct world *world, int64_t n, int dim, bool share)
{
    struct ground *ground = arena_array(arena, struct ground, 1);
    *ground = (struct ground){ n, dim, NULL, share ? similarities_span(world, n) : (struct span){ 0, n }, 0 };
    float *x = arena_take_raw(arena, (size_t)(ground->mine.count * dim) + 1, sizeof *x);
    generate(x, ground->mine, dim);
    ground->vectors = x;
    struct term_spec *term = arena_array(arena, struct term_spec, 1);
    *term = (struct term_spec){ .objective = objective_find("facility_location"),
                                .similarity = similarity_find("cosine"),
                                .weight = 1 };
    struct greedy_problem *problem = arena_array(arena, struct greedy_problem, 1);
    *problem = (struct greedy_problem){ world, ground, term, 1, !share };
    return problem;
}

/* Facility location of all rows by the picks, over the rows of all ranks: sum_j max_i cos^2. Products in blocks. */
static double value_of(struct world *world, struct arena *arena, const struct greedy_problem *problem,
                       const int64_t *picks, int64_t count)
{
    enum { BLOCK = 512 };
    const struct ground *g = problem->ground;
    struct arena_mark mark = arena_mark(arena);
    float *pick = arena_take_raw(arena, (size_t)(count * g->dim) + 1, sizeof *pick);
    float *product = arena_take_raw(arena, (size_t)(count * BLOCK) + 1, sizeof *product);
    world_fetch_rows(world, pick, picks, count, g->vectors, g->mine.first, g->mine.count, (size_t)g->dim * 4);
    for (int64_t m = 0; m < count; m++)
        vec_normalise(pick + m * g->dim, g->dim);
    double value = 0;
    for (int64_t at = 0; at < g->mine.count; at += BLOCK) {
        int64_t rows = g->mine.count - at < BLOCK ? g->mine.count - at : BLOCK;
        const float *x = g->vectors + at * g->dim;
        blas_sgemm('N', 'T', rows, count, g->dim, 1, x, g->dim, pick, g->dim, 0, product, count);
        for (int64_t j = 0; j < rows; j++) {
            float most = 0;
            for (int64_t m = 0; m < count; m++)
                most = fmaxf(most, fabsf(product[j * count + m]));
            value += (double)most * (double)most / vec_dot(x + j * g->dim, x + j * g->dim, g->dim);
        }
    }
    arena_release(arena, mark);
    world_sum_f64_any_order(world, &value, 1);
    return value;
}

struct run {
    int64_t *picks, taken;
    double seconds, gib; /* gib: peak of the fullest rank */
    struct greedy_cost cost;
    double messages, bytes; /* of this rank, all */
};

static struct run run_once(struct world *world, struct arena *arena, const struct greedy_problem *problem,
                           const struct greedy_spec *spec)
{
    struct run run = { .picks = arena_array(arena, int64_t, spec->count) };
    double *gains = arena_array(arena, double, spec->count);
    const char *why = NULL;
    int64_t sent = world_bytes_sent(), calls = world_calls();
    double start = timer_seconds();
    run.taken = greedy_select(run.picks, gains, problem, spec, &run.cost, arena, &why);
    run.seconds = timer_seconds() - start;
    require(run.taken == spec->count, EXIT_INTERNAL, "bench: %lld picks (%s)", (long long)run.taken, why ? why : "");
    run.messages = (double)(world_calls() - calls) * (world->size - 1);
    run.bytes = (double)(world_bytes_sent() - sent);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    run.gib = (double)usage.ru_maxrss / 1048576;
    world_max_f64(world, &run.gib, 1);
    return run;
}

static struct greedy_spec spec_of(const char *name, int64_t count, int parts, int arity)
{
    struct greedy_spec spec;
    greedy_defaults(&spec);
    spec.optimiser = optimiser_find(name);
    spec.count = count;
    spec.parts = parts;
    spec.arity = arity;
    return spec;
}

/* Lazy, beside a peer: a line a run, the first on memory nobody has touched, then the picks. */
static void lazy(struct world *world, struct arena *arena, int64_t n, int64_t count, int repeats)
{
    const struct greedy_problem *problem = problem_of(arena, world, n, 1024, false);
    struct greedy_spec spec = spec_of("lazy", count, 0, 2);
    struct run run = { 0 };
    for (int r = 0; r < repeats; r++) {
        run = run_once(world, arena, problem, &spec);
        printf("lazy n %lld: %.4f s, %lld gains in %lld rounds\n", (long long)n, run.seconds,
               (long long)run.cost.evaluations, (long long)run.cost.rounds);
    }
    printf("picks");
    for (int64_t m = 0; m < run.taken; m++)
        printf(" %lld", (long long)run.picks[m]);
    printf("\n");
}

/* Vectors shared out over the ranks. */
static void scale(struct world *world, struct arena *arena, char **argv)
{
    int64_t n = strtoll(argv[0], NULL, 10), count = strtoll(argv[2], NULL, 10);
    double start = timer_seconds();
    struct greedy_problem *problem = problem_of(arena, world, n, (int)strtol(argv[1], NULL, 10), true);
    double made = timer_seconds() - start;
    struct greedy_spec spec = spec_of(argv[3], count, (int)strtol(argv[4], NULL, 10), (int)strtol(argv[5], NULL, 10));
    struct run run = run_once(world, arena, problem, &spec);
    double value = value_of(world, arena, problem, run.picks, run.taken);
    int64_t *spread = arena_array(arena, int64_t, count);
    for (int64_t m = 0; m < count; m++)
        spread[m] = m * n / count;
    double evenly = value_of(world, arena, problem, spread, count);
    if (world->rank > 0)
        return;
    printf("%lld of %lld by %s on %d ranks, D %d: vectors %.1f s, selection %.1f s, peak %.2f GiB a rank\n",
           (long long)count, (long long)n, argv[3], world->size, problem->ground->dim, made, run.seconds, run.gib);
    printf("  objective over all rows %.6g (rows taken evenly: %.6g), %lld gains\n", value, evenly,
           (long long)run.cost.evaluations);
    printf("  of each rank, in all: %.0f messages, %.3g bytes; for gains, a pick: %.1f messages, %.0f bytes\n",
           run.messages, run.bytes, (double)run.cost.picks.calls * (world->size - 1) / (double)count,
           (double)run.cost.picks.bytes / (double)count);
}

int main(int argc, char **argv)
{
    struct world *world = world_start(&argc, &argv);
    log_setup(world->rank, LOG_QUIET);
    struct arena *arena = arena_create("bench", (size_t)1 << 20);
    bool is_scale = argc == 8 && strcmp(argv[1], "scale") == 0, is_lazy = argc == 6 && strcmp(argv[1], "lazy") == 0;
    int threads = is_lazy ? (int)strtol(argv[4], NULL, 10) : is_scale || argc < 2 ? 0 : (int)strtol(argv[1], NULL, 10);
    blas_start(world_threads(world, threads));
    if (is_scale)
        scale(world, arena, argv + 2);
    else if (is_lazy)
        lazy(world, arena, strtoll(argv[2], NULL, 10), strtoll(argv[3], NULL, 10), (int)strtol(argv[5], NULL, 10));
    for (int s = 0; s < 2 && !is_scale && !is_lazy; s++) {
        int64_t n = s ? 10000 : 8192;
        struct greedy_problem *problem = problem_of(arena, world, n, 1024, false);
        for (int w = 0; w < 4; w++) {
            const char *names[] = { "lazy", "lazy", "stochastic", "greedyml" };
            struct greedy_spec spec = spec_of(names[w], 800, 0, 2);
            struct run run = run_once(world, arena, problem, &spec);
            printf("  %-10s 800 of %lld, D 1024: %.3f s, %lld gains, peak %.2f GiB\n", names[w], (long long)n,
                   run.seconds, (long long)run.cost.evaluations, run.gib);
        }
        arena_reset(arena);
    }
    return world_end(world, 0);
}
