/* Some values at once, in single precision or bfloat16, as the compilers' own vectors: kernels are written with the
 * usual operators and become the instructions of the machine at hand. A `simd` is one register of it, SIMD lanes:
 * wider vectors are several, which compilers may move about in pieces on the stack.
 *
 * Conversions are those of math/values.h, in plain C at the end. With AVX they are intrinsics: compilers take three to
 * ten instructions for each of these single ones, which doubled the time of the batch-norm kernels. AVX512-BF16 rounds
 * what is below 2^-126 to zero. */
#ifndef MATH_SIMD_H
#define MATH_SIMD_H

#include <stdint.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "math/values.h"

#if defined __AVX512DQ__
#define SIMD_BYTES 64
#elif defined __AVX2__
#define SIMD_BYTES 32
#else
#define SIMD_BYTES 16
#endif

enum { SIMD = SIMD_BYTES / 4 }; /* lanes */
typedef float simd __attribute__((vector_size(SIMD_BYTES)));
typedef int32_t simd_mask __attribute__((vector_size(SIMD_BYTES))); /* of a comparison: all bits of a lane, or none */
typedef uint32_t simd_bits __attribute__((vector_size(SIMD_BYTES)));
typedef uint16_t simd_bf16 __attribute__((vector_size(SIMD_BYTES / 2)));
typedef float simd_half __attribute__((vector_size(SIMD_BYTES / 2)));
typedef double simd_double __attribute__((vector_size(SIMD_BYTES))); /* half as many lanes */

static inline simd simd_all(float x)
{
    return x - (simd){ 0 };
}

/* To the nearest bfloat16, halves to even; what is no number stays none. In the lower half of each lane. */
static inline simd_bits simd_round(simd x)
{
    simd_bits bits = (simd_bits)x, broken = (simd_bits)(x != x);
    simd_bits rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    return (rounded & ~broken) | (((bits >> 16) | 0x40u) & broken);
}

#if defined __AVX512DQ__

/* Half as many values in double. */
static inline simd_double simd_load_double(const float *x)
{
    return (simd_double)_mm512_cvtps_pd(_mm256_loadu_ps(x));
}

static inline simd simd_widen(const uint16_t *bf16)
{
    __m256i bits;
    memcpy(&bits, bf16, sizeof bits);
    return (simd)_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16);
}

static inline void simd_narrow(uint16_t *bf16, simd x)
{
#ifdef __AVX512BF16__
    __m256bh bits = _mm512_cvtneps_pbh((__m512)x);
#else
    __m256i bits = _mm512_cvtepi32_epi16((__m512i)simd_round(x));
#endif
    memcpy(bf16, &bits, sizeof bits);
}

/* The lower (0) or upper (1) half of the lanes in double. */
static inline simd_double simd_to_double(simd x, int half)
{
    return (simd_double)_mm512_cvtps_pd(half ? _mm512_extractf32x8_ps((__m512)x, 1)
                                             : _mm512_castps512_ps256((__m512)x));
}

/* The smaller one; y where x is no number. */
static inline simd simd_min(simd x, simd y)
{
    return (simd)_mm512_min_ps((__m512)x, (__m512)y);
}

/* A bit for each lane, the first lowest: set where the mask holds. */
static inline uint32_t simd_bits_of(simd_mask mask)
{
    return _mm512_movepi32_mask((__m512i)mask);
}

#elif defined __AVX2__

static inline simd_double simd_load_double(const float *x)
{
    return (simd_double)_mm256_cvtps_pd(_mm_loadu_ps(x));
}

static inline simd simd_widen(const uint16_t *bf16)
{
    __m128i bits;
    memcpy(&bits, bf16, sizeof bits);
    return (simd)_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16);
}

static inline void simd_narrow(uint16_t *bf16, simd x)
{
    __m256i bits = (__m256i)simd_round(x);
    __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
    memcpy(bf16, &packed, sizeof packed);
}

static inline simd_double simd_to_double(simd x, int half)
{
    return (simd_double)_mm256_cvtps_pd(half ? _mm256_extractf128_ps((__m256)x, 1) : _mm256_castps256_ps128((__m256)x));
}

static inline simd simd_min(simd x, simd y)
{
    return (simd)_mm256_min_ps((__m256)x, (__m256)y);
}

static inline uint32_t simd_bits_of(simd_mask mask)
{
    return (uint32_t)_mm256_movemask_ps((__m256)mask);
}

#else

static inline simd_double simd_load_double(const float *x)
{
    simd_half half;
    memcpy(&half, x, sizeof half);
    return __builtin_convertvector(half, simd_double);
}

static inline simd simd_widen(const uint16_t *bf16)
{
    simd_bf16 bits;
    memcpy(&bits, bf16, sizeof bits);
    return (simd)(__builtin_convertvector(bits, simd_bits) << 16);
}

static inline void simd_narrow(uint16_t *bf16, simd x)
{
    simd_bf16 bits = __builtin_convertvector(simd_round(x), simd_bf16);
    memcpy(bf16, &bits, sizeof bits);
}

static inline simd_double simd_to_double(simd x, int half)
{
    simd_half part;
    memcpy(&part, (const char *)&x + half * (int)sizeof part, sizeof part);
    return __builtin_convertvector(part, simd_double);
}

static inline simd simd_min(simd x, simd y)
{
    simd_mask less = x < y;
    return (simd)(((simd_mask)x & less) | ((simd_mask)y & ~less));
}

static inline uint32_t simd_bits_of(simd_mask mask)
{
    uint32_t bits = 0;
    for (int l = 0; l < SIMD; l++)
        bits |= (uint32_t)(mask[l] != 0) << l;
    return bits;
}

#endif

/* SIMD values from place `i`. */
static inline simd simd_load(const void *values, int64_t i, enum value_type type)
{
    simd x;
    if (type == VALUE_BF16)
        return simd_widen((const uint16_t *)values + i);
    memcpy(&x, (const float *)values + i, sizeof x);
    return x;
}

static inline void simd_store(void *values, int64_t i, simd x, enum value_type type)
{
    if (type == VALUE_BF16)
        simd_narrow((uint16_t *)values + i, x);
    else
        memcpy((float *)values + i, &x, sizeof x);
}

/* The first `n` lanes; the others are 0. And storing them. */
static inline simd simd_load_few(const void *values, int64_t i, int n, enum value_type type)
{
    float x[SIMD] = { 0 };
    for (int l = 0; l < n; l++)
        x[l] = value_load(values, i + l, type);
    return simd_load(x, 0, VALUE_F32);
}

static inline void simd_store_few(void *values, int64_t i, simd x, int n, enum value_type type)
{
    for (int l = 0; l < n; l++)
        value_store(values, i + l, x[l], type);
}

/* Sum of the lanes: a tree of halves. */
static inline float simd_sum(simd x)
{
    float v[SIMD];
    memcpy(v, &x, sizeof v);
    for (int half = SIMD / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            v[l] += v[l + half];
    return v[0];
}

/* x where the mask holds, 0 elsewhere. */
static inline simd simd_where(simd_mask mask, simd x)
{
    return (simd)((simd_mask)x & mask);
}

#endif
