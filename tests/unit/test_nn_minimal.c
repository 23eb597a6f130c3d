/* Minimal filtering against plain loops in double: shapes whose tiles reach beyond the image, one vector of channels at
 * the end, both widths of blocks, what comes after; and the same bits at any number of threads. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nn/minimal.h"

static const struct minimal_shape shapes[] = {
    { 2, 8, 8, 4, 4, 8 },      { 1, 16, 24, 7, 7, 8 },  { 3, 24, 8, 5, 9, 8 },     { 2, 16, 16, 8, 8, 16 },
    { 1, 32, 48, 14, 13, 16 }, { 5, 48, 16, 3, 2, 16 }, { 2, 64, 32, 17, 12, 16 }, { 4, 40, 56, 28, 28, 8 },
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static float *buffer(int64_t floats)
{
    float *x = aligned_alloc(64, (size_t)(floats + 16) / 16 * 64);
    assert_non_null(x);
    return x;
}

static float *random_values(int64_t floats, uint32_t seed)
{
    float *x = buffer(floats);
    for (int64_t i = 0; i < floats; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
    return x;
}

static int64_t pixel(const struct minimal_shape *s, int channels, int image, int c, int y, int x)
{
    const int L = s->lanes;
    return ((((int64_t)image * (channels / L) + c / L) * s->h + y) * s->w + x) * L + c % L;
}

static int64_t weight(const struct minimal_shape *s, int k, int c, int p)
{
    const int L = s->lanes;
    return ((((int64_t)(k / L) * (s->in / L) + c / L) * 9 + p) * L + c % L) * L + k % L;
}

struct problem {
    struct minimal_shape s;
    int64_t in, out, weights; /* values */
    float *x, *g, *w, *bias, *u, *turned, *work;
    float *y, *diff, *dw;
    double *plain; /* of the largest of the three */
};

static struct problem problem_new(const struct minimal_shape *s)
{
    struct problem p = { .s = *s };
    const int64_t pixels = (int64_t)s->images * s->h * s->w;
    p.in = pixels * s->in;
    p.out = pixels * s->out;
    p.weights = (int64_t)9 * s->in * s->out;
    p.x = random_values(p.in, 1);
    p.g = random_values(p.out, 2);
    p.w = random_values(p.weights, 3);
    p.bias = random_values(s->out, 4);
    p.y = random_values(p.out, 5);
    p.diff = buffer(p.in);
    p.dw = buffer(p.weights);
    p.u = buffer(minimal_weights_size(s));
    p.turned = buffer(minimal_weights_size(s));
    p.work = buffer(minimal_work(s, true));
    p.plain = calloc((size_t)(p.in + p.out + p.weights), sizeof *p.plain);
    minimal_prepare(p.u, p.w, s, false);
    minimal_prepare(p.turned, p.w, s, true);
    return p;
}

static void problem_free(struct problem *p)
{
    void *all[] = { p->x, p->g, p->w, p->bias, p->u, p->turned, p->work, p->y, p->diff, p->dw, p->plain };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* Calls `visit` for each product of a direct convolution: places in y, x and w. */
static void every_product(struct problem *p, void (*visit)(struct problem *p, int64_t y, int64_t x, int64_t w))
{
    const struct minimal_shape *s = &p->s;
    for (int n = 0; n < s->images; n++)
        for (int k = 0; k < s->out; k++)
            for (int c = 0; c < s->in; c++)
                for (int t = 0; t < 9; t++)
                    for (int y = 0; y < s->h; y++)
                        for (int x = 0; x < s->w; x++) {
                            const int py = y + t / 3 - 1, px = x + t % 3 - 1;
                            if (py >= 0 && py < s->h && px >= 0 && px < s->w)
                                visit(p, pixel(s, s->out, n, k, y, x), pixel(s, s->in, n, c, py, px),
                                      weight(s, k, c, t));
                        }
}

static void add_output(struct problem *p, int64_t y, int64_t x, int64_t w)
{
    p->plain[y] += (double)p->x[x] * (double)p->w[w];
}

static void add_data(struct problem *p, int64_t y, int64_t x, int64_t w)
{
    p->plain[x] += (double)p->g[y] * (double)p->w[w];
}

static void add_weight(struct problem *p, int64_t y, int64_t x, int64_t w)
{
    p->plain[w] += (double)p->g[y] * (double)p->x[x];
}

/* Rounding of the transforms is a few times that of a direct sum: 1e-5 of the values' root mean square on average, five
 * times as much at worst. */
static void assert_close(const float *found, const double *expected, int64_t count)
{
    double square = 0.0, off = 0.0, worst = 0.0;
    for (int64_t i = 0; i < count; i++) {
        const double d = (double)found[i] - expected[i];
        square += expected[i] * expected[i];
        off += d * d;
        worst = fabs(d) <= worst ? worst : fabs(d); /* NaN too */
    }
    const double size = sqrt(square / (double)count);
    assert_true(size > 0.0);
    if (!(worst <= 5e-5 * size) || !(sqrt(off / (double)count) <= 1e-5 * size))
        fail_msg("off by %.3g, at worst %.3g, of %.3g", sqrt(off / (double)count), worst, size);
}

static void test_forward(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPES; i++) {
        struct problem p = problem_new(&shapes[i]);
        every_product(&p, add_output);
        minimal_forward(p.y, p.x, p.u, p.work, &p.s, &(struct minimal_after){ 0 });
        assert_close(p.y, p.plain, p.out);
        problem_free(&p);
    }
}

static void test_what_comes_after(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPES; i++) {
        struct problem p = problem_new(&shapes[i]);
        const int L = p.s.lanes, groups = p.s.out / L, pixels = p.s.h * p.s.w;
        every_product(&p, add_output);
        int64_t negative = 0;
        for (int64_t o = 0; o < p.out; o++) {
            const int k = (int)(o / ((int64_t)pixels * L) % groups) * L + (int)(o % L);
            p.plain[o] += (double)p.bias[k] + (double)p.y[o];
            negative += p.plain[o] < 0.0;
            p.plain[o] = fmax(p.plain[o], 0.0);
        }
        assert_true(negative > 0);
        minimal_forward(p.y, p.x, p.u, p.work, &p.s, &(struct minimal_after){ p.bias, true, true });
        assert_close(p.y, p.plain, p.out);
        problem_free(&p);
    }
}

static void test_gradients(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPES; i++) {
        struct problem p = problem_new(&shapes[i]);
        every_product(&p, add_data);
        minimal_backward_data(p.diff, p.g, p.turned, p.work, &p.s);
        assert_close(p.diff, p.plain, p.in);
        memset(p.plain, 0, (size_t)p.in * sizeof *p.plain);
        every_product(&p, add_weight);
        minimal_backward_weights(p.dw, p.x, p.g, p.work, &p.s);
        assert_close(p.dw, p.plain, p.weights);
        problem_free(&p);
    }
}

/* What is no number stays none, through relu too. */
static void test_nan_is_kept(void **state)
{
    (void)state;
    struct problem p = problem_new(&shapes[0]);
    p.x[pixel(&p.s, p.s.in, 1, 3, 2, 2)] = NAN;
    minimal_forward(p.y, p.x, p.u, p.work, &p.s, &(struct minimal_after){ .relu = true });
    assert_true(isnan(p.y[pixel(&p.s, p.s.out, 1, 0, 2, 2)]) != 0);
    assert_true(isfinite(p.y[pixel(&p.s, p.s.out, 0, 0, 2, 2)]) != 0);
    problem_free(&p);
}

static void test_any_threads(void **state)
{
    (void)state;
    const int before = omp_get_max_threads();
    for (int i = 0; i < SHAPES; i++) {
        float *first[3] = { NULL };
        for (int threads = 1; threads <= 4; threads++) {
            omp_set_num_threads(threads);
            struct problem p = problem_new(&shapes[i]);
            minimal_forward(p.y, p.x, p.u, p.work, &p.s, &(struct minimal_after){ 0 });
            minimal_backward_data(p.diff, p.g, p.turned, p.work, &p.s);
            minimal_backward_weights(p.dw, p.x, p.g, p.work, &p.s);
            float *made[3] = { p.y, p.diff, p.dw };
            const int64_t counts[3] = { p.out, p.in, p.weights };
            for (int j = 0; j < 3; j++)
                if (threads == 1)
                    first[j] = memcpy(buffer(counts[j]), made[j], (size_t)counts[j] * sizeof(float));
                else
                    assert_memory_equal(first[j], made[j], (size_t)counts[j] * sizeof(float));
            problem_free(&p);
        }
        for (int j = 0; j < 3; j++)
            free(first[j]);
    }
    omp_set_num_threads(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),     cmocka_unit_test(test_what_comes_after), cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_nan_is_kept), cmocka_unit_test(test_any_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
