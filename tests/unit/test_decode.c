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
    bool ok = image_decode(arena, out, NULL, bytes, size, &(struct image_reading){ .max_megapixels = 1 }, &why);
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
    struct image whole;
    assert_true(decode(&whole, bytes, size));
    size_t count = (size_t)(whole.height * whole.width * whole.channels);
    for (size_t cut = 0; cut < size; cut += cut < 64 || cut + 64 > size ? 1 : 5) {
        struct arena_mark mark = arena_mark(arena);
        struct image out;
        /* The last bytes of a TIFF only say that no other picture follows. A number at the end of a text may have lost
         * digits: nobody can tell. */
        bool harmless = cut + 4 >= size && text_starts(name, "tiff");
        bool in_last_number = cut + 4 >= size && (text_starts(name, "pnm_P2") || text_starts(name, "pnm_P3"));
        if (decode(&out, bytes, cut) && !in_last_number && (!harmless || memcmp(out.pixels, whole.pixels, count) != 0))
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
    assert_non_null(strstr(why, "of no kind that is read here"));
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

/* Sizes in the headers of the other formats: 60,000 x 60,000, and thin. */
static void put_little(uint8_t *at, uint32_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

/* The entry of `tag` in the directory of a little-endian TIFF. */
static uint8_t *tiff_entry(uint8_t *bytes, uint32_t tag)
{
    uint8_t *at = bytes + codec_number(bytes + 4, 4, false);
    uint32_t entries = codec_number(at, 2, false);
    for (at += 2; entries > 0; entries--, at += 12)
        if (codec_number(at, 2, false) == tag)
            return at;
    return NULL;
}

static void enlarge(const char *name, uint8_t *bytes, size_t size)
{
    enum { WIDTH = 256, LENGTH = 257, SIDE = 60000 };
    struct image out;
    if (text_starts(name, "tiff") && bytes[0] == 'I') {
        for (uint32_t tag = WIDTH; tag <= LENGTH; tag++) {
            put_little(tiff_entry(bytes, tag) + 2, 4, 2);
            put_little(tiff_entry(bytes, tag) + 8, SIDE, 4);
        }
    } else if (text_starts(name, "bmp") && bytes[14] == 40) {
        put_little(bytes + 18, SIDE, 4);
        put_little(bytes + 22, SIDE, 4);
    } else if (text_starts(name, "webp ")) { /* of a lossy frame: 14 bits each */
        put_little(bytes + 26, 16383, 2);
        put_little(bytes + 28, 16383, 2);
    } else if (text_starts(name, "pnm")) {
        bytes = (uint8_t *)arena_printf(arena, "P%c\n60000 60000\n255\n", bytes[1]);
        size = strlen((const char *)bytes);
    } else {
        return;
    }
    assert_false(decode(&out, bytes, size));
    if (!strstr(why, "above the limit") && !strstr(why, "Incorrect count")) /* libtiff's own check, of tiles */
        fail_msg("%.20s: %s", name, why);
}

/* A size that is allowed and a file that does not hold it: no memory for it either where the format tells. */
static void test_other_bombs(void **state)
{
    (void)state;
    struct image out;
    size_t before = arena_bytes(arena);
    each_file(enlarge);
    assert_false(decode(&out, (const uint8_t *)"P5\n1000 1000\n255\nabc", 20));
    assert_non_null(strstr(why, "cut off"));
    assert_true(arena_bytes(arena) < before + ((size_t)4 << 20));
}

static void wide_tile(const char *name, uint8_t *bytes, size_t size)
{
    enum { TILE_WIDTH = 322, TILE_LENGTH = 323 };
    struct image out;
    if (!text_starts(name, "tiff_tiles"))
        return;
    for (uint32_t tag = TILE_WIDTH; tag <= TILE_LENGTH; tag++) {
        put_little(tiff_entry(bytes, tag) + 2, 4, 2);
        put_little(tiff_entry(bytes, tag) + 8, 1 << 14, 4);
    }
    assert_false(decode(&out, bytes, size));
}

/* A tile of 16384 x 16384 around a small picture. */
static void test_tiles_beyond_the_picture(void **state)
{
    (void)state;
    size_t before = arena_bytes(arena);
    each_file(wide_tile);
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

/* What a file is goes by its content; what cannot be read is named. */
static void test_named_files(void **state)
{
    (void)state;
    struct image out;
    uint8_t dicom[200] = { 0 };
    memcpy(dicom + 128, "DICM", 4);
    assert_false(decode(&out, dicom, sizeof dicom));
    assert_non_null(strstr(why, "a DICOM file"));
    assert_false(decode(&out, (const uint8_t *)"GIF89a........", 14));
    assert_non_null(strstr(why, "a GIF file"));
    assert_true(image_is_named("a/b.TIF") && image_is_named("x.jpeg") && image_is_named("x.webp"));
    assert_false(image_is_named("x.csv") || image_is_named(".png") || image_is_named("png"));
}

/* A little-endian grey TIFF of 2 x 2 samples. */
static size_t small_tiff(uint8_t *to, uint32_t bits, uint32_t format, int pages)
{
    const uint32_t tags[][3] = { { 256, 4, 2 },     { 257, 4, 2 }, { 258, 3, bits },
                                 { 259, 3, 1 },     { 262, 3, 1 }, { 273, 4, 8 },
                                 { 277, 3, 1 },     { 278, 4, 2 }, { 279, 4, 4 * bits / 8 },
                                 { 339, 3, format } };
    size_t at = 8 + 4 * 4;
    memcpy(to, "II*\0", 4);
    memset(to + 8, 7, 16);
    put_little(to + 4, (uint32_t)at, 4);
    for (int page = 0; page < pages; page++) {
        put_little(to + at, 10, 2);
        at += 2;
        for (size_t i = 0; i < 10; i++, at += 12) {
            put_little(to + at, tags[i][0], 2);
            put_little(to + at + 2, tags[i][1], 2);
            put_little(to + at + 4, 1, 4);
            put_little(to + at + 8, tags[i][2], 4);
        }
        put_little(to + at, page + 1 < pages ? (uint32_t)at + 4 : 0, 4);
        at += 4;
    }
    return at;
}

static void test_pages_and_samples(void **state)
{
    (void)state;
    uint8_t file[400];
    struct image out;
    assert_true(decode(&out, file, small_tiff(file, 8, 1, 1)) && out.pixels[3] == 7);
    assert_false(decode(&out, file, small_tiff(file, 8, 1, 2)));
    assert_non_null(strstr(why, "several pictures"));
    assert_false(decode(&out, file, small_tiff(file, 16, 2, 1)));
    assert_non_null(strstr(why, "signed"));
    assert_false(decode(&out, file, small_tiff(file, 32, 3, 1)));
    assert_non_null(strstr(why, "no whole numbers"));
}

/* 16-bit samples: the one that becomes 255 is given; without it the high byte is left. */
static void test_white(void **state)
{
    (void)state;
    static const uint8_t pgm[] = "P5 4 1 65535\n\x00\x10\x01\x00\x0F\xFF\x10\x00";
    struct image_reading reading = { .max_megapixels = 1 };
    struct image_source source;
    struct image out;
    assert_true(image_decode(arena, &out, &source, pgm, sizeof pgm - 1, &reading, &why));
    assert_true(source.deep && source.brightest == 4096 && source.significant == 0);
    assert_memory_equal(out.pixels, "\x00\x01\x0F\x10", 4);
    uint64_t hash = source.samples_hash;
    reading.white[0] = 4095;
    assert_true(image_decode(arena, &out, &source, pgm, sizeof pgm - 1, &reading, &why));
    assert_memory_equal(out.pixels, "\x01\x10\xFF\xFF", 4);
    assert_true(hash == source.samples_hash);
}

static void test_grey_in_colour(void **state)
{
    (void)state;
    static const uint8_t grey[] = "P3 2 1 255\n9 9 9 200 200 200\n", colour[] = "P3 2 1 255\n9 9 9 200 200 201\n";
    struct image_reading reading = { .max_megapixels = 1 };
    struct image_source source;
    struct image out;
    assert_true(image_decode(arena, &out, &source, grey, sizeof grey - 1, &reading, &why));
    assert_true(out.channels == 1 && source.channels == 3 && out.pixels[0] == 9 && out.pixels[1] == 200);
    assert_true(image_decode(arena, &out, &source, colour, sizeof colour - 1, &reading, &why));
    assert_true(out.channels == 3);
    /* Equal in their high bytes, and different in the bits that are used. */
    static const uint8_t deep[] = "P6 1 1 65535\n\x01\x10\x01\x20\x01\x30";
    assert_true(image_decode(arena, &out, &source, deep, sizeof deep - 1, &reading, &why));
    assert_true(out.channels == 3);
}

static void check_scaled(const char *name, uint8_t *bytes, size_t size)
{
    struct image_reading reading = { .max_megapixels = 1, .scale_side = 6 };
    struct image_source source;
    struct image out;
    assert_true(image_decode(arena, &out, &source, bytes, size, &reading, &why));
    int least = out.height < out.width ? out.height : out.width;
    bool small = text_starts(name, "jpeg_ycck") || text_starts(name, "tiff_jpeg"); /* the others: 21 x 30 */
    int whole = small ? 16 : 21;
    assert_int_equal(source.height < source.width ? source.height : source.width, whole);
    assert_int_equal(least, !text_starts(name, "jpeg") ? whole : small ? 8 : 6);
}

/* At 1/2, 1/4, 1/8 as long as the short side stays large enough; only JPEG, and the file's size is kept. */
static void test_scaled_jpeg(void **state)
{
    (void)state;
    each_file(check_scaled);
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
        cmocka_unit_test(test_other_bombs),
        cmocka_unit_test(test_tiles_beyond_the_picture),
        cmocka_unit_test(test_named_files),
        cmocka_unit_test(test_pages_and_samples),
        cmocka_unit_test(test_white),
        cmocka_unit_test(test_grey_in_colour),
        cmocka_unit_test(test_scaled_jpeg),
        cmocka_unit_test(test_exif),
    };
    arena = arena_create("test", 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return failed;
}
