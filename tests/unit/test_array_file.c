/* Arrays of .npz files by pieces, stored and deflated, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "npz.h"
#include "store/array_file.h"
#include "test_arena.h"

enum { ROWS = 700, ROW = 331 }; /* larger than what is skipped at once */
static uint8_t pixels[ROWS * ROW];
static char path[4096];
static const char *why;

static void fill(void)
{
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * i / 7 + i % 13);
}

static void write_two(bool deflate)
{
    const struct npz_array arrays[] = {
        { "age.npy", "<f8", "()", "\0\0\0\0\0\0\xf0\x3f", 8, false },
        { "slo.npy", "|u1", "(700, 331)", pixels, sizeof pixels, false },
        { "wide.npy", "|u1", "(2, 3)", "abcdef", 6, true },
        { "note.npy", "<U2", "()", "a\0\0\0b\0\0\0", 8, false },
        { "short.npy", "|u1", "(7,)", "abcdef", 6, false },
        { "vast.npy", "|u1", "(461168601842738790, 40)", "abcdef", 6, false },
    };
    assert_true(npz_write(path, arrays, (int)(sizeof arrays / sizeof *arrays), deflate));
}

static struct array_file *opened(const char *member)
{
    int file = open(path, O_RDONLY);
    assert_true(file >= 0);
    why = NULL;
    return array_file_open(arena, "a.npz", file, member, &why);
}

static void pieces_in_any_order(void **state)
{
    (void)state;
    static const size_t rows[] = { 0, 1, 5, 699, 3, 3, 400, 0, 699 };
    fill();
    for (int deflate = 0; deflate < 2; deflate++) {
        uint8_t row[ROW], all[sizeof pixels];
        write_two(deflate);
        struct array_file *array = opened("slo");
        assert_non_null(array);
        const struct tensor *shape = array_file_shape(array);
        assert_int_equal(shape->type, TENSOR_U8);
        assert_int_equal(shape->rank, 2);
        assert_int_equal(shape->dims[0], ROWS);
        assert_int_equal(shape->dims[1], ROW);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            assert_true(array_file_read(array, row, rows[i] * ROW, ROW, &why));
            assert_memory_equal(row, pixels + rows[i] * ROW, ROW);
        }
        assert_true(array_file_read(array, all, 0, sizeof all, &why));
        assert_memory_equal(all, pixels, sizeof all);
        assert_false(array_file_read(array, row, sizeof pixels - 1, 2, &why));
        assert_non_null(strstr(why, "ends before its data"));
        array_file_close(array);
    }
}

static void columns_first(void **state)
{
    (void)state;
    write_two(false);
    struct array_file *array = opened("wide");
    assert_non_null(array);
    assert_int_equal(array_file_shape(array)->strides[0], 1);
    assert_int_equal(array_file_shape(array)->strides[1], 2);
    array_file_close(array);
}

static void refused(const char *member, const char *part)
{
    assert_null(opened(member));
    assert_non_null(why);
    if (!strstr(why, part))
        fail_msg("'%s' is not in: %s", part, why);
}

static void others_are_refused(void **state)
{
    (void)state;
    write_two(true);
    refused("oct", "it holds no \"oct.npy\"");
    refused("note", "type '<U2' is not read");
    refused("short", "which is not its shape");
    refused("vast", "extents that no memory holds");
    assert_true(file_write(arena, path, "no archive", 10, &why));
    refused("slo", "not a whole zip archive");
}

/* A byte of the data changed: found by the member's checksum when its last byte is read. */
static void damage_is_found(void **state)
{
    (void)state;
    static uint8_t all[sizeof pixels];
    size_t size;
    fill();
    write_two(false);
    char *bytes = file_read(arena, path, 0, &size, &why);
    assert_non_null(bytes);
    char *at = memmem(bytes, size, pixels + 1000, 300);
    assert_non_null(at);
    at[7] ^= 1;
    assert_true(file_write(arena, path, bytes, size, &why));
    struct array_file *array = opened("slo");
    assert_non_null(array);
    assert_false(array_file_read(array, all, 0, sizeof all, &why));
    assert_non_null(strstr(why, "damaged"));
    array_file_close(array);
}

int main(void)
{
    const char *folder = getenv("CFN_TEST_TMP");
    const struct CMUnitTest tests[] = { cmocka_unit_test(pieces_in_any_order), cmocka_unit_test(columns_first),
                                        cmocka_unit_test(others_are_refused), cmocka_unit_test(damage_is_found) };
    snprintf(path, sizeof path, "%s/arrays-%ld.npz", folder ? folder : "/tmp", (long)getpid());
    int failed = cmocka_run_group_tests(tests, open_arena, close_arena);
    unlink(path);
    return failed;
}
