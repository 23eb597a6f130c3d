/* Patches, tokens, the picked row, and softmax over rows: what a vision transformer needs around its products. Loops
 * are plain C for the vectoriser, inlined once for each type; exponentials are written with vectors (math/simd.h). */
#include "nn/kernels_tokens.h"

#include <stddef.h>
#include <string.h>

#include "math/simd.h"

#define INLINE static inline __attribute__((always_inline))

/* ---- patches ---- */

INLINE void convert(void *restrict out, int64_t first, const float *restrict in, int64_t count, enum value_type type)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        value_store(out, first + i, in[i], type);
}

void patches_gather(void *out, const float *images, int64_t count, int channels, int size, int window,
                    enum value_type type)
{
    int64_t side = size / window, area = (int64_t)size * size, width = (int64_t)channels * window * window;
#pragma omp parallel for schedule(static)
    for (int64_t patch = 0; patch < count * side * side; patch++) {
        int64_t image = patch / (side * side), y = patch / side % side * window, x = patch % side * window;
        for (int c = 0; c < channels; c++) {
            const float *in = images + (image * channels + c) * area + y * size + x;
            for (int row = 0; row < window; row++)
                BY_TYPE(convert, type, out, patch * width + (c * window + row) * (int64_t)window, in + row * size,
                        window);
        }
    }
}

/* ---- tokens ---- */

/* out <- x + position; x single precision (token) or of the type (patch). */
INLINE void add_position(void *restrict out, int64_t at, const void *restrict x, int64_t from, enum value_type of,
                         const float *restrict position, int width, enum value_type type)
{
#pragma omp simd
    for (int c = 0; c < width; c++)
        value_store(out, at + c, value_load(x, from + c, of) + position[c], type);
}

INLINE void token_row(void *out, const void *x, const float *token, const float *position, int64_t row, int64_t patches,
                      int width, enum value_type type)
{
    int64_t image = row / (1 + patches), place = row % (1 + patches);
    if (place == 0)
        add_position(out, row * width, token, 0, VALUE_F32, position, width, type);
    else
        add_position(out, row * width, x, (image * patches + place - 1) * width, type, position + place * width, width,
                     type);
}

void tokens_forward(void *out, const void *x, const float *token, const float *position, int64_t images,
                    int64_t patches, int width, enum value_type type)
{
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < images * (1 + patches); row++)
        BY_TYPE(token_row, type, out, x, token, position, row, patches, width);
}

INLINE void position_gradient(float *restrict sums, const void *restrict g, int64_t images, int64_t stride, int width,
                              enum value_type type)
{
#pragma omp simd
    for (int c = 0; c < width; c++) {
        double sum = 0.0;
        for (int64_t image = 0; image < images; image++)
            sum += (double)value_load(g, image * stride + c, type);
        sums[c] = (float)sum;
    }
}

void tokens_backward(void *diff, float *dtoken, float *dposition, const void *g, int64_t images, int64_t patches,
                     int width, enum value_type type)
{
    int64_t rows = 1 + patches, bytes = patches * width * value_bytes(type);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++)
        BY_TYPE(position_gradient, type, dposition + row * width, value_at_const(g, row * width, type), images,
                rows * width, width);
    memcpy(dtoken, dposition, (size_t)width * sizeof *dtoken);
    if (!diff)
        return;
#pragma omp parallel for schedule(static)
    for (int64_t image = 0; image < images; image++)
        memcpy((char *)diff + image * bytes, value_at_const(g, (image * rows + 1) * width, type), (size_t)bytes);
}

/* ---- the picked row ---- */

void pick_first(float *out, const void *x, int64_t images, int64_t rows, int width, enum value_type type)
{
    for (int64_t image = 0; image < images; image++)
        for (int c = 0; c < width; c++)
            out[image * width + c] = value_load(x, image * rows * width + c, type);
}

void pick_first_backward(void *diff, const float *g, int64_t images, int64_t rows, int width, enum value_type type)
{
    int64_t bytes = rows * width * value_bytes(type);
#pragma omp parallel for schedule(static)
    for (int64_t image = 0; image < images; image++) {
        memset((char *)diff + image * bytes, 0, (size_t)bytes);
        BY_TYPE(convert, type, (char *)diff + image * bytes, 0, g + image * width, width);
    }
}

/* ---- softmax ---- */

/* exp(x) for x <= 0; below -87, where a single is no longer normal, exp(-87) = 1e-38. x = n ln 2 + r, |r| <= ln 2 / 2;
 * 2^n goes into the exponent, exp(r) is its series up to r^7. What is no number stays none. */
INLINE simd exp_below_zero(simd x)
{
    const float round = 12582912.0f; /* 1.5 * 2^23: what is added to it loses its fraction */
    x = -simd_min(simd_all(87.0f), -x);
    simd shifted = x * 1.44269504f + round, n = shifted - round;
    simd r = x - n * 0.693145752f - n * 1.42860677e-6f; /* ln 2 in two parts */
    simd p = r * (1.0f / 5040.0f) + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    simd result = (simd)((simd_bits)p + ((simd_bits)shifted << 23)); /* the low bits of `shifted` are n */
    return simd_where(x == x, result) + simd_where(x != x, x);
}

enum { PIECE = 512 }; /* columns that are kept on the stack between the passes */

/* exp(scale (s - most)) of up to PIECE columns; returns sums + theirs. Padding adds what is below rounding. */
INLINE simd exponentials(float *restrict out, simd sums, const float *restrict s, float most, float scale, int n)
{
    int whole = (n + SIMD - 1) / SIMD * SIMD;
    memcpy(out, s, (size_t)n * sizeof *out);
    for (int i = n; i < whole; i++)
        out[i] = most - 1e30f;
    for (int i = 0; i < whole; i += SIMD) {
        simd e = exp_below_zero(scale * (simd_load(out, i, VALUE_F32) - most));
        simd_store(out, i, e, VALUE_F32);
        sums += e;
    }
    return sums;
}

INLINE void softmax(void *restrict p, const float *restrict s, float scale, int n, enum value_type type)
{
    float most = s[0], sum = 0.0f, kept[PIECE];
    simd sums = { 0 };
#pragma omp simd reduction(max : most)
    for (int i = 0; i < n; i++)
        most = s[i] > most ? s[i] : most;
    for (int i = 0; i < n; i += PIECE)
        sums = exponentials(kept, sums, s + i, most, scale, n - i < PIECE ? n - i : PIECE);
    for (int l = 0; l < SIMD; l++)
        sum += sums[l];
    float share = 1.0f / sum;
    for (int i = 0; i < n; i += PIECE) {
        int count = n - i < PIECE ? n - i : PIECE;
        if (n > PIECE)
            exponentials(kept, sums, s + i, most, scale, count);
#pragma omp simd
        for (int k = 0; k < count; k++)
            value_store(p, i + k, share * kept[k], type);
    }
}

void softmax_rows(void *p, const float *s, float scale, int64_t count, int n, enum value_type type)
{
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < count; row++)
        BY_TYPE(softmax, type, value_at(p, row * n, type), s + row * n, scale, n);
}

INLINE void softmax_backward(void *restrict p, const float *restrict dp, float scale, int n, enum value_type type)
{
    float dot = 0.0f;
#pragma omp simd reduction(+ : dot)
    for (int i = 0; i < n; i++)
        dot += value_load(p, i, type) * dp[i];
#pragma omp simd
    for (int i = 0; i < n; i++)
        value_store(p, i, scale * value_load(p, i, type) * (dp[i] - dot), type);
}

void softmax_rows_backward(void *p, const float *dp, float scale, int64_t count, int n, enum value_type type)
{
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < count; row++)
        BY_TYPE(softmax_backward, type, value_at(p, row * n, type), dp + row * n, scale, n);
}
