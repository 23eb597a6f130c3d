/* Values in memory: single precision or bfloat16, the upper half of a single.
 *
 * Kernels take `void *` and the type. Written as an always-inlined body that is
 * called once for each type, load and store cost their conversion and nothing else,
 * and the loop around them still becomes vectors. Arithmetic is in float. */
#ifndef MATH_VALUES_H
#define MATH_VALUES_H

#include <stdint.h>

#include "math/bf16.h"

enum value_type { VALUE_F32, VALUE_BF16 };

/* Calls `body` with a constant type as last argument, so that each becomes a loop of its own. */
#define BY_TYPE(body, type, ...)                                                                                       \
    do {                                                                                                               \
        if (type == VALUE_BF16)                                                                                        \
            body(__VA_ARGS__, VALUE_BF16);                                                                             \
        else                                                                                                           \
            body(__VA_ARGS__, VALUE_F32);                                                                              \
    } while (0)

static inline int64_t value_bytes(enum value_type type)
{
    return type == VALUE_BF16 ? 2 : 4;
}

static inline float value_load(const void *values, int64_t i, enum value_type type)
{
    return type == VALUE_BF16 ? bf16_to_float(((const uint16_t *)values)[i]) : ((const float *)values)[i];
}

static inline void value_store(void *values, int64_t i, float x, enum value_type type)
{
    if (type == VALUE_BF16)
        ((uint16_t *)values)[i] = bf16_from_float(x);
    else
        ((float *)values)[i] = x;
}

static inline void *value_at(void *values, int64_t i, enum value_type type)
{
    return (char *)values + i * value_bytes(type);
}

static inline const void *value_at_const(const void *values, int64_t i, enum value_type type)
{
    return (const char *)values + i * value_bytes(type);
}

#endif
