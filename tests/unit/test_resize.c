/* Resampling against a plain version of the same definition, and the sizes and offsets around it. Equality with
 * Pillow: tests/parity/test_image.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "image/resize.h"

static struct arena *arena;

static double cubic(double x)
{
    x = fabs(x);
    return x < 1 ? 1.5 * x * x * x - 2.5 * x * x + 1 : x < 2 ? -0.5 * (x * x * x - 5 * x * x + 8 * x - 4) : 0;
}

/* Plain: weights in double at every pixel, one axis of a strided line. */
static void plain_line(uint8_t *out, int to, size_t out_step, const uint8_t *in, int from, size_t in_step)
{
    double scale = (double)from / to, stretch = scale < 1 ? 1 : scale;
    for (int i = 0; i < to; i++) {
        double centre = (i + 0.5) * scale, sum = 0, total = 0;
        int first = (int)fmax(centre - 2 * stretch + 0.5, 0), last = (int)fmin(centre + 2 * stretch + 0.5, from);
        for (int j = first; j < last; j++) {
            double weight = cubic((j + 0.5 - centre) / stretch);
            total += weight;
            sum += weight * in[(size_t)j * in_step];
        }
        out[(size_t)i * out_step] = (uint8_t)fmin(fmax(floor(sum / total + 0.5), 0), 255);
    }
}

static void plain_resize(uint8_t *out, int to_h, int to_w, const uint8_t *in, int h, int w, int c)
{
    size_t channels = (size_t)c, wide = (size_t)to_w * channels;
    uint8_t *between = arena_take(arena, (size_t)h, wide);
    for (int y = 0; y < h; y++)
        for (size_t k = 0; k < channels; k++)
            plain_line(between + (size_t)y * wide + k, to_w, channels, in + (size_t)(y * w) * channels + k, w,
                       channels);
    for (size_t x = 0; x < wide; x++)
        plain_line(out + x, to_h, wide, between + x, h, wide);
}

/* A level apart where the exact value is near a half: 22 bits of weight against double. */
static void compare(int h, int w, int c, int to_h, int to_w)
{
    struct arena_mark mark = arena_mark(arena);
    size_t in_bytes = (size_t)(h * w * c), out_bytes = (size_t)(to_h * to_w * c), off = 0;
    uint8_t *in = arena_take(arena, in_bytes, 1), *fast = arena_take(arena, out_bytes, 1);
    uint8_t *plain = arena_take(arena, out_bytes, 1);
    for (size_t i = 0; i < in_bytes; i++)
        in[i] = (uint8_t)(i * 2654435761u >> 13);
    struct arena_mark before = arena_mark(arena);
    resize_bicubic(arena, fast, to_h, to_w, in, h, w, c);
    struct arena_mark after = arena_mark(arena);
    assert_memory_equal(&before, &after, sizeof before); /* scratch is given back */
    plain_resize(plain, to_h, to_w, in, h, w, c);
    for (size_t i = 0; i < out_bytes; i++) {
        if (abs(fast[i] - plain[i]) > 1)
            fail_msg("%dx%dx%d to %dx%d, byte %zu: %d, plain %d", h, w, c, to_h, to_w, i, fast[i], plain[i]);
        off += fast[i] != plain[i];
    }
    assert_true(off * 200 <= out_bytes);
    arena_release(arena, mark);
}

static void test_as_the_plain_version(void **state)
{
    (void)state;
    compare(64, 64, 1, 32, 48);
    compare(31, 77, 3, 31, 20);
    compare(31, 77, 3, 90, 77);
    compare(19, 300, 3, 40, 17);
    compare(9, 9, 1, 300, 1);
    compare(1, 1, 3, 5, 7);
}

static void test_flat_images_stay_flat(void **state)
{
    (void)state;
    uint8_t in[40 * 30], out[64 * 64];
    for (int level = 0; level < 256; level += 15) {
        memset(in, level, sizeof in);
        for (int size = 1; size <= 64; size += 21) {
            resize_bicubic(arena, out, size, 65 - size, in, 40, 30, 1);
            for (int i = 0; i < size * (65 - size); i++)
                assert_int_equal(out[i], level);
        }
    }
}

static void test_equal_size_is_a_copy(void **state)
{
    (void)state;
    uint8_t in[7 * 5 * 3], out[sizeof in] = { 0 };
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 37);
    resize_bicubic(arena, out, 7, 5, in, 7, 5, 3);
    assert_memory_equal(in, out, sizeof in);
}

static void expect_size(int h, int w, int side, int to_h, int to_w)
{
    int found_h, found_w;
    resize_short_side(&found_h, &found_w, h, w, side);
    assert_int_equal(found_h, to_h);
    assert_int_equal(found_w, to_w);
}

static void test_short_side(void **state)
{
    (void)state;
    expect_size(450, 600, 224, 224, 298); /* 298.67 is cut */
    expect_size(600, 450, 224, 298, 224);
    expect_size(64, 64, 224, 224, 224);
    expect_size(1, 3, 5, 5, 15);
    expect_size(100000, 99999, 100000, 100001, 100000);
}

static void test_crop_and_pad(void **state)
{
    (void)state;
    uint8_t in[6 * 9], out[25];
    for (int i = 0; i < 54; i++)
        in[i] = (uint8_t)(i + 1);
    crop_centre(out, 5, in, 6, 9, 1); /* top round(0.5) = 0, left 2 */
    assert_int_equal(out[0], 3);
    assert_int_equal(out[24], 4 * 9 + 7);
    crop_centre(out, 5, in, 2, 9, 1); /* one row of zeros above, two below */
    assert_int_equal(out[4], 0);
    assert_int_equal(out[5], 3);
    assert_int_equal(out[14], 9 + 7);
    assert_int_equal(out[15], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_the_plain_version), cmocka_unit_test(test_flat_images_stay_flat),
        cmocka_unit_test(test_equal_size_is_a_copy), cmocka_unit_test(test_short_side),
        cmocka_unit_test(test_crop_and_pad),
    };
    arena = arena_create("test", 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return failed;
}
