/* Messages: who speaks where, levels, kept warnings, the log file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

static struct arena *arena;
static const char *out_path, *err_path, *log_path;
static int saved_out, saved_err;

static void capture(void)
{
    fflush(NULL);
    saved_out = dup(STDOUT_FILENO);
    saved_err = dup(STDERR_FILENO);
    if (!freopen(out_path, "w", stdout) || !freopen(err_path, "w", stderr))
        abort();
}

static void restore(void)
{
    fflush(NULL);
    dup2(saved_out, STDOUT_FILENO);
    dup2(saved_err, STDERR_FILENO);
    close(saved_out);
    close(saved_err);
}

static const char *contents(const char *path)
{
    const char *why = NULL, *text = file_read(arena, path, 0, NULL, &why);
    return text ? text : why;
}

static void speak(int rank, enum log_level level)
{
    log_setup(rank, level);
    capture();
    log_info("info %d", 1);
    log_verbose("verbose %d", 2);
    log_warn("warn %d", 3);
    restore();
    log_setup(0, LOG_NORMAL);
}

static void rank_0_speaks(void **unused)
{
    (void)unused;
    speak(0, LOG_NORMAL);
    assert_string_equal(contents(out_path), "info 1\n");
    assert_string_equal(contents(err_path), "warning: warn 3\n");
    speak(0, LOG_VERBOSE);
    assert_string_equal(contents(out_path), "info 1\nverbose 2\n");
    speak(0, LOG_QUIET);
    assert_string_equal(contents(out_path), "");
    assert_string_equal(contents(err_path), "warning: warn 3\n");
    assert_int_equal(log_kept_count(), 0);
}

static void other_ranks_keep_their_warnings(void **unused)
{
    (void)unused;
    speak(1, LOG_VERBOSE);
    speak(1, LOG_VERBOSE);
    assert_string_equal(contents(out_path), "");
    assert_string_equal(contents(err_path), "");
    assert_int_equal(log_kept_count(), 2);
    assert_string_equal(log_kept(), "warn 3\nwarn 3");
    log_setup(1, LOG_NORMAL);
    for (int i = 0; i < 100000; i++)
        log_warn("a warning that comes very often");
    log_setup(0, LOG_NORMAL);
    assert_int_equal(log_kept_count(), 100002);
    assert_true(strlen(log_kept()) < 100000); /* counted, not hoarded */
    log_forget();
    assert_int_equal(log_kept_count(), 0);
    assert_string_equal(log_kept(), "");
}

static void the_file_gets_everything_that_is_said(void **unused)
{
    (void)unused;
    log_file(log_path);
    speak(0, LOG_NORMAL);
    log_file(NULL);
    speak(0, LOG_NORMAL);
    assert_string_equal(contents(log_path), "info 1\nwarning: warn 3\n");
    log_file(log_path);
    speak(0, LOG_NORMAL);
    log_file(NULL);
    assert_string_equal(contents(log_path), "info 1\nwarning: warn 3\ninfo 1\nwarning: warn 3\n");
}

static void a_bar_stays_below(void **unused)
{
    (void)unused;
    capture();
    log_bar("50 %");
    log_info("line");
    log_bar(NULL);
    restore();
    assert_string_equal(contents(out_path), "50 %\r\033[Kline\n50 %\r\033[K");
}

static int set_up(void **unused)
{
    (void)unused;
    const char *base = getenv("CFN_TEST_TMP");
    arena = arena_create("test", 1 << 16);
    char *folder = arena_printf(arena, "%s/log.XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    out_path = path_join(arena, folder, "out");
    err_path = path_join(arena, folder, "err");
    log_path = path_join(arena, folder, "log");
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    return system(arena_printf(arena, "rm -rf $(dirname '%s')", out_path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rank_0_speaks),
        cmocka_unit_test(other_ranks_keep_their_warnings),
        cmocka_unit_test(the_file_gets_everything_that_is_said),
        cmocka_unit_test(a_bar_stays_below),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
