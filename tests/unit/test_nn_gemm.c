/* Our own convolution against plain loops in double: forward with bias, sum and relu, both gradients, for every layout
 * of activations, both types, windows that reach over the border, strides, and more rows than go through at a time;
 * and the same bits with one thread. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formula.h"
#include "math/blas.h"
#include "nn/gemm_conv.h"
#include "test_arena.h"

enum { THREADS = 2 };

static const struct conv_shape shapes[] = { { 3, 16, 32, 5, 5, 5, 5, 3, 1, 1 },  { 2, 32, 16, 7, 6, 4, 3, 3, 2, 1 },
                                            { 2, 16, 16, 9, 9, 9, 9, 1, 1, 0 },  { 1, 16, 48, 8, 8, 4, 4, 1, 2, 0 },
                                            { 2, 3, 16, 11, 11, 6, 6, 7, 2, 3 }, { 4, 80, 32, 2, 2, 2, 2, 3, 1, 1 },
                                            { 5, 32, 32, 1, 1, 1, 1, 3, 1, 1 },  { 1, 512, 4, 16, 16, 16, 16, 3, 1, 1 },
                                            { 1, 5, 7, 6, 9, 3, 4, 2, 2, 0 },    { 2, 96, 16, 12, 12, 3, 3, 4, 4, 0 } };
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* Values of [images][channels][pixels] in a layout: the plain twin of gather and scatter. */
static int64_t where(const struct view *v, int64_t image, int64_t channel, int64_t pixel)
{
    return ((image * v->groups + channel / v->lanes) * v->pixels + pixel) * v->lanes + channel % v->lanes;
}

struct problem {
    struct gemm_conv conv;
    void *src, *dst, *diff_src;
    float *weights, *diff_weights, *bias, *work;
};

static struct view view_of(int images, int channels, int pixels, int lanes)
{
    return (struct view){ images, pixels, channels / lanes, lanes };
}

static int64_t values(const struct view *v)
{
    return v->images * v->pixels * v->groups * v->lanes;
}

static void *noise(int64_t n, int salt, enum value_type type)
{
    float *x = arena_array(arena, float, n);
    void *out = arena_take(arena, (size_t)n, (size_t)value_bytes(type));
    formula_fill(x, n, salt, 1, 0);
    for (int64_t i = 0; i < n; i++)
        value_store(out, i, x[i], type);
    return out;
}

static struct problem problem(const struct conv_shape *s, int lanes_in, int lanes_out, enum value_type type, bool after)
{
    struct problem p = { .conv = { *s, view_of(s->images, s->in, s->h * s->w, lanes_in),
                                   view_of(s->images, s->out, s->oh * s->ow, lanes_out), type, after, after } };
    const int64_t weights = (int64_t)s->kernel * s->kernel * s->in * s->out;
    p.src = noise(values(&p.conv.src), 1, type);
    p.diff_src = noise(values(&p.conv.src), 2, type); /* to be overwritten */
    p.dst = noise(values(&p.conv.dst), 3, type);
    p.weights = noise(weights, 4, VALUE_F32);
    p.diff_weights = noise(weights, 5, VALUE_F32); /* to be overwritten */
    p.bias = after ? noise(s->out, 6, VALUE_F32) : NULL;
    p.work = noise(gemm_conv_work(&p.conv), 7, VALUE_F32);
    return p;
}

/* Calls `each` for every product of the convolution. */
static void for_each_product(const struct problem *p,
                             void (*each)(const struct problem *, int64_t x, int64_t w, int64_t y, double *sums),
                             double *sums)
{
    const struct conv_shape *s = &p->conv.shape;
    for (int b = 0; b < s->images; b++)
        for (int oy = 0; oy < s->oh; oy++)
            for (int ox = 0; ox < s->ow; ox++)
                for (int ky = 0; ky < s->kernel; ky++)
                    for (int kx = 0; kx < s->kernel; kx++) {
                        const int y = oy * s->stride - s->pad + ky, x = ox * s->stride - s->pad + kx;
                        if (y < 0 || y >= s->h || x < 0 || x >= s->w)
                            continue;
                        for (int i = 0; i < s->in; i++)
                            for (int o = 0; o < s->out; o++)
                                each(p, where(&p->conv.src, b, i, (int64_t)y * s->w + x),
                                     ((int64_t)(ky * s->kernel + kx) * s->in + i) * s->out + o,
                                     where(&p->conv.dst, b, o, (int64_t)oy * s->ow + ox), sums);
                    }
}

static void add_forward(const struct problem *p, int64_t x, int64_t w, int64_t y, double *sums)
{
    sums[y] += (double)value_load(p->src, x, p->conv.type) * (double)p->weights[w];
}

static void add_data(const struct problem *p, int64_t x, int64_t w, int64_t y, double *sums)
{
    sums[x] += (double)value_load(p->dst, y, p->conv.type) * (double)p->weights[w];
}

static void add_weights(const struct problem *p, int64_t x, int64_t w, int64_t y, double *sums)
{
    sums[w] += (double)value_load(p->src, x, p->conv.type) * (double)value_load(p->dst, y, p->conv.type);
}

static void expect(const void *found, const double *expected, int64_t n, enum value_type type, const char *what)
{
    double largest = 1.0;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(expected[i]));
    const double tolerance = largest * (type == VALUE_BF16 ? 4e-3 : 2e-6);
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)value_load(found, i, type) - expected[i]) <= tolerance))
            fail_msg("%s, value %d: %g, expected %g", what, (int)i, (double)value_load(found, i, type), expected[i]);
}

static void check_gradients(const struct conv_shape *s, int lanes_in, int lanes_out, enum value_type type)
{
    struct problem p = problem(s, lanes_in, lanes_out, type, false);
    const int64_t weights = (int64_t)s->kernel * s->kernel * s->in * s->out, inputs = values(&p.conv.src);
    double *expected = arena_array(arena, double, inputs > weights ? inputs : weights);
    for_each_product(&p, add_data, expected);
    gemm_conv_backward_data(p.diff_src, &p.conv, p.dst, p.weights, p.work);
    expect(p.diff_src, expected, inputs, type, "data gradient");
    memset(expected, 0, (size_t)weights * sizeof *expected);
    for_each_product(&p, add_weights, expected);
    gemm_conv_backward_weights(p.diff_weights, &p.conv, p.src, p.dst, p.work);
    expect(p.diff_weights, expected, weights, VALUE_F32, "weight gradient");
}

static void check_forward(const struct conv_shape *s, int lanes_in, int lanes_out, enum value_type type, bool after)
{
    struct problem p = problem(s, lanes_in, lanes_out, type, after);
    const int64_t outputs = values(&p.conv.dst), pixels = p.conv.dst.pixels;
    double *expected = arena_array(arena, double, outputs);
    for_each_product(&p, add_forward, expected);
    for (int b = 0; b < s->images && after; b++)
        for (int o = 0; o < s->out; o++)
            for (int64_t at = 0; at < pixels; at++) {
                const int64_t y = where(&p.conv.dst, b, o, at);
                expected[y] = fmax(0.0, expected[y] + (double)p.bias[o] + (double)value_load(p.dst, y, type));
            }
    gemm_conv_forward(p.dst, &p.conv, p.src, p.weights, p.bias, p.work);
    expect(p.dst, expected, outputs, type, "forward");
}

/* Lanes of a layout number: channels last, blocked where the channels fill it, plain. */
static int lanes_of(int layout, int channels)
{
    const int lanes[] = { channels, 16, 8, 1 };
    return channels % lanes[layout] ? 1 : lanes[layout];
}

static void is_the_plain_one(void **state)
{
    (void)state;
    for (int k = 0; k < SHAPES; k++)
        for (int layout = 0; layout < 4; layout++)
            for (int type = VALUE_F32; type <= VALUE_BF16; type++) {
                const struct conv_shape *s = &shapes[k];
                const int in = lanes_of(layout, s->in), out = lanes_of((layout + type) % 4, s->out);
                check_forward(s, in, out, (enum value_type)type, false);
                check_forward(s, in, out, (enum value_type)type, true);
                check_gradients(s, in, out, (enum value_type)type);
                arena_reset(arena);
            }
}

static void run_all(struct problem *p)
{
    gemm_conv_backward_data(p->diff_src, &p->conv, p->dst, p->weights, p->work);
    gemm_conv_backward_weights(p->diff_weights, &p->conv, p->src, p->dst, p->work);
    gemm_conv_forward(p->dst, &p->conv, p->src, p->weights, p->bias, p->work);
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    for (int k = 0; k < SHAPES; k++) {
        const struct conv_shape *s = &shapes[k];
        struct problem one = problem(s, lanes_of(2, s->in), lanes_of(2, s->out), VALUE_F32, true);
        struct problem two = problem(s, lanes_of(2, s->in), lanes_of(2, s->out), VALUE_F32, true);
        const size_t weights = (size_t)s->kernel * (size_t)s->kernel * (size_t)s->in * (size_t)s->out;
        omp_set_num_threads(1);
        blas_start(1);
        run_all(&one);
        omp_set_num_threads(THREADS);
        blas_start(THREADS);
        run_all(&two);
        assert_memory_equal(one.dst, two.dst, (size_t)values(&one.conv.dst) * sizeof(float));
        assert_memory_equal(one.diff_src, two.diff_src, (size_t)values(&one.conv.src) * sizeof(float));
        assert_memory_equal(one.diff_weights, two.diff_weights, weights * sizeof(float));
        arena_reset(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_the_plain_one, open_arena, close_arena),
        cmocka_unit_test_setup_teardown(threads_change_no_bit, open_arena, close_arena),
    };
    blas_start(THREADS);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
