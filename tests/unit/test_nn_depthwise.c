/* Depthwise convolution against plain loops in double; the loops' gradients are checked by finite differences, which
 * are exact for what is linear. Widths that fill no seven, channels that fill no vector, both types. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formula.h"
#include "nn/depthwise.h"
#include "nn/kernels_rows.h"

enum { MAX = 2 * 16 * 15 * 40, SCRATCH = 1 << 20 };

static const struct depthwise_shape shapes[] = { { 2, 1, 1, 16 },   { 1, 7, 7, 32 },   { 2, 2, 2, 48 }, { 3, 5, 9, 7 },
                                                 { 2, 14, 14, 16 }, { 2, 16, 15, 40 }, { 1, 8, 3, 17 } };
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static float x[MAX], g[MAX], out[MAX], diff[MAX];
static float weight[64 * 49], bias[64], dweight[64 * 49], dbias[64];
static _Alignas(64) float taps[64 * 49], turned[64 * 49], work[SCRATCH], partial[SCRATCH];

static void near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance * fmax(1.0, fabs(expected))))
        fail_msg("found %.10g, expected %.10g", found, expected);
}

static int64_t place(const struct depthwise_shape *s, int64_t image, int y, int px, int c)
{
    return ((image * s->height + y) * s->width + px) * s->channels + c;
}

/* One output, of which tap `t` of its channel is moved by `step`. */
static double plain(const struct depthwise_shape *s, enum value_type type, int64_t image, int y, int px, int c)
{
    double sum = (double)bias[c];
    for (int t = 0; t < 49; t++) {
        int iy = y + t / 7 - 3, ix = px + t % 7 - 3;
        if (iy >= 0 && iy < s->height && ix >= 0 && ix < s->width)
            sum += (double)weight[c * 49 + t] * (double)value_load(x, place(s, image, iy, ix, c), type);
    }
    return sum;
}

/* d loss / d x at one place, loss = sum of g * out: the outputs that see it. */
static double plain_diff(const struct depthwise_shape *s, enum value_type type, int64_t image, int y, int px, int c)
{
    double sum = 0.0;
    for (int t = 0; t < 49; t++) {
        int oy = y - t / 7 + 3, ox = px - t % 7 + 3;
        if (oy >= 0 && oy < s->height && ox >= 0 && ox < s->width)
            sum += (double)weight[c * 49 + t] * (double)value_load(g, place(s, image, oy, ox, c), type);
    }
    return sum;
}

static double plain_dweight(const struct depthwise_shape *s, enum value_type type, int c, int t)
{
    double sum = 0.0;
    for (int64_t image = 0; image < s->images; image++)
        for (int y = 0; y < s->height; y++)
            for (int px = 0; px < s->width; px++) {
                int iy = y + t / 7 - 3, ix = px + t % 7 - 3;
                if (t == 49)
                    sum += (double)value_load(g, place(s, image, y, px, c), type);
                else if (iy >= 0 && iy < s->height && ix >= 0 && ix < s->width)
                    sum += (double)value_load(g, place(s, image, y, px, c), type) *
                           (double)value_load(x, place(s, image, iy, ix, c), type);
            }
    return sum;
}

static void prepare(const struct depthwise_shape *s, enum value_type type)
{
    int64_t count = s->images * s->height * s->width * s->channels;
    assert_true(count <= MAX && depthwise_work(s) <= SCRATCH && depthwise_partial(s) <= SCRATCH);
    for (int64_t i = 0; i < count; i++) {
        value_store(x, i, formula(i, 1), type);
        value_store(g, i, formula(i, 2), type);
    }
    formula_fill(weight, 49 * (int64_t)s->channels, 3, 1.0f, 0.0f);
    formula_fill(bias, s->channels, 4, 1.0f, 0.0f);
    depthwise_prepare(taps, weight, s->channels, false);
    depthwise_prepare(turned, weight, s->channels, true);
    memset(work, 0x7f, sizeof work); /* nothing is read that was not written */
}

static void compare(const struct depthwise_shape *s, enum value_type type)
{
    double tolerance = type ? 8e-3 : 1e-5;
    prepare(s, type);
    depthwise_forward(out, x, taps, bias, work, s, type);
    depthwise_backward(diff, dweight, dbias, partial, g, x, turned, work, s, type);
    for (int64_t image = 0; image < s->images; image++)
        for (int y = 0; y < s->height; y++)
            for (int px = 0; px < s->width; px++)
                for (int c = 0; c < s->channels; c++) {
                    int64_t i = place(s, image, y, px, c);
                    near((double)value_load(out, i, type), plain(s, type, image, y, px, c), tolerance);
                    near((double)value_load(diff, i, type), plain_diff(s, type, image, y, px, c), tolerance);
                }
    for (int c = 0; c < s->channels; c++)
        for (int t = 0; t <= 49; t++)
            near((double)(t < 49 ? dweight[c * 49 + t] : dbias[c]), plain_dweight(s, type, c, t),
                 4e-5); /* up to 480 terms */
    memcpy(out, g, sizeof out);
    depthwise_backward(out, dweight, dbias, partial, out, x, turned, work, s, type); /* in place */
    size_t bytes = (size_t)(s->images * s->height * s->width * s->channels * value_bytes(type));
    assert_memory_equal(out, diff, bytes);
}

static void single_precision(void **state)
{
    (void)state;
    for (int k = 0; k < SHAPES; k++)
        compare(&shapes[k], VALUE_F32);
}

static void bfloat16(void **state)
{
    (void)state;
    for (int k = 0; k < SHAPES; k++)
        compare(&shapes[k], VALUE_BF16);
}

static double loss(const struct depthwise_shape *s)
{
    double sum = 0.0;
    for (int64_t image = 0; image < s->images; image++)
        for (int y = 0; y < s->height; y++)
            for (int px = 0; px < s->width; px++)
                for (int c = 0; c < s->channels; c++)
                    sum += plain(s, VALUE_F32, image, y, px, c) * (double)g[place(s, image, y, px, c)];
    return sum;
}

static double slope(const struct depthwise_shape *s, float *value)
{
    const float before = *value;
    *value = before + 0.5f;
    double up = loss(s), above = (double)*value;
    *value = before - 0.5f;
    double result = (up - loss(s)) / (above - (double)*value);
    *value = before;
    return result;
}

static void plain_loops_by_finite_differences(void **state)
{
    (void)state;
    const struct depthwise_shape s = { 2, 5, 4, 3 };
    prepare(&s, VALUE_F32);
    for (int y = 0; y < s.height; y++)
        for (int px = 0; px < s.width; px++)
            near(slope(&s, &x[place(&s, 1, y, px, 2)]), plain_diff(&s, VALUE_F32, 1, y, px, 2), 1e-9);
    for (int t = 0; t < 49; t++)
        near(slope(&s, &weight[49 + t]), plain_dweight(&s, VALUE_F32, 1, t), 1e-9);
    near(slope(&s, &bias[1]), plain_dweight(&s, VALUE_F32, 1, 49), 1e-9);
}

/* Windows gathered and handed back: each value of a whole window once, 0 where none was. */
static void windows(void **state)
{
    (void)state;
    enum { H = 5, W = 4, C = 3 };
    for (int t = 0; t < 2; t++) {
        enum value_type type = t ? VALUE_BF16 : VALUE_F32;
        for (int64_t i = 0; i < 2 * H * W * C; i++)
            value_store(x, i, formula(i, 1), type);
        windows_gather(out, x, 2, H, W, C, 2, type);
        windows_scatter(diff, out, 2, H, W, C, 2, type);
        for (int64_t image = 0; image < 2; image++)
            for (int y = 0; y < H; y++)
                for (int px = 0; px < W; px++)
                    for (int c = 0; c < C; c++) {
                        int64_t i = ((image * H + y) * W + px) * C + c;
                        int64_t row = (image * (H / 2) + y / 2) * (W / 2) + px / 2;
                        float v = value_load(x, i, type);
                        if (y < 4)
                            assert_true(value_load(out, row * C * 4 + c * 4 + y % 2 * 2 + px % 2, type) == v);
                        assert_true(value_load(diff, i, type) == (y < 4 ? v : 0.0f));
                    }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(single_precision), cmocka_unit_test(bfloat16),
                                        cmocka_unit_test(plain_loops_by_finite_differences),
                                        cmocka_unit_test(windows) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
