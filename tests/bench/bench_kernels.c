/* The rate of each kernel of our own, one thread, on values that fit the second cache: what its instructions give.
 * scripts/bench-kernels sets two builds side by side.
 *
 *   bench_kernels [threads (always 1) [seconds of all [part of the names wanted]]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/timer.h"
#include "concept/objective.h"
#include "concept/pursuit.h"
#include "concept/sae/sae_sparse.h"
#include "concept/sae/sae_top.h"
#include "dist/tree.h"
#include "dist/world.h"
#include "image/augment.h"
#include "image/resize.h"
#include "math/blas.h"
#include "math/rows.h"
#include "math/simd.h"
#include "math/skinny.h"
#include "math/vec.h"
#include "nn/depthwise.h"
#include "nn/kernels.h"
#include "nn/kernels_dense.h"
#include "nn/kernels_rows.h"
#include "nn/kernels_tokens.h"

/* Batch norm: LANES as the library's layouts have them on a machine of this width. */
enum {
    VALUES = 1 << 16,
    PIXELS = 28 * 28,
    LANES = SIMD > 8 ? 16 : 8,
    GROUPS = 64 / LANES,
    MAP = GROUPS * LANES * PIXELS
};
enum { WIDTH = 128, ROWS = VALUES / WIDTH, TOKENS = 197, LABELS = 7 }; /* rows of a network, of a head */
enum { SIDE = 28, DEEP = 96 };                                         /* depthwise: a map, its channels */
enum { NEURONS = 8192, TOP = 64, LISTED = 32, LEAVES = 16 };           /* autoencoder, tree */
enum { D = 512, ATOMS = 800, NONZEROS = 160, SIGNALS = 2 };            /* pursuit */
enum { CANDIDATES = 4096, ASKED = 64 };                                /* selection */
enum { HIGH = 384, WIDE = 512, SHORT = 224 };                          /* images */

struct bench {
    struct world *world;
    struct arena *arena;
    float *a, *b, *c, *d; /* [VALUES], uniform in -1..1 */
    float *stack;         /* [LEAVES x VALUES] */
    double *x, *y;        /* [VALUES] */
    uint8_t *image, *out; /* [HIGH x WIDE x 3] */
    int32_t *index;       /* [NEURONS] */
    struct depthwise_shape shape;
    float *taps, *work, *partial;
    struct tree *tree;
    struct sae_codes codes;
    struct pursuit *single, *exact; /* pursuits */
    struct pursuit_codes found;
    struct goal *goal;
    int64_t *list; /* [ASKED] */
};

static void fill(float *out, int64_t n, uint32_t seed)
{
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = (float)(seed >> 8) / 8388608.0f - 1;
    }
}

/* ---- the kernels ---- */

static struct norm_lanes lanes_of(const struct bench *b)
{
    return (struct norm_lanes){ b->b, b->b + 64, b->b + 128, b->b + 192, b->b + 256 };
}

static void bn_sums(struct bench *b)
{
    for (int g = 0; g < GROUPS; g++)
        norm_sums(b->x, b->y, b->a + g * PIXELS * LANES, PIXELS, LANES, VALUE_F32);
}

static void bn_apply(struct bench *b)
{
    for (int g = 0; g < GROUPS; g++)
        norm_apply(b->c + g * PIXELS * LANES, b->a + g * PIXELS * LANES, NULL, lanes_of(b), PIXELS, LANES, 1,
                   VALUE_F32);
}

static void bn_backward_sums(struct bench *b)
{
    for (int g = 0; g < GROUPS; g++)
        norm_backward_sums(b->x, b->y, b->c + g * PIXELS * LANES, b->d + g * PIXELS * LANES, NULL,
                           b->a + g * PIXELS * LANES, NULL, lanes_of(b), PIXELS, LANES, 1, VALUE_F32);
}

static void bn_backward(struct bench *b)
{
    for (int g = 0; g < GROUPS; g++)
        norm_backward_apply(b->c + g * PIXELS * LANES, b->d + g * PIXELS * LANES, b->a + g * PIXELS * LANES,
                            lanes_of(b), PIXELS, LANES, VALUE_F32);
}

static void dense_gradient(struct bench *b)
{
    for (int g = 0; g < GROUPS; g++)
        norm_add_gradient(b->x, b->y, b->c + g * PIXELS * LANES, b->d + g * PIXELS * LANES, b->a + g * PIXELS * LANES,
                          lanes_of(b), PIXELS, LANES, true, VALUE_F32);
}

static void dense_halve(struct bench *b)
{
    for (int g = 0; g < GROUPS; g++)
        norm_halve(b->c, b->a + g * PIXELS * LANES, lanes_of(b), 28, 28, LANES, VALUE_F32);
}

static void pool(struct bench *b)
{
    for (int g = 0; g < GROUPS; g++)
        mean_pixels(b->c, b->a + g * PIXELS * LANES, PIXELS, LANES, VALUE_F32);
}

static void add(struct bench *b)
{
    add_values(b->c, b->a, VALUES, VALUE_F32);
}

static void layer_norm(struct bench *b)
{
    layernorm_forward(b->c, b->d, b->a, b->b, b->b, 1e-6, ROWS, WIDTH, VALUE_F32);
}

static void layer_norm_backward(struct bench *b)
{
    layernorm_backward(b->c, b->d, b->d + WIDTH, b->stack, b->b, b->a, b->d + 2 * WIDTH, b->b, ROWS, WIDTH, VALUE_F32);
}

static void gelu(struct bench *b)
{
    gelu_forward(b->c, b->a, VALUES, VALUE_F32);
}

static void gelu_back(struct bench *b)
{
    gelu_backward(b->c, b->b, b->a, VALUES, VALUE_F32);
}

static void residual(struct bench *b)
{
    residual_forward(b->c, b->a, b->d, b->b, NULL, 1, ROWS, WIDTH, VALUE_F32);
}

static void residual_back(struct bench *b)
{
    residual_backward(b->c, b->d, b->stack, b->b, b->a, b->b, NULL, 1, ROWS, WIDTH, VALUE_F32);
}

static void softmax(struct bench *b)
{
    softmax_rows(b->c, b->a, 0.125f, TOKENS, TOKENS, VALUE_F32);
}

static void softmax_back(struct bench *b)
{
    softmax_rows_backward(b->c, b->a, 0.125f, TOKENS, TOKENS, VALUE_F32);
}

static void dw_forward(struct bench *b)
{
    depthwise_forward(b->stack, b->a, b->taps, b->b, b->work, &b->shape, VALUE_F32);
}

static void dw_weights(struct bench *b)
{
    depthwise_backward(NULL, b->d, b->d + DEEP * DEPTHWISE_TAPS, b->partial, b->a, b->a, b->taps, b->work, &b->shape,
                       VALUE_F32);
}

static void dw_backward(struct bench *b)
{
    depthwise_backward(b->stack, b->d, b->d + DEEP * DEPTHWISE_TAPS, b->partial, b->a, b->a, b->taps, b->work,
                       &b->shape, VALUE_F32);
}

static void skinny(struct bench *b)
{
    skinny_forward(b->y, b->a, b->x, b->x + WIDTH, ROWS, LABELS, WIDTH);
}

static void skinny_back(struct bench *b)
{
    skinny_backward(b->y, b->x, b->a, b->x + WIDTH, ROWS, LABELS, WIDTH);
}

static void dot(struct bench *b)
{
    b->y[0] = vec_dot(b->a, b->b, VALUES);
}

static void axpy_double(struct bench *b)
{
    vec_daxpy(b->y, 1e-9, b->x, VALUES / 2);
}

static void largest(struct bench *b)
{
    for (int r = 0; r < VALUES / NEURONS; r++)
        sae_largest(b->index, b->c, b->a + r * NEURONS, NEURONS, TOP);
}

static void active(struct bench *b)
{
    b->codes.rows = 0;
    sae_codes_add(&b->codes, b->a, VALUES / NEURONS, NEURONS, 0.95f);
}

static void gather_rows(struct bench *b)
{
    const void *row[LISTED];
    for (int i = 0; i < LISTED; i++)
        row[i] = b->a + i * 37 % ROWS * WIDTH;
    rows_add(b->c, b->b, row, LISTED, WIDTH, VALUE_F32);
}

static void gather_dots(struct bench *b)
{
    for (int i = 0; i < LISTED; i++)
        b->d[i] = rows_dot(b->a, b->a + i * 37 % ROWS * WIDTH, WIDTH, VALUE_F32);
}

static void sum_tree(struct bench *b)
{
    for (int l = 0; l < LEAVES; l++)
        tree_fold_f32(b->tree, l, b->stack, VALUES / LEAVES, VALUES / LEAVES);
}

static void solve(struct pursuit *pursuit, struct bench *b)
{
    struct pursuit_counts counts = { 0 };
    pursuit_solve(pursuit, &b->found, b->a, SIGNALS, &counts);
}

static void pursuit_single(struct bench *b)
{
    solve(b->single, b);
}

static void pursuit_double(struct bench *b)
{
    solve(b->exact, b);
}

static void facility(struct bench *b)
{
    goal_gains(b->y, b->goal, b->list, ASKED, b->arena);
}

static void resize(struct bench *b)
{
    resize_bicubic(b->arena, b->out, SHORT, SHORT * WIDE / HIGH, b->image, HIGH, WIDE, 3);
}

static void rotate(struct bench *b)
{
    augment_rotate(b->out, b->image, HIGH, WIDE, 3, 20);
}

static void blur(struct bench *b)
{
    augment_blur(b->arena, b->image, HIGH, WIDE, 3, 1);
}

static void normalise(struct bench *b)
{
    augment_normalise(b->stack, b->image, SHORT, 3);
}

/* ---- the table ---- */

struct kernel {
    const char *name;
    void (*run)(struct bench *b);
    double work; /* of a call */
    const char *unit;
};

#define GIGA_BYTES(values) 4e-9 * (values), "GB/s"
#define GIGA_FLOPS(count)  1e-9 * (count), "GFLOP/s"
#define MEGA_PIXELS        1e-6 * HIGH *WIDE, "Mpixel/s"
enum { DW_FLOPS = 2 * DEPTHWISE_TAPS * SIDE * SIDE * DEEP, HEAD_FLOPS = 2 * ROWS * WIDTH * LABELS };

static const struct kernel KERNELS[] = {
    { "batch norm, sums", bn_sums, GIGA_BYTES(MAP) },
    { "batch norm, apply and relu", bn_apply, GIGA_BYTES(2.0 * MAP) },
    { "batch norm backward, sums", bn_backward_sums, GIGA_BYTES(3.0 * MAP) },
    { "batch norm backward, apply", bn_backward, GIGA_BYTES(3.0 * MAP) },
    { "densenet, gradient in one pass", dense_gradient, GIGA_BYTES(3.0 * MAP) },
    { "densenet, means of a transition", dense_halve, GIGA_BYTES(1.25 * MAP) },
    { "mean over pixels", pool, GIGA_BYTES(MAP) },
    { "sum of gradients", add, GIGA_BYTES(3.0 * VALUES) },
    { "layer norm", layer_norm, GIGA_BYTES(2.0 * VALUES) },
    { "layer norm backward", layer_norm_backward, GIGA_BYTES(3.0 * VALUES) },
    { "GELU", gelu, GIGA_BYTES(2.0 * VALUES) },
    { "GELU backward", gelu_back, GIGA_BYTES(3.0 * VALUES) },
    { "residual", residual, GIGA_BYTES(3.0 * VALUES) },
    { "residual backward", residual_back, GIGA_BYTES(3.0 * VALUES) },
    { "softmax", softmax, GIGA_BYTES(2.0 * TOKENS * TOKENS) },
    { "softmax backward", softmax_back, GIGA_BYTES(3.0 * TOKENS * TOKENS) },
    { "depthwise 7x7", dw_forward, GIGA_FLOPS(DW_FLOPS) },
    { "depthwise 7x7, weight gradient", dw_weights, GIGA_FLOPS(DW_FLOPS) },
    { "depthwise 7x7, both gradients", dw_backward, GIGA_FLOPS(2.0 * DW_FLOPS) },
    { "skinny product (7 columns)", skinny, GIGA_FLOPS(HEAD_FLOPS) },
    { "skinny product, gradient", skinny_back, GIGA_FLOPS(HEAD_FLOPS) },
    { "dot product in double", dot, GIGA_BYTES(2.0 * VALUES) },
    { "y + alpha x in double", axpy_double, GIGA_BYTES(3.0 * VALUES) },
    { "64 largest of 8192", largest, GIGA_BYTES(VALUES) },
    { "active of 8192", active, GIGA_BYTES(VALUES) },
    { "autoencoder, sum of rows", gather_rows, GIGA_FLOPS(2.0 * LISTED * WIDTH) },
    { "autoencoder, dots with rows", gather_dots, GIGA_FLOPS(2.0 * LISTED * WIDTH) },
    { "tree sum", sum_tree, GIGA_BYTES(3.0 * VALUES) },
    { "pursuit, single", pursuit_single, SIGNALS, "image/s" },
    { "pursuit, double", pursuit_double, SIGNALS, "image/s" },
    { "facility location, gains", facility, GIGA_BYTES(1.0 * ASKED * CANDIDATES) },
    { "resize", resize, MEGA_PIXELS },
    { "rotation", rotate, MEGA_PIXELS },
    { "blur", blur, MEGA_PIXELS },
    { "normalisation of pixels", normalise, 1e-6 * SHORT *SHORT, "Mpixel/s" },
};
enum { COUNT = sizeof KERNELS / sizeof *KERNELS };

/* ---- */

static struct pursuit *pursuit_of(struct arena *arena, const float *atoms, bool single)
{
    struct pursuit_spec spec = { .nonzeros = NONZEROS, .intercept = true, .single = single };
    return pursuit_create(arena, atoms, ATOMS, D, &spec, SIGNALS, 1);
}

static struct goal *goal_of(struct bench *b, const float *vectors)
{
    const char *why = NULL;
    struct ground ground = { CANDIDATES, D, vectors, { 0, CANDIDATES }, 0 };
    struct term_spec term = { .objective = objective_find("facility_location"),
                              .similarity = similarity_find("cosine"),
                              .weight = 1 };
    struct goal *goal = goal_create(b->arena, b->world, &ground, &term, 1, true, &why);
    require(goal, EXIT_INTERNAL, "bench: %s", why);
    goal_take(goal, 0);
    return goal;
}

static float *floats(struct arena *arena, int64_t n, uint32_t seed)
{
    float *x = arena_array(arena, float, n + 16);
    x += (64 - (uintptr_t)x % 64) % 64 / sizeof *x;
    fill(x, n, seed);
    return x;
}

static void prepare(struct bench *b)
{
    struct arena *arena = b->arena;
    b->a = floats(arena, 2 * VALUES, 1), b->b = floats(arena, VALUES, 2);
    b->c = floats(arena, VALUES, 3), b->d = floats(arena, VALUES, 4);
    b->stack = floats(arena, LEAVES * VALUES, 5);
    b->x = arena_array(arena, double, VALUES), b->y = arena_array(arena, double, VALUES);
    for (int i = 0; i < VALUES; i++)
        b->x[i] = (double)b->b[i];
    b->image = arena_array(arena, uint8_t, HIGH * WIDE * 3), b->out = arena_array(arena, uint8_t, HIGH * WIDE * 3);
    for (int i = 0; i < HIGH * WIDE * 3; i++)
        b->image[i] = (uint8_t)((uint32_t)i * 2654435761u >> 24);
    b->index = arena_array(arena, int32_t, NEURONS);
    b->shape = (struct depthwise_shape){ 1, SIDE, SIDE, DEEP };
    b->taps = floats(arena, depthwise_taps(&b->shape), 6);
    b->work = floats(arena, depthwise_work(&b->shape), 7);
    b->partial = floats(arena, depthwise_partial(&b->shape), 8);
    b->tree = tree_create(arena, b->world, LEAVES);
    b->codes = sae_codes(arena, VALUES / NEURONS, VALUES, 0, false);
    const float *atoms = floats(arena, ATOMS * D, 9);
    b->single = pursuit_of(arena, atoms, true), b->exact = pursuit_of(arena, atoms, false);
    b->found = (struct pursuit_codes){ arena_array(arena, int32_t, SIGNALS * NONZEROS),
                                       arena_array(arena, double, SIGNALS *NONZEROS),
                                       arena_array(arena, double, SIGNALS), arena_array(arena, double, SIGNALS), NULL };
    b->goal = goal_of(b, floats(arena, (int64_t)CANDIDATES * D, 10));
    b->list = arena_array(arena, int64_t, ASKED);
    for (int i = 0; i < ASKED; i++)
        b->list[i] = i;
}

/* Seconds of the fastest call. */
static double fastest(const struct kernel *k, struct bench *b, double seconds)
{
    double best = 1e9, begin = timer_seconds();
    k->run(b);
    do {
        double from = timer_seconds();
        k->run(b);
        double took = timer_seconds() - from;
        best = took < best ? took : best;
    } while (timer_seconds() - begin < seconds);
    return best;
}

int main(int argc, char **argv)
{
    struct bench b = { .world = world_start(&argc, &argv), .arena = arena_create("bench", 1 << 20) };
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 3.0;
    world_threads(b.world, 1);
    blas_start(1);
    prepare(&b);
    printf("kernels of our own, one thread, registers of %d bytes\n", SIMD_BYTES);
    for (int i = 0; i < COUNT; i++) {
        const struct kernel *k = &KERNELS[i];
        if (argc <= 3 || strstr(k->name, argv[3]))
            printf("  %-34s %9.1f %s\n", k->name, k->work / fastest(k, &b, seconds / COUNT), k->unit);
    }
    arena_destroy(b.arena);
    return world_end(b.world, 0);
}
