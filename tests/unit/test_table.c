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

static bool parse_bytes(const void *bytes, size_t size)
{
    return table_parse(arena, &table, "t.csv", bytes, size, &why);
}

static void test_separators(void **state)
{
    (void)state;
    assert_true(parse("path\tlabel, long\na b\tx\n"));
    assert_string_equal(table.header[1], "label, long");
    assert_string_equal(table.notes, "t.csv: columns are separated by TAB\n");
    assert_true(parse("path;label\na;\"x;y\"\n"));
    assert_string_equal(table_cell(&table, 0, 1), "x;y");
    assert_true(parse("sep=;\r\npath;a,b,c\r\nx;y\r\n")); /* more commas than semicolons */
    assert_int_equal(table.columns, 2);
    assert_int_equal(table.line[0], 3);
    assert_true(parse("# by hand\n#path,label\na,x\n")); /* the second is a header: as many columns as below */
    assert_string_equal(table.header[0], "#path");
    assert_true(parse("only\na\n"));
    assert_string_equal(table.notes, "");
}

static void test_encodings(void **state)
{
    (void)state;
    static const char wide[] = "\xFF\xFEp\0,\0q\0\n\0\xE4\0,\0\x3D\xD8\x00\xDE\n\0"; /* a-umlaut; U+1F600 */
    assert_true(parse_bytes(wide, sizeof wide - 1));
    assert_string_equal(table_cell(&table, 0, 0), "\xC3\xA4");
    assert_string_equal(table_cell(&table, 0, 1), "\xF0\x9F\x98\x80");
    assert_false(parse_bytes(wide, sizeof wide - 2));        /* half a unit */
    assert_false(parse_bytes("\xFF\xFEp\0\n\0\x3D\xD8", 8)); /* half a character */
    assert_non_null(strstr(why, "t.csv:2: UTF-16 that is cut off"));
    assert_true(parse("p,q\n\x80,\xE4\n"));
    assert_string_equal(table_cell(&table, 0, 0), "\xE2\x82\xAC");
    assert_string_equal(table_cell(&table, 0, 1), "\xC3\xA4");
    assert_non_null(strstr(table.notes, "(line 2), read as Windows-1252"));
    expect_refused("p,q\n\x81,x\n", "t.csv:2:", "0x81");
    expect_refused("p,q\n\xC3\xA4\xC3\xA4,\xE4\n", "t.csv:2:", "0xE4 is not UTF-8");
}

static void test_what_is_left_out(void **state)
{
    (void)state;
    assert_true(parse(",path,Unnamed: 0,label,\n1,a,1,x,\n,,,,\n2,b,2,y,,,\n"));
    assert_int_equal(table.columns, 2);
    assert_int_equal(table.rows, 2);
    assert_string_equal(table_cell(&table, 1, 0), "b");
    assert_string_equal(table_cell(&table, 1, 1), "y");
    assert_int_equal(table.line[1], 4);
    assert_non_null(strstr(table.notes, "3 of 5 columns without a name"));
    expect_refused("p,q\na,b,,c\n", "t.csv:2:", "4 cells");
    assert_true(parse("p,q\na,\"=\"\"7\"\"\"\n"));
    assert_string_equal(table_cell(&table, 0, 1), "7");
}

static void test_names_and_words(void **state)
{
    (void)state;
    assert_true(parse("Path,LABEL,label\na,b,c\n"));
    assert_int_equal(table_column(&table, "path"), 0);
    assert_int_equal(table_column(&table, "label"), 2);
    assert_int_equal(table_column(&table, "Label"), -1); /* two of them, in other cases */
    static const char words[] = "NA, <NA>,nan";
    assert_true(table_missing("", words) && table_missing("na", words) && table_missing("NaN", words));
    assert_true(table_missing("<NA>", words) && table_missing("", ""));
    assert_false(table_missing("NAN1", words) || table_missing("N", words) || table_missing("NA, <NA>", words));
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
        cmocka_unit_test(test_separators),
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_what_is_left_out),
        cmocka_unit_test(test_names_and_words),
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
