/* Layer norm, GELU and the scaled residual on rows, a register at a time. Each
 * body is inlined once for each type. Which rows a rank holds, and how gradients
 * meet over shards, is left to the ops. */
#include "nn/kernels_rows.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "math/simd.h"

#define INLINE static inline __attribute__((always_inline))

/* SIMD values from place `i` of a row of `count`, or what is left of it. */
INLINE simd take(const void *row, int64_t i, int64_t count, enum value_type type)
{
    return i + SIMD <= count ? simd_load(row, i, type) : simd_load_few(row, i, (int)(count - i), type);
}

INLINE void put(void *row, int64_t i, int64_t count, simd x, enum value_type type)
{
    if (i + SIMD <= count)
        simd_store(row, i, x, type);
    else
        simd_store_few(row, i, x, (int)(count - i), type);
}

INLINE simd take_f32(const float *row, int64_t i, int64_t count)
{
    return take(row, i, count, VALUE_F32);
}

/* row [count] += x at place `i`. */
INLINE void add_f32(float *row, int64_t i, int64_t count, simd x)
{
    put(row, i, count, take_f32(row, i, count) + x, VALUE_F32);
}

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

/* The lanes past the end of a row hold zeros; in the sum of squares they must not count. */
INLINE simd deviation(const void *x, int c, int channels, float mean, enum value_type type)
{
    simd d = take(x, c, channels, type) - mean;
    for (int l = channels - c; l < SIMD; l++)
        d[l] = 0.0f;
    return d;
}

INLINE void norm_row(void *out, float *restrict stats, const void *x, const float *restrict weight,
                     const float *restrict bias, float eps, int channels, enum value_type type)
{
    simd sum = { 0 }, square = { 0 };
    for (int c = 0; c < channels; c += SIMD)
        sum += take(x, c, channels, type);
    float mean = simd_sum(sum) / (float)channels;
    /* A second pass, over a row that is in the cache: one would cancel in single precision. */
    for (int c = 0; c < channels; c += SIMD) {
        simd d = deviation(x, c, channels, mean, type);
        square += d * d;
    }
    float rstd = 1.0f / sqrtf(simd_sum(square) / (float)channels + eps);
    for (int c = 0; c < channels; c += SIMD) {
        simd n = (take(x, c, channels, type) - mean) * rstd;
        put(out, c, channels, n * take_f32(weight, c, channels) + take_f32(bias, c, channels), type);
    }
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
    float mean = stats[0], rstd = stats[1];
    simd sum = { 0 }, dot = { 0 };
    for (int c = 0; c < channels; c += SIMD) {
        simd gc = take(g, c, channels, type), n = (take(x, c, channels, type) - mean) * rstd;
        simd h = gc * take_f32(weight, c, channels); /* 0 past the end */
        sum += h;
        dot += h * n;
        add_f32(dweight, c, channels, gc * n);
        add_f32(dbias, c, channels, gc);
    }
    if (!diff)
        return;
    float shift = simd_sum(sum) / (float)channels, slope = simd_sum(dot) / (float)channels;
    for (int c = 0; c < channels; c += SIMD) {
        simd n = (take(x, c, channels, type) - mean) * rstd;
        simd h = take(g, c, channels, type) * take_f32(weight, c, channels);
        put(diff, c, channels, rstd * (h - shift - n * slope), type);
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

/* |x|, at most where exp(-x^2 / 2) is still told from 0. */
INLINE simd size_of(simd x)
{
    return simd_min((simd)((simd_bits)x & 0x7FFFFFFFu), simd_all(13.26f));
}

/* exp(-size^2 / 2), as 2^n 2^f with |f| <= 1/2; the polynomial is off by 1e-7. */
INLINE simd bell(simd size)
{
    const float shift = 12582912.0f + 127.0f; /* 1.5 * 2^23 rounds to the nearest integer; the exponent's bias */
    simd y = size * size * -0.72134752f, n = y + shift;
    simd two = (simd)((simd_bits)n << 23); /* the low bits of n */
    simd f = y - (n - shift);
    simd p = f * 1.32764713e-3f + 9.67554096e-3f;
    p = p * f + 5.55071309e-2f;
    p = p * f + 2.40221202e-1f;
    p = p * f + 6.93146944e-1f;
    p = p * f + 1.00000012f;
    return p * two;
}

/* Phi(-size), with e = exp(-size^2 / 2): e/2 (a1 t + ... + a5 t^5), t = 1 / (1 + p size / sqrt 2) (Abramowitz & Stegun,
 * Handbook of mathematical functions, 7.1.26; coefficients halved). */
INLINE simd tail_of(simd size, simd e)
{
    simd t = 1.0f / (1.0f + 0.3275911f * 0.70710678f * size);
    simd tail = t * 0.5307027145f - 0.7265760135f;
    tail = tail * t + 0.7107068705f;
    tail = tail * t - 0.142248368f;
    tail = tail * t + 0.127414796f;
    return tail * t * e;
}

enum { CHUNK = 4096 };

/* x Phi(x) = max(x, 0) - |x| Phi(-|x|) */
INLINE void gelu_chunk(void *out, const void *x, int64_t first, int64_t last, enum value_type type)
{
    for (int64_t i = first; i < last; i += SIMD) {
        simd v = take(x, i, last, type), size = size_of(v);
        simd positive = 0.5f * v + 0.5f * (simd)((simd_bits)v & 0x7FFFFFFFu);
        put(out, i, last, positive - size * tail_of(size, bell(size)), type);
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
    for (int64_t i = first; i < last; i += SIMD) {
        simd v = take(x, i, last, type), size = size_of(v), e = bell(size), tail = tail_of(size, e);
        simd_bits sign = (simd_bits)v & 0x80000000u;
        simd slope = size * 0.39894228f * e - tail; /* of v phi(v), and of the tail, for v > 0 */
        simd phi = simd_where(v > 0.0f, simd_all(1.0f)) + (simd)((simd_bits)slope ^ sign);
        put(diff, i, last, take(g, i, last, type) * phi, type);
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

INLINE void residual_row(void *out, const void *x, const void *residual, const float *scale, float keep, int channels,
                         enum value_type type)
{
    for (int c = 0; c < channels; c += SIMD) {
        simd factor = scale ? keep * take_f32(scale, c, channels) : simd_all(keep);
        put(out, c, channels, take(residual, c, channels, type) + factor * take(x, c, channels, type), type);
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
    for (int c = 0; c < channels; c += SIMD) {
        simd gc = keep * take(g, c, channels, type);
        add_f32(dscale, c, channels, gc * take(x, c, channels, type));
        put(diff, c, channels, gc * take_f32(scale, c, channels), type);
    }
}

INLINE void scale_row(void *diff, const void *g, float keep, int channels, enum value_type type)
{
    for (int c = 0; c < channels; c += SIMD)
        put(diff, c, channels, keep * take(g, c, channels, type), type);
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
                BY_TYPE(scale_row, type, to, gr, factor, channels);
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
