/* Kernels of normalisations of concatenated values: as a whole layer against a plain double twin whose gradients come
 * from finite differences, in single precision and bfloat16, for sixteen and fewer lanes and odd extents. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formula.h"
#include "nn/kernels_dense.h"

enum { LANES = 16, SIDE = 7, MAX = LANES * SIDE * SIDE };

static const struct {
    int lanes, height, width;
} cuts[] = { { 16, 6, 6 }, { 16, 7, 5 }, { 16, 2, 3 }, { 8, 5, 6 }, { 1, 7, 7 }, { 3, 4, 5 } };
enum { CUTS = sizeof cuts / sizeof cuts[0] };

/* A layer: batch statistics over the pixels, normalise, relu, means over 2x2 if `halve`; its value is the sum of
 * output * weight, in double. */
struct layer {
    int lanes, height, width;
    bool halve;
    double x[MAX], gamma[LANES], beta[LANES], weight[MAX];
};

static void statistics(const struct layer *a, int l, double *mean, double *inverse)
{
    double sum = 0.0, square = 0.0;
    int pixels = a->height * a->width;
    for (int p = 0; p < pixels; p++)
        sum += a->x[p * a->lanes + l];
    *mean = sum / pixels;
    for (int p = 0; p < pixels; p++)
        square += pow(a->x[p * a->lanes + l] - *mean, 2);
    *inverse = 1.0 / sqrt(square / pixels + 1e-5);
}

/* The place in the output of pixel (h, w), or -1, and the share of the pixel in it. */
static int output_of(const struct layer *a, int h, int w, double *share)
{
    *share = a->halve ? 0.25 : 1.0;
    if (!a->halve)
        return h * a->width + w;
    return h / 2 < a->height / 2 && w / 2 < a->width / 2 ? h / 2 * (a->width / 2) + w / 2 : -1;
}

static double layer_value(const struct layer *a)
{
    double value = 0.0, mean, inverse, share;
    for (int l = 0; l < a->lanes; l++) {
        statistics(a, l, &mean, &inverse);
        for (int h = 0; h < a->height; h++)
            for (int w = 0; w < a->width; w++) {
                int out = output_of(a, h, w, &share);
                double y = a->gamma[l] * inverse * (a->x[(h * a->width + w) * a->lanes + l] - mean) + a->beta[l];
                if (out >= 0 && y > 0.0)
                    value += share * y * a->weight[out * a->lanes + l];
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

/* Values that bfloat16 holds exactly, so that both types see the same layer. */
static double eighths(int64_t i, int salt)
{
    return round(16.0 * (double)formula(i, salt)) / 8.0 + 1.0 / 64.0;
}

static void fill_layer(struct layer *a, int cut, bool halve)
{
    memset(a, 0, sizeof *a);
    a->lanes = cuts[cut].lanes;
    a->height = cuts[cut].height;
    a->width = cuts[cut].width;
    a->halve = halve;
    for (int i = 0; i < MAX; i++) {
        a->x[i] = eighths(i, 1);
        a->weight[i] = eighths(i, 2);
    }
    for (int l = 0; l < LANES; l++) {
        a->gamma[l] = (double)(1.0f + 0.5f * formula(l, 3));
        a->beta[l] = (double)formula(l, 4);
    }
}

struct result {
    float value[MAX], diff[MAX];
    double dgamma[LANES], dbeta[LANES];
};

/* Forward, and backward into a gradient that holds `before` (or nothing, if fresh), as the ops do it: the kernel's
 * part, then the debt. */
static void run_kernels(struct result *r, const struct layer *a, bool fresh, double before, enum value_type type)
{
    char x[MAX * 4], g[MAX * 4], out[MAX * 4], diff[MAX * 4];
    float scale[LANES], mean[LANES], beta[LANES], down[LANES], shift[LANES], one[LANES];
    double inverse[LANES], m, sum[LANES], dot[LANES];
    int pixels = a->height * a->width, lanes = a->lanes;
    for (int i = 0; i < MAX; i++) {
        value_store(x, i, (float)a->x[i], type);
        value_store(g, i, (float)a->weight[i], type);
        value_store(diff, i, fresh ? NAN : (float)before, type);
    }
    for (int l = 0; l < lanes; l++) {
        statistics(a, l, &m, &inverse[l]);
        mean[l] = (float)m;
        scale[l] = (float)(a->gamma[l] * inverse[l]);
        beta[l] = (float)a->beta[l];
        one[l] = 1.0f;
    }
    struct norm_lanes c = { scale, mean, beta, NULL, NULL };
    if (a->halve) {
        norm_halve(out, x, c, a->height, a->width, lanes, type);
        norm_add_gradient_halved(sum, dot, diff, g, x, c, a->height, a->width, lanes, fresh, type);
    } else {
        norm_apply(out, x, NULL, c, pixels, lanes, 1, type);
        norm_add_gradient(sum, dot, diff, g, x, c, pixels, lanes, fresh, type);
    }
    for (int l = 0; l < lanes; l++) {
        r->dgamma[l] = dot[l] * inverse[l];
        r->dbeta[l] = sum[l];
        down[l] = (float)((double)scale[l] * inverse[l] * inverse[l] * dot[l] / pixels);
        shift[l] = (float)((double)scale[l] * sum[l] / pixels);
    }
    norm_backward_apply(diff, diff, x, (struct norm_lanes){ one, mean, NULL, down, shift }, pixels, lanes, type);
    for (int i = 0; i < MAX; i++) {
        r->value[i] = value_load(out, i, type);
        r->diff[i] = value_load(diff, i, type);
    }
}

static void near(const char *what, double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance * fmax(1.0, fabs(expected))))
        fail_msg("%s: found %.8g, expected %.8g", what, found, expected);
}

static void check_layer(struct layer *a, bool fresh, enum value_type type)
{
    static struct result r;
    const double before = fresh ? 0.0 : 0.75, tolerance = type == VALUE_BF16 ? 2e-2 : 2e-5;
    double value = 0.0;
    int outputs = a->halve ? (a->height / 2) * (a->width / 2) : a->height * a->width;
    run_kernels(&r, a, fresh, before, type);
    for (int i = 0; i < outputs * a->lanes; i++)
        value += (double)r.value[i] * a->weight[i];
    near("value", value, layer_value(a), tolerance);
    for (int i = 0; i < a->height * a->width * a->lanes; i++)
        near("gradient", (double)r.diff[i], before + slope(a, &a->x[i]), tolerance);
    for (int l = 0; l < a->lanes; l++) { /* sums of exact values, whatever the type */
        near("gamma", r.dgamma[l], slope(a, &a->gamma[l]), 2e-5);
        near("beta", r.dbeta[l], slope(a, &a->beta[l]), 2e-5);
    }
}

static void check_all(bool halve, enum value_type type)
{
    static struct layer a;
    for (int k = 0; k < CUTS; k++)
        for (int fresh = 0; fresh < 2; fresh++) {
            fill_layer(&a, k, halve);
            check_layer(&a, fresh, type);
        }
}

static void gradients_join_those_before(void **state)
{
    (void)state;
    check_all(false, VALUE_F32);
}

static void gradients_behind_means(void **state)
{
    (void)state;
    check_all(true, VALUE_F32);
}

static void bfloat16(void **state)
{
    (void)state;
    check_all(false, VALUE_BF16);
    check_all(true, VALUE_BF16);
}

/* Sixteen lanes go another way than fewer: the same sums and gradients. */
static void wide_as_narrow(void **state)
{
    (void)state;
    static struct layer wide, narrow;
    static struct result all, some;
    fill_layer(&wide, 1, true);
    run_kernels(&all, &wide, true, 0.0, VALUE_F32);
    fill_layer(&narrow, 1, true);
    narrow.lanes = 8;
    for (int i = 0; i < narrow.height * narrow.width * 8; i++) {
        narrow.x[i] = wide.x[i / 8 * LANES + i % 8];
        narrow.weight[i] = wide.weight[i / 8 * LANES + i % 8];
    }
    run_kernels(&some, &narrow, true, 0.0, VALUE_F32);
    for (int i = 0; i < narrow.height * narrow.width * 8; i++)
        near("lanes", (double)all.diff[i / 8 * LANES + i % 8], (double)some.diff[i], 1e-6);
    for (int l = 0; l < 8; l++)
        near("sums", all.dgamma[l], some.dgamma[l], 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_join_those_before),
        cmocka_unit_test(gradients_behind_means),
        cmocka_unit_test(bfloat16),
        cmocka_unit_test(wide_as_narrow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
