/* Decoding: what comes back after encoding, and what is refused: cut off, damaged, too large, something else.
 * Equality with a reference decoder: tests/parity/test_image.c, whose files are used here too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "image/codec.h"
#include "image/decode.h"

static struct arena *arena;
static const char *why;

static bool decode(struct image *out, const uint8_t *bytes, size_t size)
{
    why = NULL;
    bool ok = image_decode(arena, out, bytes, size, 1, &why);
    assert_true(ok == (why == NULL));
    return ok;
}

static void round_trip(int h, int w, int c)
{
    struct image in = { h, w, c, arena_take(arena, (size_t)(h * w), (size_t)c) }, out;
    size_t size;
    for (int i = 0; i < h * w * c; i++)
        in.pixels[i] = (uint8_t)(i * i / 7);
    uint8_t *bytes = image_encode_png(arena, &in, &size, &why);
    assert_non_null(bytes);
    assert_true(decode(&out, bytes, size));
    assert_true(out.height == h && out.width == w && out.channels == c);
    assert_memory_equal(in.pixels, out.pixels, (size_t)(h * w * c));
}

static void test_png_comes_back(void **state)
{
    (void)state;
    round_trip(1, 1, 1);
    round_trip(7, 5, 3);
    round_trip(64, 65, 1);
    round_trip(130, 3, 3);
}

/* Files of the fixture, one after another. Returns their number. */
static int each_file(void (*check)(const char *name, uint8_t *bytes, size_t size))
{
    size_t length;
    int files = 0;
    char *at = file_read(arena, "tests/parity/fixtures/image_files.txt", 1 << 24, &length, &why);
    assert_non_null(at);
    for (char *line, *rest = NULL; (line = strtok_r(at, "\n", &rest)) != NULL; at = NULL, files++) {
        struct arena_mark mark = arena_mark(arena);
        const char *hex = strrchr(line, ' ') + 1;
        size_t size = strlen(hex) / 2;
        uint8_t *bytes = arena_take(arena, size, 1);
        for (size_t i = 0; i < size; i++) {
            char two[3] = { hex[2 * i], hex[2 * i + 1], '\0' };
            bytes[i] = (uint8_t)strtoul(two, NULL, 16);
        }
        check(line, bytes, size);
        arena_release(arena, mark);
    }
    return files;
}

static void check_every_cut(const char *name, uint8_t *bytes, size_t size)
{
    for (size_t cut = 0; cut < size; cut += cut < 64 || cut + 64 > size ? 1 : 5) {
        struct arena_mark mark = arena_mark(arena);
        struct image out;
        if (decode(&out, bytes, cut))
            fail_msg("%.20s: cut at %zu of %zu bytes and still accepted", name, cut, size);
        arena_release(arena, mark);
    }
}

static void test_cut_files_are_refused(void **state)
{
    (void)state;
    assert_true(each_file(check_every_cut) > 20);
}

/* A damaged byte: an answer or a reason, never a crash or an exit (run under sanitizers too). */
static void check_damage(const char *name, uint8_t *bytes, size_t size)
{
    (void)name;
    for (size_t at = 0; at < size; at += 3) {
        struct arena_mark mark = arena_mark(arena);
        struct image out;
        uint8_t kept = bytes[at];
        bytes[at] ^= (uint8_t)(1 + at % 255);
        decode(&out, bytes, size);
        bytes[at] = kept;
        arena_release(arena, mark);
    }
}

static void test_damaged_files_do_no_harm(void **state)
{
    (void)state;
    assert_true(each_file(check_damage) > 20);
}

static void test_other_files(void **state)
{
    (void)state;
    struct image out;
    static const char text[] = "this is a text in a file named .png";
    assert_false(decode(&out, (const uint8_t *)text, sizeof text));
    assert_non_null(strstr(why, "neither JPEG nor PNG"));
    assert_false(decode(&out, (const uint8_t *)"", 0));
    assert_non_null(strstr(why, "empty"));
    assert_false(decode(&out, (const uint8_t *)"\xFF\xD8\xFF", 3));
}

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t crc(const uint8_t *bytes, size_t size)
{
    uint32_t c = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++) {
        c ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
    }
    return ~c;
}

/* Sizes are read from the header and refused before memory is taken for them. */
static void test_bombs(void **state)
{
    (void)state;
    struct image small = { 3, 4, 3, arena_take(arena, 12, 3) }, out;
    size_t size, before = arena_bytes(arena);
    uint8_t *png = image_encode_png(arena, &small, &size, &why);
    put_u32(png + 16, 60000);
    put_u32(png + 20, 60000);
    put_u32(png + 29, crc(png + 12, 17));
    assert_false(decode(&out, png, size));
    assert_non_null(strstr(why, "above the limit of 1 megapixels"));
    put_u32(png + 16, 1001);
    put_u32(png + 20, 1000);
    put_u32(png + 29, crc(png + 12, 17));
    assert_false(decode(&out, png, size));
    assert_non_null(strstr(why, "1001 x 1000"));
    put_u32(png + 16, 1);
    put_u32(png + 20, 5000);
    put_u32(png + 29, crc(png + 12, 17));
    assert_false(decode(&out, png, size));
    assert_non_null(strstr(why, "one side is 1000 times the other"));
    assert_true(arena_bytes(arena) < before + ((size_t)4 << 20));
}

static void enlarge_jpeg(const char *name, uint8_t *bytes, size_t size)
{
    struct image out;
    if (!text_starts(name, "jpeg"))
        return;
    for (size_t at = 2; at + 9 < size; at++)
        if (bytes[at] == 0xFF && (bytes[at + 1] == 0xC0 || bytes[at + 1] == 0xC2)) {
            memset(bytes + at + 5, 0xF0, 4); /* height and width of the frame header: 61680 */
            break;
        }
    assert_false(decode(&out, bytes, size));
    if (!strstr(why, "above the limit"))
        fail_msg("%.20s: %s", name, why);
}

static void test_jpeg_bombs(void **state)
{
    (void)state;
    size_t before = arena_bytes(arena);
    each_file(enlarge_jpeg);
    assert_true(arena_bytes(arena) < before + ((size_t)4 << 20));
}

static void test_exif(void **state)
{
    (void)state;
    static const uint8_t little[] =
        "II*\0\x08\0\0\0\x02\0\x0f\x01\x02\0\x04\0\0\0abcd\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
    static const uint8_t big[] = "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0";
    uint8_t copy[sizeof little];
    assert_int_equal(exif_orientation(little, sizeof little), 6);
    assert_int_equal(exif_orientation(big, sizeof big), 8);
    for (size_t cut = 0; cut < sizeof little - 5; cut++)
        assert_int_equal(exif_orientation(little, cut), 1);
    for (size_t at = 0; at < sizeof little; at++) /* a damaged directory never leads out of the buffer */
        for (int value = 0; value < 256; value += 5) {
            memcpy(copy, little, sizeof copy);
            copy[at] = (uint8_t)value;
            assert_in_range(exif_orientation(copy, sizeof copy), 1, 8);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_png_comes_back),
        cmocka_unit_test(test_cut_files_are_refused),
        cmocka_unit_test(test_damaged_files_do_no_harm),
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_jpeg_bombs),
        cmocka_unit_test(test_exif),
    };
    arena = arena_create("test", 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return failed;
}
