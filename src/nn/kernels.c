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

/* ---- sums of the forward pass ---- */

INLINE void sums(double *restrict sum, double *restrict square, const float *restrict x, int64_t pixels, int lanes)
{
    for (int64_t p = 0; p < pixels; p++, x += lanes) {
#pragma omp simd
        for (int l = 0; l < lanes; l++) {
            double v = (double)x[l];
            sum[l] += v;
            square[l] += v * v;
        }
    }
}

void norm_sums(double *sum, double *square, const float *x, int64_t pixels, int lanes)
{
    double s[WIDE] = { 0 }, q[WIDE] = { 0 };
    if (lanes == 1) {
        int64_t whole = pixels / WIDE;
        sums(s, q, x, whole, WIDE);
        sums(s, q, x + whole * WIDE, 1, (int)(pixels % WIDE));
        *sum = add_up(s);
        *square = add_up(q);
    } else if (lanes == 16 || lanes == 8) {
        if (lanes == 16)
            sums(s, q, x, pixels, 16);
        else
            sums(s, q, x, pixels, 8);
        memcpy(sum, s, (size_t)lanes * sizeof *s);
        memcpy(square, q, (size_t)lanes * sizeof *q);
    } else {
        memset(sum, 0, (size_t)lanes * sizeof *sum);
        memset(square, 0, (size_t)lanes * sizeof *square);
        sums(sum, square, x, pixels, lanes);
    }
}

/* ---- normalise ---- */

INLINE void apply(float *restrict out, const float *restrict x, const float *restrict residual, struct norm_lanes c,
                  int64_t pixels, int lanes, int relu)
{
    for (int64_t p = 0; p < pixels; p++) {
#pragma omp simd
        for (int l = 0; l < lanes; l++) {
            int64_t i = p * lanes + l;
            float y = c.scale[l] * (x[i] - c.mean[l]) + c.bias[l];
            if (residual)
                y += residual[i];
            out[i] = relu && y < 0.0f ? 0.0f : y;
        }
    }
}

INLINE void apply_any(float *out, const float *x, const float *residual, struct norm_lanes c, int64_t pixels, int lanes,
                      int relu)
{
    if (lanes == 16)
        apply(out, x, residual, c, pixels, 16, relu);
    else if (lanes == 8)
        apply(out, x, residual, c, pixels, 8, relu);
    else
        apply(out, x, residual, c, pixels, lanes, relu);
}

void norm_apply(float *out, const float *x, const float *residual, struct norm_lanes c, int64_t pixels, int lanes,
                int relu)
{
    if (lanes == 1) {
        float wide[3][WIDE];
        struct norm_lanes w = { spread(wide[0], c.scale), spread(wide[1], c.mean), spread(wide[2], c.bias), NULL,
                                NULL };
        int64_t whole = pixels / WIDE, done = whole * WIDE;
        norm_apply(out, x, residual, w, whole, WIDE, relu);
        apply(out + done, x + done, residual ? residual + done : NULL, w, 1, (int)(pixels - done), relu);
    } else if (relu && residual) {
        apply_any(out, x, residual, c, pixels, lanes, 1);
    } else if (relu) {
        apply_any(out, x, NULL, c, pixels, lanes, 1);
    } else {
        apply_any(out, x, residual, c, pixels, lanes, 0);
    }
}

/* ---- sums of the backward pass ---- */

INLINE void backward_sums(double *restrict sum, double *restrict dot, float *restrict g, const float *restrict g2,
                          const float *restrict x, const float *restrict out, struct norm_lanes c, int64_t pixels,
                          int lanes, int relu)
{
    for (int64_t p = 0; p < pixels; p++) {
        /* Two loops: mixed widths in one would not become vectors. */
#pragma omp simd
        for (int l = 0; l < lanes; l++) {
            int64_t i = p * lanes + l;
            float v = g2 ? g[i] + g2[i] : g[i];
            if (relu) {
                float y = out ? out[i] : c.scale[l] * (x[i] - c.mean[l]) + c.bias[l];
                v = y > 0.0f ? v : 0.0f;
            }
            g[i] = v;
        }
#pragma omp simd
        for (int l = 0; l < lanes; l++) {
            int64_t i = p * lanes + l;
            double v = (double)g[i];
            sum[l] += v;
            dot[l] += v * ((double)x[i] - (double)c.mean[l]);
        }
    }
}

INLINE void backward_sums_any(double *sum, double *dot, float *g, const float *g2, const float *x, const float *out,
                              struct norm_lanes c, int64_t pixels, int lanes, int relu)
{
    if (lanes == 16)
        backward_sums(sum, dot, g, g2, x, out, c, pixels, 16, relu);
    else if (lanes == 8)
        backward_sums(sum, dot, g, g2, x, out, c, pixels, 8, relu);
    else
        backward_sums(sum, dot, g, g2, x, out, c, pixels, lanes, relu);
}

/* Adds to sum and dot. */
static void backward_sums_add(double *sum, double *dot, float *g, const float *g2, const float *x, const float *out,
                              struct norm_lanes c, int64_t pixels, int lanes, int relu)
{
    if (!relu)
        backward_sums_any(sum, dot, g, g2, x, NULL, c, pixels, lanes, 0);
    else if (out && g2)
        backward_sums_any(sum, dot, g, g2, x, out, c, pixels, lanes, 1);
    else if (out)
        backward_sums_any(sum, dot, g, NULL, x, out, c, pixels, lanes, 1);
    else
        backward_sums_any(sum, dot, g, g2, x, NULL, c, pixels, lanes, 1);
}

void norm_backward_sums(double *sum, double *dot, float *g, const float *g2, const float *x, const float *out,
                        struct norm_lanes c, int64_t pixels, int lanes, int relu)
{
    double s[WIDE] = { 0 }, d[WIDE] = { 0 };
    if (lanes == 1) {
        float wide[3][WIDE];
        struct norm_lanes w = { spread(wide[0], c.scale), spread(wide[1], c.mean), spread(wide[2], c.bias), NULL,
                                NULL };
        int64_t whole = pixels / WIDE, done = whole * WIDE;
        backward_sums_add(s, d, g, g2, x, out, w, whole, WIDE, relu);
        backward_sums_add(s, d, g + done, g2 ? g2 + done : NULL, x + done, out ? out + done : NULL, w, 1,
                          (int)(pixels - done), relu);
        *sum = add_up(s);
        *dot = add_up(d);
    } else if (lanes <= WIDE) {
        backward_sums_add(s, d, g, g2, x, out, c, pixels, lanes, relu);
        memcpy(sum, s, (size_t)lanes * sizeof *s);
        memcpy(dot, d, (size_t)lanes * sizeof *d);
    } else {
        memset(sum, 0, (size_t)lanes * sizeof *sum);
        memset(dot, 0, (size_t)lanes * sizeof *dot);
        backward_sums_add(sum, dot, g, g2, x, out, c, pixels, lanes, relu);
    }
}

/* ---- gradient of the input ---- */

/* `diff` may be `g`: no restrict between the two. */
INLINE void backward_apply(float *diff, const float *g, const float *restrict x, struct norm_lanes c, int64_t pixels,
                           int lanes)
{
    for (int64_t p = 0; p < pixels; p++) {
#pragma omp simd
        for (int l = 0; l < lanes; l++) {
            int64_t i = p * lanes + l;
            diff[i] = c.scale[l] * g[i] - (c.slope[l] * (x[i] - c.mean[l]) + c.shift[l]);
        }
    }
}

void norm_backward_apply(float *diff, const float *g, const float *x, struct norm_lanes c, int64_t pixels, int lanes)
{
    if (lanes == 1) {
        float wide[4][WIDE];
        struct norm_lanes w = { spread(wide[0], c.scale), spread(wide[1], c.mean), NULL, spread(wide[2], c.slope),
                                spread(wide[3], c.shift) };
        int64_t whole = pixels / WIDE, done = whole * WIDE;
        backward_apply(diff, g, x, w, whole, WIDE);
        backward_apply(diff + done, g + done, x + done, w, 1, (int)(pixels - done));
    } else if (lanes == 16) {
        backward_apply(diff, g, x, c, pixels, 16);
    } else if (lanes == 8) {
        backward_apply(diff, g, x, c, pixels, 8);
    } else {
        backward_apply(diff, g, x, c, pixels, lanes);
    }
}

/* ---- mean over pixels ---- */

void mean_pixels(float *out, const float *x, int64_t pixels, int lanes)
{
    for (int l = 0; l < lanes; l++) {
        double sum = 0.0;
        for (int64_t p = 0; p < pixels; p++)
            sum += (double)x[p * lanes + l];
        out[l] = (float)(sum / (double)pixels);
    }
}

void mean_pixels_backward(float *diff, const float *g, int64_t pixels, int lanes)
{
    for (int64_t p = 0; p < pixels; p++)
        for (int l = 0; l < lanes; l++)
            diff[p * lanes + l] = g[l] / (float)pixels;
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
