/* The head of a checkpoint, of a file whose checksum is right: anything but one text is another run's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "store/checkpoint_file.h"

static const char identity[] = "data=ham\nbatch=16\n" CHECKPOINT_BY "blis=" CHECKPOINT_ANY "\n";
static char path[] = "/tmp/cfn-checkpoint-XXXXXX";
static struct arena *arena;

/* A file with `count` texts as its identity, and what is said of it. */
static struct failure read_with(const char *text, hsize_t count)
{
    const char *texts[6] = { text, text, text, text, text, text };
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(1, &count, NULL), type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    hid_t id = H5Acreate2(file, "identity", type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(id, type, texts) >= 0);
    H5Aclose(id);
    H5Tclose(type);
    H5Sclose(space);
    H5Fclose(file);
    struct failure failure = { 0 };
    checkpoint_file_read(arena, path, identity, NULL, 0, &failure);
    return failure;
}

static void one_text_is_compared(void **state)
{
    (void)state;
    assert_false(read_with(identity, 1).failed);
    struct failure other = read_with("data=ham\nbatch=32\x1b\n" CHECKPOINT_BY "blis=0.9\n", 1);
    assert_true(other.failed && other.code == EXIT_BAD_CONFIG);
    assert_non_null(strstr(other.text, "batch: checkpoint 32?, this run 16"));
}

static void any_value_fits_where_the_run_says_so(void **state)
{
    (void)state;
    assert_false(read_with("data=ham\nbatch=16\n" CHECKPOINT_BY "blis=0.9\n", 1).failed);
    assert_false(read_with("data=ham\nbatch=16\n", 1).failed);
    struct failure mixed = read_with("data=" CHECKPOINT_ANY "\nbatch=16\n", 1); /* what is in the file is no wish */
    assert_true(mixed.failed && mixed.code == EXIT_BAD_CONFIG);
    assert_non_null(strstr(mixed.text, "data: checkpoint " CHECKPOINT_ANY ", this run ham"));
    assert_null(strstr(mixed.text, "blis"));
    assert_null(strstr(mixed.text, "mix_libraries"));
    struct failure before = read_with(identity, 1);
    assert_false(before.failed); /* mixed once, mixed again */
}

static void other_libraries_are_named(void **state)
{
    (void)state;
    struct failure failure = { 0 };
    assert_false(read_with("data=ham\nbatch=16\n" CHECKPOINT_BY "blis=0.9\n", 1).failed);
    checkpoint_file_read(arena, path, "data=ham\nbatch=16\n" CHECKPOINT_BY "blis=1.1\n", NULL, 0, &failure);
    assert_true(failure.failed && failure.code == EXIT_BAD_CONFIG);
    assert_non_null(strstr(failure.text, "computed by blis: checkpoint 0.9, this run 1.1"));
    assert_non_null(strstr(failure.text, "mix_libraries=true"));
}

static void several_texts_are_no_identity(void **state)
{
    (void)state;
    struct failure several = read_with(identity, 6); /* six pointers for room of one */
    assert_true(several.failed && several.code == EXIT_BAD_CONFIG);
    assert_non_null(strstr(several.text, "belongs to another run"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(one_text_is_compared),
                                        cmocka_unit_test(any_value_fits_where_the_run_says_so),
                                        cmocka_unit_test(other_libraries_are_named),
                                        cmocka_unit_test(several_texts_are_no_identity) };
    close(mkstemp(path));
    arena = arena_create("test", 1 << 16);
    h5_start();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    unlink(path);
    return failed;
}
