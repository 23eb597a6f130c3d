/* cfn selftest: does this installation compute, communicate and write as it
 * should? One line per check with what was measured; EXIT_INTERNAL if one
 * failed. Leaves nothing behind; under a minute. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "base/timer.h"
#include "dist/tree.h"
#include "math/blas.h"
#include "nn/bench.h"
#include "nn/network.h"
#include "stage/stage.h"

struct selftest {
    struct world *world;
    struct arena *arena;
    int failed;
};

static void report(struct selftest *t, bool ok, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* `ok` on this rank becomes ok on all; rank 0's figures are printed. Collective. */
static void report(struct selftest *t, bool ok, const char *name, const char *fmt, ...)
{
    char figures[512];
    double all = ok;
    va_list args;
    va_start(args, fmt);
    vsnprintf(figures, sizeof figures, fmt, args);
    va_end(args);
    world_min_f64(t->world, &all, 1);
    t->failed += all == 0.0;
    log_info("  %-7s %-22s %s", all == 0.0 ? "FAILED" : "ok", name, figures);
}

/* The same value on every rank? Collective. */
static bool same_everywhere(struct selftest *t, double value)
{
    double least = value, most = value;
    world_min_f64(t->world, &least, 1);
    world_max_f64(t->world, &most, 1);
    return least == most;
}

static void check_ranks(struct selftest *t)
{
    int64_t sum = t->world->rank + 1, p = t->world->size, *all = arena_array(t->arena, int64_t, p);
    world_allgather_rows(t->world, all, &sum, 1, sizeof sum);
    world_sum_i64(t->world, &sum, 1);
    bool ok = sum == p * (p + 1) / 2;
    for (int64_t r = 0; r < p; r++)
        ok = ok && all[r] == r + 1;
    report(t, ok, "ranks", "%lld on %d node%s, %s", (long long)p, t->world->nodes, t->world->nodes == 1 ? "" : "s",
           world_library());
}

/* Element i of leaf: sizes differ by 10^6, so that another order of adding gives other bits. */
static float leaf_value(int leaf, int64_t i)
{
    const struct rng rng = { .seed = 1, .purpose = RNG_TEST };
    double x = rng_range(&rng, (uint64_t)leaf, (uint64_t)i, -1.0, 1.0);
    return (float)(i % 3 ? x : 1e6 * x);
}

static float plain_sum(int first, int size, int64_t i)
{
    if (size == 1)
        return leaf_value(first, i);
    return plain_sum(first, size / 2, i) + plain_sum(first + size / 2, size / 2, i);
}

static int leaves_for(int ranks)
{
    int leaves = 8;
    while (leaves < ranks)
        leaves *= 2;
    return leaves;
}

static void check_tree(struct selftest *t)
{
    const int64_t n = 50021;
    int leaves = leaves_for(t->world->size);
    struct tree *tree = tree_create(t->arena, t->world, leaves);
    struct span own = tree_leaves(tree);
    float *rows = arena_array(t->arena, float, (own.count + 1) * n), *out = arena_array(t->arena, float, n);
    for (int64_t k = 0; k < own.count; k++)
        for (int64_t i = 0; i < n; i++)
            rows[k * n + i] = leaf_value((int)(own.first + k), i);
    tree_sum_f32(tree, out, rows, n);
    int64_t wrong = 0;
    for (int64_t i = 0; i < n; i++) {
        float want = plain_sum(0, leaves, i);
        wrong += memcmp(&want, &out[i], sizeof want) != 0;
    }
    world_sum_i64(t->world, &wrong, 1);
    report(t, wrong == 0, "sums over ranks", "%d shards, %lld of %lld values differ from the plain tree", leaves,
           (long long)wrong, (long long)n);
}

/* The sum of one gradient of resnet18 (45 MB), as training does it. */
static void check_bandwidth(struct selftest *t)
{
    enum { REPEATS = 5 };
    const int64_t n = 11177538;
    struct tree *tree = tree_create(t->arena, t->world, leaves_for(t->world->size));
    int nodes = tree_nodes(tree) > 0 ? tree_nodes(tree) : 1;
    float *rows = arena_take_raw(t->arena, (size_t)(nodes * n), sizeof *rows);
    float *out = arena_take_raw(t->arena, (size_t)n, sizeof *out);
    for (int64_t i = 0; i < nodes * n; i++)
        rows[i] = (float)(i % n % 17);
    int64_t all_nodes = tree_nodes(tree), wrong = 0;
    world_sum_i64(t->world, &all_nodes, 1);
    double best = 1e300;
    for (int k = 0; k < REPEATS; k++) {
        world_barrier(t->world);
        double begin = timer_seconds();
        tree_sum_nodes_f32(tree, out, rows, n, n);
        double seconds = timer_seconds() - begin;
        world_max_f64(t->world, &seconds, 1);
        best = seconds < best ? seconds : best;
    }
    for (int64_t i = 0; i < n; i++)
        wrong += out[i] != (float)(all_nodes * (i % 17));
    if (t->world->size == 1)
        report(t, wrong == 0, "allreduce bandwidth", "one rank: nothing to exchange");
    else
        report(t, wrong == 0, "allreduce bandwidth", "45 MB in %s, %.2f GB/s per rank", text_seconds(t->arena, best),
               4.0 * (double)n / best * 1e-9);
}

/* A folder all ranks see: here, or on one node where temporary files go. */
static const char *make_folder(struct selftest *t)
{
    const char *temporary = getenv("TMPDIR");
    const char *places[] = { ".", temporary && *temporary ? temporary : "/tmp", "/tmp" };
    char *folder = NULL;
    bool made = t->world->rank != 0;
    for (int p = 0; !made && p < (t->world->nodes == 1 ? 3 : 1); p++) {
        folder = arena_printf(t->arena, "%s/cfn-selftest.XXXXXX", places[p]);
        made = mkdtemp(folder) != NULL;
    }
    agree(t->world, made, EXIT_CANNOT_CREATE, "selftest: cannot make a folder here: %s\nrun it where ranks may write",
          strerror(errno));
    return world_broadcast_text(t->world, t->arena, folder ? folder : "", 0);
}

enum { WIDTH = 256 }; /* floats of a row */

static float file_value(int64_t row, int64_t column)
{
    return (float)((row * 31 + column * 7) % 1000003);
}

static void fill(float *values, struct span rows)
{
    for (int64_t i = 0; i < rows.count; i++)
        for (int64_t c = 0; c < WIDTH; c++)
            values[i * WIDTH + c] = file_value(rows.first + i, c);
}

/* This rank's rows when rank r has a share that grows with r: rank 0 has none (unless it is alone). */
static struct span uneven_rows(const struct world *world, int64_t n)
{
    int64_t p = world->size, r = world->rank, all = p * (p - 1) / 2;
    if (p == 1)
        return (struct span){ 0, n };
    int64_t first = n * (r * (r - 1) / 2) / all, end = n * ((r + 1) * r / 2) / all;
    return (struct span){ first, end - first };
}

/* Writes `n` rows from uneven blocks, reads them back in even ones, so that most rows change hands.
 * Returns the wrong values of all ranks; adds up the seconds. Collective. */
static int64_t write_and_read(struct selftest *t, const char *path, int64_t n, double *write, double *read)
{
    static const struct layout layout[] = { { "/value", STORE_F32, "N,W", "1", "a formula of row and column", NULL,
                                              false } };
    const struct extent sizes[] = { { "N", n }, { "W", WIDTH } };
    struct arena_mark mark = arena_mark(t->arena);
    struct span put = uneven_rows(t->world, n), get = shard_rows(n, t->world->size, t->world->rank);
    float *out = arena_take_raw(t->arena, (size_t)(put.count * WIDTH + 1), sizeof *out);
    float *in = arena_take(t->arena, (size_t)(get.count * WIDTH + 1), sizeof *in);
    fill(out, put);
    world_barrier(t->world);
    double begin = timer_seconds();
    struct store *store = store_create(t->world, t->arena, path, layout, 1, sizes, 2, true);
    store_write_rows(store, "/value", put.first, put.count, out);
    store_publish(store);
    world_barrier(t->world);
    double middle = timer_seconds();
    store = store_open(t->world, t->arena, path);
    store_read_rows(store, "/value", get.first, get.count, in);
    store_close(store);
    world_barrier(t->world);
    *write += middle - begin;
    *read += timer_seconds() - middle;
    int64_t wrong = 0;
    for (int64_t i = 0; i < get.count; i++)
        for (int64_t c = 0; c < WIDTH; c++)
            wrong += in[i * WIDTH + c] != file_value(get.first + i, c);
    world_sum_i64(t->world, &wrong, 1);
    arena_release(t->arena, mark);
    return wrong;
}

static void check_files(struct selftest *t)
{
    const int64_t rows[] = { 40009, 1, t->world->size - 1 > 0 ? t->world->size - 1 : 2, 4099 };
    const char *folder = make_folder(t), *path = path_join(t->arena, folder, "selftest.h5");
    double write = 0.0, read = 0.0, bytes = 0.0;
    int64_t wrong = 0;
    int files = (int)(sizeof rows / sizeof *rows);
    for (int f = 0; f < files; f++) {
        wrong += write_and_read(t, path, rows[f], &write, &read);
        bytes += (double)rows[f] * WIDTH * sizeof(float);
    }
    bool gone = t->world->rank != 0 || (unlink(path) == 0 && rmdir(folder) == 0);
    report(t, wrong == 0, "files",
           "%s: %d files from uneven and empty ranks, %lld values differ; write %.0f MB/s, read %.0f MB/s",
           store_library(), files, (long long)wrong, bytes / write * 1e-6, bytes / read * 1e-6);
    if (!gone)
        log_warn("%s: cannot remove it: %s", folder, strerror(errno));
}

/* A square product against plain sums at places all over it, and its rate. */
static void check_blas(struct selftest *t)
{
    enum { M = 768, REPEATS = 5 };
    float *a = arena_array(t->arena, float, M *M), *b = arena_array(t->arena, float, M *M);
    float *c = arena_array(t->arena, float, M *M);
    for (int64_t i = 0; i < M * M; i++) {
        a[i] = (float)(i * 37 % 101 - 50) / 64.0f;
        b[i] = (float)(i * 53 % 103 - 51) / 64.0f;
    }
    double best = 1e300, worst = 0.0;
    for (int k = 0; k < REPEATS; k++) {
        double begin = timer_seconds();
        blas_sgemm('N', 'N', M, M, M, 1.0f, a, M, b, M, 0.0f, c, M);
        double seconds = timer_seconds() - begin;
        best = seconds < best ? seconds : best;
    }
    for (int64_t at = 0; at < M * M; at += 1009) {
        double plain = 0.0;
        for (int64_t k = 0; k < M; k++)
            plain += (double)a[at / M * M + k] * (double)b[k * M + at % M];
        double error = fabs((double)c[at] - plain);
        worst = error > worst ? error : worst;
    }
    bool generic = strcmp(blas_kernel(), "generic") == 0;
    report(t, worst < 1e-3, "matrix product", "%s, kernel %s%s, %d thread%s: %.0f GFLOP/s, largest error %.1e",
           blas_library(), blas_kernel(), generic ? " (several times slower than this processor can)" : "",
           t->world->threads, t->world->threads == 1 ? "" : "s", 2.0 * M * M * M / best * 1e-9, worst);
}

/* What every backbone would run, trained and not, at the sizes of the demo and of publications: none of the library's
 * reference code. */
static void check_primitives(struct selftest *t)
{
    enum { BATCH = 8, CLASSES = 10 };
    static const struct {
        const char *backbone;
        int size;
    } cases[] = { { "resnet18", 64 },     { "resnet50", 224 },      { "densenet121", 64 },
                  { "densenet121", 224 }, { "convnext_tiny", 224 }, { "vit_b_16", 224 } };
    int primitives = 0, references = 0;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int train = 0; train < 2; train++) {
            const struct network_spec spec = { .backbone = cases[c].backbone,
                                               .classes = CLASSES,
                                               .image_size = cases[c].size,
                                               .batch = leaves_for(t->world->size) * BATCH,
                                               .shards = train ? leaves_for(t->world->size) : 1,
                                               .train = train };
            const struct bench_result r = bench_kernels(t->world, t->arena, &spec);
            primitives += r.primitives;
            references += r.references;
        }
    report(t, references == 0, "primitives", "%s, %s: %d of four families, %d of them reference code",
           network_library(), network_isa(), primitives, references);
}

/* An untrained resnet18 on a pattern: finite, and the same bits on every rank (they differ where processors do). */
static void check_network(struct selftest *t)
{
    enum { BATCH = 4, SIZE = 224, CLASSES = 10 };
    struct network_spec spec = { .backbone = "resnet18",
                                 .classes = CLASSES,
                                 .image_size = SIZE,
                                 .batch = BATCH,
                                 .shards = 1,
                                 .loss = LOSS_CROSS_ENTROPY,
                                 .seed = 1 };
    struct network *net = network_create(t->world, t->arena, &spec);
    const int64_t pixels = (int64_t)BATCH * 3 * SIZE * SIZE;
    float *images = arena_array(t->arena, float, pixels), logits[BATCH * CLASSES];
    for (int64_t i = 0; i < pixels; i++)
        images[i] = (float)(i * 29 % 255) / 127.5f - 1.0f;
    double best = 1e300, sum = 0.0;
    for (int k = 0; k < 3; k++) {
        double begin = timer_seconds();
        network_infer(net, NULL, logits, images);
        double seconds = timer_seconds() - begin;
        best = seconds < best ? seconds : best;
    }
    bool finite = true;
    for (int i = 0; i < BATCH * CLASSES; i++) {
        finite = finite && isfinite(logits[i]);
        sum += (i % 2 ? 1.0 : -1.0) * (double)logits[i];
    }
    bool same = same_everywhere(t, finite ? sum : 0.0);
    report(t, finite && same, "network", "%s, %s: resnet18 forward %.0f img/s, %s", network_library(), network_isa(),
           BATCH / best, same ? "the same bits on every rank" : "other bits on some rank: unlike processors?");
}

int stage_selftest(struct job *job)
{
    double begin = timer_seconds();
    struct selftest t = { .world = job->world, .arena = job->scratch };
    static void (*const checks[])(struct selftest *) = { check_ranks, check_tree,       check_bandwidth, check_files,
                                                         check_blas,  check_primitives, check_network };
    bool fits = world_banner(job->world);
    for (size_t c = 0; c < sizeof checks / sizeof *checks; c++) {
        struct arena_mark mark = arena_mark(t.arena);
        checks[c](&t);
        arena_release(t.arena, mark);
    }
    log_info("  %-7s %-22s %d rank%s, %d thread%s per rank", fits ? "ok" : "warning", "binding", job->world->size,
             job->world->size == 1 ? "" : "s", job->world->threads, job->world->threads == 1 ? "" : "s");
    double seconds = timer_seconds() - begin;
    if (t.failed)
        log_info("selftest: %d of %zu checks failed", t.failed, sizeof checks / sizeof *checks);
    else
        log_info("selftest: all checks passed in %.1f s", seconds);
    return t.failed ? EXIT_INTERNAL : EXIT_DONE;
}
