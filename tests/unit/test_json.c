/* JSON: what is written reads back the same, escapes and numbers included; broken files are refused with a place. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "report/json.h"

static struct arena *arena;
static char path[256];

static int setup(void **state)
{
    (void)state;
    arena = arena_create("test", 1 << 16);
    const char *dir = getenv("CFN_TEST_TMP");
    snprintf(path, sizeof path, "%s/json_%d.json", dir ? dir : "/tmp", (int)getpid());
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    unlink(path);
    arena_destroy(arena);
    return 0;
}

static const struct json *read_back(const char *data, size_t length, const char **why)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, length, f), length);
    fclose(f);
    return json_read(arena, path, why);
}

static void test_layout(void **state)
{
    (void)state;
    struct text out = text_new(arena);
    struct json_writer w = json_start(&out);
    json_object(&w, NULL);
    json_integer(&w, "n", -3);
    json_array(&w, "list");
    json_bool(&w, NULL, true);
    json_text(&w, NULL, NULL);
    json_end_array(&w);
    json_object(&w, "empty");
    json_end_object(&w);
    json_end_object(&w);
    assert_string_equal(out.data, "{\n  \"n\": -3,\n  \"list\": [\n    true,\n    null\n  ],\n  \"empty\": {}\n}\n");
}

static void test_escapes(void **state)
{
    (void)state;
    const char *nasty = "quote \" back \\ tab \t line \n bell \a del \x7f html </script> \xc3\xa9\xe2\x82\xac";
    struct text out = text_new(arena);
    struct json_writer w = json_start(&out);
    json_object(&w, NULL);
    json_text(&w, nasty, nasty);
    json_end_object(&w);
    assert_null(strchr(out.data, '\a'));
    const char *why = NULL;
    const struct json *tree = read_back(out.data, out.length, &why);
    assert_non_null(tree);
    assert_string_equal(json_as_text(json_member(tree, nasty), ""), nasty);
}

static void test_numbers(void **state)
{
    (void)state;
    const double values[] = { 0.1, 1.0 / 3.0, 5e-324, 1.7976931348623157e308, -0.0, 123456789012345678.0, 0.5f, 1e22 };
    enum { COUNT = sizeof values / sizeof values[0] };
    struct text out = text_new(arena);
    struct json_writer w = json_start(&out);
    json_array(&w, NULL);
    for (int i = 0; i < COUNT; i++)
        json_number(&w, NULL, values[i]);
    json_number(&w, NULL, NAN);
    json_number(&w, NULL, INFINITY);
    json_end_array(&w);
    assert_non_null(strstr(out.data, "  0.1,\n")); /* shortest, not 0.10000000000000001 */
    const char *why = NULL;
    const struct json *tree = read_back(out.data, out.length, &why);
    assert_non_null(tree);
    assert_int_equal(json_count(tree), COUNT + 2);
    for (int i = 0; i < COUNT; i++)
        assert_true(json_as_number(json_item(tree, i), 7) == values[i]);
    assert_true(json_as_number(json_item(tree, COUNT), 7) == 7); /* null: the fallback */
}

static void test_reading(void **state)
{
    (void)state;
    const char *data = "{\"z\": [1, {\"a\": true}], \"a\": \"x\"}", *why = NULL, *key = NULL;
    const struct json *tree = read_back(data, strlen(data), &why);
    assert_non_null(tree);
    assert_null(json_member(tree, "missing"));
    assert_null(json_item(json_member(tree, "z"), 2));
    assert_null(json_item(NULL, 0));
    assert_true(json_as_number(json_member(json_item(json_member(tree, "z"), 1), "a"), 0) == 1);
    assert_string_equal(json_as_text(json_element(tree, 0, &key), "none"), "none"); /* an array is not a text */
    assert_string_equal(key, "z");
    assert_string_equal(json_as_text(json_element(tree, 1, &key), ""), "x");
    assert_int_equal(json_count(tree), 2);
}

static void test_broken(void **state)
{
    (void)state;
    const char *broken[] = { "", "{\"a\": ", "{\"a\": 1, \"a\": 2}", "[1] 2", "{\"a\": \"\xff\"}", "[NaN]" };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        const char *why = NULL;
        assert_null(read_back(broken[i], strlen(broken[i]), &why));
        assert_non_null(why);
        assert_non_null(strstr(why, "line"));
    }
    char deep[5001];
    memset(deep, '[', 5000);
    deep[5000] = 0;
    const char *why = NULL;
    assert_null(read_back(deep, 5000, &why));
    assert_null(json_read(arena, "/nonexistent/x.json", &why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),  cmocka_unit_test(test_escapes), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_reading), cmocka_unit_test(test_broken),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
