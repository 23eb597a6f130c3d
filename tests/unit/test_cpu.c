/* What a processor runs and what the program needs: levels, sets, and the
 * sentence for a processor that lacks something. Real older processors are in
 * cli/test_isa_guard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/cpu_table.h"

#define BIT(feature) (UINT64_C(1) << (feature))

static void this_program_fits_this_processor(void **unused)
{
    (void)unused;
    char text[2048];
    assert_true(cpu_fits(text, sizeof text, cpu_needed, cpu_features(), cpu_built_for));
    assert_true(strlen(cpu_built_for) > 0 && strlen(cpu_name()) > 0);
#if defined(__x86_64__)
    assert_true(cpu_features() & BIT(CPU_sse3));
    assert_true(cpu_level(cpu_features()) >= cpu_level(cpu_needed));
#endif
}

/* The object that says what is needed was compiled as this test is. */
static void needs_are_those_of_the_compiler(void **unused)
{
    (void)unused;
#ifdef __AVX2__
    assert_true(cpu_needed & BIT(CPU_avx2));
#else
    assert_false(cpu_needed & BIT(CPU_avx2));
#endif
#ifdef __AVX512BF16__
    assert_true(cpu_needed & BIT(CPU_avx512bf16));
#else
    assert_false(cpu_needed & BIT(CPU_avx512bf16));
#endif
#ifdef __FMA__
    assert_true(cpu_needed & BIT(CPU_fma));
#endif
    int level = cpu_level_of(cpu_built_for);
    if (level > 0)
        assert_true(cpu_needed == cpu_level_needs(level));
}

/* The compiler's own names, of which it knows what this processor has. */
static void features_are_those_the_compiler_finds(void **unused)
{
    (void)unused;
#if defined(__x86_64__)
    const uint64_t have = cpu_features();
    __builtin_cpu_init();
    assert_int_equal((have & BIT(CPU_sse4_2)) != 0, __builtin_cpu_supports("sse4.2") != 0);
    assert_int_equal((have & BIT(CPU_popcnt)) != 0, __builtin_cpu_supports("popcnt") != 0);
    assert_int_equal((have & BIT(CPU_avx)) != 0, __builtin_cpu_supports("avx") != 0);
    assert_int_equal((have & BIT(CPU_avx2)) != 0, __builtin_cpu_supports("avx2") != 0);
    assert_int_equal((have & BIT(CPU_fma)) != 0, __builtin_cpu_supports("fma") != 0);
    assert_int_equal((have & BIT(CPU_bmi)) != 0, __builtin_cpu_supports("bmi") != 0);
    assert_int_equal((have & BIT(CPU_bmi2)) != 0, __builtin_cpu_supports("bmi2") != 0);
    assert_int_equal((have & BIT(CPU_avx512f)) != 0, __builtin_cpu_supports("avx512f") != 0);
    assert_int_equal((have & BIT(CPU_avx512bw)) != 0, __builtin_cpu_supports("avx512bw") != 0);
    assert_int_equal((have & BIT(CPU_avx512vbmi2)) != 0, __builtin_cpu_supports("avx512vbmi2") != 0);
    assert_int_equal((have & BIT(CPU_gfni)) != 0, __builtin_cpu_supports("gfni") != 0);
#endif
}

static void levels_hold_one_another(void **unused)
{
    (void)unused;
#if defined(__x86_64__)
    for (int level = 2; level <= 4; level++) {
        uint64_t needs = cpu_level_needs(level);
        assert_int_equal(cpu_level(needs), level);
        assert_true((cpu_level_needs(level - 1) & ~needs) == 0 && needs != cpu_level_needs(level - 1));
        for (int f = 0; f < CPU_FEATURES; f++) /* every one of them counts */
            if (needs >> f & 1)
                assert_true(cpu_level(needs & ~BIT(f)) < level);
        assert_int_equal(cpu_level_of(cpu_level_name(level)), level);
    }
    assert_int_equal(cpu_level(0), 1);
#endif
    assert_int_equal(cpu_level_of("x86-64"), 0);
    assert_int_equal(cpu_level_of("avx2"), 0);
    assert_int_equal(cpu_level_of(""), 0);
}

static void what_lacks_is_named(void **unused)
{
    (void)unused;
    char text[2048], small[8];
    uint64_t zen3 = cpu_level_needs(3), native = cpu_level_needs(4) | BIT(CPU_avx512bf16);
    assert_false(cpu_fits(text, sizeof text, native, zen3, "native"));
    assert_non_null(strstr(text, "built for native, with instructions that "));
    assert_non_null(strstr(text, "(avx512f avx512bw avx512cd avx512dq avx512vl avx512bf16)"));
    assert_null(strchr(text, '\n'));
#if defined(__x86_64__)
    assert_non_null(strstr(text, "build with ARCH=x86-64-v3"));
#endif
    assert_true(cpu_fits(text, sizeof text, zen3, native, "x86-64-v3"));
    assert_string_equal(cpu_list(text, sizeof text, BIT(CPU_fma) | BIT(CPU_avx2)), "avx2 fma");
    assert_string_equal(cpu_list(small, sizeof small, BIT(CPU_avx512f) | BIT(CPU_avx2)), "avx2 av");
    assert_string_equal(cpu_list(text, sizeof text, 0), "");
}

static void the_choice_is_explained(void **unused)
{
    (void)unused;
    char text[256];
    unsetenv("CFN_ISA");
    assert_int_equal(cpu_asked(), 0);
    assert_non_null(strstr(cpu_choice(text, sizeof text, "native"), "for native; this processor runs "));
    const char *most = cpu_level_name(cpu_level(cpu_features()));
    if (cpu_level_of(most) == 0)
        return;
    assert_non_null(strstr(cpu_choice(text, sizeof text, most), ", the highest level that this processor runs"));
    setenv("CFN_ISA", "x86-64-v2", 1);
    assert_int_equal(cpu_asked(), 2);
    assert_non_null(strstr(cpu_choice(text, sizeof text, "x86-64-v2"), "for x86-64-v2, as CFN_ISA asks; this "));
    unsetenv("CFN_ISA");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(this_program_fits_this_processor),
        cmocka_unit_test(needs_are_those_of_the_compiler),
        cmocka_unit_test(features_are_those_the_compiler_finds),
        cmocka_unit_test(levels_hold_one_another),
        cmocka_unit_test(what_lacks_is_named),
        cmocka_unit_test(the_choice_is_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
