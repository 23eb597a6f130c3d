/* Layer norm, GELU and the scaled residual on rows. Each body is inlined once
 * for each type; its loop over channels is left to the vectoriser. Which rows a
 * rank holds, and how gradients meet over shards, is left to the ops. */
#include "nn/kernels_rows.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* Calls `body` with a constant type, so that each becomes a loop of its own. */
#define BY_TYPE(body, type, ...)                                                                                       \
    do {                                                                                                               \
        if (type == VALUE_BF16)                                                                                        \
            body(__VA_ARGS__, VALUE_BF16);                                                                             \
        else                                                                                                           \
            body(__VA_ARGS__, VALUE_F32);                                                                              \
    } while (0)

/* Rows of a piece: from piece_row(rows, p) to piece_row(rows, p + 1). */
static int64_t piece_row(int64_t rows, int piece)
{
    return rows * piece / ROW_PIECES;
}

/* out [n] = sum over pieces of partial [ROW_PIECES][stride], first n of each. */
static void sum_pieces(float *out, const float *partial, int64_t n, int64_t stride)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        double sum = 0.0;
        for (int p = 0; p < ROW_PIECES; p++)
            sum += (double)partial[p * stride + i];
        out[i] = (float)sum;
    }
}

/* ---- layer norm ---- */

INLINE void norm_row(void *out, float *restrict stats, const void *x, const float *restrict weight,
                     const float *restrict bias, float eps, int channels, enum value_type type)
{
    float sum = 0.0f, square = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int c = 0; c < channels; c++)
        sum += value_load(x, c, type);
    float mean = sum / (float)channels;
    /* A second pass, over a row that is in the cache: one would cancel in single precision. */
#pragma omp simd reduction(+ : square)
    for (int c = 0; c < channels; c++) {
        float d = value_load(x, c, type) - mean;
        square += d * d;
    }
    float rstd = 1.0f / sqrtf(square / (float)channels + eps);
#pragma omp simd
    for (int c = 0; c < channels; c++)
        value_store(out, c, (value_load(x, c, type) - mean) * rstd * weight[c] + bias[c], type);
    stats[0] = mean;
    stats[1] = rstd;
}

void layernorm_forward(void *out, float *stats, const void *x, const float *weight, const float *bias, double eps,
                       int64_t rows, int channels, enum value_type type)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        float unused[2];
        void *to = value_at(out, r * channels, type);
        const void *from = value_at_const(x, r * channels, type);
        BY_TYPE(norm_row, type, to, stats ? stats + 2 * r : unused, from, weight, bias, (float)eps, channels);
    }
}

/* With n = (x - mean) rstd and h = g weight: diff = rstd (h - mean(h) - n mean(h n)); sums of g n and of g. */
INLINE void norm_row_backward(void *diff, float *restrict dweight, float *restrict dbias, const void *g, const void *x,
                              const float *restrict stats, const float *restrict weight, int channels,
                              enum value_type type)
{
    float mean = stats[0], rstd = stats[1], sum = 0.0f, dot = 0.0f;
#pragma omp simd reduction(+ : sum, dot)
    for (int c = 0; c < channels; c++) {
        float gc = value_load(g, c, type), n = (value_load(x, c, type) - mean) * rstd, h = gc * weight[c];
        sum += h;
        dot += h * n;
        dweight[c] += gc * n;
        dbias[c] += gc;
    }
    if (!diff)
        return;
    float shift = sum / (float)channels, slope = dot / (float)channels;
#pragma omp simd
    for (int c = 0; c < channels; c++) {
        float n = (value_load(x, c, type) - mean) * rstd, h = value_load(g, c, type) * weight[c];
        value_store(diff, c, rstd * (h - shift - n * slope), type);
    }
}

void layernorm_backward(void *diff, float *dweight, float *dbias, float *partial, const void *g, const void *x,
                        const float *stats, const float *weight, int64_t rows, int channels, enum value_type type)
{
    int64_t width = 2 * (int64_t)channels;
#pragma omp parallel for schedule(static)
    for (int p = 0; p < ROW_PIECES; p++) {
        float *sums = partial + p * width;
        memset(sums, 0, (size_t)width * sizeof *sums);
        for (int64_t r = piece_row(rows, p); r < piece_row(rows, p + 1); r++) {
            void *to = diff ? value_at(diff, r * channels, type) : NULL;
            const void *gr = value_at_const(g, r * channels, type), *xr = value_at_const(x, r * channels, type);
            BY_TYPE(norm_row_backward, type, to, sums, sums + channels, gr, xr, stats + 2 * r, weight, channels);
        }
    }
    sum_pieces(dweight, partial, channels, width);
    sum_pieces(dbias, partial + channels, channels, width);
}

/* ---- GELU ---- */

/* exp(x) for x <= 0, to 2 units in the last place; 0 below -87. Cody & Waite's reduction, then Cephes' polynomial. */
INLINE float exp_negative(float x)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to the nearest integer */
    float clamped = x < -87.0f ? -87.0f : x;
    float n = clamped * 1.44269504f + shift;
    int32_t power;
    memcpy(&power, &n, sizeof power);
    n -= shift;
    float r = clamped - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits = ((uint32_t)power + 127u) << 23; /* low bits of the shifted sum are n */
    float two;
    memcpy(&two, &bits, sizeof two);
    return x < -87.0f ? 0.0f : p * two;
}

/* Phi(x) and, by the way, e = exp(-x^2 / 2): Phi(-|x|) = e/2 (a1 t + ... + a5 t^5), t = 1 / (1 + p |x| / sqrt 2)
 * (Abramowitz & Stegun, Handbook of mathematical functions, 7.1.26). */
INLINE float normal_below(float x, float *e)
{
    float t = 1.0f / (1.0f + 0.3275911f * 0.70710678f * fabsf(x));
    *e = exp_negative(-0.5f * x * x);
    float tail = 1.061405429f;
    tail = tail * t - 1.453152027f;
    tail = tail * t + 1.421413741f;
    tail = tail * t - 0.284496736f;
    tail = tail * t + 0.254829592f;
    tail *= 0.5f * t * *e;
    return x < 0.0f ? tail : 1.0f - tail;
}

enum { CHUNK = 4096 };

INLINE void gelu_chunk(void *out, const void *x, int64_t first, int64_t last, enum value_type type)
{
#pragma omp simd
    for (int64_t i = first; i < last; i++) {
        float v = value_load(x, i, type), e;
        value_store(out, i, v * normal_below(v, &e), type);
    }
}

void gelu_forward(void *out, const void *x, int64_t count, enum value_type type)
{
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < count; first += CHUNK) {
        int64_t last = first + CHUNK < count ? first + CHUNK : count;
        BY_TYPE(gelu_chunk, type, out, x, first, last);
    }
}

INLINE void gelu_chunk_backward(void *diff, const void *g, const void *x, int64_t first, int64_t last,
                                enum value_type type)
{
#pragma omp simd
    for (int64_t i = first; i < last; i++) {
        float v = value_load(x, i, type), e;
        float below = normal_below(v, &e);
        value_store(diff, i, value_load(g, i, type) * (below + v * 0.39894228f * e), type);
    }
}

void gelu_backward(void *diff, const void *g, const void *x, int64_t count, enum value_type type)
{
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < count; first += CHUNK) {
        int64_t last = first + CHUNK < count ? first + CHUNK : count;
        BY_TYPE(gelu_chunk_backward, type, diff, g, x, first, last);
    }
}

/* ---- residual ---- */

INLINE void residual_row(void *out, const void *x, const void *residual, const float *restrict scale, float keep,
                         int channels, enum value_type type)
{
#pragma omp simd
    for (int c = 0; c < channels; c++) {
        float factor = scale ? keep * scale[c] : keep;
        value_store(out, c, value_load(residual, c, type) + factor * value_load(x, c, type), type);
    }
}

void residual_forward(void *out, const void *x, const void *residual, const float *scale, const float *keep,
                      int64_t images, int64_t pixels, int channels, enum value_type type)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < images * pixels; r++) {
        int64_t at = r * channels;
        float factor = keep ? keep[r / pixels] : 1.0f;
        void *to = value_at(out, at, type);
        const void *xr = value_at_const(x, at, type), *rr = value_at_const(residual, at, type);
        if (scale)
            BY_TYPE(residual_row, type, to, xr, rr, scale, factor, channels);
        else
            BY_TYPE(residual_row, type, to, xr, rr, NULL, factor, channels);
    }
}

INLINE void residual_row_backward(void *diff, float *restrict dscale, const void *g, const void *x,
                                  const float *restrict scale, float keep, int channels, enum value_type type)
{
#pragma omp simd
    for (int c = 0; c < channels; c++) {
        float gc = keep * value_load(g, c, type);
        dscale[c] += gc * value_load(x, c, type);
        value_store(diff, c, gc * scale[c], type);
    }
}

INLINE void scale_values(void *diff, const void *g, float keep, int64_t count, enum value_type type)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        value_store(diff, i, keep * value_load(g, i, type), type);
}

void residual_backward(void *diff, float *dscale, float *partial, const void *g, const void *x, const float *scale,
                       const float *keep, int64_t images, int64_t pixels, int channels, enum value_type type)
{
    int64_t rows = images * pixels;
#pragma omp parallel for schedule(static)
    for (int p = 0; p < ROW_PIECES; p++) {
        float *sums = scale ? partial + p * (int64_t)channels : NULL;
        if (scale)
            memset(sums, 0, (size_t)channels * sizeof *sums);
        for (int64_t r = piece_row(rows, p); r < piece_row(rows, p + 1); r++) {
            int64_t at = r * channels;
            float factor = keep ? keep[r / pixels] : 1.0f;
            void *to = value_at(diff, at, type);
            const void *gr = value_at_const(g, at, type);
            if (scale)
                BY_TYPE(residual_row_backward, type, to, sums, gr, value_at_const(x, at, type), scale, factor,
                        channels);
            else
                BY_TYPE(scale_values, type, to, gr, factor, channels);
        }
    }
    if (scale)
        sum_pieces(dscale, partial, channels, channels);
}

/* ---- windows ---- */

INLINE void gather_pixel(void *out, const void *x, int channels, int area, enum value_type type)
{
    for (int c = 0; c < channels; c++) /* values are moved, not converted */
        if (type == VALUE_BF16)
            ((uint16_t *)out)[c * area] = ((const uint16_t *)x)[c];
        else
            ((float *)out)[c * area] = ((const float *)x)[c];
}

INLINE void scatter_pixel(void *diff, const void *g, int channels, int area, enum value_type type)
{
    for (int c = 0; c < channels; c++)
        if (type == VALUE_BF16)
            ((uint16_t *)diff)[c] = ((const uint16_t *)g)[c * area];
        else
            ((float *)diff)[c] = ((const float *)g)[c * area];
}

/* Where pixel `p` of all images goes: the first value of its row of windows and place in it, or -1. */
static int64_t window_place(int64_t p, int height, int width, int channels, int window)
{
    int64_t image = p / width / height, y = p / width % height, x = p % width, rows = height / window;
    int64_t columns = width / window;
    if (y / window >= rows || x / window >= columns)
        return -1;
    int64_t row = (image * rows + y / window) * columns + x / window;
    return row * channels * window * window + y % window * window + x % window;
}

void windows_gather(void *out, const void *x, int64_t images, int height, int width, int channels, int window,
                    enum value_type type)
{
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < images * height * width; p++) {
        int64_t to = window_place(p, height, width, channels, window);
        if (to >= 0)
            BY_TYPE(gather_pixel, type, value_at(out, to, type), value_at_const(x, p * channels, type), channels,
                    window * window);
    }
}

void windows_scatter(void *diff, const void *g, int64_t images, int height, int width, int channels, int window,
                     enum value_type type)
{
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < images * height * width; p++) {
        int64_t from = window_place(p, height, width, channels, window);
        void *to = value_at(diff, p * channels, type);
        if (from < 0)
            memset(to, 0, (size_t)(channels * value_bytes(type)));
        else
            BY_TYPE(scatter_pixel, type, to, value_at_const(g, from, type), channels, window * window);
    }
}
