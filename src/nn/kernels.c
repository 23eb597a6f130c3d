/* Batch-norm, pooling and loss kernels on blocked layouts. The loops are plain C
 * for the vectoriser, inlined once each for 16 and 8 lanes and once for any
 * number. A single lane (NCHW) is taken as 16 columns of the same channel. How
 * sums meet over shards and ranks is left to the ops. */
#include "nn/kernels.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { WIDE = 16 };

/* Per-lane coefficients of a channel, repeated over the columns of a single lane. */
static const float *spread(float wide[WIDE], const float *value)
{
    for (int l = 0; l < WIDE; l++)
        wide[l] = value ? *value : 0.0f;
    return wide;
}

static double add_up(const double column[WIDE])
{
    double sum = 0.0;
    for (int l = 0; l < WIDE; l++)
        sum += column[l];
    return sum;
}

/* Calls `body` with constant lanes and type, so that each combination of use becomes a loop of its own. */
#define BY_LANES(body, lanes, type, ...)                                                                               \
    do {                                                                                                               \
        if (lanes == WIDE && type)                                                                                     \
            body(__VA_ARGS__, WIDE, VALUE_BF16);                                                                       \
        else if (lanes == WIDE)                                                                                        \
            body(__VA_ARGS__, WIDE, VALUE_F32);                                                                        \
        else if (lanes == 8 && !type)                                                                                  \
            body(__VA_ARGS__, 8, VALUE_F32);                                                                           \
        else                                                                                                           \
            body(__VA_ARGS__, lanes, type);                                                                            \
    } while (0)

/* ---- sums of the forward pass ---- */

INLINE void sums(double *restrict sum, double *restrict square, const void *restrict x, int64_t pixels, int lanes,
                 enum value_type type)
{
    for (int64_t p = 0; p < pixels; p++) {
#pragma omp simd
        for (int l = 0; l < lanes; l++) {
            double v = (double)value_load(x, p * lanes + l, type);
            sum[l] += v;
            square[l] += v * v;
        }
    }
}

void norm_sums(double *sum, double *square, const void *x, int64_t pixels, int lanes, enum value_type type)
{
    double s[WIDE] = { 0 }, q[WIDE] = { 0 };
    if (lanes == 1) {
        int64_t whole = pixels / WIDE;
        BY_LANES(sums, WIDE, type, s, q, x, whole);
        sums(s, q, value_at_const(x, whole * WIDE, type), 1, (int)(pixels % WIDE), type);
        *sum = add_up(s);
        *square = add_up(q);
    } else if (lanes <= WIDE) {
        BY_LANES(sums, lanes, type, s, q, x, pixels);
        memcpy(sum, s, (size_t)lanes * sizeof *s);
        memcpy(square, q, (size_t)lanes * sizeof *q);
    } else {
        memset(sum, 0, (size_t)lanes * sizeof *sum);
        memset(square, 0, (size_t)lanes * sizeof *square);
        sums(sum, square, x, pixels, lanes, type);
    }
}

/* ---- normalise ---- */

INLINE void apply(void *restrict out, const void *restrict x, const void *restrict residual, struct norm_lanes c,
                  int64_t pixels, int relu, int lanes, enum value_type type)
{
    for (int64_t p = 0; p < pixels; p++) {
#pragma omp simd
        for (int l = 0; l < lanes; l++) {
            int64_t i = p * lanes + l;
            float y = c.scale[l] * (value_load(x, i, type) - c.mean[l]) + c.bias[l];
            if (residual)
                y += value_load(residual, i, type);
            value_store(out, i, relu && y < 0.0f ? 0.0f : y, type);
        }
    }
}

static void apply_any(void *out, const void *x, const void *residual, struct norm_lanes c, int64_t pixels, int relu,
                      int lanes, enum value_type type)
{
    if (relu && residual)
        BY_LANES(apply, lanes, type, out, x, residual, c, pixels, 1);
    else if (relu)
        BY_LANES(apply, lanes, type, out, x, NULL, c, pixels, 1);
    else
        BY_LANES(apply, lanes, type, out, x, residual, c, pixels, 0);
}

/* `values` moved on by `count`; NULL stays NULL. */
static void *past(const void *values, int64_t count, enum value_type type)
{
    return values ? (void *)(uintptr_t)value_at_const(values, count, type) : NULL;
}

void norm_apply(void *out, const void *x, const void *residual, struct norm_lanes c, int64_t pixels, int lanes,
                int relu, enum value_type type)
{
    if (lanes > 1) {
        apply_any(out, x, residual, c, pixels, relu, lanes, type);
        return;
    }
    float wide[3][WIDE];
    struct norm_lanes w = { spread(wide[0], c.scale), spread(wide[1], c.mean), spread(wide[2], c.bias), NULL, NULL };
    int64_t whole = pixels / WIDE, done = whole * WIDE;
    apply_any(out, x, residual, w, whole, relu, WIDE, type);
    apply(past(out, done, type), past(x, done, type), past(residual, done, type), w, 1, relu, (int)(pixels - done),
          type);
}

/* ---- sums of the backward pass ---- */

INLINE void backward_sums(double *restrict sum, double *restrict dot, void *restrict g, const void *restrict g2,
                          const void *restrict x, const void *restrict out, struct norm_lanes c, int64_t pixels,
                          int relu, int lanes, enum value_type type)
{
    for (int64_t p = 0; p < pixels; p++) {
        /* Two loops: mixed widths in one would not become vectors. */
#pragma omp simd
        for (int l = 0; l < lanes; l++) {
            int64_t i = p * lanes + l;
            float v = value_load(g, i, type);
            if (g2)
                v += value_load(g2, i, type);
            if (relu) {
                float y =
                    out ? value_load(out, i, type) : c.scale[l] * (value_load(x, i, type) - c.mean[l]) + c.bias[l];
                v = y > 0.0f ? v : 0.0f;
            }
            value_store(g, i, v, type);
        }
#pragma omp simd
        for (int l = 0; l < lanes; l++) {
            int64_t i = p * lanes + l;
            double v = (double)value_load(g, i, type);
            sum[l] += v;
            dot[l] += v * ((double)value_load(x, i, type) - (double)c.mean[l]);
        }
    }
}

/* Adds to sum and dot. */
static void backward_sums_add(double *sum, double *dot, void *g, const void *g2, const void *x, const void *out,
                              struct norm_lanes c, int64_t pixels, int relu, int lanes, enum value_type type)
{
    if (!relu)
        BY_LANES(backward_sums, lanes, type, sum, dot, g, g2, x, NULL, c, pixels, 0);
    else if (out && g2)
        BY_LANES(backward_sums, lanes, type, sum, dot, g, g2, x, out, c, pixels, 1);
    else if (out)
        BY_LANES(backward_sums, lanes, type, sum, dot, g, NULL, x, out, c, pixels, 1);
    else
        BY_LANES(backward_sums, lanes, type, sum, dot, g, g2, x, NULL, c, pixels, 1);
}

void norm_backward_sums(double *sum, double *dot, void *g, const void *g2, const void *x, const void *out,
                        struct norm_lanes c, int64_t pixels, int lanes, int relu, enum value_type type)
{
    double s[WIDE] = { 0 }, d[WIDE] = { 0 };
    if (lanes == 1) {
        float wide[3][WIDE];
        struct norm_lanes w = { spread(wide[0], c.scale), spread(wide[1], c.mean), spread(wide[2], c.bias), NULL,
                                NULL };
        int64_t whole = pixels / WIDE, done = whole * WIDE;
        backward_sums_add(s, d, g, g2, x, out, w, whole, relu, WIDE, type);
        backward_sums_add(s, d, past(g, done, type), past(g2, done, type), past(x, done, type), past(out, done, type),
                          w, 1, relu, (int)(pixels - done), type);
        *sum = add_up(s);
        *dot = add_up(d);
    } else if (lanes <= WIDE) {
        backward_sums_add(s, d, g, g2, x, out, c, pixels, relu, lanes, type);
        memcpy(sum, s, (size_t)lanes * sizeof *s);
        memcpy(dot, d, (size_t)lanes * sizeof *d);
    } else {
        memset(sum, 0, (size_t)lanes * sizeof *sum);
        memset(dot, 0, (size_t)lanes * sizeof *dot);
        backward_sums_add(sum, dot, g, g2, x, out, c, pixels, relu, lanes, type);
    }
}

/* ---- gradient of the input ---- */

/* `diff` may be `g`: no restrict between the two. */
INLINE void backward_apply(void *diff, const void *g, const void *restrict x, struct norm_lanes c, int64_t pixels,
                           int lanes, enum value_type type)
{
    for (int64_t p = 0; p < pixels; p++) {
#pragma omp simd
        for (int l = 0; l < lanes; l++) {
            int64_t i = p * lanes + l;
            float centred = value_load(x, i, type) - c.mean[l];
            value_store(diff, i, c.scale[l] * value_load(g, i, type) - (c.slope[l] * centred + c.shift[l]), type);
        }
    }
}

void norm_backward_apply(void *diff, const void *g, const void *x, struct norm_lanes c, int64_t pixels, int lanes,
                         enum value_type type)
{
    if (lanes > 1) {
        BY_LANES(backward_apply, lanes, type, diff, g, x, c, pixels);
        return;
    }
    float wide[4][WIDE];
    struct norm_lanes w = { spread(wide[0], c.scale), spread(wide[1], c.mean), NULL, spread(wide[2], c.slope),
                            spread(wide[3], c.shift) };
    int64_t whole = pixels / WIDE, done = whole * WIDE;
    BY_LANES(backward_apply, WIDE, type, diff, g, x, w, whole);
    backward_apply(past(diff, done, type), past(g, done, type), past(x, done, type), w, 1, (int)(pixels - done), type);
}

/* ---- mean over pixels ---- */

void mean_pixels(float *out, const void *x, int64_t pixels, int lanes, enum value_type type)
{
    for (int l = 0; l < lanes; l++) {
        double sum = 0.0;
        for (int64_t p = 0; p < pixels; p++)
            sum += (double)value_load(x, p * lanes + l, type);
        out[l] = (float)(sum / (double)pixels);
    }
}

void mean_pixels_backward(void *diff, const float *g, int64_t pixels, int lanes, enum value_type type)
{
    for (int64_t p = 0; p < pixels; p++)
        for (int l = 0; l < lanes; l++)
            value_store(diff, p * lanes + l, g[l] / (float)pixels, type);
}

/* ---- sum of gradients ---- */

void add_values(void *sum, const void *more, int64_t count, enum value_type type)
{
    if (type == VALUE_BF16) {
#pragma omp parallel for simd schedule(static)
        for (int64_t i = 0; i < count; i++)
            value_store(sum, i, value_load(sum, i, VALUE_BF16) + value_load(more, i, VALUE_BF16), VALUE_BF16);
    } else {
#pragma omp parallel for simd schedule(static)
        for (int64_t i = 0; i < count; i++)
            ((float *)sum)[i] += ((const float *)more)[i];
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
