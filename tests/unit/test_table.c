/* Tables: what the format allows, and a message with its line for everything else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/arena.h"
#include "image/table.h"

static struct arena *arena;
static struct table table;
static const char *why;

static bool parse(const char *text)
{
    return table_parse(arena, &table, "t.csv", text, strlen(text), &why);
}

static void expect_refused(const char *text, const char *place, const char *reason)
{
    if (parse(text))
        fail_msg("accepted: %.60s", text);
    if (strncmp(why, place, strlen(place)) != 0 || !strstr(why, reason))
        fail_msg("%.60s: %s", text, why);
}

static void test_plain(void **state)
{
    (void)state;
    assert_true(parse("path,label\na.png,x\nb.png,y"));
    assert_int_equal(table.columns, 2);
    assert_int_equal(table.rows, 2);
    assert_string_equal(table_cell(&table, 1, table_column(&table, "label")), "y");
    assert_int_equal(table_column(&table, "none"), -1);
    assert_int_equal(table.line[1], 3);
}

static void test_marks_and_line_ends(void **state)
{
    (void)state;
    assert_true(parse("\xEF\xBB\xBFpath,label\r\n\r\na.png , x\r\nb.png,y\r\n"));
    assert_string_equal(table.header[0], "path");
    assert_int_equal(table.rows, 2);
    assert_string_equal(table_cell(&table, 0, 0), "a.png");
    assert_string_equal(table_cell(&table, 0, 1), "x");
    assert_int_equal(table.line[0], 3); /* the empty line counts */
    assert_true(parse("path,label\ra,x\rb,y\r"));
    assert_int_equal(table.rows, 2);
}

static void test_quotes(void **state)
{
    (void)state;
    assert_true(parse("path,report\n\"a,b.png\",\"one\ntwo \"\"three\"\"\nfour\"\nc,\n\"d\",\"\"\n"));
    assert_int_equal(table.rows, 3);
    assert_string_equal(table_cell(&table, 0, 0), "a,b.png");
    assert_string_equal(table_cell(&table, 0, 1), "one\ntwo \"three\"\nfour");
    assert_string_equal(table_cell(&table, 1, 1), "");
    assert_int_equal(table.line[0], 2);
    assert_int_equal(table.line[1], 5); /* after the three lines of the quoted cell */
    assert_int_equal(table.line[2], 6);
}

static void test_refused(void **state)
{
    (void)state;
    expect_refused("a\x13,a\x13\n1,2\n", "t.csv:1: ", "'a?' appears twice");
    expect_refused("", "t.csv:", "empty");
    expect_refused("\n\n", "t.csv:", "empty");
    expect_refused("path,label\n", "t.csv:", "only a header");
    expect_refused("path,label\na,x\nb\n", "t.csv:3:", "1 cells, the header has 2");
    expect_refused("path,label\na,x,7\n", "t.csv:2:", "3 cells");
    expect_refused("path,label\na,\"x\n\nb,y\n", "t.csv:2:", "never closed");
    expect_refused("path,label\na,x\"y\n", "t.csv:2:", "quote");
    expect_refused("path,label\nok,z\na,\"x\"y\n", "t.csv:3:", "quote");
    expect_refused("path,path\na,x\n", "t.csv:1:", "twice");
    expect_refused("\xFF\xFEp", "t.csv:1:", "UTF-16");
    assert_false(table_parse(arena, &table, "t.csv", "path,label\na\0b,x\n", 17, &why));
    assert_non_null(strstr(why, "t.csv:2: a NUL byte"));
}

static void test_a_line_of_a_million_characters(void **state)
{
    (void)state;
    char *text = arena_take(arena, 1000100, 1);
    memcpy(text, "path,label\na,x\n", 15);
    memset(text + 15, 'z', 1000000);
    memcpy(text + 1000015, ",y\n", 4);
    expect_refused(text, "t.csv:3:", "characters");
    memset(text + 15, ',', 1000000);
    expect_refused(text, "t.csv:3:", "cells");
}

static void test_numbers(void **state)
{
    (void)state;
    double value;
    assert_true(table_number("-1.5e3", &value));
    assert_true(value == -1500.0);
    assert_true(table_number("1", &value));
    static const char *const not_numbers[] = { "", "x", "1x", "nan", "inf", "0x10", "1e999", "1 2", "--1" };
    for (size_t i = 0; i < sizeof not_numbers / sizeof not_numbers[0]; i++)
        assert_false(table_number(not_numbers[i], &value));
}

/* Any byte of a table replaced by any other: an answer or a reason. */
static void test_damage(void **state)
{
    (void)state;
    static const char text[] = "path,label,n\n\"a,\"\"b\"\"\",x,1\r\nb,\"y\nz\",\n";
    char copy[sizeof text];
    for (size_t at = 0; at < sizeof text - 1; at++)
        for (int byte = 0; byte < 256; byte++) {
            struct arena_mark mark = arena_mark(arena);
            memcpy(copy, text, sizeof text);
            copy[at] = (char)byte;
            bool ok = table_parse(arena, &table, "t.csv", copy, sizeof text - 1, &why);
            assert_true(ok == (why == NULL));
            arena_release(arena, mark);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_marks_and_line_ends),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_a_line_of_a_million_characters),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_damage),
    };
    arena = arena_create("test", 1 << 16);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return failed;
}
