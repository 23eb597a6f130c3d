/* A task is the channels of one image that a register holds. They are copied into a tile with zeros around it, one simd
 * a pixel, so that the loops know neither borders nor types: seven outputs of a row, or seven taps of a weight
 * gradient, stay in registers while a row of the window passes by (49 multiply-adds for 20 loads). */
#include "nn/depthwise.h"

#include <omp.h>
#include <stddef.h>
#include <string.h>

#include "math/simd.h"

#define INLINE static inline __attribute__((always_inline))

enum { WINDOW = DEPTHWISE_WINDOW, TAPS = DEPTHWISE_TAPS, LANES = SIMD, PAD = 3, SUMS = TAPS + 1 };

static int64_t blocks_of(const struct depthwise_shape *s)
{
    return (s->channels + LANES - 1) / LANES;
}

/* Outputs of a row, in whole sevens. */
static int64_t padded_width(const struct depthwise_shape *s)
{
    return (s->width + WINDOW - 1) / WINDOW * WINDOW;
}

static int64_t pitch_of(const struct depthwise_shape *s)
{
    return padded_width(s) + 2 * PAD;
}

static int64_t tile_vectors(const struct depthwise_shape *s)
{
    return (s->height + 2 * PAD) * pitch_of(s);
}

int64_t depthwise_work(const struct depthwise_shape *s)
{
    return 2 * tile_vectors(s) * LANES * omp_get_max_threads();
}

int64_t depthwise_taps(const struct depthwise_shape *s)
{
    return blocks_of(s) * TAPS * LANES;
}

int64_t depthwise_partial(const struct depthwise_shape *s)
{
    return s->images * blocks_of(s) * SUMS * LANES;
}

void depthwise_prepare(float *taps, const float *weight, int channels, bool turned)
{
    int padded = (channels + LANES - 1) / LANES * LANES;
    for (int c = 0; c < padded; c++)
        for (int t = 0; t < TAPS; t++)
            taps[(c / LANES * TAPS + t) * LANES + c % LANES] =
                c < channels ? weight[c * TAPS + (turned ? TAPS - 1 - t : t)] : 0.0f;
}

/* ---- pixels in and out ---- */

INLINE simd load(const void *values, int64_t at, int lanes, enum value_type type)
{
    return lanes < LANES ? simd_load_few(values, at, lanes, type) : simd_load(values, at, type);
}

INLINE void store(void *values, int64_t at, simd v, int lanes, enum value_type type)
{
    if (lanes < LANES)
        simd_store_few(values, at, v, lanes, type);
    else
        simd_store(values, at, v, type);
}

/* Channels [first, first + lanes) of one image into a tile. */
INLINE void fill_tile(simd *restrict tile, const void *restrict image, int first, int lanes,
                      const struct depthwise_shape *s, enum value_type type)
{
    int64_t pitch = pitch_of(s);
    memset(tile, 0, (size_t)(PAD * pitch) * sizeof *tile);
    memset(tile + (s->height + PAD) * pitch, 0, (size_t)(PAD * pitch) * sizeof *tile);
    for (int y = 0; y < s->height; y++) {
        simd *row = tile + (y + PAD) * pitch;
        memset(row, 0, PAD * sizeof *row);
        for (int x = 0; x < s->width; x++)
            row[PAD + x] = load(image, ((int64_t)y * s->width + x) * s->channels + first, lanes, type);
        memset(row + PAD + s->width, 0, (size_t)(pitch - PAD - s->width) * sizeof *row);
    }
}

/* ---- arithmetic on tiles ---- */

/* out [7] = bias + seven outputs of a row; `in` is the upper left of the first one's window. */
INLINE void seven_outputs(simd out[restrict WINDOW], const simd *restrict in, int64_t pitch, const simd *restrict taps,
                          simd bias)
{
    simd sum[WINDOW];
    for (int o = 0; o < WINDOW; o++)
        sum[o] = bias;
    for (int ky = 0; ky < WINDOW; ky++) {
        const simd *row = in + ky * pitch, *w = taps + ky * WINDOW;
#pragma GCC unroll 16
        for (int i = 0; i < 2 * WINDOW - 1; i++) {
            simd v = row[i];
#pragma GCC unroll 8
            for (int kx = 0; kx < WINDOW; kx++)
                if (i - kx >= 0 && i - kx < WINDOW)
                    sum[i - kx] += v * w[kx];
        }
    }
    for (int o = 0; o < WINDOW; o++)
        out[o] = sum[o];
}

INLINE void convolve(void *image, const simd *tile, const simd *taps, simd bias, int first, int lanes,
                     const struct depthwise_shape *s, enum value_type type)
{
    int64_t pitch = pitch_of(s);
    for (int y = 0; y < s->height; y++)
        for (int x = 0; x < s->width; x += WINDOW) {
            simd out[WINDOW];
            seven_outputs(out, tile + y * pitch + x, pitch, taps, bias);
            for (int o = 0; o < WINDOW && x + o < s->width; o++)
                store(image, ((int64_t)y * s->width + x + o) * s->channels + first, out[o], lanes, type);
        }
}

/* sums [7] += over a row of g, g times the input seen by each tap of one row of the window. */
INLINE void row_taps(simd sums[restrict WINDOW], const simd *restrict g, const simd *restrict in, int64_t width)
{
    simd sum[WINDOW];
    for (int k = 0; k < WINDOW; k++)
        sum[k] = sums[k];
    for (int64_t x = 0; x < width; x += WINDOW) {
#pragma GCC unroll 16
        for (int i = 0; i < 2 * WINDOW - 1; i++) {
            simd v = in[x + i];
#pragma GCC unroll 8
            for (int kx = 0; kx < WINDOW; kx++)
                if (i - kx >= 0 && i - kx < WINDOW)
                    sum[kx] += v * g[x + i - kx];
        }
    }
    for (int k = 0; k < WINDOW; k++)
        sums[k] = sum[k];
}

/* sums [49 taps, bias] of one image. */
static void gradient_sums(simd *restrict sums, const simd *restrict g, const simd *restrict in,
                          const struct depthwise_shape *s)
{
    int64_t pitch = pitch_of(s), width = padded_width(s);
    memset(sums, 0, SUMS * sizeof *sums);
    for (int y = 0; y < s->height; y++) {
        const simd *row = g + (y + PAD) * pitch + PAD;
        for (int ky = 0; ky < WINDOW; ky++)
            row_taps(sums + ky * WINDOW, row, in + (y + ky) * pitch, width);
        for (int x = 0; x < s->width; x++)
            sums[TAPS] += row[x];
    }
}

/* ---- tasks ---- */

struct task {
    int64_t image; /* first value of the image */
    int64_t block;
    int first, lanes;
    simd *in, *out; /* tiles of this thread */
};

static struct task task_of(int64_t number, float *work, const struct depthwise_shape *s)
{
    int64_t blocks = blocks_of(s), block = number % blocks;
    int first = (int)block * LANES, left = s->channels - first;
    simd *tiles = (simd *)(void *)work + omp_get_thread_num() * 2 * tile_vectors(s);
    return (struct task){ .image = number / blocks * s->height * s->width * s->channels,
                          .block = block,
                          .first = first,
                          .lanes = left < LANES ? left : LANES,
                          .in = tiles,
                          .out = tiles + tile_vectors(s) };
}

static const simd *taps_of(const float *taps, const struct task *t)
{
    return (const simd *)(const void *)taps + t->block * TAPS;
}

INLINE void forward_task(void *out, const void *x, const float *taps, const float *bias, const struct task *t,
                         const struct depthwise_shape *s, int lanes, enum value_type type)
{
    simd b = load(bias, t->first, lanes, VALUE_F32);
    fill_tile(t->in, value_at_const(x, t->image, type), t->first, lanes, s, type);
    convolve(value_at(out, t->image, type), t->in, taps_of(taps, t), b, t->first, lanes, s, type);
}

INLINE void backward_task(void *diff, simd *sums, const void *g, const void *x, const float *turned,
                          const struct task *t, const struct depthwise_shape *s, int lanes, enum value_type type)
{
    fill_tile(t->in, value_at_const(x, t->image, type), t->first, lanes, s, type);
    fill_tile(t->out, value_at_const(g, t->image, type), t->first, lanes, s, type);
    gradient_sums(sums, t->out, t->in, s);
    if (diff)
        convolve(value_at(diff, t->image, type), t->out, taps_of(turned, t), (simd){ 0 }, t->first, lanes, s, type);
}

/* Calls `body` with constant lanes and type where lanes are full. */
#define BY_KIND(body, full, type, ...)                                                                                 \
    do {                                                                                                               \
        if ((full) == LANES && type == VALUE_BF16)                                                                     \
            body(__VA_ARGS__, LANES, VALUE_BF16);                                                                      \
        else if ((full) == LANES)                                                                                      \
            body(__VA_ARGS__, LANES, VALUE_F32);                                                                       \
        else                                                                                                           \
            body(__VA_ARGS__, full, type);                                                                             \
    } while (0)

void depthwise_forward(void *out, const void *x, const float *taps, const float *bias, float *work,
                       const struct depthwise_shape *s, enum value_type type)
{
    int64_t tasks = s->images * blocks_of(s);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < tasks; i++) {
        struct task t = task_of(i, work, s);
        BY_KIND(forward_task, t.lanes, type, out, x, taps, bias, &t, s);
    }
}

/* dweight and dbias from the sums of each image. */
static void add_images(float *dweight, float *dbias, const float *partial, const struct depthwise_shape *s)
{
    int64_t stride = blocks_of(s) * SUMS * LANES;
#pragma omp parallel for schedule(static)
    for (int c = 0; c < s->channels; c++)
        for (int t = 0; t < SUMS; t++) {
            const float *first = partial + (c / LANES * SUMS + t) * (int64_t)LANES + c % LANES;
            double sum = 0.0;
            for (int64_t image = 0; image < s->images; image++)
                sum += (double)first[image * stride];
            *(t < TAPS ? &dweight[c * TAPS + t] : &dbias[c]) = (float)sum;
        }
}

void depthwise_backward(void *diff, float *dweight, float *dbias, float *partial, const void *g, const void *x,
                        const float *turned, float *work, const struct depthwise_shape *s, enum value_type type)
{
    int64_t tasks = s->images * blocks_of(s);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < tasks; i++) {
        struct task t = task_of(i, work, s);
        simd *sums = (simd *)(void *)partial + i * SUMS;
        BY_KIND(backward_task, t.lanes, type, diff, sums, g, x, turned, &t, s);
    }
    add_images(dweight, dbias, partial, s);
}
