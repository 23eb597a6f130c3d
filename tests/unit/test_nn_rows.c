/* Kernels on rows against plain loops in double, and their gradients against finite differences of those loops, in both
 * types and for channels that fill no vector. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formula.h"
#include "nn/kernels_rows.h"

enum { ROWS = 130, CHANNELS = 96, MAX = ROWS * CHANNELS };
static const double EPS = 1e-6;
/* Relative, or absolute below 1: sums of up to 130 terms in single precision; half a unit of bfloat16 or two. */
static const double TOLERANCE[] = { 1e-5, 1.6e-2 };

static const struct {
    int rows, channels;
} shapes[] = { { 1, 1 }, { 1, 16 }, { 5, 7 }, { 3, 96 }, { 70, 33 }, { 130, 96 }, { 64, 8 } };
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance * fmax(1.0, fabs(expected))))
        fail_msg("found %.10g, expected %.10g", found, expected);
}

/* A value in both types: `wide` is what the kernels see, exactly. */
struct value {
    double wide[MAX];
    float data[MAX]; /* room for either type */
};

static void make(struct value *v, int64_t count, int salt, float scale, float offset, enum value_type type)
{
    for (int64_t i = 0; i < count; i++) {
        value_store(v->data, i, formula(i, salt) * scale + offset, type);
        v->wide[i] = (double)value_load(v->data, i, type);
    }
}

static double normal(double x)
{
    return 0.5 * erfc(-x / sqrt(2.0));
}

/* ---- layer norm ---- */

static struct value x, g, out, diff, residual;
static float weight[CHANNELS], bias[CHANNELS], dweight[CHANNELS], dbias[CHANNELS], stats[2 * ROWS];
static float partial[ROW_PIECES * 2 * CHANNELS];

static double plain_norm(const double *row, int channels, int c, const double *w, const double *b)
{
    double mean = 0.0, variance = 0.0;
    for (int i = 0; i < channels; i++)
        mean += row[i] / channels;
    for (int i = 0; i < channels; i++)
        variance += (row[i] - mean) * (row[i] - mean) / channels;
    return (row[c] - mean) / sqrt(variance + EPS) * w[c] + b[c];
}

/* L = sum of output * g over one row. */
static double row_loss(const double *row, const double *gr, int channels, const double *w, const double *b)
{
    double sum = 0.0;
    for (int c = 0; c < channels; c++)
        sum += gr[c] * plain_norm(row, channels, c, w, b);
    return sum;
}

static void norm_case(int rows, int channels, enum value_type type)
{
    double w[CHANNELS], b[CHANNELS], tolerance = TOLERANCE[type];
    make(&x, rows * channels, 1, 2.0f, 0.5f, type);
    make(&g, rows * channels, 2, 1.0f, 0.0f, type);
    formula_fill(weight, channels, 3, 0.5f, 1.0f);
    formula_fill(bias, channels, 4, 0.5f, 0.0f);
    for (int c = 0; c < channels; c++) {
        w[c] = (double)weight[c];
        b[c] = (double)bias[c];
    }
    layernorm_forward(out.data, stats, x.data, weight, bias, EPS, rows, channels, type);
    layernorm_backward(diff.data, dweight, dbias, partial, g.data, x.data, stats, weight, rows, channels, type);
    double dw[CHANNELS] = { 0 }, db[CHANNELS] = { 0 };
    for (int r = 0; r < rows; r++) {
        double *row = x.wide + r * channels;
        const double *gr = g.wide + r * channels;
        for (int c = 0; c < channels; c++) {
            double y = plain_norm(row, channels, c, w, b);
            near((double)value_load(out.data, r * channels + c, type), y, tolerance);
            dw[c] += gr[c] * (y - b[c]) / w[c];
            db[c] += gr[c];
            const double step = 1e-5, before = row[c];
            row[c] = before + step;
            double up = row_loss(row, gr, channels, w, b);
            row[c] = before - step;
            double slope = (up - row_loss(row, gr, channels, w, b)) / (2.0 * step);
            row[c] = before;
            if (channels > 1) /* one channel is its own mean: all is rounding over the root of eps */
                near((double)value_load(diff.data, r * channels + c, type), slope, fmax(tolerance, 2e-5));
        }
    }
    for (int c = 0; c < channels; c++) {
        near((double)dweight[c], dw[c], 2e-5);
        near((double)dbias[c], db[c], 1e-5);
    }
}

static void layer_norm(void **state)
{
    (void)state;
    for (int k = 0; k < SHAPES; k++) {
        norm_case(shapes[k].rows, shapes[k].channels, VALUE_F32);
        norm_case(shapes[k].rows, shapes[k].channels, VALUE_BF16);
    }
}

/* In place, without gradient of the input, and without statistics: the same values. */
static void layer_norm_in_place(void **state)
{
    (void)state;
    float again[ROWS * 8];
    make(&x, ROWS * 8, 1, 2.0f, 0.5f, VALUE_F32);
    make(&g, ROWS * 8, 2, 1.0f, 0.0f, VALUE_F32);
    formula_fill(weight, 8, 3, 0.5f, 1.0f);
    formula_fill(bias, 8, 4, 0.5f, 0.0f);
    layernorm_forward(out.data, stats, x.data, weight, bias, EPS, ROWS, 8, VALUE_F32);
    memcpy(again, x.data, sizeof again);
    layernorm_forward(again, NULL, again, weight, bias, EPS, ROWS, 8, VALUE_F32);
    assert_memory_equal(again, out.data, sizeof again);
    layernorm_backward(diff.data, dweight, dbias, partial, g.data, x.data, stats, weight, ROWS, 8, VALUE_F32);
    float dw[8], db[8];
    layernorm_backward(NULL, dw, db, partial, g.data, x.data, stats, weight, ROWS, 8, VALUE_F32);
    assert_memory_equal(dw, dweight, sizeof dw);
    assert_memory_equal(db, dbias, sizeof db);
    memcpy(again, g.data, sizeof again);
    layernorm_backward(again, dw, db, partial, again, x.data, stats, weight, ROWS, 8, VALUE_F32);
    assert_memory_equal(again, diff.data, sizeof again);
}

/* ---- GELU ---- */

/* The claim of the header, over all values that matter. */
static void distribution_function_is_accurate(void **state)
{
    (void)state;
    enum { COUNT = 12000 };
    double worst = 0.0, steepest = 0.0;
    for (int i = 0; i < COUNT; i++) {
        x.data[i] = -12.0f + 0.002f * (float)i;
        g.data[i] = 1.0f;
    }
    gelu_forward(out.data, x.data, COUNT, VALUE_F32);
    gelu_backward(diff.data, g.data, x.data, COUNT, VALUE_F32);
    for (int i = 0; i < COUNT; i++) {
        double v = (double)x.data[i], slope = normal(v) + v * exp(-0.5 * v * v) / sqrt(2.0 * acos(-1.0));
        worst = fmax(worst, fabs((double)out.data[i] - v * normal(v)) / fmax(1.0, fabs(v)));
        steepest = fmax(steepest, fabs((double)diff.data[i] - slope));
    }
    if (!(worst < 2e-7 && steepest < 4e-7))
        fail_msg("off by %.3g, slope by %.3g", worst, steepest);
}

static void gelu_at_the_ends(void **state)
{
    (void)state;
    const float at[] = { 0.0f, -0.0f, 1e-30f, -1e-30f, 40.0f, -40.0f, 3e38f, -3e38f, INFINITY, NAN };
    float y[10];
    gelu_forward(y, at, 10, VALUE_F32);
    assert_true(y[0] == 0.0f && y[1] == 0.0f && fabsf(y[2]) <= 1e-30f && fabsf(y[3]) <= 1e-30f);
    assert_true(y[4] == 40.0f && y[5] == 0.0f && y[6] == 3e38f && y[7] == 0.0f && isinf(y[8]) && isnan(y[9]));
}

static void gelu(void **state)
{
    (void)state;
    const int64_t counts[] = { 1, 15, 4096, 4097, MAX };
    for (int k = 0; k < 5; k++)
        for (int t = 0; t < 2; t++) {
            enum value_type type = t ? VALUE_BF16 : VALUE_F32;
            make(&x, counts[k], 5, 4.0f, 0.0f, type);
            make(&g, counts[k], 6, 1.0f, 0.0f, type);
            gelu_forward(out.data, x.data, counts[k], type);
            gelu_backward(diff.data, g.data, x.data, counts[k], type);
            for (int64_t i = 0; i < counts[k]; i++) {
                const double v = x.wide[i], step = 1e-5;
                double slope = ((v + step) * normal(v + step) - (v - step) * normal(v - step)) / (2.0 * step);
                near((double)value_load(out.data, i, type), v * normal(v), TOLERANCE[t]);
                near((double)value_load(diff.data, i, type), g.wide[i] * slope, TOLERANCE[t]);
            }
        }
}

/* ---- residual ---- */

/* L = sum of g (residual + keep scale x): linear, so its slopes are the coefficients. */
static void residual_case(int images, int pixels, int channels, int with_scale, int with_keep, enum value_type type)
{
    int64_t count = (int64_t)images * pixels * channels;
    float scale[CHANNELS], keep[ROWS], dscale[CHANNELS];
    double sum[CHANNELS] = { 0 };
    make(&x, count, 7, 1.0f, 0.0f, type);
    make(&residual, count, 8, 1.0f, 0.0f, type);
    make(&g, count, 9, 1.0f, 0.0f, type);
    formula_fill(scale, channels, 10, 1.0f, 0.0f);
    for (int i = 0; i < images; i++)
        keep[i] = i % 3 == 1 ? 0.0f : 1.25f;
    residual_forward(out.data, x.data, residual.data, with_scale ? scale : NULL, with_keep ? keep : NULL, images,
                     pixels, channels, type);
    residual_backward(diff.data, with_scale ? dscale : NULL, with_scale ? partial : NULL, g.data, x.data,
                      with_scale ? scale : NULL, with_keep ? keep : NULL, images, pixels, channels, type);
    for (int64_t i = 0; i < count; i++) {
        int64_t c = i % channels, image = i / channels / pixels;
        double k = with_keep ? (double)keep[image] : 1.0, s = with_scale ? (double)scale[c] : 1.0;
        near((double)value_load(out.data, i, type), residual.wide[i] + k * s * x.wide[i], TOLERANCE[type]);
        near((double)value_load(diff.data, i, type), k * s * g.wide[i], TOLERANCE[type]);
        sum[c] += k * g.wide[i] * x.wide[i];
    }
    for (int c = 0; c < channels && with_scale; c++)
        near((double)dscale[c], sum[c], 1e-5);
}

static void residuals(void **state)
{
    (void)state;
    for (int options = 0; options < 8; options++) {
        enum value_type type = options & 4 ? VALUE_BF16 : VALUE_F32;
        residual_case(1, 1, 1, options & 1, options & 2, type);
        residual_case(3, 9, 7, options & 1, options & 2, type);
        residual_case(4, 32, 96, options & 1, options & 2, type);
        residual_case(5, 26, 33, options & 1, options & 2, type);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(layer_norm),
                                        cmocka_unit_test(layer_norm_in_place),
                                        cmocka_unit_test(distribution_function_is_accurate),
                                        cmocka_unit_test(gelu_at_the_ends),
                                        cmocka_unit_test(gelu),
                                        cmocka_unit_test(residuals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
