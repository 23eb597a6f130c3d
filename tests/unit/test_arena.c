/* Arenas: alignment, zeroes, marks, reuse without growth, peak, overflow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "sanitized.h"

static void memory_is_aligned_and_zero(void **unused)
{
    (void)unused;
    struct arena *arena = arena_create("test", 10000);
    for (size_t size = 0; size < 3000; size += 7) {
        unsigned char *data = arena_take(arena, size, 1);
        assert_int_equal((uintptr_t)data % 64, 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(data[i], 0);
        memset(data, 0xff, size);
    }
    arena_destroy(arena);
}

static void reused_memory_is_zero_again(void **unused)
{
    (void)unused;
    struct arena *arena = arena_create("test", 1 << 16);
    arena_take(arena, 100, 1);
    struct arena_mark mark = arena_mark(arena);
    for (int round = 0; round < 20; round++) {
        /* Sizes that end before, at and beyond what was touched, and in a second block. */
        size_t size = (size_t)(round % 5 + 1) * 20000;
        unsigned char *raw = arena_take_raw(arena, (size_t)round * 100, 1), *data = arena_take(arena, size, 1);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(data[i], 0);
        memset(raw, 0xaa, (size_t)round * 100);
        memset(data, 0xbb, size);
        arena_release(arena, mark);
    }
    arena_destroy(arena);
}

static void release_gives_back_and_takes_no_more_from_the_system(void **unused)
{
    (void)unused;
    struct arena *arena = arena_create("test", 4096);
    char *kept = arena_strdup(arena, "kept");
    struct arena_mark mark = arena_mark(arena);
    for (int i = 1; i <= 30; i++)
        arena_take_raw(arena, (size_t)i * 1000, 1);
    size_t reserved = arena_bytes(arena), peak = arena_peak_bytes(arena);
    assert_true(peak >= 30 * 31 / 2 * 1000 && peak <= reserved);
    for (int round = 0; round < 50; round++) {
        arena_release(arena, mark);
        for (int i = 1; i <= 30; i++)
            arena_take_raw(arena, (size_t)i * 1000, 1);
    }
    assert_int_equal(arena_bytes(arena), reserved);
    assert_int_equal(arena_peak_bytes(arena), peak);
    assert_string_equal(kept, "kept");
    arena_reset(arena);
    assert_int_equal(arena_mark(arena).used, 0);
    arena_destroy(arena);
}

static void parts_do_not_overlap(void **unused)
{
    (void)unused;
    enum { PARTS = 500 };
    struct arena *arena = arena_create("test", 5000);
    unsigned char *part[PARTS];
    for (int i = 0; i < PARTS; i++) {
        part[i] = arena_take_raw(arena, (size_t)(i * 37 % 700 + 1), 1);
        memset(part[i], i & 0xff, (size_t)(i * 37 % 700 + 1));
    }
    for (int i = 0; i < PARTS; i++)
        for (int k = 0; k < i * 37 % 700 + 1; k++)
            assert_int_equal(part[i][k], i & 0xff);
    arena_destroy(arena);
}

static void untouched_memory_is_counted(void **unused)
{
    (void)unused;
    enum { BYTES = 32 << 20, PART = 8 << 20 };
    struct arena *arena = arena_create("test", 1 << 16);
    char *data = arena_take(arena, BYTES, 1);
    size_t absent = arena_absent_bytes(arena);
    if (!SANITIZED)
        assert_int_equal(absent, BYTES);
    memset(data, 1, PART);
    if (!SANITIZED)
        assert_int_equal(arena_absent_bytes(arena), BYTES - PART);
    memset(data, 1, BYTES);
    assert_int_equal(arena_absent_bytes(arena), 0);
    arena_destroy(arena);
}

/* A plan counts what another arena would, has room for more than the machine, and what was written is zero again. */
static void a_plan_takes_no_memory(void **unused)
{
    (void)unused;
    enum { FEW = 1000, ROUNDS = 3 };
    const size_t many = (size_t)1 << 40;
    struct arena *real = arena_create("test", 4096), *plan = arena_plan("test");
    struct arena *const both[] = { real, plan };
    assert_true(arena_is_plan(plan) && !arena_is_plan(real));
    for (int i = 0; i < 2; i++) {
        struct arena_mark mark = arena_mark(both[i]);
        for (int round = 0; round < ROUNDS; round++) {
            int *few = arena_array(both[i], int, FEW);
            for (int k = 0; k < FEW; k++) {
                assert_int_equal(few[k], 0);
                few[k] = k + 1;
            }
            arena_take_raw(both[i], (size_t)(round + 1) << 20, 3);
            arena_release(both[i], mark);
        }
    }
    assert_int_equal(arena_peak_bytes(plan), arena_peak_bytes(real));
    const size_t before = arena_peak_bytes(plan);
    char *large = arena_take(plan, many, 1);
    large[many - 1] = 1;
    assert_true(arena_peak_bytes(plan) >= many && arena_peak_bytes(plan) < many + before);
    arena_destroy(real);
    arena_destroy(plan);
}

static void large_blocks_begin_at_a_huge_page(void **unused)
{
    (void)unused;
    struct arena *arena = arena_create("test", 4096);
    float *large = arena_array(arena, float, 5000000);
    assert_int_equal((uintptr_t)large % ((size_t)2 << 20), 0);
    assert_true(large[0] == 0.0f && large[4999999] == 0.0f);
    large[4999999] = 1.0f;
    arena_destroy(arena);
}

/* Sizes that overflow, or that no machine has, end the process with a message and not with a short buffer. */
static void impossible_sizes_end_the_job(void **unused)
{
    (void)unused;
    const size_t sizes[][2] = { { SIZE_MAX / 2, 4 }, { SIZE_MAX, 1 }, { SIZE_MAX / 4, 1 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        pid_t child = fork();
        if (child == 0) {
            if (!freopen("/dev/null", "w", stderr))
                _exit(1);
            arena_take_raw(arena_create("test", 0), sizes[i][0], sizes[i][1]);
            _exit(0);
        }
        int status = 0;
        waitpid(child, &status, 0);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), EXIT_INTERNAL);
    }
}

/* A limit of the batch system is met with words. */
static void a_memory_limit_is_named(void **unused)
{
    (void)unused;
    int ends[2];
    if (SANITIZED)
        skip();
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        const struct rlimit limit = { (rlim_t)1 << 30, (rlim_t)1 << 30 };
        setrlimit(RLIMIT_AS, &limit);
        arena_take_raw(arena_create("activations", 0), (size_t)2 << 30, 1);
        _exit(0);
    }
    close(ends[1]);
    char said[1000] = "";
    ssize_t got = read(ends[0], said, sizeof said - 1);
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    assert_true(got > 0 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_INTERNAL);
    assert_non_null(strstr(said, "arena activations: cannot get 2.147 GB more (it holds 0.000 GB)"));
}

static void texts(void **unused)
{
    (void)unused;
    struct arena *arena = arena_create("test", 64);
    assert_string_equal(arena_printf(arena, "%d %s", 12, "x"), "12 x");
    assert_string_equal(arena_strdup(arena, ""), "");
    char *wide = arena_printf(arena, "%5000d", 1);
    assert_int_equal(strlen(wide), 5000);
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned_and_zero),
        cmocka_unit_test(reused_memory_is_zero_again),
        cmocka_unit_test(release_gives_back_and_takes_no_more_from_the_system),
        cmocka_unit_test(parts_do_not_overlap),
        cmocka_unit_test(untouched_memory_is_counted),
        cmocka_unit_test(a_plan_takes_no_memory),
        cmocka_unit_test(large_blocks_begin_at_a_huge_page),
        cmocka_unit_test(impossible_sizes_end_the_job),
        cmocka_unit_test(a_memory_limit_is_named),
        cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
