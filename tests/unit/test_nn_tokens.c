/* Patches, tokens, attention and softmax against plain loops in double; the plain ones against finite differences. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "formula.h"
#include "math/half_product.h"
#include "nn/attention.h"
#include "nn/kernels_tokens.h"
#include "nn/onednn.h"

static struct arena *arena;

static double *doubles(int64_t count, int salt)
{
    double *x = arena_array(arena, double, count);
    for (int64_t i = 0; i < count; i++)
        x[i] = (double)formula(i, salt);
    return x;
}

/* Values of the type nearest to x; and x becomes these. */
static void *values(double *x, int64_t count, enum value_type type)
{
    void *v = arena_take(arena, (size_t)count, (size_t)value_bytes(type));
    for (int64_t i = 0; i < count; i++) {
        value_store(v, i, (float)x[i], type);
        x[i] = (double)value_load(v, i, type);
    }
    return v;
}

static void expect_near(const void *found, const double *expected, int64_t count, enum value_type type,
                        double tolerance)
{
    double off = 0.0, norm = 0.0;
    for (int64_t i = 0; i < count; i++) {
        double d = (double)value_load(found, i, type) - expected[i];
        off += d * d;
        norm += expected[i] * expected[i];
    }
    if (!(sqrt(off) <= tolerance * sqrt(norm)))
        fail_msg("off by %.3g of %.3g", sqrt(off), sqrt(norm));
}

/* ---- attention ---- */

struct sizes {
    int images, tokens, heads, width;
};

/* probabilities of one query of one head; at: of the head's first value in qkv */
static void plain_row(double *p, const double *qkv, const struct sizes *s, int64_t at, int query)
{
    int64_t all = (int64_t)s->heads * s->width;
    double sum = 0.0;
    for (int j = 0; j < s->tokens; j++) {
        double dot = 0.0;
        for (int e = 0; e < s->width; e++)
            dot += qkv[at + query * 3 * all + e] * qkv[at + j * 3 * all + all + e];
        sum += p[j] = exp(dot / sqrt((double)s->width));
    }
    for (int j = 0; j < s->tokens; j++)
        p[j] /= sum;
}

static void plain_forward(double *out, const double *qkv, const struct sizes *s)
{
    int64_t all = (int64_t)s->heads * s->width;
    double p[512];
    memset(out, 0, (size_t)(s->images * s->tokens * all) * sizeof *out);
    for (int b = 0; b < s->images; b++)
        for (int h = 0; h < s->heads; h++)
            for (int i = 0; i < s->tokens; i++) {
                int64_t at = b * s->tokens * 3 * all + h * s->width, to = (b * s->tokens + i) * all + h * s->width;
                plain_row(p, qkv, s, at, i);
                for (int j = 0; j < s->tokens; j++)
                    for (int e = 0; e < s->width; e++)
                        out[to + e] += p[j] * qkv[at + j * 3 * all + 2 * all + e];
            }
}

static void plain_backward(double *d, const double *g, const double *qkv, const struct sizes *s)
{
    int64_t all = (int64_t)s->heads * s->width;
    double p[512], dp[512], share = 1.0 / sqrt((double)s->width);
    memset(d, 0, (size_t)(s->images * s->tokens * 3 * all) * sizeof *d);
    for (int b = 0; b < s->images; b++)
        for (int h = 0; h < s->heads; h++)
            for (int i = 0; i < s->tokens; i++) {
                int64_t at = b * s->tokens * 3 * all + h * s->width, to = (b * s->tokens + i) * all + h * s->width;
                double mean = 0.0;
                plain_row(p, qkv, s, at, i);
                for (int j = 0; j < s->tokens; j++) {
                    dp[j] = 0.0;
                    for (int e = 0; e < s->width; e++) {
                        dp[j] += g[to + e] * qkv[at + j * 3 * all + 2 * all + e];
                        d[at + j * 3 * all + 2 * all + e] += p[j] * g[to + e];
                    }
                    mean += p[j] * dp[j];
                }
                for (int j = 0; j < s->tokens; j++)
                    for (int e = 0; e < s->width; e++) {
                        double ds = share * p[j] * (dp[j] - mean);
                        d[at + i * 3 * all + e] += ds * qkv[at + j * 3 * all + all + e];
                        d[at + j * 3 * all + all + e] += ds * qkv[at + i * 3 * all + e];
                    }
            }
}

static double product(const double *a, const double *b, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

static void plain_attention_by_differences(void **state)
{
    (void)state;
    struct sizes s = { 2, 3, 2, 4 };
    int64_t outs = s.images * s.tokens * s.heads * s.width, ins = 3 * outs;
    double *qkv = doubles(ins, 1), *g = doubles(outs, 2), *out = doubles(outs, 3), *d = doubles(ins, 4);
    const double step = 1e-5;
    plain_backward(d, g, qkv, &s);
    for (int64_t i = 0; i < ins; i++) {
        double here = qkv[i];
        qkv[i] = here + step;
        plain_forward(out, qkv, &s);
        double up = product(out, g, outs);
        qkv[i] = here - step;
        plain_forward(out, qkv, &s);
        double down = product(out, g, outs);
        qkv[i] = here;
        assert_true(fabs((up - down) / (2.0 * step) - d[i]) < 1e-8);
    }
    arena_reset(arena);
}

static void check_attention(enum value_type type)
{
    const struct sizes sizes[] = {
        { 2, 5, 3, 64 }, { 1, 1, 2, 16 }, { 3, 197, 2, 64 }, { 1, 37, 1, 8 }, { 4, 197, 12, 8 }
    };
    for (int k = 0; k < 5; k++) {
        struct sizes s = sizes[k];
        int64_t outs = s.images * s.tokens * s.heads * s.width, ins = 3 * outs;
        double *qkv = doubles(ins, 5), *g = doubles(outs, 6), *out = doubles(outs, 0), *d = doubles(ins, 0);
        struct dn *dn = dn_create(arena);
        struct attention *a =
            attention_create(dn, &(struct attention_spec){ "test", s.images, s.tokens, s.heads, s.width, type, true });
        dn_finish(dn);
        for (int64_t i = 0; i < ins; i++)
            qkv[i] *= 4.0; /* probabilities far from even */
        void *in = values(qkv, ins, type), *diff = values(g, outs, type);
        void *found = arena_take(arena, (size_t)outs, 4), *dfound = arena_take(arena, (size_t)ins, 4);
        plain_forward(out, qkv, &s);
        plain_backward(d, g, qkv, &s);
        attention_forward(a, found, in);
        attention_backward(a, dfound, diff, in);
        expect_near(found, out, outs, type, type ? 1e-2 : 1e-5);
        expect_near(dfound, d, ins, type, type ? 2e-2 : 1e-5);
        dn_destroy(dn);
        arena_reset(arena);
    }
}

static void attention_is_the_plain_one(void **state)
{
    (void)state;
    check_attention(VALUE_F32);
}

static void attention_in_bfloat16(void **state)
{
    (void)state;
    if (!half_in_hardware())
        skip();
    check_attention(VALUE_BF16);
}

static void softmax_of_long_and_steep_rows(void **state)
{
    (void)state;
    const int lengths[] = { 1, 7, 197, 511, 513, 2000 };
    for (int k = 0; k < 6; k++) {
        int n = lengths[k];
        double *x = doubles(2 * n, 7), *p = doubles(2 * n, 8);
        for (int i = 0; i < 2 * n; i++)
            x[i] *= i < n ? 3.0 : 400.0; /* the second row underflows */
        float *s = values(x, 2 * n, VALUE_F32), *found = values(p, 2 * n, VALUE_F32);
        softmax_rows(found, s, 0.5f, 2, n, VALUE_F32);
        for (int row = 0; row < 2; row++) {
            double most = -1e9, sum = 0.0;
            for (int i = row * n; i < (row + 1) * n; i++)
                most = fmax(most, x[i]);
            for (int i = row * n; i < (row + 1) * n; i++)
                sum += p[i] = exp(0.5 * (x[i] - most));
            for (int i = row * n; i < (row + 1) * n; i++)
                assert_true(fabs((double)found[i] - p[i] / sum) < 2e-6 * p[i] / sum + 1e-30);
        }
        arena_reset(arena);
    }
    float bad[3] = { 1.0f, NAN, 2.0f }, out[3];
    softmax_rows(out, bad, 1.0f, 1, 3, VALUE_F32);
    assert_true(isnan(out[0]) && isnan(out[1]) && isnan(out[2])); /* not hidden */
}

/* ---- patches, tokens, the picked row ---- */

static void patches_in_the_order_of_a_convolution(void **state)
{
    (void)state;
    enum { COUNT = 2, CHANNELS = 3, SIZE = 12, WINDOW = 4, SIDE = 3, WIDTH = CHANNELS * WINDOW * WINDOW };
    for (int type = VALUE_F32; type <= VALUE_BF16; type++) {
        double *x = doubles(COUNT * CHANNELS * SIZE * SIZE, 9);
        float *images = values(x, COUNT * CHANNELS * SIZE * SIZE, VALUE_F32);
        void *out = arena_take(arena, COUNT * SIDE * SIDE * WIDTH, 4);
        patches_gather(out, images, COUNT, CHANNELS, SIZE, WINDOW, (enum value_type)type);
        for (int i = 0; i < COUNT * SIDE * SIDE * WIDTH; i++) {
            int column = i % WINDOW, row = i / WINDOW % WINDOW, c = i / WINDOW / WINDOW % CHANNELS;
            int px = i / WIDTH % SIDE, py = i / WIDTH / SIDE % SIDE, image = i / WIDTH / SIDE / SIDE;
            float expected = images[((image * CHANNELS + c) * SIZE + py * WINDOW + row) * SIZE + px * WINDOW + column];
            if (type == VALUE_BF16)
                expected = bf16_to_float(bf16_from_float(expected));
            assert_true(value_load(out, i, (enum value_type)type) == expected);
        }
        arena_reset(arena);
    }
}

/* Tokens are linear in their three inputs: products with a gradient tell all of it. */
static void tokens_and_their_gradients(void **state)
{
    (void)state;
    enum { IMAGES = 3, PATCHES = 5, WIDTH = 7, IN = IMAGES * PATCHES * WIDTH, OUT = IMAGES * (PATCHES + 1) * WIDTH };
    for (int type = VALUE_F32; type <= VALUE_BF16; type++) {
        enum value_type t = (enum value_type)type;
        double *x = doubles(IN, 11), *g = doubles(OUT, 12), *token = doubles(WIDTH, 13),
               *position = doubles((PATCHES + 1) * WIDTH, 14), *y = doubles(OUT, 15);
        void *in = values(x, IN, t), *diff = values(g, OUT, t), *out = values(y, OUT, t);
        float *ftoken = values(token, WIDTH, VALUE_F32),
              *fposition = values(position, (PATCHES + 1) * WIDTH, VALUE_F32);
        float dtoken[WIDTH], dposition[(PATCHES + 1) * WIDTH];
        void *dx = arena_take(arena, IN, 4);
        tokens_forward(out, in, ftoken, fposition, IMAGES, PATCHES, WIDTH, t);
        tokens_backward(dx, dtoken, dposition, diff, IMAGES, PATCHES, WIDTH, t);
        double *dp = doubles((PATCHES + 1) * WIDTH, 0), *d = doubles(IN, 0);
        memset(dp, 0, (PATCHES + 1) * WIDTH * sizeof *dp);
        for (int i = 0; i < OUT; i++) {
            int c = i % WIDTH, place = i / WIDTH % (PATCHES + 1), image = i / WIDTH / (PATCHES + 1);
            int64_t from = (int64_t)(image * PATCHES + place - 1) * WIDTH + c;
            y[i] = (place ? x[from] : token[c]) + position[place * WIDTH + c];
            dp[place * WIDTH + c] += g[i];
            if (place)
                d[from] = g[i];
        }
        expect_near(out, y, OUT, t, t ? 4e-3 : 1e-6);
        expect_near(dposition, dp, (PATCHES + 1) * WIDTH, VALUE_F32, 1e-6);
        expect_near(dtoken, dp, WIDTH, VALUE_F32, 1e-6);
        expect_near(dx, d, IN, t, 0.0);
        arena_reset(arena);
    }
}

static void first_rows(void **state)
{
    (void)state;
    enum { IMAGES = 2, ROWS = 3, WIDTH = 5 };
    for (int type = VALUE_F32; type <= VALUE_BF16; type++) {
        enum value_type t = (enum value_type)type;
        double *x = doubles(IMAGES * ROWS * WIDTH, 21), *g = doubles(IMAGES * WIDTH, 22);
        void *in = values(x, IMAGES * ROWS * WIDTH, t);
        float out[IMAGES * WIDTH], *diff = values(g, IMAGES * WIDTH, VALUE_F32);
        void *dx = values(doubles(IMAGES * ROWS * WIDTH, 23), IMAGES * ROWS * WIDTH, t);
        pick_first(out, in, IMAGES, ROWS, WIDTH, t);
        pick_first_backward(dx, diff, IMAGES, ROWS, WIDTH, t);
        for (int i = 0; i < IMAGES * ROWS * WIDTH; i++) {
            int c = i % WIDTH, row = i / WIDTH % ROWS, image = i / WIDTH / ROWS;
            double expected = row ? 0.0 : g[image * WIDTH + c];
            assert_true(fabs((double)value_load(dx, i, t) - expected) <= 4e-3 * fabs(expected));
            assert_true(row || (double)out[image * WIDTH + c] == x[i]);
        }
        arena_reset(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_attention_by_differences),
        cmocka_unit_test(attention_is_the_plain_one),
        cmocka_unit_test(attention_in_bfloat16),
        cmocka_unit_test(softmax_of_long_and_steep_rows),
        cmocka_unit_test(patches_in_the_order_of_a_convolution),
        cmocka_unit_test(tokens_and_their_gradients),
        cmocka_unit_test(first_rows),
    };
    arena = arena_create("test", 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return failed;
}
