/* The published search for C on given rows: seconds, C, validation accuracy, then log10 C, accuracy, iterations,
 * seconds and objective of each fit; for scripts/peers/bench_head.py.
 *
 *   bench_head FILE [threads]
 * FILE: four int64 (training rows, validation rows, D, C), then float rows [all x D], then int32 labels [all]. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "base/timer.h"
#include "concept/head.h"
#include "concept/score.h"
#include "dist/world.h"
#include "math/blas.h"

struct validation {
    int64_t rows;
    const float *x;
    const int32_t *label;
    struct arena *scratch;
    int fits;
    double at[64]; /* when each fit was over */
    struct head heads[64];
    struct arena *arena;
};

static double accuracy(void *data, const struct head *head)
{
    struct validation *v = data;
    v->heads[v->fits] = head_create(v->arena, head->classes, head->dim);
    memcpy(v->heads[v->fits].weight, head->weight,
           (size_t)head->classes * (size_t)(head->dim + 1) * sizeof *head->weight);
    v->at[v->fits++] = timer_seconds();
    struct arena_mark mark = arena_mark(v->scratch);
    float *logits = arena_array(v->scratch, float, v->rows * head->classes);
    int32_t *said = arena_array(v->scratch, int32_t, v->rows);
    head_logits(logits, head, v->x, v->rows, v->scratch);
    score_predict(said, logits, v->rows, head->classes, false);
    int64_t right = 0;
    for (int64_t i = 0; i < v->rows; i++)
        right += said[i] == v->label[i];
    arena_release(v->scratch, mark);
    return (double)right / (double)v->rows;
}

int main(int argc, char **argv)
{
    struct world *world = world_start(&argc, &argv);
    log_setup(world->rank, LOG_QUIET);
    int threads = argc > 2 ? atoi(argv[2]) : 2;
    world_threads(world, threads);
    blas_start(threads);
    struct arena *arena = arena_create("bench", 1 << 20), *scratch = arena_create("scratch", 1 << 20);
    FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
    int64_t size[4] = { 0 };
    require(file && fread(size, sizeof *size, 4, file) == 4, EXIT_USAGE, "bench_head FILE [threads]");
    int64_t all = size[0] + size[1], D = size[2];
    float *x = arena_array(arena, float, all *D);
    int32_t *label = arena_array(arena, int32_t, all);
    require(fread(x, sizeof *x, (size_t)(all * D), file) == (size_t)(all * D) &&
                fread(label, sizeof *label, (size_t)all, file) == (size_t)all,
            EXIT_BAD_DATA, "%s is too short", argv[1]);
    fclose(file);
    struct validation val = { size[1], x + size[0] * D, label + size[0], scratch, 0, { 0 }, { { 0 } }, arena };
    double begin = timer_seconds();
    struct head_rows *rows = head_rows_create(arena, world, size[0], (int)size[3], (int)D, false);
    rows->x = x;
    rows->label = label;
    head_rows_prepare(rows, scratch);
    double prepared = timer_seconds();
    struct head head;
    struct head_search s =
        head_search(&head, rows, argc > 3 ? atof(argv[3]) : 5e-5, 1000, accuracy, &val, arena, scratch);
    int iterations = 0;
    double took = timer_seconds() - begin;
    for (int f = 0; f < s.fits; f++)
        iterations += s.trials[f].iterations;
    printf("%.4f s, C %.10g, accuracy %.6f, %d fits, %d iterations, objective %.12g\n", took, s.c, s.score, s.fits,
           iterations, head_objective(NULL, &head, rows, s.c, scratch));
    for (int f = 0; f < s.fits; f++)
        printf("%.10g %.6f %d %.3f %.12g\n", s.trials[f].log10_c, s.trials[f].score, s.trials[f].iterations,
               val.at[f] - (f ? val.at[f - 1] : prepared),
               head_objective(NULL, &val.heads[f], rows, pow(10, s.trials[f].log10_c), scratch));
    printf("prepare %.3f\n", prepared - begin);
    return world_end(world, 0);
}
