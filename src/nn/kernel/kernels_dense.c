/* Normalisation of concatenated values: the means of a transition, and backward
 * in one pass that adds to the gradient so far. Lanes are worked on a register at
 * a time (math/simd.h); fewer go through plain loops, unrolled where they are 8. */
#include "nn/kernels_dense.h"

#include <string.h>

#include "math/simd.h"

#define INLINE static inline __attribute__((always_inline))

/* A row of pixels of one group: what is added up, and the coefficients. */
struct run {
    double *sum, *dot; /* [lanes] */
    struct norm_lanes c;
};

/* ---- means of a transition ---- */

INLINE simd relu_of(const void *x, int64_t i, simd scale, simd mean, simd bias, enum value_type type)
{
    simd y = scale * (simd_load(x, i, type) - mean) + bias;
    return simd_where(~(y < 0.0f), y); /* a NaN stays one */
}

/* SIMD columns, `step` values apart from pixel to pixel. */
INLINE void wide_halve(void *restrict out, const void *restrict x, struct norm_lanes c, int height, int width,
                       int64_t step, enum value_type type)
{
    const simd scale = simd_load(c.scale, 0, VALUE_F32), mean = simd_load(c.mean, 0, VALUE_F32),
               bias = simd_load(c.bias, 0, VALUE_F32);
    int64_t to = 0, row = width * step;
    for (int h = 0; h < height / 2; h++) {
        for (int w = 0; w < width / 2; w++, to += step) {
            int64_t at = 2 * h * row + 2 * w * step, below = at + row;
            simd sum = (relu_of(x, at, scale, mean, bias, type) + relu_of(x, at + step, scale, mean, bias, type)) +
                       (relu_of(x, below, scale, mean, bias, type) + relu_of(x, below + step, scale, mean, bias, type));
            simd_store(out, to, 0.25f * sum, type);
        }
    }
}

static float relu_at(const void *x, int64_t i, struct norm_lanes c, int l, enum value_type type)
{
    float y = c.scale[l] * (value_load(x, i + l, type) - c.mean[l]) + c.bias[l];
    return y < 0.0f ? 0.0f : y;
}

INLINE void narrow_halve(void *restrict out, const void *restrict x, struct norm_lanes c, int height, int width,
                         int lanes, enum value_type type)
{
    int64_t to = 0, row = (int64_t)width * lanes;
    for (int h = 0; h < height / 2; h++)
        for (int w = 0; w < width / 2; w++, to += lanes)
            for (int l = 0; l < lanes; l++) {
                int64_t at = 2 * h * row + (int64_t)2 * w * lanes, below = at + row;
                float sum = (relu_at(x, at, c, l, type) + relu_at(x, at + lanes, c, l, type)) +
                            (relu_at(x, below, c, l, type) + relu_at(x, below + lanes, c, l, type));
                value_store(out, to + l, 0.25f * sum, type);
            }
}

void norm_halve(void *out, const void *x, struct norm_lanes c, int height, int width, int lanes, enum value_type type)
{
    for (int l = 0; lanes % SIMD == 0 && l < lanes; l += SIMD)
        BY_TYPE(wide_halve, type, value_at(out, l, type), value_at_const(x, l, type), norm_lanes_from(c, l), height,
                width, lanes);
    if (lanes % SIMD != 0 && lanes == 8)
        BY_TYPE(narrow_halve, type, out, x, c, height, width, 8);
    else if (lanes % SIMD != 0)
        narrow_halve(out, x, c, height, width, lanes, type);
}

/* ---- backward ---- */

/* A row of `pixels`, `step` values apart; the gradient of pixel p is at p / `each` and belongs to it by `share`. */
INLINE void wide_add(struct run run, void *restrict diff, const void *restrict g, const void *restrict x,
                     int64_t pixels, int each, float share, int64_t step, bool fresh, enum value_type type)
{
    const simd scale = simd_load(run.c.scale, 0, VALUE_F32), mean = simd_load(run.c.mean, 0, VALUE_F32),
               bias = simd_load(run.c.bias, 0, VALUE_F32);
    simd_double s[2], d[2];
    memcpy(s, run.sum, sizeof s);
    memcpy(d, run.dot, sizeof d);
    for (int64_t p = 0; p < pixels; p++) {
        simd centred = simd_load(x, p * step, type) - mean;
        simd v = simd_where(scale * centred + bias > 0.0f, share * simd_load(g, p / each * step, type));
        simd sum = fresh ? scale * v : simd_load(diff, p * step, type) + scale * v;
        simd_store(diff, p * step, sum, type);
        simd product = v * centred;
        s[0] += simd_to_double(v, 0);
        s[1] += simd_to_double(v, 1);
        d[0] += simd_to_double(product, 0);
        d[1] += simd_to_double(product, 1);
    }
    memcpy(run.sum, s, sizeof s);
    memcpy(run.dot, d, sizeof d);
}

INLINE void narrow_add(struct run run, void *restrict diff, const void *restrict g, const void *restrict x,
                       int64_t pixels, int each, float share, int lanes, bool fresh, enum value_type type)
{
    for (int64_t p = 0; p < pixels; p++)
        for (int l = 0; l < lanes; l++) {
            int64_t i = p * lanes + l;
            float centred = value_load(x, i, type) - run.c.mean[l];
            bool open = run.c.scale[l] * centred + run.c.bias[l] > 0.0f;
            float v = open ? share * value_load(g, p / each * lanes + l, type) : 0.0f;
            value_store(diff, i, (fresh ? 0.0f : value_load(diff, i, type)) + run.c.scale[l] * v, type);
            run.sum[l] += (double)v;
            run.dot[l] += (double)(v * centred);
        }
}

/* Each combination of use becomes a loop of its own. */
#define BY_USE(body, fresh, type, ...)                                                                                 \
    do {                                                                                                               \
        if (fresh)                                                                                                     \
            BY_TYPE(body, type, __VA_ARGS__, true);                                                                    \
        else                                                                                                           \
            BY_TYPE(body, type, __VA_ARGS__, false);                                                                   \
    } while (0)

static void add_row(struct run run, void *diff, const void *g, const void *x, int64_t pixels, int each, float share,
                    int lanes, bool fresh, enum value_type type)
{
    for (int l = 0; lanes % SIMD == 0 && l < lanes; l += SIMD) {
        struct run part = { run.sum + l, run.dot + l, norm_lanes_from(run.c, l) };
        BY_USE(wide_add, fresh, type, part, value_at(diff, l, type), value_at_const(g, l, type),
               value_at_const(x, l, type), pixels, each, share, lanes);
    }
    if (lanes % SIMD != 0 && lanes == 8)
        BY_USE(narrow_add, fresh, type, run, diff, g, x, pixels, each, share, 8);
    else if (lanes % SIMD != 0)
        narrow_add(run, diff, g, x, pixels, each, share, lanes, fresh, type);
}

void norm_add_gradient(double *sum, double *dot, void *diff, const void *g, const void *x, struct norm_lanes c,
                       int64_t pixels, int lanes, bool fresh, enum value_type type)
{
    memset(sum, 0, (size_t)lanes * sizeof *sum);
    memset(dot, 0, (size_t)lanes * sizeof *dot);
    add_row((struct run){ sum, dot, c }, diff, g, x, pixels, 1, 1.0f, lanes, fresh, type);
}

void norm_add_gradient_halved(double *sum, double *dot, void *diff, const void *g, const void *x, struct norm_lanes c,
                              int height, int width, int lanes, bool fresh, enum value_type type)
{
    int even_height = height / 2 * 2, even_width = width / 2 * 2;
    int64_t row = (int64_t)width * lanes, half = (int64_t)(width / 2) * lanes;
    memset(sum, 0, (size_t)lanes * sizeof *sum);
    memset(dot, 0, (size_t)lanes * sizeof *dot);
    for (int h = 0; h < even_height; h++) {
        void *to = value_at(diff, h * row, type);
        add_row((struct run){ sum, dot, c }, to, value_at_const(g, h / 2 * half, type),
                value_at_const(x, h * row, type), even_width, 2, 0.25f, lanes, fresh, type);
        if (fresh && even_width < width)
            memset(value_at(to, (int64_t)even_width * lanes, type), 0, (size_t)(lanes * value_bytes(type)));
    }
    if (fresh && even_height < height)
        memset(value_at(diff, even_height * row, type), 0, (size_t)(row * value_bytes(type)));
}
