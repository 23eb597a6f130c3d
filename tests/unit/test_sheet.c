/* Contact sheets: tiles land where they belong, grey stays grey, and a PNG read back by libpng has the same pixels. */
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "report/sheet.h"
#include "test_arena.h"

enum { SIZE = 5, COUNT = 7 };

/* Tile t, pixel (y, x): a value of its own. */
static void make_tiles(uint8_t *rgb, int coloured)
{
    for (int i = 0; i < COUNT * SIZE * SIZE; i++)
        for (int c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)(i + (coloured ? 50 * c : 0));
}

static void check_tiles(struct picture sheet, const uint8_t *rgb, struct sheet_style style)
{
    int step = SIZE + 2 * style.border + style.gap;
    for (int t = 0; t < COUNT; t++)
        for (int y = 0; y < SIZE; y++)
            for (int x = 0; x < SIZE; x++) {
                int px = style.gap + t % style.columns * step + style.border + x;
                int py = style.gap + t / style.columns * step + style.border + y;
                const uint8_t *got = sheet.pixels + ((int64_t)py * sheet.width + px) * sheet.channels;
                assert_memory_equal(got, rgb + 3 * ((t * SIZE + y) * SIZE + x), (size_t)sheet.channels);
            }
}

static void test_grid(void **state)
{
    (void)state;
    uint8_t rgb[COUNT * SIZE * SIZE * 3];
    struct sheet_style style = { .columns = 3, .border = 1, .gap = 2 };
    for (int coloured = 0; coloured < 2; coloured++) {
        make_tiles(rgb, coloured);
        struct picture sheet = sheet_grid(arena, rgb, COUNT, SIZE, style, NULL);
        assert_int_equal(sheet.channels, coloured ? 3 : 1);
        assert_int_equal(sheet.width, 3 * 9 + 2);
        assert_int_equal(sheet.height, 3 * 9 + 2);
        check_tiles(sheet, rgb, style);
        assert_int_equal(sheet.pixels[0], 255);                                                        /* gap */
        assert_int_equal(sheet.pixels[(2 * sheet.width + 2) * sheet.channels], 128);                   /* border */
        assert_int_equal(sheet.pixels[(int64_t)sheet.width * sheet.height * sheet.channels - 1], 255); /* empty cell */
    }
}

static void test_frames(void **state)
{
    (void)state;
    uint8_t rgb[COUNT * SIZE * SIZE * 3], frame[COUNT * 3];
    make_tiles(rgb, 0);
    for (int i = 0; i < COUNT * 3; i++)
        frame[i] = (uint8_t)(i + 1);
    struct picture sheet = sheet_grid(arena, rgb, COUNT, SIZE, (struct sheet_style){ 7, 2, 0 }, frame);
    assert_int_equal(sheet.channels, 3); /* grey tiles, coloured frames */
    assert_memory_equal(sheet.pixels + (int64_t)9 * 4 * 3, frame + 4 * 3, 3);
    check_tiles(sheet, rgb, (struct sheet_style){ 7, 2, 0 });
    struct picture none = sheet_grid(arena, rgb, 0, SIZE, (struct sheet_style){ 4, 1, 1 }, NULL);
    assert_true(none.width > 0 && none.height > 0); /* a neuron without images still gives a picture */
}

static void test_png(void **state)
{
    (void)state;
    for (int channels = 1; channels <= 3; channels += 2) {
        struct picture in = picture_new(arena, 37, 11, channels);
        for (int i = 0; i < 37 * 11 * channels; i++)
            in.pixels[i] = (uint8_t)(i * 13);
        size_t length, again;
        uint8_t *bytes = picture_png(arena, in, "neuron 1", "caf\xc3\xa9", &length);
        uint8_t *twice = picture_png(arena, in, "neuron 1", "caf\xc3\xa9", &again);
        assert_int_equal(length, again);
        assert_memory_equal(bytes, twice, length);
        png_image read = { .version = PNG_IMAGE_VERSION };
        assert_true(png_image_begin_read_from_memory(&read, bytes, length));
        assert_int_equal(read.width, 37);
        assert_int_equal(read.height, 11);
        read.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
        uint8_t out[37 * 11 * 3];
        assert_true(png_image_finish_read(&read, NULL, out, 0, NULL));
        assert_memory_equal(out, in.pixels, (size_t)(37 * 11 * channels));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grid),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_png),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
