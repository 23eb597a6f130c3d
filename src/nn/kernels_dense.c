/* Normalisation of concatenated values: the means of a transition, and backward
 * in one pass that adds to the gradient so far. Sixteen lanes are a vector; fewer
 * go through plain loops. */
#include "nn/kernels_dense.h"

#include <string.h>

#include "math/vec16.h"

#define INLINE static inline __attribute__((always_inline))

/* A row of pixels of one group: what is added up, and the coefficients. */
struct run {
    double *sum, *dot; /* [lanes] */
    struct norm_lanes c;
};

/* ---- means of a transition ---- */

INLINE vec16 relu16(const void *x, int64_t i, vec16 scale, vec16 mean, vec16 bias, enum value_type type)
{
    vec16 y = scale * (vec16_load(x, i, type) - mean) + bias;
    return vec16_where(~(y < 0.0f), y); /* a NaN stays one */
}

INLINE void wide_halve(void *restrict out, const void *restrict x, struct norm_lanes c, int height, int width,
                       enum value_type type)
{
    const vec16 scale = vec16_load(c.scale, 0, VALUE_F32), mean = vec16_load(c.mean, 0, VALUE_F32),
                bias = vec16_load(c.bias, 0, VALUE_F32);
    int64_t to = 0, row = (int64_t)width * VEC16;
    for (int h = 0; h < height / 2; h++) {
        for (int w = 0; w < width / 2; w++, to += VEC16) {
            int64_t at = 2 * h * row + 2 * w * VEC16, below = at + row;
            vec16 sum = (relu16(x, at, scale, mean, bias, type) + relu16(x, at + VEC16, scale, mean, bias, type)) +
                        (relu16(x, below, scale, mean, bias, type) + relu16(x, below + VEC16, scale, mean, bias, type));
            vec16_store(out, to, 0.25f * sum, type);
        }
    }
}

static float relu_at(const void *x, int64_t i, struct norm_lanes c, int l, enum value_type type)
{
    float y = c.scale[l] * (value_load(x, i + l, type) - c.mean[l]) + c.bias[l];
    return y < 0.0f ? 0.0f : y;
}

static void narrow_halve(void *out, const void *x, struct norm_lanes c, int height, int width, int lanes,
                         enum value_type type)
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
    if (lanes == VEC16 && type == VALUE_BF16)
        wide_halve(out, x, c, height, width, VALUE_BF16);
    else if (lanes == VEC16)
        wide_halve(out, x, c, height, width, VALUE_F32);
    else
        narrow_halve(out, x, c, height, width, lanes, type);
}

/* ---- backward ---- */

/* A row of `pixels`; the gradient of pixel p is at p / `each` and belongs to it by `share`. */
INLINE void wide_add(struct run run, void *restrict diff, const void *restrict g, const void *restrict x,
                     int64_t pixels, int each, float share, bool fresh, enum value_type type)
{
    const vec16 scale = vec16_load(run.c.scale, 0, VALUE_F32), mean = vec16_load(run.c.mean, 0, VALUE_F32),
                bias = vec16_load(run.c.bias, 0, VALUE_F32);
    vec16_double8 s[2], d[2];
    memcpy(s, run.sum, sizeof s);
    memcpy(d, run.dot, sizeof d);
    for (int64_t p = 0; p < pixels; p++) {
        vec16 centred = vec16_load(x, p * VEC16, type) - mean;
        vec16 v = vec16_where(scale * centred + bias > 0.0f, share * vec16_load(g, p / each * VEC16, type));
        vec16 sum = fresh ? scale * v : vec16_load(diff, p * VEC16, type) + scale * v;
        vec16_store(diff, p * VEC16, sum, type);
        vec16 product = v * centred;
        s[0] += vec16_double(v, 0);
        s[1] += vec16_double(v, 1);
        d[0] += vec16_double(product, 0);
        d[1] += vec16_double(product, 1);
    }
    memcpy(run.sum, s, sizeof s);
    memcpy(run.dot, d, sizeof d);
}

static void narrow_add(struct run run, void *diff, const void *g, const void *x, int64_t pixels, int each, float share,
                       bool fresh, int lanes, enum value_type type)
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
INLINE void add_row(struct run run, void *diff, const void *g, const void *x, int64_t pixels, int each, float share,
                    bool fresh, int lanes, enum value_type type)
{
    if (lanes != VEC16)
        narrow_add(run, diff, g, x, pixels, each, share, fresh, lanes, type);
    else if (type == VALUE_BF16 && fresh)
        wide_add(run, diff, g, x, pixels, each, share, true, VALUE_BF16);
    else if (type == VALUE_BF16)
        wide_add(run, diff, g, x, pixels, each, share, false, VALUE_BF16);
    else if (fresh)
        wide_add(run, diff, g, x, pixels, each, share, true, VALUE_F32);
    else
        wide_add(run, diff, g, x, pixels, each, share, false, VALUE_F32);
}

void norm_add_gradient(double *sum, double *dot, void *diff, const void *g, const void *x, struct norm_lanes c,
                       int64_t pixels, int lanes, bool fresh, enum value_type type)
{
    memset(sum, 0, (size_t)lanes * sizeof *sum);
    memset(dot, 0, (size_t)lanes * sizeof *dot);
    add_row((struct run){ sum, dot, c }, diff, g, x, pixels, 1, 1.0f, fresh, lanes, type);
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
                value_at_const(x, h * row, type), even_width, 2, 0.25f, fresh, lanes, type);
        if (fresh && even_width < width)
            memset(value_at(to, (int64_t)even_width * lanes, type), 0, (size_t)(lanes * value_bytes(type)));
    }
    if (fresh && even_height < height)
        memset(value_at(diff, even_height * row, type), 0, (size_t)(row * value_bytes(type)));
}
