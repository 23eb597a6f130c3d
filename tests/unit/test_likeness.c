/* What a picture looks like: hashes and thumbnails of copies agree, those of other pictures do not; features of
 * appearance are what their table says, on pictures small enough to count by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "image/appearance.h"
#include "image/decode.h"
#include "image/likeness.h"
#include "image/resize.h"
#include "test_arena.h"

enum { H = 300, W = 420 };

/* A smooth shape under texture, both of `salt`. */
static uint8_t *draw(int salt, int texture)
{
    struct rng rng = { .purpose = RNG_TEST };
    uint8_t *out = arena_array(arena, uint8_t, H * W);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            double v = 120 + 60 * sin(x / 31.0 + salt) * cos(y / (22.0 + salt));
            v += 9 * rng_normal(&rng, (uint64_t)texture, (uint64_t)(y / 2 * W + x / 2));
            out[y * W + x] = (uint8_t)fmin(fmax(v, 0), 255);
        }
    return out;
}

struct seen {
    struct likeness of;
    uint8_t thumbnail[LIKENESS_PIXELS], fine[4 * LIKENESS_PIXELS];
};

static struct seen *see(const uint8_t *luma, int h, int w)
{
    struct seen *s = arena_array(arena, struct seen, 1);
    likeness_measure(&s->of, s->thumbnail, arena, luma, h, w, h < w ? h : w);
    resize_image(arena, s->fine, 128, 128, luma, h, w, 1, FILTER_BILINEAR);
    return s;
}

static bool alike(const struct seen *a, const struct seen *b)
{
    static const float median[LIKENESS_FREQUENCIES];
    struct likeness_code x = likeness_encode(&a->of, median), y = likeness_encode(&b->of, median);
    int bits, resolution = x.resolution < y.resolution ? x.resolution : y.resolution;
    double correlation;
    return likeness_distance(&bits, &x, &y) >= 0 &&
           likeness_agree(&correlation, a->thumbnail, b->thumbnail, resolution) &&
           (likeness_fine_side(resolution) < 128 || likeness_agree_finely(arena, a->fine, b->fine, 128));
}

static void test_copies(void **state)
{
    (void)state;
    uint8_t *picture = draw(3, 1), *changed = arena_array(arena, uint8_t, H * W),
            *small = arena_array(arena, uint8_t, H * W);
    struct seen *original = see(picture, H, W);
    assert_true(alike(original, original));
    for (int i = 0; i < H * W; i++)
        changed[i] = (uint8_t)fmin(1.1 * picture[i] + 12, 255);
    assert_true(alike(original, see(changed, H, W)));
    for (int i = 0; i < H * W; i++)
        changed[i] = (uint8_t)(255 * pow(picture[i] / 255.0, 0.8));
    assert_true(alike(original, see(changed, H, W)));
    resize_image(arena, small, 150, 210, picture, H, W, 1, FILTER_BICUBIC);
    assert_true(alike(original, see(small, 150, 210)));
    resize_image(arena, changed, H, H, picture, H, W, 1, FILTER_BILINEAR);
    assert_true(alike(original, see(changed, H, H)));
}

static void test_others(void **state)
{
    (void)state;
    struct seen *original = see(draw(3, 1), H, W);
    assert_false(alike(original, see(draw(4, 1), H, W)));
    assert_false(alike(original, see(draw(3, 2), H, W))); /* the same shape in another texture */
    uint8_t *mirrored = draw(3, 1);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W / 2; x++) {
            uint8_t keep = mirrored[y * W + x];
            mirrored[y * W + x] = mirrored[y * W + W - 1 - x];
            mirrored[y * W + W - 1 - x] = keep;
        }
    assert_false(alike(original, see(mirrored, H, W)));
}

/* A flat picture says so and is like nothing; thumbnails of small files are judged by what they hold. */
static void test_flat_and_small(void **state)
{
    (void)state;
    uint8_t *grey = arena_array(arena, uint8_t, H * W), *small = arena_array(arena, uint8_t, H * W);
    memset(grey, 77, H * W);
    struct seen *flat = see(grey, H, W);
    assert_int_equal(flat->of.flat, 1);
    for (int k = 0; k < LIKENESS_FREQUENCIES; k++)
        assert_true(flat->of.frequency[k] == 0.0f);
    assert_false(alike(flat, flat));
    assert_int_equal(likeness_fine_side(191), 0);
    assert_int_equal(likeness_fine_side(192), 128);
    assert_int_equal(likeness_fine_side(384), 256);
    resize_image(arena, small, 28, 28, draw(3, 1), H, W, 1, FILTER_BICUBIC);
    struct seen *tiny = see(small, 28, 28);
    assert_int_equal(tiny->of.clear[0] | tiny->of.clear[1] | tiny->of.clear[2] | tiny->of.clear[3], 0);
    assert_true(alike(tiny, tiny));
}

static void test_stands_out(void **state)
{
    (void)state;
    const uint8_t *others[6];
    for (int k = 0; k < 6; k++)
        others[k] = see(draw(3, 10 + k), H, W)->thumbnail;
    struct seen *a = see(draw(3, 1), H, W), *b = see(draw(3, 2), H, W);
    assert_true(likeness_stands_out(a->thumbnail, a->thumbnail, others, 6));
    assert_false(likeness_stands_out(a->thumbnail, b->thumbnail, others, 6));
}

static void test_appearance(void **state)
{
    (void)state;
    /* 4 x 8, left half 0, right half 250 red. */
    uint8_t rgb[4 * 8 * 3] = { 0 };
    for (int y = 0; y < 4; y++)
        for (int x = 4; x < 8; x++)
            rgb[(y * 8 + x) * 3] = 250;
    struct image picture = { 4, 8, 3, rgb };
    const uint8_t *luma = likeness_luma(arena, &picture);
    assert_int_equal(luma[0], 0);
    assert_int_equal(luma[7], 75); /* 250 x 0.299 */
    struct appearance seen;
    appearance_measure(&seen, &picture, luma, 40, 80);
    const float *f = seen.feature;
    assert_true(f[0] == 0.5f && f[4] == 0.5f);
    const float *borders = f + appearance_first[APPEARANCE_BORDERS];
    assert_true(fabsf(borders[0] - 37.5f / 255) < 1e-6f && borders[1] == 0.5f && borders[2] == 0); /* top */
    assert_true(borders[6] == 0 && borders[7] == 1);                                               /* left */
    assert_true(fabsf(borders[9] - 75.0f / 255) < 1e-6f && borders[10] == 0);                      /* right */
    const float *size = f + appearance_first[APPEARANCE_SIZE];
    assert_true(fabsf(size[0] - log2f(40)) < 1e-6f && fabsf(size[1] - log2f(80)) < 1e-6f && size[2] == -1);
    const float *sharp = f + appearance_first[APPEARANCE_SHARPNESS];
    assert_true(fabsf(sharp[0] - log1pf(75.0f * 75 / 6)) < 1e-5f && sharp[1] == 0); /* one step in six, none down */
    assert_true(fabsf(sharp[2] - log1pf(2 * 75.0f * 75 / 6)) < 1e-5f);
    const float *colour = f + appearance_first[APPEARANCE_COLOUR];
    assert_true(fabsf(colour[0] - 125.0f / 255) < 1e-6f && colour[1] == 0 && fabsf(colour[3] - 125.0f / 255) < 1e-6f);
    assert_true(fabsf(colour[6] - 125.0f / 255) < 1e-6f && colour[7] == 0);
    assert_int_equal(appearance_levels(seen.level), 2);
    assert_int_equal(appearance_first[APPEARANCE_FAMILIES], APPEARANCE_FEATURES);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_copies), cmocka_unit_test(test_others),
                                        cmocka_unit_test(test_flat_and_small), cmocka_unit_test(test_stands_out),
                                        cmocka_unit_test(test_appearance) };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
