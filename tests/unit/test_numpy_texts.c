/* Texts in .npy files: ids as numpy saves them, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "store/numpy.h"
#include "test_arena.h"

/* A file of this header and data; its size. */
static size_t file(uint8_t *out, const char *descr, const char *shape, const void *data, size_t bytes)
{
    char header[128];
    int length =
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n", descr, shape);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (uint8_t)length;
    out[9] = 0;
    memcpy(out + 10, header, (size_t)length);
    memcpy(out + 10 + length, data, bytes);
    return 10 + (size_t)length + bytes;
}

static bool read(const char *descr, const char *shape, const void *data, size_t bytes, const char ***texts,
                 int64_t *count, const char **why)
{
    uint8_t *out = arena_take(arena, 512, 1);
    size_t size = file(out, descr, shape, data, bytes);
    return numpy_texts(arena, "ids.npy", out, size, texts, count, why);
}

static void texts_are_read(void **state)
{
    (void)state;
    const char **texts, *why;
    int64_t count = 0;
    static const uint32_t wide[] = { 'a', 0, 0xe9, 'b', 0x20ac, 0x1f600 }; /* one to four bytes of UTF-8 */
    assert_true(read("<U2", "(3,)", wide, sizeof wide, &texts, &count, &why));
    assert_int_equal(count, 3);
    assert_string_equal(texts[0], "a");
    assert_string_equal(texts[1], "\xc3\xa9"
                                  "b");
    assert_string_equal(texts[2], "\xe2\x82\xac\xf0\x9f\x98\x80");
    assert_true(read("|S3", "(2,)", "abcd\0\0", 6, &texts, &count, &why));
    assert_string_equal(texts[0], "abc");
    assert_string_equal(texts[1], "d");
}

static void refused(const char *descr, const char *shape, const void *data, size_t bytes, const char *part)
{
    const char **texts, *why = NULL;
    int64_t count;
    assert_false(read(descr, shape, data, bytes, &texts, &count, &why));
    assert_non_null(strstr(why, part));
}

static void others_are_refused(void **state)
{
    (void)state;
    static const uint32_t no_character[] = { 0x110000 }, half_a_pair[] = { 0xd800 };
    refused("<U1", "(1,)", no_character, 4, "text 0 is not Unicode");
    refused("<U1", "(1,)", half_a_pair, 4, "text 0 is not Unicode");
    refused("<U1", "(2,)", "abcd", 4, "not its shape");
    refused("|S4", "(4611686018427387904,)", "abcd", 4, "header");
    refused("|S999999", "(999999999999999,)", "abcd", 4, "not its shape");
    refused("|S4", "(1, 1)", "abcd", 4, "2 extents");
    refused("|O8", "(1,)", "abcdefgh", 8, "type '|O8'");
    refused(">U1", "(1,)", "abcd", 4, "type '>U1'");
    refused("<U", "(1,)", "", 0, "type '<U'");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(texts_are_read), cmocka_unit_test(others_are_refused) };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
