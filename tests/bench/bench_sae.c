/* Seconds of an epoch of the sparse autoencoder's training at N = K = 8192, D = 1024, batch 4096: relu while half of
 * the neurons are active, relu at a mean of about 190, and topk and batchtopk with k = 64. The learning rate is
 * nearly 0, so that the codes stay as they are. scripts/bench-sae puts PyTorch beside it.
 *
 *   bench_sae [threads [seconds of each measurement]] */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/rng.h"
#include "base/timer.h"
#include "concept/sae_state.h"
#include "dist/world.h"
#include "math/blas.h"

enum { N = 8192, D = 1024, K = 8192, BATCH = 4096 };

static double limit_seconds = 10;

static struct sae_set make_rows(struct arena *arena)
{
    struct rng rng = { 1, RNG_TEST, 0 };
    float *x = arena_take_raw(arena, (size_t)N * D, sizeof *x);
    for (int64_t i = 0; i < (int64_t)N * D; i++)
        x[i] = (float)rng_normal(&rng, 0, (uint64_t)i);
    return (struct sae_set){ x, 0, N, N };
}

static void epoch(struct sae_trainer *t)
{
    while (!sae_epoch_done(t))
        sae_step(t);
    t->at[SAE_EPOCH]++;
    t->at[SAE_ROW] = 0;
}

static void measure(struct arena *arena, struct world *world, struct sae_set rows, const char *name,
                    struct sae_rule rule, float encoder_bias)
{
    struct arena_mark mark = arena_mark(arena);
    struct sae_options options = { .rule = rule,
                                   .penalty = 3e-5,
                                   .lr = 1e-9,
                                   .aux_k = 256,
                                   .dead_after = 1000,
                                   .aux_weight = 1.0 / 32,
                                   .threshold_decay = 0.99,
                                   .start = SAE_START_TIED,
                                   .batch = BATCH,
                                   .epochs = 1000,
                                   .leaves = 8,
                                   .resident_bytes = 1 << 30 };
    struct sae_trainer *t = sae_trainer_create(arena, world, &options, D, K, rows, rows);
    for (int k = 0; k < K; k++)
        t->sae.encoder_bias[k] = encoder_bias;
    double best = 1e9, start = timer_seconds();
    int epochs = 0;
    epoch(t); /* codes are known to be few after the first step only */
    for (; epochs < 2 || timer_seconds() - start < limit_seconds; epochs++) {
        const double begin = timer_seconds();
        epoch(t);
        best = timer_seconds() - begin < best ? timer_seconds() - begin : best;
    }
    const double l0 = (double)t->at[SAE_ACTIVE] / (double)t->at[SAE_ACTIVE_ROWS];
    printf("  %-12s L0 %7.1f %8.3f s an epoch %8.0f row/s\n", name, l0, best, N / best);
    arena_release(arena, mark);
}

int main(int argc, char **argv)
{
    struct world *world = world_start(&argc, &argv);
    const int threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0;
    limit_seconds = argc > 2 ? strtod(argv[2], NULL) : limit_seconds;
    blas_start(world_threads(world, threads));
    struct arena *arena = arena_create("bench", 1 << 20);
    struct sae_set rows = make_rows(arena);
    printf("sae training, N %d D %d K %d batch %d, %d threads, %s\n", N, D, K, BATCH, world->threads, blas_kernel());
    measure(arena, world, rows, "relu", (struct sae_rule){ .variant = SAE_RELU }, 0);
    measure(arena, world, rows, "relu", (struct sae_rule){ .variant = SAE_RELU }, -2.0f);
    measure(arena, world, rows, "topk", (struct sae_rule){ .variant = SAE_TOPK, .k = 64 }, 0);
    measure(arena, world, rows, "batchtopk", (struct sae_rule){ .variant = SAE_BATCHTOPK, .k = 64 }, 0);
    arena_destroy(arena);
    return world_end(world, 0);
}
