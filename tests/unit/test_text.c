/* Text, numbers for people, paths, small files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "base/timer.h"
#include "base/version.h"

static struct arena *arena;
static char *folder; /* empty, of this test */

static void a_text_grows(void **unused)
{
    (void)unused;
    struct text text = text_new(arena);
    assert_string_equal(text.data, "");
    for (int i = 0; i < 1000; i++)
        text_add(&text, "%03d,", i);
    assert_int_equal(text.length, 4000);
    assert_memory_equal(text.data + 3996, "999,", 5);
    text_add_bytes(&text, "a\0b", 3);
    assert_int_equal(text.length, 4003);
    assert_memory_equal(text.data + 4000, "a\0b", 4);
    text_add_bytes(&text, NULL, 0);
    assert_int_equal(text.length, 4003);
}

static void suggestions(void **unused)
{
    (void)unused;
    static const char *const words[] = { "train.lr", "train.epochs", "sae.l1", "seed", "select.count" };
    assert_string_equal(text_suggest("train.epoch", words, 5), "train.epochs");
    assert_string_equal(text_suggest("TRAIN.LR", words, 5), "train.lr");
    assert_string_equal(text_suggest("sede", words, 5), "seed"); /* a swap is one edit */
    assert_string_equal(text_suggest("select.conut", words, 5), "select.count");
    assert_null(text_suggest("completely", words, 5));
    assert_null(text_suggest("", words, 5));
    assert_null(text_suggest("xy", words, 0));
    char *endless = arena_printf(arena, "%0500d", 0);
    assert_null(text_suggest(endless, words, 5));
}

static void numbers_for_people(void **unused)
{
    (void)unused;
    assert_string_equal(text_bytes(arena, 0), "0 B");
    assert_string_equal(text_bytes(arena, 999), "999 B");
    assert_string_equal(text_bytes(arena, 1400), "1.4 kB");
    assert_string_equal(text_bytes(arena, 999.96e6), "1.0 GB");
    assert_string_equal(text_bytes(arena, 1.4e9), "1.4 GB");
    assert_string_equal(text_seconds(arena, 23.06), "23.1 s");
    assert_string_equal(text_seconds(arena, 0.0123), "12.3 ms");
    assert_string_equal(text_seconds(arena, 4.5e-6), "4.5 us");
    assert_string_equal(text_clock(arena, 4360), "01:12:40");
    assert_string_equal(text_clock(arena, 359999.6), "100:00:00");
    assert_string_equal(text_clock(arena, -1), "--:--:--");
    assert_string_equal(text_clock(arena, 0.0 / 1e-300), "00:00:00");
}

static void ends_and_escapes(void **unused)
{
    (void)unused;
    assert_true(text_starts("train.lr", "train."));
    assert_false(text_starts("tr", "train"));
    assert_true(text_ends("x.jpg", ".jpg"));
    assert_false(text_ends("g", ".jpg"));
    assert_string_equal(text_html(arena, "<a href=\"x\">R&D's</a>"),
                        "&lt;a href=&quot;x&quot;&gt;R&amp;D&#39;s&lt;/a&gt;");
    assert_string_equal(text_html(arena, ""), "");
}

static void paths(void **unused)
{
    (void)unused;
    assert_string_equal(path_join(arena, "a", "b"), "a/b");
    assert_string_equal(path_join(arena, "a//", "/b"), "a/b");
    assert_string_equal(path_join(arena, "/", "b"), "/b");
    assert_string_equal(path_join(arena, "", "b"), "b");
    static const char *const safe[] = { "a", "a/b.jpg", "a..b/c", ".hidden", "a/...", "p10/s5/x y.png", "\xc3\xa4" };
    static const char *const unsafe[] = { "", "/a", "..", "../a", "a/..", "a/../b", "a//b", "a/", "a\nb", "\x7f" };
    for (size_t i = 0; i < sizeof safe / sizeof *safe; i++)
        if (!path_is_safe(safe[i]))
            fail_msg("\"%s\" is refused", safe[i]);
    for (size_t i = 0; i < sizeof unsafe / sizeof *unsafe; i++)
        if (path_is_safe(unsafe[i]))
            fail_msg("\"%s\" is let through", unsafe[i]);
}

static void files_are_written_whole(void **unused)
{
    (void)unused;
    const char *why = NULL;
    size_t length = 0;
    const char *dir = path_join(arena, folder, "one/two//three");
    assert_true(path_make_dirs(arena, dir, &why));
    assert_true(path_make_dirs(arena, dir, &why));
    const char *path = path_join(arena, dir, "file");
    assert_false(file_exists(path));
    assert_true(file_write(arena, path, "abc\0def", 7, &why));
    assert_true(file_write(arena, path, "xyz\0def", 7, &why));
    assert_false(file_exists(path_join(arena, dir, "file.part")));
    char *back = file_read(arena, path, 0, &length, &why);
    assert_int_equal(length, 7);
    assert_memory_equal(back, "xyz\0def", 8);
    assert_non_null(file_read(arena, path, 7, &length, &why));
    assert_null(file_read(arena, path, 6, &length, &why));
    assert_non_null(strstr(why, "7 bytes, expected at most 6"));
}

static void failures_say_why(void **unused)
{
    (void)unused;
    const char *why = NULL;
    size_t length = 0;
    assert_null(file_read(arena, path_join(arena, folder, "none"), 0, &length, &why));
    assert_non_null(strstr(why, "none: cannot open: No such file"));
    assert_null(file_read(arena, folder, 0, &length, &why));
    assert_non_null(strstr(why, "expected a regular file"));
    const char *fifo = path_join(arena, folder, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_null(file_read(arena, fifo, 0, &length, &why)); /* and does not wait for a writer */
    assert_non_null(strstr(why, "expected a regular file"));
    const char *file = path_join(arena, folder, "plain");
    assert_true(file_write(arena, file, "x", 1, &why));
    assert_false(path_make_dirs(arena, path_join(arena, file, "below"), &why));
    assert_non_null(strstr(why, "Not a directory"));
    assert_false(file_write(arena, path_join(arena, folder, "no/such/x"), "x", 1, &why));
    assert_non_null(strstr(why, "cannot create"));
    /* A full disk: nothing is left behind and the old file stays. */
    if (access("/dev/full", W_OK) == 0) {
        const char *part = path_join(arena, folder, "plain.part");
        assert_int_equal(symlink("/dev/full", part), 0);
        assert_false(file_write(arena, file, "new", 3, &why));
        assert_non_null(strstr(why, "No space left"));
        assert_memory_equal(file_read(arena, file, 0, &length, &why), "x", 2);
    }
}

static void clock_and_version(void **unused)
{
    (void)unused;
    char utc[32], small[4];
    double before = timer_seconds();
    timer_utc(utc, sizeof utc);
    assert_int_equal(strlen(utc), 20);
    assert_true(utc[10] == 'T' && utc[19] == 'Z');
    timer_utc(small, sizeof small);
    assert_string_equal(small, "");
    assert_true(timer_seconds() >= before);
    assert_true(strlen(version_number()) >= 5 && strlen(version_revision()) > 0 && strlen(version_compiler()) > 4);
}

static int set_up(void **unused)
{
    (void)unused;
    const char *base = getenv("CFN_TEST_TMP");
    arena = arena_create("test", 1 << 16);
    folder = arena_printf(arena, "%s/text.XXXXXX", base ? base : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **unused)
{
    (void)unused;
    int status = system(arena_printf(arena, "rm -rf '%s'", folder));
    arena_destroy(arena);
    return status;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_grows),
        cmocka_unit_test(suggestions),
        cmocka_unit_test(numbers_for_people),
        cmocka_unit_test(ends_and_escapes),
        cmocka_unit_test(paths),
        cmocka_unit_test(files_are_written_whole),
        cmocka_unit_test(failures_say_why),
        cmocka_unit_test(clock_and_version),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
