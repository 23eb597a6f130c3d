/* IDX and .npy files by pieces, plain and compressed by gzip, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "base/file.h"
#include "store/array_file.h"
#include "test_arena.h"

enum { ROWS = 300, SIDE = 28, ROW = SIDE * SIDE, HEAD = 16 };
static uint8_t bytes[HEAD + ROWS * ROW] = { 0, 0, 8, 3, 0, 0, ROWS >> 8, ROWS & 255, 0, 0, 0, SIDE, 0, 0, 0, SIDE };
static char path[4096];
static const char *why;

static void write_file(const void *data, size_t size, bool compressed)
{
    gzFile gz = gzopen(path, compressed ? "wb" : "wbT");
    assert_non_null(gz);
    assert_int_equal(gzwrite(gz, data, (unsigned)size), size);
    assert_int_equal(gzclose(gz), Z_OK);
}

static struct array_file *opened(void)
{
    int file = open(path, O_RDONLY);
    assert_true(file >= 0);
    why = NULL;
    return array_file_open(arena, "a-idx3-ubyte", file, "", &why);
}

static void fill(void)
{
    for (size_t i = HEAD; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i / 7 + i % 13);
}

static void pieces_in_any_order(void **state)
{
    (void)state;
    static const size_t rows[] = { 0, 1, 5, 299, 3, 3, 200, 0, 299 };
    fill();
    for (int compressed = 0; compressed < 2; compressed++) {
        uint8_t row[ROW];
        write_file(bytes, sizeof bytes, compressed);
        struct array_file *array = opened();
        assert_non_null(array);
        const struct tensor *shape = array_file_shape(array);
        assert_int_equal(shape->type, TENSOR_U8);
        assert_int_equal(shape->rank, 3);
        assert_int_equal(shape->dims[0], ROWS);
        assert_int_equal(shape->dims[2], SIDE);
        assert_int_equal(shape->strides[0], ROW);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            assert_true(array_file_read(array, row, rows[i] * ROW, ROW, &why));
            assert_memory_equal(row, bytes + HEAD + rows[i] * ROW, ROW);
        }
        assert_false(array_file_read(array, row, ROWS * ROW - 1, 2, &why));
        assert_non_null(strstr(why, "beyond its end"));
        array_file_close(array);
    }
}

static void numpy_files(void **state)
{
    (void)state;
    static const char head[] = "\x93NUMPY\1\0v\0{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }";
    char file[128 + 6];
    uint8_t out[6];
    memset(file, ' ', sizeof file);
    memcpy(file, head, sizeof head - 1);
    memcpy(file + 127, "\nabcdef", 7);
    for (int compressed = 0; compressed < 2; compressed++) {
        write_file(file, sizeof file, compressed);
        struct array_file *array = opened();
        if (!array)
            fail_msg("%s", why);
        assert_int_equal(array_file_shape(array)->dims[1], 3);
        assert_true(array_file_read(array, out, 0, 6, &why));
        assert_memory_equal(out, "abcdef", 6);
        array_file_close(array);
    }
}

static void refused(const void *data, size_t size, bool compressed, const char *part)
{
    write_file(data, size, compressed);
    assert_null(opened());
    if (!strstr(why, part))
        fail_msg("'%s' is not in: %s", part, why);
}

static void others_are_refused(void **state)
{
    (void)state;
    static const uint8_t reals[] = { 0, 0, 0x0D, 1, 0, 0, 0, 1, 0, 0, 0, 0 };
    static const uint8_t vast[] = { 0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1 };
    static const uint8_t many[] = { 0, 0, 8, 1, 127, 255, 255, 255, 1 };
    fill();
    refused("no array at all", 15, false, "neither a .npy nor an IDX file");
    refused("", 0, false, "neither a .npy nor an IDX file");
    refused(reals, sizeof reals, false, "type 0x0D; expected unsigned bytes");
    refused(vast, sizeof vast, false, "extents that no memory holds");
    refused(many, sizeof many, false, "9 bytes, but its extents need 2147483655");
    refused(many, sizeof many, true, "its extents need 2147483655");
    refused(bytes, 10, false, "cut off in its header");
    refused(bytes, sizeof bytes - 1, false, "its extents need");
}

/* Of a compressed file, what its size does not tell is found where it happens. */
static void damage_is_found(void **state)
{
    (void)state;
    static uint8_t all[ROWS * ROW], longer[sizeof bytes + 1];
    fill();
    write_file(bytes, sizeof bytes - 100, true);
    struct array_file *array = opened();
    assert_non_null(array);
    assert_true(array_file_read(array, all, 0, ROW, &why));
    assert_false(array_file_read(array, all, 0, sizeof all, &why));
    assert_non_null(strstr(why, "cut off"));
    array_file_close(array);

    memcpy(longer, bytes, sizeof bytes);
    write_file(longer, sizeof longer, true);
    array = opened();
    assert_non_null(array);
    assert_false(array_file_read(array, all, 0, sizeof all, &why));
    assert_non_null(strstr(why, "goes on after its last element"));
    array_file_close(array);
}

int main(void)
{
    const char *folder = getenv("CFN_TEST_TMP");
    const struct CMUnitTest tests[] = { cmocka_unit_test(pieces_in_any_order), cmocka_unit_test(numpy_files),
                                        cmocka_unit_test(others_are_refused), cmocka_unit_test(damage_is_found) };
    snprintf(path, sizeof path, "%s/idx-%ld", folder ? folder : "/tmp", (long)getpid());
    int failed = cmocka_run_group_tests(tests, open_arena, close_arena);
    unlink(path);
    return failed;
}
