/* Kernels of the network against plain loops in double, and their gradients against finite differences of those
 * loops, for every way lanes and pixels are cut. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formula.h"
#include "nn/kernels.h"

enum { MAX = 64 * 40 };

static const struct {
    int lanes, pixels;
} cuts[] = { { 16, 1 }, { 16, 37 }, { 8, 9 }, { 1, 1 }, { 1, 16 }, { 1, 35 }, { 5, 7 }, { 40, 3 }, { 64, 40 } };
enum { CUTS = sizeof cuts / sizeof cuts[0] };

static void near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance * fmax(1.0, fabs(expected))))
        fail_msg("found %.10g, expected %.10g", found, expected);
}

static void sums_are_those_of_plain_loops(void **state)
{
    (void)state;
    static float x[MAX];
    double sum[64], square[64];
    formula_fill(x, MAX, 1, 3.0f, 0.5f);
    for (int k = 0; k < CUTS; k++) {
        int lanes = cuts[k].lanes, pixels = cuts[k].pixels;
        norm_sums(sum, square, x, pixels, lanes, VALUE_F32);
        for (int l = 0; l < lanes; l++) {
            double s = 0.0, q = 0.0;
            for (int p = 0; p < pixels; p++) {
                s += (double)x[p * lanes + l];
                q += (double)x[p * lanes + l] * (double)x[p * lanes + l];
            }
            near(sum[l], s, 1e-12);
            near(square[l], q, 1e-12);
        }
    }
}

/* The claim of the header: one pass in double keeps the variance of values far from zero. */
static void one_pass_keeps_the_variance(void **state)
{
    (void)state;
    enum { PIXELS = 150 };
    static float x[PIXELS * 16];
    double sum[16], square[16];
    formula_fill(x, PIXELS * 16, 2, 0.125f, 1024.0f); /* in single precision nothing would be left */
    norm_sums(sum, square, x, PIXELS, 16, VALUE_F32);
    for (int l = 0; l < 16; l++) {
        double mean = sum[l] / PIXELS, variance = 0.0;
        for (int p = 0; p < PIXELS; p++)
            variance += ((double)x[p * 16 + l] - mean) * ((double)x[p * 16 + l] - mean) / PIXELS;
        near((square[l] / PIXELS - mean * mean) / variance, 1.0, 1e-5);
    }
}

/* One group as a whole layer: statistics over its pixels, add, relu; L = sum of output * weight, in double. */
struct layer {
    int lanes, pixels, relu;
    double x[MAX], residual[MAX], gamma[64], beta[64], weight[MAX];
    int with_residual;
};

static void statistics(const struct layer *a, int l, double *mean, double *inverse)
{
    double s = 0.0, v = 0.0;
    for (int p = 0; p < a->pixels; p++)
        s += a->x[p * a->lanes + l];
    *mean = s / a->pixels;
    for (int p = 0; p < a->pixels; p++)
        v += (a->x[p * a->lanes + l] - *mean) * (a->x[p * a->lanes + l] - *mean);
    *inverse = 1.0 / sqrt(v / a->pixels + 1e-5);
}

static double layer_value(const struct layer *a)
{
    double value = 0.0;
    for (int l = 0; l < a->lanes; l++) {
        double mean, inverse;
        statistics(a, l, &mean, &inverse);
        for (int p = 0; p < a->pixels; p++) {
            int i = p * a->lanes + l;
            double y = a->gamma[l] * inverse * (a->x[i] - mean) + a->beta[l];
            if (a->with_residual)
                y += a->residual[i];
            value += a->relu && y < 0.0 ? 0.0 : y * a->weight[i];
        }
    }
    return value;
}

static double slope(struct layer *a, double *value)
{
    const double step = 1e-6, before = *value;
    *value = before + step;
    double up = layer_value(a);
    *value = before - step;
    double down = layer_value(a);
    *value = before;
    return (up - down) / (2.0 * step);
}

/* Forward and backward by the kernels; dx, dresidual (g), dgamma, dbeta. */
static void run_kernels(const struct layer *a, float *out, float *g, float *dx, double *dgamma, double *dbeta,
                        bool split)
{
    static float x[MAX], residual[MAX], g2[MAX];
    float scale[64], mean[64], beta[64], down[64], shift[64];
    double inverse[64], sum[64], dot[64];
    for (int i = 0; i < a->lanes * a->pixels; i++) {
        x[i] = (float)a->x[i];
        residual[i] = (float)a->residual[i];
        g2[i] = split ? 0.25f * (float)a->weight[i] : 0.0f; /* a value with two readers */
        g[i] = (float)a->weight[i] - g2[i];
    }
    for (int l = 0; l < a->lanes; l++) {
        double m;
        statistics(a, l, &m, &inverse[l]);
        mean[l] = (float)m;
        scale[l] = (float)(a->gamma[l] * inverse[l]);
        beta[l] = (float)a->beta[l];
    }
    struct norm_lanes c = { scale, mean, beta, down, shift };
    norm_apply(out, x, a->with_residual ? residual : NULL, c, a->pixels, a->lanes, a->relu, VALUE_F32);
    norm_backward_sums(sum, dot, g, g, split ? g2 : NULL, x, a->with_residual ? out : NULL, c, a->pixels, a->lanes,
                       a->relu, VALUE_F32);
    /* Elsewhere than in place: the same bits. */
    static float apart[MAX], source[MAX];
    double sum2[64], dot2[64];
    for (int i = 0; i < a->lanes * a->pixels; i++)
        source[i] = (float)a->weight[i] - g2[i];
    norm_backward_sums(sum2, dot2, apart, source, split ? g2 : NULL, x, a->with_residual ? out : NULL, c, a->pixels,
                       a->lanes, a->relu, VALUE_F32);
    assert_memory_equal(apart, g, (size_t)(a->lanes * a->pixels) * sizeof *g);
    assert_memory_equal(sum2, sum, (size_t)a->lanes * sizeof *sum);
    assert_memory_equal(dot2, dot, (size_t)a->lanes * sizeof *dot);
    if (a->with_residual) {
        norm_apply(residual, x, residual, c, a->pixels, a->lanes, a->relu, VALUE_F32);
        assert_memory_equal(residual, out, (size_t)(a->lanes * a->pixels) * sizeof *out);
    }
    for (int l = 0; l < a->lanes; l++) {
        dgamma[l] = dot[l] * inverse[l];
        dbeta[l] = sum[l];
        down[l] = (float)((double)scale[l] * inverse[l] * inverse[l] * dot[l] / a->pixels);
        shift[l] = (float)((double)scale[l] * sum[l] / a->pixels);
    }
    norm_backward_apply(dx, g, x, c, a->pixels, a->lanes, VALUE_F32);
}

static void fill_layer(struct layer *a, int lanes, int pixels, int relu, int with_residual)
{
    a->lanes = lanes;
    a->pixels = pixels;
    a->relu = relu;
    a->with_residual = with_residual;
    for (int i = 0; i < lanes * pixels; i++) {
        a->x[i] = (double)(2.0f * formula(i, 3) + 0.5f);
        a->residual[i] = (double)formula(i, 4);
        a->weight[i] = (double)formula(i, 5);
    }
    for (int l = 0; l < lanes; l++) {
        a->gamma[l] = (double)(1.0f + 0.5f * formula(l, 6));
        a->beta[l] = (double)formula(l, 7);
    }
}

static void check_layer(struct layer *a, bool split)
{
    static float out[MAX], g[MAX], dx[MAX];
    double dgamma[64], dbeta[64], value = 0.0;
    run_kernels(a, out, g, dx, dgamma, dbeta, split);
    for (int i = 0; i < a->lanes * a->pixels; i++)
        value += (double)out[i] * a->weight[i];
    near(value, layer_value(a), 1e-4);
    for (int i = 0; i < a->lanes * a->pixels; i += 1 + a->lanes * a->pixels / 50) {
        near((double)dx[i], slope(a, &a->x[i]), 2e-4);
        if (a->with_residual)
            near((double)g[i], slope(a, &a->residual[i]), 2e-4);
    }
    for (int l = 0; l < a->lanes; l++) {
        near(dgamma[l], slope(a, &a->gamma[l]), 2e-4);
        near(dbeta[l], slope(a, &a->beta[l]), 2e-4);
    }
}

static void batch_norm_gradients(void **state)
{
    (void)state;
    static struct layer a;
    for (int k = 0; k < CUTS; k++) {
        if (cuts[k].pixels < 3)
            continue; /* the statistics of one or two values leave no gradient to compare */
        for (int variant = 0; variant < 8; variant++) {
            fill_layer(&a, cuts[k].lanes, cuts[k].pixels, variant & 1, variant >> 1 & 1);
            check_layer(&a, variant & 4);
        }
    }
}

/* The second half may write over its gradient. */
static void backward_in_place(void **state)
{
    (void)state;
    static float g[MAX], x[MAX], apart[MAX];
    float c[3][64];
    for (int i = 0; i < 3; i++)
        formula_fill(c[i], 64, 8 + i, 1.0f, 0.0f);
    for (int k = 0; k < CUTS; k++) {
        formula_fill(g, MAX, 11, 1.0f, 0.0f);
        formula_fill(x, MAX, 12, 1.0f, 0.0f);
        struct norm_lanes lanes = { c[0], c[1], NULL, c[2], c[0] };
        norm_backward_apply(apart, g, x, lanes, cuts[k].pixels, cuts[k].lanes, VALUE_F32);
        norm_backward_apply(g, g, x, lanes, cuts[k].pixels, cuts[k].lanes, VALUE_F32);
        assert_memory_equal(g, apart, (size_t)(cuts[k].pixels * cuts[k].lanes) * sizeof *g);
    }
}

static void means_over_pixels(void **state)
{
    (void)state;
    static float x[MAX], diff[MAX];
    float out[64];
    formula_fill(x, MAX, 13, 1.0f, 0.0f);
    for (int k = 0; k < CUTS; k++) {
        int lanes = cuts[k].lanes, pixels = cuts[k].pixels;
        mean_pixels(out, x, pixels, lanes, VALUE_F32);
        mean_pixels_backward(diff, out, pixels, lanes, VALUE_F32);
        for (int l = 0; l < lanes; l++) {
            double sum = 0.0;
            for (int p = 0; p < pixels; p++)
                sum += (double)x[p * lanes + l];
            near((double)out[l], sum / pixels, 1e-6);
            near((double)diff[(pixels - 1) * lanes + l], (double)out[l] / pixels, 1e-6);
        }
    }
}

static void losses_and_their_gradients(void **state)
{
    (void)state;
    const int counts[] = { 2, 3, 7 };
    for (int k = 0; k < 3; k++) {
        int classes = counts[k], used = 0, right = 0;
        float z[7], moved[7], diff[7], other[7], targets[7], mask[7];
        for (int c = 0; c < classes; c++) {
            z[c] = 3.0f * formula(c, 20 + k);
            targets[c] = (float)(c % 2);
            mask[c] = c == 1 ? 0.0f : 1.0f;
        }
        const float step = 1.0f / 256.0f;
        cross_entropy_row(diff, z, 1, classes);
        for (int c = 0; c < classes; c++) {
            memcpy(moved, z, sizeof z);
            moved[c] = z[c] + step;
            double up = cross_entropy_row(other, moved, 1, classes);
            moved[c] = z[c] - step;
            near((double)diff[c], (up - cross_entropy_row(other, moved, 1, classes)) / (2.0 * (double)step), 1e-5);
        }
        bce_row(diff, z, targets, mask, classes, &used, &right);
        assert_int_equal(used, classes - 1);
        int unused = 0;
        for (int c = 0; c < classes; c++) {
            memcpy(moved, z, sizeof z);
            moved[c] = z[c] + step;
            double up = bce_row(other, moved, targets, mask, classes, &unused, &unused);
            moved[c] = z[c] - step;
            double down = bce_row(other, moved, targets, mask, classes, &unused, &unused);
            near((double)diff[c], (up - down) / (2.0 * (double)step), 1e-5);
        }
    }
}

static void losses_do_not_overflow(void **state)
{
    (void)state;
    float z[3] = { 3e4f, -3e4f, 0.0f }, diff[3], targets[3] = { 0.0f, 1.0f, 1.0f };
    int used = 0, right = 0;
    near(cross_entropy_row(diff, z, 1, 3), 6e4, 1e-12);
    near((double)diff[0], 1.0, 1e-12);
    near(bce_row(diff, z, targets, NULL, 3, &used, &right), 6e4 + log(2.0), 1e-12);
    assert_int_equal(right, 0);
    z[0] = NAN;
    assert_true(isnan(cross_entropy_row(diff, z, 1, 3)));
    assert_true(isnan(bce_row(diff, z, targets, NULL, 3, &used, &right)));
}

/* A relu must not hide what is not a number. */
static void relu_passes_nan_on(void **state)
{
    (void)state;
    float one[16], zero[16] = { 0 }, x[16] = { 0 }, out[16];
    formula_fill(one, 16, 1, 0.0f, 1.0f);
    x[3] = NAN;
    norm_apply(out, x, NULL, (struct norm_lanes){ one, zero, zero, zero, zero }, 1, 16, 1, VALUE_F32);
    assert_true(isnan(out[3]));
    assert_true(out[2] == 0.0f);
}

/* ---- bfloat16 ---- */

static void conversions_round_to_nearest_even(void **state)
{
    (void)state;
    static const struct {
        float x;
        uint16_t half;
    } known[] = { { 1.0f, 0x3F80 },
                  { 1.00390625f, 0x3F80 },
                  { 1.01171875f, 0x3F82 },
                  { -1.0039064f, 0xBF81 },
                  { 3.4e38f, 0x7F80 },
                  { INFINITY, 0x7F80 },
                  { 0.0f, 0 } };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_int_equal(bf16_from_float(known[i].x), known[i].half);
    assert_true(isnan(bf16_to_float(bf16_from_float(NAN))));
}

/* Values of both types: the single ones hold what the halves do. */
struct twin {
    uint16_t half[MAX];
    float single[MAX];
};

static void twin_fill(struct twin *t, int salt)
{
    formula_fill(t->single, MAX, salt, 2.0f, 0.25f);
    for (int i = 0; i < MAX; i++) {
        t->half[i] = bf16_from_float(t->single[i]);
        t->single[i] = bf16_to_float(t->half[i]);
    }
}

static void expect_twin(const struct twin *t, int count)
{
    for (int i = 0; i < count; i++)
        near((double)bf16_to_float(t->half[i]), (double)t->single[i], 1.0 / 256.0);
}

static void expect_sums(const double *a, const double *b, int count)
{
    for (int l = 0; l < count; l++)
        near(a[l], b[l], 1e-5);
}

/* Each kernel gives in bfloat16 what it gives in single precision on the same values, rounded. */
static void half_precision_follows_single(void **state)
{
    (void)state;
    static struct twin x, g, g2, out, residual, diff;
    float c[5][64], mean[2][64];
    double a[2][64], b[2][64];
    for (int k = 0; k < CUTS; k++) {
        int lanes = cuts[k].lanes, pixels = cuts[k].pixels, count = lanes * pixels;
        for (int i = 0; i < 5; i++)
            formula_fill(c[i], 64, 20 + i, i == 0 ? 0.5f : 0.25f, i == 0 ? 1.0f : 0.0f);
        const struct norm_lanes l = { c[0], c[1], c[2], c[3], c[4] };
        for (int variant = 0; variant < 4; variant++) {
            int relu = variant & 1;
            bool more = variant & 2;
            twin_fill(&x, 31);
            twin_fill(&g, 32);
            twin_fill(&g2, 33);
            twin_fill(&residual, 34);
            norm_sums(a[0], a[1], x.half, pixels, lanes, VALUE_BF16);
            norm_sums(b[0], b[1], x.single, pixels, lanes, VALUE_F32);
            expect_sums(a[0], b[0], lanes);
            expect_sums(a[1], b[1], lanes);
            norm_apply(out.half, x.half, more ? residual.half : NULL, l, pixels, lanes, relu, VALUE_BF16);
            norm_apply(out.single, x.single, more ? residual.single : NULL, l, pixels, lanes, relu, VALUE_F32);
            expect_twin(&out, count);
            norm_backward_sums(a[0], a[1], g.half, g.half, more ? g2.half : NULL, x.half, more ? out.half : NULL, l,
                               pixels, lanes, relu, VALUE_BF16);
            norm_backward_sums(b[0], b[1], g.single, g.single, more ? g2.single : NULL, x.single,
                               more ? out.single : NULL, l, pixels, lanes, relu, VALUE_F32);
            if (lanes % 16 == 0 || !more) /* few columns round the sum of two gradients before they add it up */
                expect_sums(a[0], b[0], lanes);
            expect_twin(&g, count);
            norm_backward_apply(diff.half, g.half, x.half, l, pixels, lanes, VALUE_BF16);
            norm_backward_apply(diff.single, g.single, x.single, l, pixels, lanes, VALUE_F32);
            for (int i = 0; i < count; i++)
                assert_true(fabsf(bf16_to_float(diff.half[i]) - diff.single[i]) < 0.05f);
        }
        mean_pixels(mean[0], x.half, pixels, lanes, VALUE_BF16);
        mean_pixels(mean[1], x.single, pixels, lanes, VALUE_F32);
        for (int i = 0; i < lanes; i++)
            near((double)mean[0][i], (double)mean[1][i], 1e-6);
        mean_pixels_backward(diff.half, mean[0], pixels, lanes, VALUE_BF16);
        mean_pixels_backward(diff.single, mean[0], pixels, lanes, VALUE_F32);
        expect_twin(&diff, count);
        twin_fill(&x, 31);
        add_values(x.half, g2.half, count, VALUE_BF16);
        add_values(x.single, g2.single, count, VALUE_F32);
        expect_twin(&x, count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversions_round_to_nearest_even),
        cmocka_unit_test(half_precision_follows_single),
        cmocka_unit_test(sums_are_those_of_plain_loops),
        cmocka_unit_test(one_pass_keeps_the_variance),
        cmocka_unit_test(batch_norm_gradients),
        cmocka_unit_test(backward_in_place),
        cmocka_unit_test(means_over_pixels),
        cmocka_unit_test(losses_and_their_gradients),
        cmocka_unit_test(losses_do_not_overflow),
        cmocka_unit_test(relu_passes_nan_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
