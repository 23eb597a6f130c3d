/* BLIS: every transposition and stride against a plain loop, bits whatever the shape, empty products, the choice of
 * kernels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "math/blas.h"

static double value(int64_t i, int seed)
{
    return (double)((i * 2654435761 + seed * 40503) % 1009 - 504) / 256.0;
}

static const struct shape {
    int m, n, k;
} SHAPES[] = { { 1, 1, 1 }, { 5, 7, 3 }, { 64, 33, 129 }, { 1, 200, 17 }, { 200, 1, 17 }, { 96, 96, 400 } };

/* op(x)[i][j] of a stored matrix. */
static double at(const double *x, int64_t ld, char trans, int64_t i, int64_t j)
{
    return trans == 'T' ? x[j * ld + i] : x[i * ld + j];
}

static void check_gemm(struct shape s, char ta, char tb)
{
    const int pad = 3;
    const int64_t lda = (ta == 'T' ? s.m : s.k) + pad, ldb = (tb == 'T' ? s.k : s.n) + pad, ldc = s.n + pad;
    const int64_t na = (ta == 'T' ? s.k : s.m) * lda, nb = (tb == 'T' ? s.n : s.k) * ldb, nc = s.m * ldc;
    double *a = test_calloc((size_t)na, 8), *b = test_calloc((size_t)nb, 8), *c = test_calloc((size_t)nc, 8);
    float *fa = test_calloc((size_t)na, 4), *fb = test_calloc((size_t)nb, 4), *fc = test_calloc((size_t)nc, 4);
    for (int64_t i = 0; i < na; i++)
        fa[i] = (float)(a[i] = value(i, 1));
    for (int64_t i = 0; i < nb; i++)
        fb[i] = (float)(b[i] = value(i, 2));
    for (int64_t i = 0; i < nc; i++)
        fc[i] = (float)(c[i] = value(i, 3));
    blas_sgemm(ta, tb, s.m, s.n, s.k, 0.5f, fa, lda, fb, ldb, 2.0f, fc, ldc);
    blas_dgemm(ta, tb, s.m, s.n, s.k, 0.5, a, lda, b, ldb, 2.0, c, ldc);
    for (int64_t i = 0; i < s.m; i++)
        for (int64_t j = 0; j < ldc; j++) {
            double plain = value(i * ldc + j, 3);
            if (j < s.n) {
                double sum = 0;
                for (int64_t k = 0; k < s.k; k++)
                    sum += at(a, lda, ta, i, k) * at(b, ldb, tb, k, j);
                plain = 2 * plain + 0.5 * sum;
            }
            assert_true(fabs(c[i * ldc + j] - plain) <= 1e-11 * (1 + fabs(plain)));
            assert_true(fabs((double)fc[i * ldc + j] - plain) <= 1e-5 * s.k);
        }
    test_free(a), test_free(b), test_free(c), test_free(fa), test_free(fb), test_free(fc);
}

static void gemm_equals_plain_loop(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof SHAPES / sizeof *SHAPES; s++)
        for (int t = 0; t < 4; t++)
            check_gemm(SHAPES[s], t & 1 ? 'T' : 'N', t & 2 ? 'T' : 'N');
}

/* Entries of both precisions, so that a product can be asked for in either. */
struct operand {
    const double *d;
    const float *s;
};

static struct operand operand(int64_t count, int seed)
{
    double *d = test_calloc((size_t)count, sizeof *d);
    float *s = test_calloc((size_t)count, sizeof *s);
    for (int64_t i = 0; i < count; i++)
        s[i] = (float)(d[i] = value(i, seed) / 7);
    return (struct operand){ d, s };
}

static void drop(struct operand x)
{
    test_free((void *)(uintptr_t)x.d);
    test_free((void *)(uintptr_t)x.s);
}

enum { WHOLE_M = 400, WHOLE_N = 300 };

/* Rows row.. and columns column.. of the whole product into both results; by the threads of blas_start, or alone. */
static void multiply(double *d, float *s, struct shape of, int64_t row, int64_t column, const struct operand x[2],
                     char ta, char tb, bool alone)
{
    const int64_t lda = ta == 'T' ? WHOLE_M : of.k, ldb = tb == 'T' ? of.k : WHOLE_N;
    const int64_t a = ta == 'T' ? row : row * lda, b = tb == 'T' ? column * ldb : column;
    (alone ? blas_dgemm_alone : blas_dgemm)(ta, tb, of.m, of.n, of.k, 1, x[0].d + a, lda, x[1].d + b, ldb, 0, d, of.n);
    (alone ? blas_sgemm_alone : blas_sgemm)(ta, tb, of.m, of.n, of.k, 1, x[0].s + a, lda, x[1].s + b, ldb, 0, s, of.n);
}

static void check_pieces(int k, char ta, char tb)
{
    const struct operand x[2] = { operand(WHOLE_M * k, 7), operand(WHOLE_N * k, 8) };
    double *whole = test_calloc(WHOLE_M * WHOLE_N, sizeof *whole), *part = test_calloc(WHOLE_M * WHOLE_N, sizeof *part);
    float *swhole = test_calloc(WHOLE_M * WHOLE_N, sizeof *swhole),
          *spart = test_calloc(WHOLE_M * WHOLE_N, sizeof *spart);
    multiply(whole, swhole, (struct shape){ WHOLE_M, WHOLE_N, k }, 0, 0, x, ta, tb, false);
    for (int piece = 0; piece < 24; piece++) {
        const struct shape of = { 1 + piece * piece * 7919 % 311, 1 + piece * 104729 % 211, k };
        const int64_t row = piece * 31 % (WHOLE_M - of.m + 1), column = piece * 37 % (WHOLE_N - of.n + 1);
        multiply(part, spart, of, row, column, x, ta, tb, piece % 2);
        for (int64_t i = 0; i < of.m; i++) {
            const int64_t at = (row + i) * WHOLE_N + column;
            assert_memory_equal(part + i * of.n, whole + at, (size_t)of.n * sizeof *part);
            assert_memory_equal(spart + i * of.n, swhole + at, (size_t)of.n * sizeof *spart);
        }
    }
    const int64_t lda = ta == 'T' ? WHOLE_M : k, ldb = tb == 'T' ? k : WHOLE_N;
    const char turned_a = tb == 'T' ? 'N' : 'T', turned_b = ta == 'T' ? 'N' : 'T';
    blas_sgemm(turned_a, turned_b, WHOLE_N, WHOLE_M, k, 1, x[1].s, ldb, x[0].s, lda, 0, spart, WHOLE_M);
    for (int64_t i = 0; i < WHOLE_M * WHOLE_N; i++) /* (b' a')' = a b */
        assert_memory_equal(&spart[i % WHOLE_N * WHOLE_M + i / WHOLE_N], &swhole[i], sizeof *spart);
    drop(x[0]), drop(x[1]);
    test_free(whole), test_free(part), test_free(swhole), test_free(spart);
}

/* A product with its own transpose, one triangle computed, has the bits of the whole one. */
static void check_gram(int n, int k)
{
    const int ld = n + 3;
    const struct operand x = operand((int64_t)n * k, 7);
    double *whole = test_calloc((size_t)(n * ld), sizeof *whole), *gram = test_calloc((size_t)(n * ld), sizeof *gram);
    for (int64_t i = 0; i < (int64_t)n * ld; i++)
        whole[i] = gram[i] = NAN;
    blas_dgemm('N', 'T', n, n, k, 1, x.d, k, x.d, k, 0, whole, ld);
    blas_dgram(n, k, x.d, k, gram, ld);
    for (int i = 0; i < n; i++) {
        assert_memory_equal(gram + i * ld, whole + i * ld, (size_t)n * sizeof *gram);
        assert_true(isnan(gram[i * ld + n]));
    }
    drop(x);
    test_free(whole), test_free(gram);
}

/* Beyond every block of the kernels: m, n and k are each cut. */
static void check_wide(void)
{
    enum { M = 700, N = 3300, K = 400, LESS_M = 90, LESS_N = 70 };
    const struct operand a = operand(M * K, 7), b = operand((int64_t)N * K, 8);
    float *whole = test_calloc((size_t)M * N, sizeof *whole), *part = test_calloc(LESS_M * LESS_N, sizeof *part);
    blas_sgemm('N', 'T', M, N, K, 1, a.s, K, b.s, K, 0, whole, N);
    for (int i = 0; i + LESS_M <= M; i += 203)
        for (int j = 0; j + LESS_N <= N; j += 401) {
            blas_sgemm_alone('N', 'T', LESS_M, LESS_N, K, 1, a.s + i * K, K, b.s + j * K, K, 0, part, LESS_N);
            for (int r = 0; r < LESS_M; r++)
                assert_memory_equal(part + r * LESS_N, whole + (i + r) * N + j, LESS_N * sizeof *part);
        }
    drop(a), drop(b);
    test_free(whole), test_free(part);
}

static void bits_do_not_depend_on_the_shape(void **state)
{
    (void)state;
    static const int depths[] = { 1, 17, 100, 512, 1023 };
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++)
        for (int t = 0; t < 4; t++)
            check_pieces(depths[d], t & 1 ? 'T' : 'N', t & 2 ? 'T' : 'N');
    check_wide();
    check_gram(1, 1);
    check_gram(67, 5);
    check_gram(200, 1023);
    check_gram(411, 1300);
}

/* What this program answers to "bits" under BLIS_ARCH_TYPE=kernels, which must be those it then runs. */
static int again_with(const char *kernels)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        setenv("BLIS_ARCH_TYPE", kernels, 1);
        execl("/proc/self/exe", "test_blas", "bits", kernels, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The same with the other kernels that this processor can run: BLIS chooses once in a process. */
static void nor_with_other_kernels(void **state)
{
    (void)state;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const struct {
        const char *kernels;
        bool here;
    } sets[] = { { "skx", __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") },
                 { "haswell", avx2 },
                 { "zen3", avx2 },
                 { "sandybridge", __builtin_cpu_supports("avx") },
                 { "penryn", __builtin_cpu_supports("sse3") } };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (sets[i].here)
            assert_int_equal(again_with(sets[i].kernels), 0);
#endif
}

static void unknown_kernels_are_refused(void **state)
{
    (void)state;
    assert_int_equal(again_with("abacus"), 64);
}

static void beta_zero_forgets_nan(void **state)
{
    (void)state;
    float a[4] = { 1, 2, 3, 4 }, c[4] = { NAN, NAN, NAN, NAN };
    blas_sgemm('N', 'N', 2, 2, 2, 1, a, 2, a, 2, 0, c, 2);
    assert_true(c[0] == 7 && c[1] == 10 && c[2] == 15 && c[3] == 22);
    float k0[4] = { 1, 2, 3, 4 };
    blas_sgemm('N', 'N', 2, 2, 0, 1, a, 2, a, 2, 2, k0, 2); /* k = 0: only beta acts */
    assert_true(k0[0] == 2 && k0[3] == 8);
    blas_sgemm('N', 'N', 0, 2, 2, 1, a, 2, a, 2, 0, NULL, 2);
}

static void gemv_equals_plain_loop(void **state)
{
    (void)state;
    enum { M = 37, N = 21, LD = 24 };
    double a[M * LD], x[M], y[M];
    float fa[M * LD], fx[M], fy[M];
    for (int t = 0; t < 2; t++) {
        const int out = t ? N : M, in = t ? M : N;
        for (int i = 0; i < M * LD; i++)
            fa[i] = (float)(a[i] = value(i, 4));
        for (int i = 0; i < M; i++) {
            fx[i] = (float)(x[i] = value(i, 5));
            fy[i] = (float)(y[i] = value(i, 6));
        }
        blas_sgemv(t ? 'T' : 'N', M, N, 2, fa, LD, fx, 0.5f, fy);
        blas_dgemv(t ? 'T' : 'N', M, N, 2, a, LD, x, 0.5, y);
        for (int i = 0; i < out; i++) {
            double plain = 0.5 * value(i, 6);
            for (int j = 0; j < in; j++)
                plain += 2 * at(a, LD, t ? 'T' : 'N', i, j) * x[j];
            assert_true(fabs(y[i] - plain) < 1e-11);
            assert_true(fabs((double)fy[i] - plain) < 1e-3);
        }
    }
}

static void vector_kernels_are_chosen(void **state)
{
    (void)state;
    assert_non_null(strstr(blas_library(), "BLIS "));
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && !getenv("BLIS_WAS_SET"))
        assert_string_not_equal(blas_kernel(), "generic");
#endif
}

int main(int argc, char **argv)
{
    if (getenv("BLIS_ARCH_TYPE"))
        setenv("BLIS_WAS_SET", "1", 1);
    blas_start(2);
    if (argc > 2 && strcmp(blas_kernel(), argv[2]) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_equals_plain_loop),      cmocka_unit_test(bits_do_not_depend_on_the_shape),
        cmocka_unit_test(nor_with_other_kernels),      cmocka_unit_test(beta_zero_forgets_nan),
        cmocka_unit_test(gemv_equals_plain_loop),      cmocka_unit_test(vector_kernels_are_chosen),
        cmocka_unit_test(unknown_kernels_are_refused),
    };
    const struct CMUnitTest bits[] = { cmocka_unit_test(bits_do_not_depend_on_the_shape) };
    return argc > 1 ? cmocka_run_group_tests(bits, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
}
