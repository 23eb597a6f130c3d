/* Dense products by BLIS' typed interface: it takes a row and a column stride, so row-major needs no copies.
 * This file also sees to it that BLIS uses vector kernels on processors newer than itself. */
#include "math/blas.h"

#include <blis.h>
#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/error.h"

/* What BLIS would choose by itself. BLIS asks once and keeps the answer, so the question goes to a second copy of the
 * library in a name space of its own. Returns -1 when that cannot be loaded. */
static int arch_of_own_choice(void)
{
    typedef arch_t query(void);
    Dl_info info;
    query *const here = bli_arch_query_id;
    const void *address;
    memcpy(&address, &here, sizeof address);
    if (!dladdr(address, &info) || !info.dli_fname)
        return -1;
    void *copy = dlmopen(LM_ID_NEWLM, info.dli_fname, RTLD_NOW | RTLD_LOCAL);
    if (!copy)
        return -1;
    void *symbol = dlsym(copy, "bli_arch_query_id");
    query *there = NULL;
    memcpy(&there, &symbol, sizeof symbol);
    const int arch = there ? (int)there() : -1;
    dlclose(copy);
    return arch;
}

/* The best kernels this processor can run, or -1. */
static int arch_by_features(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return BLIS_ARCH_SKX;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return BLIS_ARCH_HASWELL;
#endif
    return -1;
}

/* Of the level that CFN_ISA names: the same kernels on every processor that runs it. -1: none is named. */
static int arch_by_level(void)
{
#if defined(__x86_64__)
    static const int archs[] = { -1, -1, BLIS_ARCH_PENRYN, BLIS_ARCH_HASWELL, BLIS_ARCH_SKX };
    return archs[cpu_asked()];
#else
    return -1;
#endif
}

/* The number of the kernels called `name` in the library that was loaded, or -1. Names stay from release to release,
 * numbers do not. */
static int number_of(const char *name)
{
    for (int arch = 0; arch <= BLIS_ARCH_GENERIC; arch++) {
        const char *known = bli_arch_string((arch_t)arch);
        if (strcmp(known, name) == 0)
            return arch;
        if (strcmp(known, "generic") == 0) /* the last one */
            break;
    }
    return -1;
}

/* Releases share the name libblis.so.4, but neither numbers nor structures. */
static void check_release(void)
{
    require(number_of("generic") == BLIS_ARCH_GENERIC, EXIT_USAGE,
            "this program was built for another release of BLIS than the one it finds here, %s\n"
            "build it on this system (make), or let LD_LIBRARY_PATH lead to the other release",
            blas_library());
}

static void name_kernels(int arch)
{
    char text[16];
    snprintf(text, sizeof text, "%d", arch);
    setenv("BLIS_ARCH_TYPE", text, 1);
}

/* What the user has chosen: BLIS wants a number, which may be given as a name here. */
static void translate_name(const char *asked)
{
    if (asked[strspn(asked, "0123456789")] == '\0')
        return;
    const int arch = number_of(asked);
    require(arch >= 0, EXIT_USAGE,
            "BLIS_ARCH_TYPE=%s: %s has no kernels of that name, expected skx, haswell, zen3, ...", asked,
            blas_library());
    name_kernels(arch);
}

/* Names the kernels by BLIS_ARCH_TYPE when nobody else has: those of CFN_ISA, or the best where BLIS would fall back
 * to scalar code. Before the first call of BLIS, which asks once. */
static void choose_kernels(void)
{
    static bool chosen;
    if (chosen)
        return;
    chosen = true;
    check_release();
    const char *asked = getenv("BLIS_ARCH_TYPE");
    if (asked) {
        translate_name(asked);
        return;
    }
    int arch = arch_by_level();
    if (arch < 0 && arch_of_own_choice() == BLIS_ARCH_GENERIC)
        arch = arch_by_features();
    if (arch >= 0)
        name_kernels(arch);
}

enum { CHECK_M = 37, CHECK_N = 53, CHECK_K = 61 }; /* off every register block */

/* One small product in both precisions against a plain loop: kernels that were forced may not fit. */
static void check_kernels(void)
{
    static float a[CHECK_M * CHECK_K], b[CHECK_K * CHECK_N], c[CHECK_M * CHECK_N];
    static double da[CHECK_M * CHECK_K], db[CHECK_K * CHECK_N], dc[CHECK_M * CHECK_N];
    for (int i = 0; i < CHECK_M * CHECK_K; i++)
        da[i] = a[i] = (float)((i * 37) % 101 - 50) / 64.0f;
    for (int i = 0; i < CHECK_K * CHECK_N; i++)
        db[i] = b[i] = (float)((i * 53) % 103 - 51) / 64.0f;
    blas_sgemm('N', 'N', CHECK_M, CHECK_N, CHECK_K, 1, a, CHECK_K, b, CHECK_N, 0, c, CHECK_N);
    blas_dgemm('N', 'N', CHECK_M, CHECK_N, CHECK_K, 1, da, CHECK_K, db, CHECK_N, 0, dc, CHECK_N);
    for (int i = 0; i < CHECK_M; i++)
        for (int j = 0; j < CHECK_N; j++) {
            double plain = 0;
            for (int k = 0; k < CHECK_K; k++)
                plain += da[i * CHECK_K + k] * db[k * CHECK_N + j];
            const double s = (double)c[i * CHECK_N + j], d = dc[i * CHECK_N + j];
            require(fabs(s - plain) <= 1e-4 && fabs(d - plain) <= 1e-12, EXIT_INTERNAL,
                    "%s with its \"%s\" kernels multiplies wrongly: %g (float), %g (double), expected %g\n"
                    "unset BLIS_ARCH_TYPE, or set it to another kernel set (skx, haswell)",
                    blas_library(), blas_kernel(), s, d, plain);
        }
}

void blas_start(int threads)
{
    choose_kernels();
    bli_init();
    bli_thread_set_num_threads(threads > 0 ? threads : 1);
    check_kernels();
}

const char *blas_kernel(void)
{
    choose_kernels();
    bli_init();
    return bli_arch_string(bli_arch_query_id());
}

const char *blas_library(void)
{
    static char text[64];
    snprintf(text, sizeof text, "BLIS %s", bli_info_get_version_str());
    return text;
}

static trans_t transposed(char trans)
{
    return trans == 'T' ? BLIS_TRANSPOSE : BLIS_NO_TRANSPOSE;
}

/* The library's arguments are not const, but it does not write to them. */
static float *in_f32(const float *x)
{
    union {
        const float *in;
        float *out;
    } u = { x };
    return u.out;
}

static double *in_f64(const double *x)
{
    union {
        const double *in;
        double *out;
    } u = { x };
    return u.out;
}

/* How to multiply: with `threads` threads, 0 for those of blas_start, and never by kernels for small matrices, whose
 * order of sums may depend on the shape. */
static rntm_t how(int threads)
{
    rntm_t rntm;
    bli_rntm_init_from_global(&rntm);
    bli_rntm_disable_l3_sup(&rntm);
    if (threads > 0)
        bli_rntm_set_num_threads(threads, &rntm);
    return rntm;
}

void blas_sgemm(char transa, char transb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
    rntm_t rntm = how(0);
    bli_sgemm_ex(transposed(transa), transposed(transb), m, n, k, &alpha, in_f32(a), lda, 1, in_f32(b), ldb, 1, &beta,
                 c, ldc, 1, NULL, &rntm);
}

void blas_sgemm_alone(char transa, char transb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                      int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
    rntm_t rntm = how(1);
    bli_sgemm_ex(transposed(transa), transposed(transb), m, n, k, &alpha, in_f32(a), lda, 1, in_f32(b), ldb, 1, &beta,
                 c, ldc, 1, NULL, &rntm);
}

void blas_dgemm(char transa, char transb, int64_t m, int64_t n, int64_t k, double alpha, const double *a, int64_t lda,
                const double *b, int64_t ldb, double beta, double *c, int64_t ldc)
{
    rntm_t rntm = how(0);
    bli_dgemm_ex(transposed(transa), transposed(transb), m, n, k, &alpha, in_f64(a), lda, 1, in_f64(b), ldb, 1, &beta,
                 c, ldc, 1, NULL, &rntm);
}

void blas_dgemm_alone(char transa, char transb, int64_t m, int64_t n, int64_t k, double alpha, const double *a,
                      int64_t lda, const double *b, int64_t ldb, double beta, double *c, int64_t ldc)
{
    rntm_t rntm = how(1);
    bli_dgemm_ex(transposed(transa), transposed(transb), m, n, k, &alpha, in_f64(a), lda, 1, in_f64(b), ldb, 1, &beta,
                 c, ldc, 1, NULL, &rntm);
}

void blas_dgram(int64_t n, int64_t k, const double *x, int64_t ldx, double *gram, int64_t ldg)
{
    rntm_t rntm = how(0);
    double one = 1, zero = 0;
    bli_dsyrk_ex(BLIS_LOWER, BLIS_NO_TRANSPOSE, n, k, &one, in_f64(x), ldx, 1, &zero, gram, ldg, 1, NULL, &rntm);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++)
            gram[j * ldg + i] = gram[i * ldg + j];
}

/* m and n are those of a as it is stored. */
void blas_sgemv(char trans, int64_t m, int64_t n, float alpha, const float *a, int64_t lda, const float *x, float beta,
                float *y)
{
    bli_sgemv(transposed(trans), BLIS_NO_CONJUGATE, m, n, &alpha, in_f32(a), lda, 1, in_f32(x), 1, &beta, y, 1);
}

void blas_dgemv(char trans, int64_t m, int64_t n, double alpha, const double *a, int64_t lda, const double *x,
                double beta, double *y)
{
    bli_dgemv(transposed(trans), BLIS_NO_CONJUGATE, m, n, &alpha, in_f64(a), lda, 1, in_f64(x), 1, &beta, y, 1);
}
