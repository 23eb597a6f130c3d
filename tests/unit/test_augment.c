/* The training transforms: what must not change, ranges of the draws, and the order of steps. Equality with
 * torchvision: tests/parity/test_image.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "image/augment.h"
#include "image/resize.h"

enum { H = 21, W = 34, C = 3, BYTES = H * W * C };
static struct arena *arena;

static void make(uint8_t *pixels)
{
    for (int i = 0; i < BYTES; i++)
        pixels[i] = (uint8_t)(i * i / 11 + i);
}

static void test_rotation_by_nothing(void **state)
{
    (void)state;
    uint8_t in[BYTES], out[BYTES];
    make(in);
    augment_rotate(out, in, H, W, C, 0.0);
    assert_memory_equal(in, out, BYTES);
    augment_rotate(out, in, H, W, C, 1e-16);
    assert_memory_equal(in, out, BYTES);
}

/* The centre stays where it is, the corners are lost to zeros. */
static void test_rotation(void **state)
{
    (void)state;
    uint8_t in[31 * 31], out[31 * 31];
    memset(in, 200, sizeof in);
    in[15 * 31 + 15] = 77;
    augment_rotate(out, in, 31, 31, 1, 30.0);
    assert_int_equal(out[15 * 31 + 15], 77);
    assert_int_equal(out[0], 0);
    assert_int_equal(out[31 * 31 - 1], 0);
    int sum = 0;
    for (int i = 0; i < 31 * 31; i++)
        sum += out[i] > 0;
    assert_in_range(sum, 800, 930);
}

static void test_flip(void **state)
{
    (void)state;
    uint8_t in[BYTES], out[BYTES];
    make(in);
    make(out);
    augment_flip(out, H, W, C);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            assert_memory_equal(out + (y * W + x) * C, in + (y * W + W - 1 - x) * C, C);
    augment_flip(out, H, W, C);
    assert_memory_equal(in, out, BYTES);
}

static void test_blur_keeps_flat_images_and_small_ones(void **state)
{
    (void)state;
    uint8_t pixels[6 * 6];
    for (int h = 1; h <= 6; h++)
        for (int w = 1; w <= 6; w++) {
            memset(pixels, 131, sizeof pixels);
            augment_blur(arena, pixels, h, w, 1, 1.9);
            for (int i = 0; i < h * w; i++)
                assert_int_equal(pixels[i], 131);
        }
}

/* A plain blur: 25 products in double with mirrored borders. */
static double plain_blur(const uint8_t *in, int y, int x, int k, double sigma)
{
    double sum = 0, total = 0;
    for (int dy = -2; dy <= 2; dy++)
        for (int dx = -2; dx <= 2; dx++) {
            int yy = y + dy < 0 ? -(y + dy) : y + dy >= H ? 2 * H - 2 - y - dy : y + dy;
            int xx = x + dx < 0 ? -(x + dx) : x + dx >= W ? 2 * W - 2 - x - dx : x + dx;
            double weight = exp(-(dx * dx + dy * dy) / (2 * sigma * sigma));
            total += weight;
            sum += weight * in[(yy * W + xx) * C + k];
        }
    return sum / total;
}

static void test_blur(void **state)
{
    (void)state;
    uint8_t in[BYTES], out[BYTES];
    static const double sigmas[] = { 0.1, 0.8, 2.0 };
    make(in);
    for (int s = 0; s < 3; s++) {
        make(out);
        augment_blur(arena, out, H, W, C, sigmas[s]);
        for (int i = 0; i < BYTES; i++) {
            double exact = plain_blur(in, i / C / W, i / C % W, i % C, sigmas[s]);
            if (fabs(out[i] - exact) > 0.5001)
                fail_msg("sigma %g, byte %d: %d, exact %g", sigmas[s], i, out[i], exact);
        }
    }
}

static void test_draws(void **state)
{
    (void)state;
    int flips = 0;
    double low = 1e9, high = -1e9, angles = 0, sigmas = 0;
    for (int64_t row = 0; row < 4000; row++) {
        struct augment a = augment_draw(7, 3, row), again = augment_draw(7, 3, row);
        assert_true(a.angle == again.angle && a.flip == again.flip && a.sigma == again.sigma);
        assert_true(a.angle >= -30 && a.angle < 30 && a.sigma >= 0.1 && a.sigma < 2.0);
        flips += a.flip;
        angles += a.angle;
        sigmas += a.sigma;
        low = fmin(low, a.angle);
        high = fmax(high, a.angle);
    }
    assert_in_range(flips, 1850, 2150);
    assert_true(fabs(angles / 4000) < 1.0 && fabs(sigmas / 4000 - 1.05) < 0.05);
    assert_true(low < -29.5 && high > 29.5);
    assert_true(augment_draw(7, 3, 1).angle != augment_draw(7, 4, 1).angle);
    assert_true(augment_draw(7, 3, 1).angle != augment_draw(8, 3, 1).angle);
    assert_true(augment_draw(7, 3, 1).angle != augment_draw(7, 3, 2).angle);
}

/* Rotation, flip, blur, then the resize. */
static void test_order(void **state)
{
    (void)state;
    enum { S = 16 };
    struct augment draws = { 13.0, true, 0.9 };
    uint8_t in[BYTES], step[BYTES], out[S * S * C], expected[S * S * C];
    int to_h, to_w;
    make(in);
    augment_apply(arena, out, &(struct preprocess){ .size = S }, in, H, W, C, &draws);
    augment_rotate(step, in, H, W, C, draws.angle);
    augment_flip(step, H, W, C);
    augment_blur(arena, step, H, W, C, draws.sigma);
    resize_short_side(&to_h, &to_w, H, W, S);
    uint8_t *scaled = arena_take(arena, (size_t)to_h * (size_t)to_w, C);
    resize_bicubic(arena, scaled, to_h, to_w, step, H, W, C);
    crop_centre(expected, S, scaled, to_h, to_w, C);
    assert_memory_equal(out, expected, sizeof out);
}

static void test_normalise(void **state)
{
    (void)state;
    uint8_t grey[4] = { 0, 255, 128, 1 };
    float out[12];
    static const float mean[3] = { 0.48145466f, 0.4578275f, 0.40821073f };
    static const float deviation[3] = { 0.26862954f, 0.26130258f, 0.27577711f };
    struct preprocess view = { .size = 2 };
    memcpy(view.mean, mean, sizeof mean);
    memcpy(view.deviation, deviation, sizeof deviation);
    augment_normalise(out, grey, &view, 1);
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 4; i++)
            assert_true(out[4 * k + i] == ((float)grey[i] / 255.0f - mean[k]) / deviation[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rotation_by_nothing),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_flip),
        cmocka_unit_test(test_blur_keeps_flat_images_and_small_ones),
        cmocka_unit_test(test_blur),
        cmocka_unit_test(test_draws),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_normalise),
    };
    arena = arena_create("test", 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return failed;
}
