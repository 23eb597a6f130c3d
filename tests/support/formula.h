/* Inputs of parity tests: value `i` of stream `salt`, in [-1, 1), exact in single precision; scripts/dump_*.py
 * make the same integers. */
#ifndef TESTS_FORMULA_H
#define TESTS_FORMULA_H

#include <stdint.h>

static inline float formula(int64_t i, int salt)
{
    uint32_t h = (uint32_t)(i + (int64_t)salt * 1000003) * 2654435761u;
    h ^= h >> 16;
    h *= 0x85ebca6bu;
    h ^= h >> 13;
    return (float)(h >> 8) / 8388608.0f - 1;
}

static inline void formula_fill(float *out, int64_t count, int salt, float scale, float offset)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = formula(i, salt) * scale + offset;
}

#endif
