/* Errors: one line with the cause, hints below, the exit code, pending output first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"

static char said[1 << 14]; /* what the child wrote to stdout and stderr */

/* Runs `act` in a child; returns its exit code. */
static int run(void (*act)(void))
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        act();
        fflush(NULL);
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t got; (got = read(ends[0], said + length, sizeof said - 1 - length)) > 0;)
        length += (size_t)got;
    said[length] = '\0';
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void alone(void)
{
    printf("pending ");
    fatal(EXIT_BAD_DATA, "%s: row %d: found %s, expected a number\ncheck the table\nor use on_bad: skip", "a.csv", 3,
          "x");
}

static void one_of_many(void)
{
    error_set_rank(2, 4, "node7");
    fatal(EXIT_NO_INPUT, "a.h5: missing");
}

static void hook(int code)
{
    printf("hook %d\n", code);
    fflush(stdout);
    _exit(99);
}

static void with_hook(void)
{
    error_set_abort(hook);
    require(1 + 1 == 2, EXIT_USAGE, "not said");
    require(1 + 1 == 3, EXIT_IO, "sum is %d", 2);
}

static void long_message(void)
{
    static char text[20000];
    memset(text, 'x', sizeof text - 1);
    fatal(EXIT_INTERNAL, "%s", text);
}

static void with_controls(void)
{
    fatal(EXIT_BAD_DATA, "a\x1b[2Jb\x7f\nhint\r");
}

static void for_another_rank(void)
{
    error_set_rank(0, 4, "node1");
    error_print(3, "node9", "b: c\nhint");
}

static void the_line_names_cause_and_hints(void **unused)
{
    (void)unused;
    assert_int_equal(run(alone), 65);
    assert_string_equal(said, "pending cfn: a.csv: row 3: found x, expected a number\n"
                              "  check the table\n  or use on_bad: skip\n");
}

static void ranks_are_named_when_there_are_several(void **unused)
{
    (void)unused;
    assert_int_equal(run(one_of_many), 66);
    assert_string_equal(said, "cfn: rank 2 (node7): a.h5: missing\n");
    assert_int_equal(run(for_another_rank), 0);
    assert_string_equal(said, "cfn: rank 3 (node9): b: c\n  hint\n");
}

static void the_hook_ends_the_job(void **unused)
{
    (void)unused;
    assert_int_equal(run(with_hook), 99);
    assert_string_equal(said, "cfn: sum is 2\nhook 74\n");
}

static void a_long_message_is_cut(void **unused)
{
    (void)unused;
    assert_int_equal(run(long_message), 70);
    assert_true(strlen(said) > 4000 && strlen(said) < 9000);
    assert_true(said[strlen(said) - 1] == '\n');
}

static void terminals_are_not_told_what_to_do(void **unused)
{
    (void)unused;
    assert_int_equal(run(with_controls), 65);
    assert_string_equal(said, "cfn: a?[2Jb?\n  hint?\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_line_names_cause_and_hints),
        cmocka_unit_test(ranks_are_named_when_there_are_several),
        cmocka_unit_test(the_hook_ends_the_job),
        cmocka_unit_test(a_long_message_is_cut),
        cmocka_unit_test(terminals_are_not_told_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
