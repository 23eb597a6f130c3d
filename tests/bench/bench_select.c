/* Facility location: similarity and selection together, 800 of n vectors.
 *
 *   bench_select [threads [seconds]]                       n = 8192 and 10000 at D = 1024, lazy and naive
 *   mpirun -n P bench_select scale N D K OPTIMISER PARTS ARITY   vectors shared out, similarities never all there */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/timer.h"
#include "concept/greedy.h"
#include "dist/world.h"
#include "math/blas.h"

/* Vectors around 2000 centres, a value per (row, dimension): the same at any rank count. Cheap: no normal draws. */
static void generate(float *x, struct span rows, int dim)
{
    struct rng rng = { .seed = 1, .purpose = RNG_TEST };
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows.count; i++) {
        uint64_t centre = rng_below(&rng, (uint64_t)(rows.first + i), 0, 2000);
        uint32_t a = (uint32_t)centre * 2654435761u, b = (uint32_t)(rows.first + i) * 2246822519u + 374761393u;
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
    *ground = (struct ground){ n, dim, NULL, share ? coverage_span(world, n) : (struct span){ 0, n }, 0 };
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

static void report(struct world *world, struct arena *arena, const struct greedy_problem *problem, const char *name,
                   int64_t count, int parts, int arity)
{
    struct greedy_spec spec;
    greedy_defaults(&spec);
    spec.optimiser = optimiser_find(name);
    spec.count = count;
    spec.parts = parts;
    spec.arity = arity;
    int64_t *picks = arena_array(arena, int64_t, count);
    double *gains = arena_array(arena, double, count), value = 0;
    struct greedy_cost cost;
    const char *why = NULL;
    int64_t sent = world_bytes_sent(), calls = world_calls();
    double start = timer_seconds();
    int64_t taken = greedy_select(picks, gains, problem, &spec, &cost, arena, &why);
    double seconds = timer_seconds() - start;
    for (int64_t m = 0; m < taken; m++)
        value += gains[m];
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double peak = (double)usage.ru_maxrss / 1048576;
    world_max_f64(world, &peak, 1);
    if (world->rank == 0)
        printf("  %-10s n %lld, D %d, %lld picks, %d ranks: %.3f s, sum of gains %.6g, %lld gains, %lld rounds, "
               "%.1f messages and %.0f bytes a pick and rank, peak %.2f GiB a rank\n",
               name, (long long)problem->ground->n, problem->ground->dim, (long long)taken, world->size, seconds, value,
               (long long)cost.evaluations, (long long)cost.rounds, (double)(world_calls() - calls) / (double)count,
               (double)(world_bytes_sent() - sent) / (double)count, peak);
}

int main(int argc, char **argv)
{
    struct world *world = world_start(&argc, &argv);
    log_setup(world->rank, LOG_QUIET);
    struct arena *arena = arena_create("bench", (size_t)1 << 20);
    bool scale = argc == 8 && strcmp(argv[1], "scale") == 0;
    blas_start(world_threads(world, scale || argc < 2 ? 0 : (int)strtol(argv[1], NULL, 10)));
    if (scale) {
        struct greedy_problem *problem =
            problem_of(arena, world, strtoll(argv[2], NULL, 10), (int)strtol(argv[3], NULL, 10), true);
        report(world, arena, problem, argv[5], strtoll(argv[4], NULL, 10), (int)strtol(argv[6], NULL, 10),
               (int)strtol(argv[7], NULL, 10));
        return world_end(world, 0);
    }
    for (int s = 0; s < 2; s++) {
        struct greedy_problem *problem = problem_of(arena, world, s ? 10000 : 8192, 1024, false);
        for (int repeat = 0; repeat < 3; repeat++)
            report(world, arena, problem, "lazy", 800, 1, 2);
        report(world, arena, problem, "stochastic", 800, 1, 2);
        report(world, arena, problem, "greedyml", 800, 8, 8);
        arena_reset(arena);
    }
    return world_end(world, 0);
}
