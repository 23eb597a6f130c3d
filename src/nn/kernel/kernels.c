/* Batch-norm, pooling and loss kernels. Lanes are worked on a register at a time
 * (math/simd.h); narrower layouts (NCHW with a single lane, eight lanes where a
 * register holds sixteen) are taken as a register of repeated channels. How sums
 * meet over shards and ranks is left to the ops. */
#include "nn/kernels.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "math/simd.h"

#define INLINE static inline __attribute__((always_inline))

/* The coefficients of few lanes, repeated over a register's columns. */
static struct norm_lanes spread(float wide[5][SIMD], struct norm_lanes c, int lanes)
{
    const float *const from[5] = { c.scale, c.mean, c.bias, c.slope, c.shift };
    for (int k = 0; k < 5; k++)
        for (int l = 0; l < SIMD; l++)
            wide[k][l] = from[k] ? from[k][l % lanes] : 0.0f;
    return (struct norm_lanes){ wide[0], wide[1], wide[2], wide[3], wide[4] };
}

/* sum [lanes] of columns that repeat. */
static void add_up(double *sum, const double column[SIMD], int lanes)
{
    memset(sum, 0, (size_t)lanes * sizeof *sum);
    for (int l = 0; l < SIMD; l++)
        sum[l % lanes] += column[l];
}

static bool repeats(int lanes)
{
    return lanes < SIMD && SIMD % lanes == 0;
}

static inline void add_double(double *sum, simd_double low, simd_double high)
{
    for (int l = 0; l < SIMD / 2; l++) {
        sum[l] += low[l];
        sum[l + SIMD / 2] += high[l];
    }
}

/* ---- sums of the forward pass ---- */

/* SIMD columns, `step` values apart from pixel to pixel; adds to sum and square. */
INLINE void wide_sums(double *restrict sum, double *restrict square, const void *restrict x, int64_t pixels,
                      int64_t step, enum value_type type)
{
    simd_double s0 = { 0 }, s1 = { 0 }, q0 = { 0 }, q1 = { 0 };
    for (int64_t p = 0; p < pixels; p++) {
        simd v = simd_load(x, p * step, type);
        simd_double v0 = simd_to_double(v, 0), v1 = simd_to_double(v, 1);
        s0 += v0;
        s1 += v1;
        q0 += v0 * v0;
        q1 += v1 * v1;
    }
    add_double(sum, s0, s1);
    add_double(square, q0, q1);
}

/* The same for a few columns. */
static void narrow_sums(double *sum, double *square, const void *x, int64_t pixels, int lanes, enum value_type type)
{
    for (int64_t p = 0; p < pixels; p++)
        for (int l = 0; l < lanes; l++) {
            double v = (double)value_load(x, p * lanes + l, type);
            sum[l] += v;
            square[l] += v * v;
        }
}

void norm_sums(double *sum, double *square, const void *x, int64_t pixels, int lanes, enum value_type type)
{
    memset(sum, 0, (size_t)lanes * sizeof *sum);
    memset(square, 0, (size_t)lanes * sizeof *square);
    if (repeats(lanes)) {
        double s[SIMD] = { 0 }, q[SIMD] = { 0 };
        int64_t whole = pixels * lanes / SIMD, done = whole * SIMD;
        BY_TYPE(wide_sums, type, s, q, x, whole, SIMD);
        narrow_sums(s, q, value_at_const(x, done, type), 1, (int)(pixels * lanes - done), type);
        add_up(sum, s, lanes);
        add_up(square, q, lanes);
    } else if (lanes % SIMD == 0) {
        for (int l = 0; l < lanes; l += SIMD)
            BY_TYPE(wide_sums, type, sum + l, square + l, value_at_const(x, l, type), pixels, lanes);
    } else {
        narrow_sums(sum, square, x, pixels, lanes, type);
    }
}

/* ---- normalise ---- */

/* `out` may be `residual`: no restrict between the two. */
INLINE void wide_apply(void *out, const void *restrict x, const void *residual, struct norm_lanes c, int64_t pixels,
                       int relu, int64_t step, enum value_type type)
{
    const simd scale = simd_load(c.scale, 0, VALUE_F32), mean = simd_load(c.mean, 0, VALUE_F32),
               bias = simd_load(c.bias, 0, VALUE_F32);
    for (int64_t p = 0; p < pixels; p++) {
        simd y = scale * (simd_load(x, p * step, type) - mean) + bias;
        if (residual)
            y += simd_load(residual, p * step, type);
        if (relu)
            y = simd_where(~(y < 0.0f), y); /* a NaN stays one */
        simd_store(out, p * step, y, type);
    }
}

INLINE void wide_apply_by(void *out, const void *x, const void *residual, struct norm_lanes c, int64_t pixels, int relu,
                          int64_t step, enum value_type type)
{
    if (relu && residual)
        wide_apply(out, x, residual, c, pixels, 1, step, type);
    else if (relu)
        wide_apply(out, x, NULL, c, pixels, 1, step, type);
    else
        wide_apply(out, x, residual, c, pixels, 0, step, type);
}

static void narrow_apply(void *out, const void *x, const void *residual, struct norm_lanes c, int64_t pixels, int relu,
                         int lanes, enum value_type type)
{
    for (int64_t p = 0; p < pixels; p++)
        for (int l = 0; l < lanes; l++) {
            int64_t i = p * lanes + l;
            float y = c.scale[l] * (value_load(x, i, type) - c.mean[l]) + c.bias[l];
            if (residual)
                y += value_load(residual, i, type);
            value_store(out, i, relu && y < 0.0f ? 0.0f : y, type);
        }
}

/* `values` moved on by `count`; NULL stays NULL. */
static void *past(const void *values, int64_t count, enum value_type type)
{
    return values ? (void *)(uintptr_t)value_at_const(values, count, type) : NULL;
}

void norm_apply(void *out, const void *x, const void *residual, struct norm_lanes c, int64_t pixels, int lanes,
                int relu, enum value_type type)
{
    if (repeats(lanes)) {
        float wide[5][SIMD];
        const struct norm_lanes w = spread(wide, c, lanes);
        int64_t whole = pixels * lanes / SIMD, done = whole * SIMD;
        BY_TYPE(wide_apply_by, type, out, x, residual, w, whole, relu, SIMD);
        narrow_apply(past(out, done, type), past(x, done, type), past(residual, done, type), w, 1, relu,
                     (int)(pixels * lanes - done), type);
    } else if (lanes % SIMD == 0) {
        for (int l = 0; l < lanes; l += SIMD)
            BY_TYPE(wide_apply_by, type, past(out, l, type), past(x, l, type), past(residual, l, type),
                    norm_lanes_from(c, l), pixels, relu, lanes);
    } else {
        narrow_apply(out, x, residual, c, pixels, relu, lanes, type);
    }
}

/* ---- sums of the backward pass ---- */

/* `to` may be `g`: no restrict between the two. */
INLINE void wide_backward_sums(double *restrict sum, double *restrict dot, void *to, const void *g,
                               const void *restrict g2, const void *restrict x, const void *restrict out,
                               struct norm_lanes c, int64_t pixels, int relu, int64_t step, enum value_type type)
{
    const simd scale = simd_load(c.scale, 0, VALUE_F32), mean = simd_load(c.mean, 0, VALUE_F32),
               bias = simd_load(c.bias, 0, VALUE_F32);
    const simd_double mean0 = simd_to_double(mean, 0), mean1 = simd_to_double(mean, 1);
    const bool store = relu || g2 || to != g;
    simd_double s0 = { 0 }, s1 = { 0 }, d0 = { 0 }, d1 = { 0 };
    for (int64_t p = 0; p < pixels; p++) {
        simd v = simd_load(g, p * step, type), at = simd_load(x, p * step, type);
        if (g2)
            v += simd_load(g2, p * step, type);
        if (relu)
            v = simd_where((out ? simd_load(out, p * step, type) : scale * (at - mean) + bias) > 0.0f, v);
        if (store)
            simd_store(to, p * step, v, type);
        simd_double v0 = simd_to_double(v, 0), v1 = simd_to_double(v, 1);
        s0 += v0;
        s1 += v1;
        d0 += v0 * (simd_to_double(at, 0) - mean0);
        d1 += v1 * (simd_to_double(at, 1) - mean1);
    }
    add_double(sum, s0, s1);
    add_double(dot, d0, d1);
}

INLINE void wide_backward_sums_by(double *sum, double *dot, void *to, const void *g, const void *g2, const void *x,
                                  const void *out, struct norm_lanes c, int64_t pixels, int relu, int64_t step,
                                  enum value_type type)
{
    if (!relu)
        wide_backward_sums(sum, dot, to, g, g2, x, NULL, c, pixels, 0, step, type);
    else if (out && g2)
        wide_backward_sums(sum, dot, to, g, g2, x, out, c, pixels, 1, step, type);
    else if (out)
        wide_backward_sums(sum, dot, to, g, NULL, x, out, c, pixels, 1, step, type);
    else
        wide_backward_sums(sum, dot, to, g, g2, x, NULL, c, pixels, 1, step, type);
}

static void narrow_backward_sums(double *sum, double *dot, void *to, const void *g, const void *g2, const void *x,
                                 const void *out, struct norm_lanes c, int64_t pixels, int relu, int lanes,
                                 enum value_type type)
{
    for (int64_t p = 0; p < pixels; p++)
        for (int l = 0; l < lanes; l++) {
            int64_t i = p * lanes + l;
            float v = value_load(g, i, type), at = value_load(x, i, type);
            if (g2)
                v += value_load(g2, i, type);
            float y = out ? value_load(out, i, type) : c.scale[l] * (at - c.mean[l]) + c.bias[l];
            if (relu && !(y > 0.0f))
                v = 0.0f;
            value_store(to, i, v, type);
            sum[l] += (double)v;
            dot[l] += (double)v * ((double)at - (double)c.mean[l]);
        }
}

void norm_backward_sums(double *sum, double *dot, void *to, const void *g, const void *g2, const void *x,
                        const void *out, struct norm_lanes c, int64_t pixels, int lanes, int relu, enum value_type type)
{
    memset(sum, 0, (size_t)lanes * sizeof *sum);
    memset(dot, 0, (size_t)lanes * sizeof *dot);
    if (repeats(lanes)) {
        double s[SIMD] = { 0 }, d[SIMD] = { 0 };
        float wide[5][SIMD];
        const struct norm_lanes w = spread(wide, c, lanes);
        int64_t whole = pixels * lanes / SIMD, done = whole * SIMD;
        BY_TYPE(wide_backward_sums_by, type, s, d, to, g, g2, x, out, w, whole, relu, SIMD);
        narrow_backward_sums(s, d, past(to, done, type), past(g, done, type), past(g2, done, type), past(x, done, type),
                             past(out, done, type), w, 1, relu, (int)(pixels * lanes - done), type);
        add_up(sum, s, lanes);
        add_up(dot, d, lanes);
    } else if (lanes % SIMD == 0) {
        for (int l = 0; l < lanes; l += SIMD)
            BY_TYPE(wide_backward_sums_by, type, sum + l, dot + l, past(to, l, type), past(g, l, type),
                    past(g2, l, type), past(x, l, type), past(out, l, type), norm_lanes_from(c, l), pixels, relu,
                    lanes);
    } else {
        narrow_backward_sums(sum, dot, to, g, g2, x, out, c, pixels, relu, lanes, type);
    }
}

/* ---- gradient of the input ---- */

/* `diff` may be `g`: no restrict between the two. */
INLINE void wide_backward_apply(void *diff, const void *g, const void *restrict x, struct norm_lanes c, int64_t pixels,
                                int64_t step, enum value_type type)
{
    const simd scale = simd_load(c.scale, 0, VALUE_F32), mean = simd_load(c.mean, 0, VALUE_F32),
               slope = simd_load(c.slope, 0, VALUE_F32), shift = simd_load(c.shift, 0, VALUE_F32);
    for (int64_t p = 0; p < pixels; p++) {
        simd centred = simd_load(x, p * step, type) - mean;
        simd_store(diff, p * step, scale * simd_load(g, p * step, type) - (slope * centred + shift), type);
    }
}

static void narrow_backward_apply(void *diff, const void *g, const void *x, struct norm_lanes c, int64_t pixels,
                                  int lanes, enum value_type type)
{
    for (int64_t p = 0; p < pixels; p++)
        for (int l = 0; l < lanes; l++) {
            int64_t i = p * lanes + l;
            float centred = value_load(x, i, type) - c.mean[l];
            value_store(diff, i, c.scale[l] * value_load(g, i, type) - (c.slope[l] * centred + c.shift[l]), type);
        }
}

void norm_backward_apply(void *diff, const void *g, const void *x, struct norm_lanes c, int64_t pixels, int lanes,
                         enum value_type type)
{
    if (repeats(lanes)) {
        float wide[5][SIMD];
        const struct norm_lanes w = spread(wide, c, lanes);
        int64_t whole = pixels * lanes / SIMD, done = whole * SIMD;
        BY_TYPE(wide_backward_apply, type, diff, g, x, w, whole, SIMD);
        narrow_backward_apply(past(diff, done, type), past(g, done, type), past(x, done, type), w, 1,
                              (int)(pixels * lanes - done), type);
    } else if (lanes % SIMD == 0) {
        for (int l = 0; l < lanes; l += SIMD)
            BY_TYPE(wide_backward_apply, type, past(diff, l, type), past(g, l, type), past(x, l, type),
                    norm_lanes_from(c, l), pixels, lanes);
    } else {
        narrow_backward_apply(diff, g, x, c, pixels, lanes, type);
    }
}

/* ---- mean over pixels ---- */

/* Columns of doubles that a mean is gathered in at a time. */
enum { COLUMNS = 64 };

void mean_pixels(float *out, const void *x, int64_t pixels, int lanes, enum value_type type)
{
    for (int first = 0; first < lanes; first += COLUMNS) {
        double sum[COLUMNS] = { 0 };
        int count = lanes - first < COLUMNS ? lanes - first : COLUMNS;
        for (int64_t p = 0; p < pixels; p++)
            for (int l = 0; l < count; l++)
                sum[l] += (double)value_load(x, p * lanes + first + l, type);
        for (int l = 0; l < count; l++)
            out[first + l] = (float)(sum[l] / (double)pixels);
    }
}

void mean_pixels_backward(void *diff, const float *g, int64_t pixels, int lanes, enum value_type type)
{
    for (int64_t p = 0; p < pixels; p++)
        for (int l = 0; l < lanes; l++)
            value_store(diff, p * lanes + l, g[l] / (float)pixels, type);
}

/* ---- sum of gradients ---- */

enum { PIECE = 4096 }; /* values a thread adds at a time */

INLINE void add_piece(void *sum, const void *more, int64_t count, enum value_type type)
{
    int64_t i = 0;
    for (; i + SIMD <= count; i += SIMD)
        simd_store(sum, i, simd_load(sum, i, type) + simd_load(more, i, type), type);
    for (; i < count; i++)
        value_store(sum, i, value_load(sum, i, type) + value_load(more, i, type), type);
}

void add_values(void *sum, const void *more, int64_t count, enum value_type type)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i += PIECE) {
        int64_t n = count - i < PIECE ? count - i : PIECE;
        BY_TYPE(add_piece, type, value_at(sum, i, type), value_at_const(more, i, type), n);
    }
}

/* ---- losses, in double: a row has few classes ---- */

double cross_entropy_row(float *diff, const float *logits, int label, int classes)
{
    double top = (double)logits[0], sum = 0.0;
    for (int c = 1; c < classes; c++)
        top = fmax(top, (double)logits[c]);
    for (int c = 0; c < classes; c++)
        sum += exp((double)logits[c] - top);
    for (int c = 0; c < classes; c++)
        diff[c] = (float)(exp((double)logits[c] - top) / sum - (c == label ? 1.0 : 0.0));
    return log(sum) + top - (double)logits[label];
}

double bce_row(float *diff, const float *logits, const float *targets, const float *mask, int classes, int *used,
               int *right)
{
    double loss = 0.0;
    for (int c = 0; c < classes; c++) {
        diff[c] = 0.0f;
        if (mask && mask[c] == 0.0f)
            continue;
        double z = (double)logits[c], t = (double)targets[c];
        loss += fmax(z, 0.0) - z * t + log1p(exp(-fabs(z))); /* no overflow for any z */
        diff[c] = (float)(1.0 / (1.0 + exp(-z)) - t);
        *used += 1;
        *right += (z > 0.0) == (t > 0.5);
    }
    return loss;
}
