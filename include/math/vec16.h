/* Sixteen values at once, in single precision or bfloat16, as the compilers' own vectors: wide kernels are written
 * with the usual operators and become the instructions of the machine at hand (one register of AVX-512, two of AVX).
 *
 * Conversions are those of math/values.h, in plain C at the end. With AVX-512 they are intrinsics: compilers take six
 * to ten instructions for each of these single ones, which doubled the time of the batch-norm kernels. AVX512-BF16
 * rounds what is below 2^-126 to zero. */
#ifndef MATH_VEC16_H
#define MATH_VEC16_H

#include <stdint.h>
#include <string.h>
#ifdef __AVX512DQ__
#include <immintrin.h>
#endif

#include "math/values.h"

enum { VEC16 = 16 }; /* lanes */
typedef float vec16 __attribute__((vector_size(64)));
typedef int32_t vec16_mask __attribute__((vector_size(64))); /* what a comparison gives: all bits of a lane, or none */
typedef uint32_t vec16_bits __attribute__((vector_size(64)));
typedef uint16_t vec16_half __attribute__((vector_size(32)));
typedef float vec16_float8 __attribute__((vector_size(32)));
typedef double vec16_double8 __attribute__((vector_size(64)));

static inline vec16 vec16_all(float x)
{
    return x - (vec16){ 0 };
}

#ifdef __AVX512DQ__

static inline vec16 vec16_widen(const uint16_t *half)
{
    __m256i bits;
    memcpy(&bits, half, sizeof bits);
    return (vec16)_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16);
}

static inline void vec16_narrow(uint16_t *half, vec16 x)
{
#ifdef __AVX512BF16__
    __m256bh bits = _mm512_cvtneps_pbh((__m512)x);
    memcpy(half, &bits, sizeof bits);
#else
    vec16_bits bits = (vec16_bits)x, broken = (vec16_bits)(x != x);
    vec16_bits rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    rounded = (rounded & ~broken) | (((bits >> 16) | 0x40u) & broken);
    __m256i low = _mm512_cvtepi32_epi16((__m512i)rounded);
    memcpy(half, &low, sizeof low);
#endif
}

/* The lower (0) or upper (1) eight in double. */
static inline vec16_double8 vec16_double(vec16 x, int half)
{
    return (vec16_double8)_mm512_cvtps_pd(half ? _mm512_extractf32x8_ps((__m512)x, 1)
                                               : _mm512_castps512_ps256((__m512)x));
}

#else

static inline vec16 vec16_widen(const uint16_t *half)
{
    vec16_half bits;
    memcpy(&bits, half, sizeof bits);
    return (vec16)(__builtin_convertvector(bits, vec16_bits) << 16);
}

static inline void vec16_narrow(uint16_t *half, vec16 x)
{
    vec16_bits bits = (vec16_bits)x, broken = (vec16_bits)(x != x);
    vec16_bits rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    rounded = (rounded & ~broken) | (((bits >> 16) | 0x40u) & broken);
    vec16_half low = __builtin_convertvector(rounded, vec16_half);
    memcpy(half, &low, sizeof low);
}

static inline vec16_double8 vec16_double(vec16 x, int half)
{
    vec16_float8 part;
    memcpy(&part, (const char *)&x + half * (int)sizeof part, sizeof part);
    return __builtin_convertvector(part, vec16_double8);
}

#endif

/* Sixteen values from place `i`. */
static inline vec16 vec16_load(const void *values, int64_t i, enum value_type type)
{
    vec16 x;
    if (type == VALUE_BF16)
        return vec16_widen((const uint16_t *)values + i);
    memcpy(&x, (const float *)values + i, sizeof x);
    return x;
}

static inline void vec16_store(void *values, int64_t i, vec16 x, enum value_type type)
{
    if (type == VALUE_BF16)
        vec16_narrow((uint16_t *)values + i, x);
    else
        memcpy((float *)values + i, &x, sizeof x);
}

/* The first `n` of sixteen; the others are 0. And storing them. */
static inline vec16 vec16_load_few(const void *values, int64_t i, int n, enum value_type type)
{
    float x[VEC16] = { 0 };
    for (int l = 0; l < n; l++)
        x[l] = value_load(values, i + l, type);
    return vec16_load(x, 0, VALUE_F32);
}

static inline void vec16_store_few(void *values, int64_t i, vec16 x, int n, enum value_type type)
{
    for (int l = 0; l < n; l++)
        value_store(values, i + l, x[l], type);
}

/* The smaller one; y where x is no number. */
static inline vec16 vec16_min(vec16 x, vec16 y)
{
#ifdef __AVX512DQ__
    return (vec16)_mm512_min_ps((__m512)x, (__m512)y);
#else
    vec16_mask less = x < y;
    return (vec16)(((vec16_mask)x & less) | ((vec16_mask)y & ~less));
#endif
}

/* A bit for each lane, the first lowest: set where the mask holds. */
static inline uint32_t vec16_bits_of(vec16_mask mask)
{
#ifdef __AVX512DQ__
    return _mm512_movepi32_mask((__m512i)mask);
#else
    uint32_t bits = 0;
    for (int l = 0; l < VEC16; l++)
        bits |= (uint32_t)(mask[l] != 0) << l;
    return bits;
#endif
}

/* Sum of the lanes: a tree of halves. */
static inline float vec16_sum(vec16 x)
{
    float v[VEC16];
    memcpy(v, &x, sizeof v);
    for (int half = VEC16 / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            v[l] += v[l + half];
    return v[0];
}

/* x where the mask holds, 0 elsewhere. */
static inline vec16 vec16_where(vec16_mask mask, vec16 x)
{
    return (vec16)((vec16_mask)x & mask);
}

#endif
