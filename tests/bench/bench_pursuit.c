/* What orthogonal matching pursuit takes an image: 1024-d, 800 atoms, 160 nonzeros, in both precisions, one thread.
 * scripts/peers/bench_pursuit.py reads the two lines.
 *
 *   bench_pursuit [threads [seconds of each measurement]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/timer.h"
#include "concept/pursuit.h"
#include "dist/world.h"
#include "math/blas.h"

enum { D = 1024, M = 800, S = 160, ROWS = 64 };

static void fill(float *out, int64_t n, uint32_t seed)
{
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = (float)(seed >> 8) / 8388608.0f - 1;
    }
}

/* The best block of 64 images, in milliseconds an image. */
static double measure(struct arena *arena, bool single, int threads, double seconds)
{
    struct arena_mark mark = arena_mark(arena);
    struct pursuit_spec spec = { .nonzeros = S, .intercept = true, .single = single };
    float *atoms = arena_array(arena, float, M *D), *x = arena_array(arena, float, ROWS *D);
    fill(atoms, M * D, 1);
    fill(x, ROWS * D, 2);
    struct pursuit *pursuit = pursuit_create(arena, atoms, M, D, &spec, ROWS, threads);
    struct pursuit_codes codes = { arena_array(arena, int32_t, ROWS * S), arena_array(arena, double, ROWS *S),
                                   arena_array(arena, double, ROWS), arena_array(arena, double, ROWS), NULL };
    struct pursuit_counts counts = { 0 };
    double best = 1e9, begin = timer_seconds();
    do {
        double from = timer_seconds();
        pursuit_solve(pursuit, &codes, x, ROWS, &counts);
        double took = timer_seconds() - from;
        best = took < best ? took : best;
    } while (timer_seconds() - begin < seconds);
    arena_release(arena, mark);
    return 1e3 * best / ROWS;
}

int main(int argc, char **argv)
{
    struct world *world = world_start(&argc, &argv);
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 3.0;
    struct arena *arena = arena_create("bench", 1 << 20);
    world_threads(world, 1);
    blas_start(1);
    printf("orthogonal matching pursuit, 1024-d, 800 atoms, 160 nonzeros, one thread, %s\n", blas_kernel());
    printf("  single %.3f ms an image\n", measure(arena, true, 1, seconds));
    printf("  double %.3f ms an image\n", measure(arena, false, 1, seconds));
    arena_destroy(arena);
    return world_end(world, 0);
}
