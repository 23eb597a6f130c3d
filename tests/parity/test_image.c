/* Pixels against Pillow and torchvision (scripts/dump_image.py): images come from one formula on both sides.
 *
 *   resize, rotation, crop, evaluation transform with normalisation, decoded files: the same bits
 *   blur and what follows it: at most one level; torch sums 25 products of a 5 x 5 kernel in an order of its own,
 *   here two passes of 5, so values next to a half may round the other way. Few may: 1 % of the pixels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "config/statistics.h"
#include "digest.h"
#include "image/augment.h"
#include "image/decode.h"
#include "image/resize.h"

static const uint64_t FNV_START = 0xCBF29CE484222325u;
static struct arena *arena;

static uint8_t *formula_image(int h, int w, int c)
{
    uint8_t *pixels = arena_take(arena, (size_t)h * (size_t)w, (size_t)c), *at = pixels;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int k = 0; k < c; k++)
                *at++ = (uint8_t)((x * x * 3 + y * y * 5 + x * y * 7 + 11 * k * (x + 2 * y) + 13 * k) / 4 % 256);
    return pixels;
}

static uint8_t *take_image(int h, int w, int c)
{
    return arena_take(arena, (size_t)h * (size_t)w, (size_t)c);
}

static uint8_t *unhex(const char *hex, size_t *count)
{
    *count = strlen(hex) / 2;
    uint8_t *bytes = arena_take(arena, *count + 1, 1);
    for (size_t i = 0; i < *count; i++) {
        char two[3] = { hex[2 * i], hex[2 * i + 1], '\0' };
        bytes[i] = (uint8_t)strtoul(two, NULL, 16);
    }
    return bytes;
}

static void expect_same(const char *line, const void *data, size_t bytes, const char *hash)
{
    char found[17];
    snprintf(found, sizeof found, "%016" PRIx64, digest(FNV_START, data, bytes));
    if (strcmp(found, hash) != 0)
        fail_msg("%.60s: %s, expected %s", line, found, hash);
}

static void expect_near(const char *line, const uint8_t *found, const char *hex)
{
    size_t count, off = 0;
    uint8_t *expected = unhex(hex, &count);
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        int difference = abs(found[i] - expected[i]);
        if (difference > 1)
            fail_msg("%.60s: byte %zu is %d, expected %d", line, i, found[i], expected[i]);
        off += difference != 0;
    }
    if (off * 100 > count)
        fail_msg("%.60s: %zu of %zu bytes differ", line, off, count);
}

/* The lines of a fixture that begin with `kind`, one after another through `check`; at least one. */
static void each_line(const char *fixture, const char *kind, void (*check)(const char *line))
{
    size_t size;
    const char *why = "";
    char path[200];
    snprintf(path, sizeof path, "tests/parity/fixtures/%s", fixture);
    arena = arena_create("test", 1 << 20);
    char *at = file_read(arena, path, 1 << 24, &size, &why);
    if (!at)
        fail_msg("%s: %s", path, why);
    int lines = 0;
    while (*at) {
        char *line = at;
        at += strcspn(at, "\n");
        if (*at)
            *at++ = '\0';
        if (!text_starts(line, kind))
            continue;
        struct arena_mark mark = arena_mark(arena);
        check(line);
        arena_release(arena, mark);
        lines++;
    }
    assert_true(lines > 1);
    arena_destroy(arena);
}

static void check_resize(const char *line)
{
    int h, w, c, to_h, to_w;
    char hash[17];
    assert_int_equal(sscanf(line, "resize %d %d %d %d %d %16s", &h, &w, &c, &to_h, &to_w, hash), 6);
    uint8_t *out = take_image(to_h, to_w, c);
    resize_bicubic(arena, out, to_h, to_w, formula_image(h, w, c), h, w, c);
    expect_same(line, out, (size_t)to_h * (size_t)to_w * (size_t)c, hash);
}

static void check_rotate(const char *line)
{
    int h, w, c;
    double angle;
    char hash[17];
    assert_int_equal(sscanf(line, "rotate %d %d %d %lf %16s", &h, &w, &c, &angle, hash), 5);
    uint8_t *out = take_image(h, w, c);
    augment_rotate(out, formula_image(h, w, c), h, w, c, angle);
    expect_same(line, out, (size_t)h * (size_t)w * (size_t)c, hash);
}

static void check_crop(const char *line)
{
    int h, w, c, size;
    char hash[17];
    assert_int_equal(sscanf(line, "crop %d %d %d %d %16s", &h, &w, &c, &size, hash), 5);
    uint8_t *out = take_image(size, size, c);
    crop_centre(out, size, formula_image(h, w, c), h, w, c);
    expect_same(line, out, (size_t)size * (size_t)size * (size_t)c, hash);
}

static void check_blur(const char *line)
{
    int h, w, c, at;
    double sigma;
    assert_int_equal(sscanf(line, "blur %d %d %d %lf %n", &h, &w, &c, &sigma, &at), 4);
    uint8_t *pixels = formula_image(h, w, c);
    augment_blur(arena, pixels, h, w, c, sigma);
    expect_near(line, pixels, line + at);
}

static struct preprocess view_of(const char *statistics, int size, int resize, enum filter filter)
{
    struct preprocess view = { .size = size, .resize = resize, .filter = filter };
    assert_true(statistics_read(view.mean, statistics, false) && statistics_read(view.deviation, statistics, true));
    return view;
}

/* Resize(resize, interpolation), CenterCrop(size), ToTensor(), Normalize(statistics) of torchvision. */
static void check_view(const char *line)
{
    static const struct {
        const char *name;
        enum filter filter;
    } filters[] = { { "bicubic", FILTER_BICUBIC }, { "bilinear", FILTER_BILINEAR }, { "nearest", FILTER_NEAREST } };
    int h, w, c, resize, size, f = 0;
    char filter[16], statistics[16], hash[17];
    assert_int_equal(
        sscanf(line, "view %d %d %d %d %d %15s %15s %16s", &h, &w, &c, &resize, &size, filter, statistics, hash), 8);
    while (f < 2 && strcmp(filters[f].name, filter) != 0)
        f++;
    struct preprocess view = view_of(statistics, size, resize, filters[f].filter);
    uint8_t *pixels = take_image(size, size, c);
    float *out = arena_array(arena, float, 3 * size * size);
    augment_apply(arena, pixels, &view, formula_image(h, w, c), h, w, c, NULL);
    augment_normalise(out, pixels, &view, c);
    expect_same(line, out, 3 * (size_t)size * (size_t)size * sizeof *out, hash);
}

static void check_evaluate(const char *line)
{
    int h, w, c, size;
    char hash[17];
    assert_int_equal(sscanf(line, "evaluate %d %d %d %d %16s", &h, &w, &c, &size, hash), 5);
    uint8_t *view = take_image(size, size, c);
    float *out = arena_array(arena, float, 3 * size * size);
    struct preprocess clip = view_of("clip", size, 0, FILTER_BICUBIC);
    augment_apply(arena, view, &clip, formula_image(h, w, c), h, w, c, NULL);
    augment_normalise(out, view, &clip, c);
    expect_same(line, out, 3 * (size_t)size * (size_t)size * sizeof *out, hash);
}

static void check_train(const char *line)
{
    int h, w, c, size, flip, at;
    struct augment draws;
    assert_int_equal(
        sscanf(line, "train %d %d %d %d %lf %d %lf %n", &h, &w, &c, &size, &draws.angle, &flip, &draws.sigma, &at), 7);
    draws.flip = flip != 0;
    uint8_t *view = take_image(size, size, c);
    struct preprocess clip = view_of("clip", size, 0, FILTER_BICUBIC);
    augment_apply(arena, view, &clip, formula_image(h, w, c), h, w, c, &draws);
    expect_near(line, view, line + at);
}

static void check_file(const char *line)
{
    int h, w, c, at;
    size_t size;
    char name[64], hash[17];
    const char *why = "";
    struct image image;
    assert_int_equal(sscanf(line, "%63s %d %d %d %16s %n", name, &h, &w, &c, hash, &at), 5);
    uint8_t *bytes = unhex(line + at, &size);
    if (!image_decode(arena, &image, NULL, bytes, size, &(struct image_reading){ .max_megapixels = 1 }, &why))
        fail_msg("%s: %s", name, why);
    assert_int_equal(image.height, h);
    assert_int_equal(image.width, w);
    assert_int_equal(image.channels, c);
    image = image_widen(arena, image);
    expect_same(line, image.pixels, (size_t)h * (size_t)w * 3, hash);
}

static void test_resize_has_the_bits_of_pillow(void **state)
{
    (void)state;
    each_line("image_pixels.txt", "resize ", check_resize);
}

static void test_rotate_has_the_bits_of_pillow(void **state)
{
    (void)state;
    each_line("image_pixels.txt", "rotate ", check_rotate);
}

static void test_crop_is_torchvisions(void **state)
{
    (void)state;
    each_line("image_pixels.txt", "crop ", check_crop);
}

static void test_blur_is_within_a_level(void **state)
{
    (void)state;
    each_line("image_pixels.txt", "blur ", check_blur);
}

static void test_evaluation_has_the_bits_of_torchvision(void **state)
{
    (void)state;
    each_line("image_pixels.txt", "evaluate ", check_evaluate);
}

static void test_views_have_the_bits_of_torchvision(void **state)
{
    (void)state;
    each_line("image_pixels.txt", "view ", check_view);
}

static void test_training_is_within_a_level(void **state)
{
    (void)state;
    each_line("image_pixels.txt", "train ", check_train);
}

static void test_files_decode_as_in_pillow(void **state)
{
    (void)state;
    each_line("image_files.txt", "", check_file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resize_has_the_bits_of_pillow),
        cmocka_unit_test(test_rotate_has_the_bits_of_pillow),
        cmocka_unit_test(test_crop_is_torchvisions),
        cmocka_unit_test(test_blur_is_within_a_level),
        cmocka_unit_test(test_evaluation_has_the_bits_of_torchvision),
        cmocka_unit_test(test_views_have_the_bits_of_torchvision),
        cmocka_unit_test(test_training_is_within_a_level),
        cmocka_unit_test(test_files_decode_as_in_pillow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
