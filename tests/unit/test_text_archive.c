/* Texts of a zip archive, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "store/text_archive.h"
#include "test_arena.h"
#include "zip_texts.h"

enum { LIMIT = 1000 };
static char path[4096], longest[LIMIT + 1];
static const char *why;

static const char first[] = "FINDINGS: none.\nIMPRESSION: none, none, none, none, none, none.";
static const struct zip_text texts[] = {
    { "files/p10/p1/s1.txt", first, sizeof first - 1 },
    { "files/p10/p1/s2.txt", "", 0 },
    { "files/nul.txt", "a\0b", 3 },
    { "files/long.txt", longest, sizeof longest },
    { "files/p10/p2/s3.txt", "the last", 8 },
};

static void any_order(void **state)
{
    (void)state;
    for (int deflate = 0; deflate < 2; deflate++) {
        assert_true(zip_texts_write(path, texts, sizeof texts / sizeof *texts, deflate));
        struct text_archive *archive = text_archive_open(arena, "a.zip", path, &why);
        assert_non_null(archive);
        assert_true(text_archive_has(archive, "files/p10/p2/s3.txt"));
        assert_false(text_archive_has(archive, "files/p10/p2/s4.txt"));
        for (int again = 0; again < 2; again++) {
            assert_string_equal(text_archive_read(arena, archive, "files/p10/p2/s3.txt", LIMIT, &why), "the last");
            assert_string_equal(text_archive_read(arena, archive, "files/p10/p1/s1.txt", LIMIT, &why), first);
            assert_string_equal(text_archive_read(arena, archive, "files/p10/p1/s2.txt", LIMIT, &why), "");
        }
        text_archive_close(archive);
    }
}

static void refused(struct text_archive *archive, const char *member, const char *part)
{
    assert_null(text_archive_read(arena, archive, member, LIMIT, &why));
    if (!strstr(why, part))
        fail_msg("'%s' is not in: %s", part, why);
}

static void others_are_refused(void **state)
{
    (void)state;
    size_t size;
    assert_true(zip_texts_write(path, texts, sizeof texts / sizeof *texts, false));
    struct text_archive *archive = text_archive_open(arena, "a.zip", path, &why);
    assert_non_null(archive);
    refused(archive, "files/none.txt", "it holds no \"files/none.txt\"");
    refused(archive, "files/nul.txt", "holds a NUL byte");
    refused(archive, "files/long.txt", "1001 bytes; 1000 at most");
    assert_string_equal(text_archive_read(arena, archive, "files/p10/p2/s3.txt", LIMIT, &why), "the last");
    text_archive_close(archive);

    char *bytes = file_read(arena, path, 0, &size, &why), *at = memmem(bytes, size, "the last", 8);
    assert_non_null(at);
    at[2] = 'a';
    assert_true(file_write(arena, path, bytes, size, &why));
    archive = text_archive_open(arena, "a.zip", path, &why);
    assert_non_null(archive);
    refused(archive, "files/p10/p2/s3.txt", "damaged");
    text_archive_close(archive);

    assert_true(file_write(arena, path, bytes, size - 30, &why));
    assert_null(text_archive_open(arena, "a.zip", path, &why));
    assert_non_null(strstr(why, "not a whole zip archive"));
    assert_null(text_archive_open(arena, "a.zip", "/nowhere/a.zip", &why));
    assert_non_null(strstr(why, "cannot be opened"));
}

int main(void)
{
    const char *folder = getenv("CFN_TEST_TMP");
    const struct CMUnitTest tests[] = { cmocka_unit_test(any_order), cmocka_unit_test(others_are_refused) };
    memset(longest, 'a', sizeof longest);
    snprintf(path, sizeof path, "%s/texts-%ld.zip", folder ? folder : "/tmp", (long)getpid());
    int failed = cmocka_run_group_tests(tests, open_arena, close_arena);
    unlink(path);
    return failed;
}
