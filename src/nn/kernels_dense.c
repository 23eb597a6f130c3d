/* Normalisation of concatenated values: the means of a transition, and backward
 * in one pass that adds to the gradient so far. Plain loops for the vectoriser,
 * over short runs of pixels whose masked gradient stays in the first cache: the
 * sums in double are a loop of their own, mixed widths in one would not become
 * vectors. */
#include "nn/kernels_dense.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { WIDE = 16, RUN = 32 }; /* lanes, pixels */

/* Calls `body` with constant lanes and type where that is common. */
#define BY_LANES(body, lanes, type, ...)                                                                               \
    do {                                                                                                               \
        if (lanes == WIDE && type)                                                                                     \
            body(__VA_ARGS__, WIDE, VALUE_BF16);                                                                       \
        else if (lanes == WIDE)                                                                                        \
            body(__VA_ARGS__, WIDE, VALUE_F32);                                                                        \
        else                                                                                                           \
            body(__VA_ARGS__, lanes, type);                                                                            \
    } while (0)

INLINE float relu_at(const void *x, int64_t i, struct norm_lanes c, int l, enum value_type type)
{
    float y = c.scale[l] * (value_load(x, i, type) - c.mean[l]) + c.bias[l];
    return y < 0.0f ? 0.0f : y;
}

INLINE void halve(void *restrict out, const void *restrict x, struct norm_lanes c, int height, int width, int lanes,
                  enum value_type type)
{
    for (int h = 0; h < height / 2; h++) {
        for (int w = 0; w < width / 2; w++) {
            int64_t at = ((int64_t)2 * h * width + 2 * w) * lanes, below = at + (int64_t)width * lanes;
            int64_t to = ((int64_t)h * (width / 2) + w) * lanes;
#pragma omp simd
            for (int l = 0; l < lanes; l++) {
                float sum = relu_at(x, at + l, c, l, type) + relu_at(x, at + lanes + l, c, l, type) +
                            relu_at(x, below + l, c, l, type) + relu_at(x, below + lanes + l, c, l, type);
                value_store(out, to + l, 0.25f * sum, type);
            }
        }
    }
}

void norm_halve(void *out, const void *x, struct norm_lanes c, int height, int width, int lanes, enum value_type type)
{
    BY_LANES(halve, lanes, type, out, x, c, height, width);
}

/* v and v (x - mean) of one pixel, and diff moved on; `share` of the gradient g belongs to this pixel. */
INLINE void add_pixel(float *restrict v, float *restrict product, void *restrict diff, const void *restrict g,
                      const void *restrict x, struct norm_lanes c, float share, bool fresh, int lanes,
                      enum value_type type)
{
#pragma omp simd
    for (int l = 0; l < lanes; l++) {
        float centred = value_load(x, l, type) - c.mean[l];
        float open = c.scale[l] * centred + c.bias[l] > 0.0f ? value_load(g, l, type) * share : 0.0f;
        float before = fresh ? 0.0f : value_load(diff, l, type);
        value_store(diff, l, before + c.scale[l] * open, type);
        v[l] = open;
        product[l] = open * centred;
    }
}

INLINE void add_run(double *restrict sum, double *restrict dot, const float *restrict v, const float *restrict product,
                    int pixels, int lanes)
{
    for (int p = 0; p < pixels; p++) {
#pragma omp simd
        for (int l = 0; l < lanes; l++) {
            sum[l] += (double)v[p * lanes + l];
            dot[l] += (double)product[p * lanes + l];
        }
    }
}

INLINE void add_gradient(double *restrict sum, double *restrict dot, char *diff, const char *g, const char *x,
                         struct norm_lanes c, int64_t pixels, bool fresh, int lanes, enum value_type type)
{
    float v[RUN * WIDE], product[RUN * WIDE];
    int64_t bytes = lanes * value_bytes(type);
    for (int64_t first = 0; first < pixels; first += RUN) {
        int run = pixels - first < RUN ? (int)(pixels - first) : RUN;
        for (int p = 0; p < run; p++) {
            int64_t at = (first + p) * bytes;
            add_pixel(v + p * lanes, product + p * lanes, diff + at, g + at, x + at, c, 1.0f, fresh, lanes, type);
        }
        add_run(sum, dot, v, product, run, lanes);
    }
}

void norm_add_gradient(double *sum, double *dot, void *diff, const void *g, const void *x, struct norm_lanes c,
                       int64_t pixels, int lanes, bool fresh, enum value_type type)
{
    double s[WIDE] = { 0 }, d[WIDE] = { 0 };
    if (fresh)
        BY_LANES(add_gradient, lanes, type, s, d, diff, g, x, c, pixels, true);
    else
        BY_LANES(add_gradient, lanes, type, s, d, diff, g, x, c, pixels, false);
    memcpy(sum, s, (size_t)lanes * sizeof *s);
    memcpy(dot, d, (size_t)lanes * sizeof *d);
}

INLINE void add_gradient_halved(double *restrict sum, double *restrict dot, char *diff, const char *g, const char *x,
                                struct norm_lanes c, int height, int width, bool fresh, int lanes, enum value_type type)
{
    float v[RUN * WIDE], product[RUN * WIDE];
    int64_t bytes = lanes * value_bytes(type);
    int even_height = height / 2 * 2, even_width = width / 2 * 2;
    for (int h = 0; h < even_height; h++) {
        const char *row = g + (int64_t)(h / 2) * (width / 2) * bytes;
        for (int first = 0; first < even_width; first += RUN) {
            int run = even_width - first < RUN ? even_width - first : RUN;
            for (int p = 0; p < run; p++) {
                int64_t at = ((int64_t)h * width + first + p) * bytes;
                add_pixel(v + p * lanes, product + p * lanes, diff + at, row + (first + p) / 2 * bytes, x + at, c,
                          0.25f, fresh, lanes, type);
            }
            add_run(sum, dot, v, product, run, lanes);
        }
        if (fresh && even_width < width)
            memset(diff + ((int64_t)h * width + even_width) * bytes, 0, (size_t)bytes);
    }
    if (fresh && even_height < height)
        memset(diff + (int64_t)even_height * width * bytes, 0, (size_t)(width * bytes));
}

void norm_add_gradient_halved(double *sum, double *dot, void *diff, const void *g, const void *x, struct norm_lanes c,
                              int height, int width, int lanes, bool fresh, enum value_type type)
{
    double s[WIDE] = { 0 }, d[WIDE] = { 0 };
    if (fresh)
        BY_LANES(add_gradient_halved, lanes, type, s, d, diff, g, x, c, height, width, true);
    else
        BY_LANES(add_gradient_halved, lanes, type, s, d, diff, g, x, c, height, width, false);
    memcpy(sum, s, (size_t)lanes * sizeof *s);
    memcpy(dot, d, (size_t)lanes * sizeof *d);
}
