/* Seconds of an epoch of the sparse autoencoder's training at N = K = 8192, D = 1024, batch 4096: relu while half of
 * the neurons are active, relu at a mean of about 900 and 190, topk and batchtopk with k = 64; and of monosemanticity.
 * The learning rate is nearly 0, so that the codes stay as they are.
 *
 *   bench_sae [threads [seconds of each measurement]]
 *   bench_sae threads serve        answers each line `case` on its input by the seconds of one more epoch, `score` by
 *                                  those of monosemanticity (scripts/peers/bench_sae.py puts PyTorch beside it) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "base/timer.h"
#include "concept/sae/sae_state.h"
#include "concept/sae_score.h"
#include "dist/world.h"
#include "math/blas.h"

enum { N = 8192, D = 1024, K = 8192, BATCH = 4096 };

static const struct {
    const char *name;
    struct sae_rule rule;
    float encoder_bias;
    bool half;
} cases[] = {
    { "relu-dense", { .variant = SAE_RELU }, 0, false },
    { "relu-sparse", { .variant = SAE_RELU }, -2, false },
    { "relu-switch", { .variant = SAE_RELU }, -1.23f, false }, /* near the change from dense to sparse products */
    { "topk", { .variant = SAE_TOPK, .k = 64 }, 0, false },
    { "batchtopk", { .variant = SAE_BATCHTOPK, .k = 64 }, 0, false },
    { "relu-dense-bf16", { .variant = SAE_RELU }, 0, true },
    { "relu-sparse-bf16", { .variant = SAE_RELU }, -2, true },
    { "relu-switch-bf16", { .variant = SAE_RELU }, -1.5f, true },
    { "topk-bf16", { .variant = SAE_TOPK, .k = 64 }, 0, true },
    { "batchtopk-bf16", { .variant = SAE_BATCHTOPK, .k = 64 }, 0, true },
};
enum { CASES = sizeof cases / sizeof *cases };

static struct sae_set make_rows(struct arena *arena)
{
    struct rng rng = { 1, RNG_TEST, 0 };
    float *x = arena_take_raw(arena, (size_t)N * D, sizeof *x);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < (int64_t)N * D; i++)
        x[i] = (float)rng_normal(&rng, 0, (uint64_t)i);
    return (struct sae_set){ x, 0, N, N };
}

static double epoch(struct sae_trainer *t)
{
    const double begin = timer_seconds();
    while (!sae_epoch_done(t))
        sae_step(t);
    t->at[SAE_EPOCH]++;
    t->at[SAE_ROW] = 0;
    return timer_seconds() - begin;
}

/* After one epoch: codes are known to be few after the first step only. */
static struct sae_trainer *make_trainer(struct arena *arena, struct world *world, struct sae_set rows, int which)
{
    struct sae_options options = { .rule = cases[which].rule,
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
                                   .resident_bytes = 1 << 30,
                                   .half = cases[which].half };
    struct sae_trainer *t = sae_trainer_create(arena, world, &options, D, K, rows, rows);
    for (int k = 0; k < K; k++)
        t->sae.encoder_bias[k] = cases[which].encoder_bias;
    epoch(t);
    return t;
}

static double score(struct sae_trainer *t, struct arena *arena)
{
    struct arena_mark mark = arena_mark(arena);
    const double begin = timer_seconds();
    sae_monosemanticity(arena_array(arena, double, K), t, arena);
    arena_release(arena, mark);
    return timer_seconds() - begin;
}

static double active(const struct sae_trainer *t)
{
    return (double)t->at[SAE_ACTIVE] / (double)t->at[SAE_ACTIVE_ROWS];
}

static void serve(struct arena *arena, struct world *world, struct sae_set rows)
{
    struct sae_trainer *trainers[CASES] = { NULL };
    char line[64];
    printf("ready, %s\n", blas_kernel());
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (strcmp(line, "score") == 0 && trainers[0])
            printf("%.4f 0\n", score(trainers[0], arena));
        for (int c = 0; c < CASES; c++)
            if (strcmp(line, cases[c].name) == 0) {
                trainers[c] = trainers[c] ? trainers[c] : make_trainer(arena, world, rows, c);
                const double seconds = epoch(trainers[c]);
                printf("%.4f %.1f\n", seconds, active(trainers[c]));
            }
        fflush(stdout);
    }
}

static void measure(struct arena *arena, struct world *world, struct sae_set rows, int which, double limit)
{
    struct arena_mark mark = arena_mark(arena);
    struct sae_trainer *t = make_trainer(arena, world, rows, which);
    double best = 1e9, start = timer_seconds();
    for (int epochs = 0; epochs < 2 || timer_seconds() - start < limit; epochs++) {
        const double seconds = epoch(t);
        best = seconds < best ? seconds : best;
    }
    printf("  %-17s L0 %7.1f %8.3f s an epoch %8.0f row/s\n", cases[which].name, active(t), best, N / best);
    if (which == 0)
        printf("  monosemanticity of %d neurons over %d rows: %.2f s\n", K, N, score(t, arena));
    arena_release(arena, mark);
}

int main(int argc, char **argv)
{
    struct world *world = world_start(&argc, &argv);
    const int threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0;
    blas_start(world_threads(world, threads));
    struct arena *arena = arena_create("bench", 1 << 20);
    struct sae_set rows = make_rows(arena);
    if (argc > 2 && strcmp(argv[2], "serve") == 0) {
        serve(arena, world, rows);
    } else {
        printf("sae training, N %d D %d K %d batch %d, %d threads, %s\n", N, D, K, BATCH, world->threads,
               blas_kernel());
        for (int c = 0; c < CASES; c++)
            measure(arena, world, rows, c, argc > 2 ? strtod(argv[2], NULL) : 10);
    }
    arena_destroy(arena);
    return world_end(world, 0);
}
