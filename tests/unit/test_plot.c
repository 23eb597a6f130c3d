/* Figures: round ticks that stay inside the range, well-formed SVG, escaped names, missing values left out. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "report/plot.h"
#include "test_arena.h"

static int count_of(const char *hay, const char *needle)
{
    int n = 0;
    for (const char *p = hay; (p = strstr(p, needle)) != NULL; p++)
        n++;
    return n;
}

/* Every tag is closed in the right order; no stray < or &. */
static void assert_well_formed(const char *svg)
{
    char open[32][16];
    int depth = 0;
    for (const char *p = svg; (p = strchr(p, '<')) != NULL; p++) {
        const char *end = strchr(p, '>');
        assert_non_null(end);
        assert_null(memchr(p + 1, '<', (size_t)(end - p - 1)));
        char name[16] = "";
        sscanf(p + 1 + (p[1] == '/'), "%15[a-z]", name);
        if (p[1] == '/')
            assert_string_equal(open[--depth], name);
        else if (end[-1] != '/')
            memcpy(open[depth++], name, sizeof name);
        assert_in_range(depth, 0, 31);
    }
    assert_int_equal(depth, 0);
    assert_null(strstr(svg, "nan"));
    assert_null(strstr(svg, "inf"));
}

static void test_ticks(void **state)
{
    (void)state;
    const double ranges[][2] = { { 0, 1 }, { -3.2, 7.9 }, { 0.97, 0.99 }, { 0, 1e9 }, { -1e-7, 2e-7 }, { 5, 1000 } };
    for (size_t r = 0; r < sizeof ranges / sizeof ranges[0]; r++) {
        double ticks[24], low = ranges[r][0], high = ranges[r][1];
        int digits, n = plot_ticks(low, high, 5, ticks, 24, &digits);
        assert_in_range(n, 2, 6);
        double step = ticks[1] - ticks[0], lead = step / pow(10, floor(log10(step) + 1e-9));
        assert_true(fabs(lead - 1) < 1e-6 || fabs(lead - 2) < 1e-6 || fabs(lead - 5) < 1e-6);
        for (int i = 0; i < n; i++) {
            assert_true(ticks[i] >= low - 1e-9 * (high - low) && ticks[i] <= high + 1e-9 * (high - low));
            char text[64];
            snprintf(text, sizeof text, "%.*f", digits, ticks[i]);
            assert_true(fabs(strtod(text, NULL) - ticks[i]) < 1e-6 * step); /* enough digits to tell them apart */
        }
    }
    double none[4];
    int digits;
    assert_int_equal(plot_ticks(1, 1, 5, none, 4, &digits), 0);
    assert_int_equal(plot_ticks(0, INFINITY, 5, none, 4, &digits), 0);
}

static void test_bars(void **state)
{
    (void)state;
    const struct plot_bar bars[] = { { "a < b & c", 0.5, 0.4, 0.6 },
                                     { "minus", -0.25, NAN, NAN },
                                     { "none", NAN, NAN, NAN } };
    struct text out = text_new(arena);
    plot_bars(&out, &(struct plot_bars){
                        .title = "t", .bars = bars, .count = 3, .width = 400, .label_width = 100, .digits = 2 });
    assert_well_formed(out.data);
    assert_int_equal(count_of(out.data, "<rect"), 2);
    assert_non_null(strstr(out.data, "a &lt; b &amp; c"));
    assert_non_null(strstr(out.data, "\xe2\x88\x92"
                                     "0.25"));
    assert_non_null(strstr(out.data, "not available"));
    struct text empty = text_new(arena);
    plot_bars(&empty, &(struct plot_bars){ .count = 0, .width = 400, .label_width = 100 });
    assert_well_formed(empty.data);
}

static void test_xy(void **state)
{
    (void)state;
    const double x[] = { 1, 2, 3, 4, 5 }, y[] = { 2, 1, NAN, 0.5, 0.4 }, flat[] = { 7, 7, 7, 7, 7 };
    const struct plot_series series[] = { { "loss", x, y, 5, PLOT_LINE },
                                          { "dots", x, y, 5, true },
                                          { "one", x, flat, 1, false } };
    struct text out = text_new(arena);
    plot_xy(&out, &(struct plot_xy){ "t", "epoch", "loss", series, 3, 500, 240 });
    assert_well_formed(out.data);
    assert_int_equal(count_of(out.data, "<circle"), 4);
    assert_int_equal(count_of(strstr(out.data, "<path"), "M"), 3); /* two pieces of the first line, one of the last */
    struct text empty = text_new(arena);
    plot_xy(&empty, &(struct plot_xy){ "t", NULL, NULL, NULL, 0, 500, 240 });
    assert_well_formed(empty.data);
}

static void test_matrix(void **state)
{
    (void)state;
    const char *names[] = { "cat", "d<o>g" };
    const int64_t counts[] = { 3, 1, 0, 0 };
    struct text out = text_new(arena);
    plot_matrix(&out, &(struct plot_matrix){ "confusion", "true", "predicted", names, counts, 2, 0 });
    assert_well_formed(out.data);
    assert_int_equal(count_of(out.data, "<rect"), 4);
    assert_non_null(strstr(out.data, ">3</text>"));
    assert_null(strstr(out.data, ">0</text>")); /* an empty cell stays empty */
    assert_int_equal(count_of(out.data, "d&lt;o&gt;g"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ticks),
        cmocka_unit_test(test_bars),
        cmocka_unit_test(test_xy),
        cmocka_unit_test(test_matrix),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
