/* Few rows are added at a time, so that each is read as one stream; some columns
 * of y stay in registers meanwhile. Written with vectors of the compiler
 * (math/simd.h): loops in plain C become several times as many instructions for
 * bfloat16. */
#include "math/rows.h"

#include "math/simd.h"

#define ALWAYS static inline __attribute__((always_inline))
enum { TOGETHER = 8 }; /* rows */
enum { VECTORS = 8, COLUMNS = VECTORS * SIMD };

/* Columns d.. of y, as many as `vectors` hold. */
ALWAYS void add_columns(float *y, const float *a, const void *const *x, int64_t count, int64_t d, int vectors,
                        enum value_type type)
{
    simd sum[VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++)
        sum[v] = simd_load(y, d + v * SIMD, VALUE_F32);
    for (int64_t i = 0; i < count; i++) {
        const simd factor = simd_all(a[i]);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sum[v] += factor * simd_load(x[i], d + v * SIMD, type);
    }
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++)
        simd_store(y, d + v * SIMD, sum[v], VALUE_F32);
}

ALWAYS void add_body(float *y, const float *a, const void *const *x, int64_t count, int64_t n, enum value_type type)
{
    int64_t d = 0;
    for (; d + COLUMNS <= n; d += COLUMNS)
        add_columns(y, a, x, count, d, VECTORS, type);
    for (; d + SIMD <= n; d += SIMD)
        add_columns(y, a, x, count, d, 1, type);
    for (; d < n; d++)
        for (int64_t i = 0; i < count; i++)
            y[d] += a[i] * value_load(x[i], d, type);
}

void rows_add(float *y, const float *a, const void *const *x, int64_t count, int64_t n, enum value_type type)
{
    for (int64_t i = 0; i < count; i += TOGETHER)
        BY_TYPE(add_body, type, y, a + i, x + i, count - i < TOGETHER ? count - i : TOGETHER, n);
}

ALWAYS void dot_body(float *out, const void *a, const void *b, int64_t n, enum value_type type)
{
    enum { SUMS = 4 };
    simd sum[SUMS] = { 0 };
    int64_t d = 0;
    for (; d + SUMS * SIMD <= n; d += SUMS * SIMD)
#pragma GCC unroll 4
        for (int v = 0; v < SUMS; v++)
            sum[v] += simd_load(a, d + v * SIMD, type) * simd_load(b, d + v * SIMD, type);
    for (; d < n; d += SIMD) {
        const int few = n - d < SIMD ? (int)(n - d) : SIMD;
        sum[0] += simd_load_few(a, d, few, type) * simd_load_few(b, d, few, type);
    }
    *out = simd_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

float rows_dot(const void *a, const void *b, int64_t n, enum value_type type)
{
    float sum;
    BY_TYPE(dot_body, type, &sum, a, b, n);
    return sum;
}
