/* HTML: nothing from outside becomes markup; base64 against known vectors; html_add's own printf. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "report/html.h"
#include "test_arena.h"

static const char *escaped(const char *value)
{
    struct text out = text_new(arena);
    html_escape(&out, value);
    return out.data;
}

static void test_escape(void **state)
{
    (void)state;
    assert_string_equal(escaped("<script>alert('x & \"y\"')</script>"),
                        "&lt;script&gt;alert(&#39;x &amp; &quot;y&quot;&#39;)&lt;/script&gt;");
    assert_string_equal(escaped("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\xa7\xa0"),
                        "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\xa7\xa0");
    assert_string_equal(escaped("a\x01\x7f\nb"), "a  \nb");
    assert_string_equal(escaped("\xc0\xbc\xff"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* overlong '<' is no '<' */
    assert_string_equal(escaped("\xe2\x82"), "\xef\xbf\xbd\xef\xbf\xbd");                 /* cut off at the end */
    assert_string_equal(escaped("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* surrogate */
    assert_string_equal(escaped(NULL), "");
}

static void test_add(void **state)
{
    (void)state;
    struct text out = text_new(arena);
    html_add(&out, "<b>%s</b> %d %5.2f%% %lld %zu %+.1e|%s", "<i>", -4, 3.14159, -5000000000LL, (size_t)7, 12345.0,
             "&");
    assert_string_equal(out.data, "<b>&lt;i&gt;</b> -4  3.14% -5000000000 7 +1.2e+04|&amp;");
}

static void test_base64(void **state)
{
    (void)state;
    const char *in[] = { "", "f", "fo", "foo", "foob", "fooba", "foobar" }; /* RFC 4648 section 10 */
    const char *want[] = { "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" };
    for (int i = 0; i < 7; i++) {
        struct text out = text_new(arena);
        html_base64(&out, (const uint8_t *)in[i], strlen(in[i]));
        assert_string_equal(out.data, want[i]);
    }
    uint8_t bytes[1000]; /* longer than its line buffer; every digit occurs */
    for (int i = 0; i < 1000; i++)
        bytes[i] = (uint8_t)(i * 7);
    struct text out = text_new(arena);
    html_base64(&out, bytes, 1000);
    assert_int_equal(out.length, 1336);
    assert_int_equal(strspn(out.data, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"), 1334);
}

static void test_page(void **state)
{
    (void)state;
    struct text out = text_new(arena);
    html_begin(&out, "a <b>", "body{}");
    html_use(&out, "n1", "strip", "top \"images\"", 10, 20);
    html_end(&out);
    assert_non_null(strstr(out.data, "<title>a &lt;b&gt;</title>"));
    assert_non_null(strstr(out.data, "default-src 'none'"));
    assert_non_null(strstr(out.data, "<title>top &quot;images&quot;</title><use href=\"#n1\"/>"));
    assert_null(strstr(out.data, "http:"));
    assert_null(strstr(out.data, "https:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_page),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
