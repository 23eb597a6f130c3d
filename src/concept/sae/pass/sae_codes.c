/* Building compressed codes from dense activations: every value above a bound,
 * or the largest of each row. Rows are counted, then filled, in parallel. */
#include <string.h>

#include "base/arena.h"
#include "concept/sae/sae_sparse.h"
#include "concept/sae/sae_top.h"
#include "math/simd.h"

struct sae_codes sae_codes(struct arena *arena, int64_t rows, int64_t room, int64_t kept, bool cut)
{
    const size_t n = (size_t)room + 1, chosen = (size_t)kept + 1;
    return (struct sae_codes){ .room = room,
                               .start = arena_array(arena, int64_t, rows + 1),
                               .index = arena_take_raw(arena, n, sizeof(int32_t)),
                               .value = arena_take_raw(arena, n, sizeof(float)),
                               .slope = arena_take_raw(arena, chosen, sizeof(float)),
                               .cut = cut ? arena_take_raw(arena, chosen, sizeof(float)) : NULL };
}

/* A bit for each of up to SIMD values from place k that counts: above the bound or, without one, not all bits 0. */
static inline uint32_t which_count(const float *f, int k, int n, float bound)
{
    const simd x = n == SIMD ? simd_load(f, k, VALUE_F32) : simd_load_few(f, k, n, VALUE_F32);
    return simd_bits_of(bound > 0 ? x > simd_all(bound) : (simd_mask)x != 0);
}

static int64_t count_row(const float *f, int K, float bound)
{
    int64_t count = 0;
    for (int k = 0; k < K; k += SIMD)
        count += __builtin_popcount(which_count(f, k, K - k < SIMD ? K - k : SIMD, bound));
    return count;
}

static void fill_row(int32_t *index, float *value, const float *f, int K, float bound)
{
    int64_t n = 0;
    for (int k = 0; k < K; k += SIMD)
        for (uint32_t left = which_count(f, k, K - k < SIMD ? K - k : SIMD, bound); left; left &= left - 1) {
            index[n] = k + __builtin_ctz(left);
            value[n] = f[index[n]];
            n++;
        }
}

bool sae_codes_add(struct sae_codes *c, const float *f, int64_t rows, int K, float bound)
{
    int64_t *start = c->start + c->rows;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++)
        start[r + 1] = count_row(f + r * K, K, bound);
    for (int64_t r = 0; r < rows; r++)
        start[r + 1] += start[r];
    const bool fits = start[rows] <= c->room;
    if (fits)
#pragma omp parallel for schedule(static)
        for (int64_t r = 0; r < rows; r++)
            fill_row(c->index + start[r], c->value + start[r], f + r * K, K, bound);
    c->rows += rows;
    return fits;
}

void sae_codes_cut(struct sae_codes *c, float threshold, int64_t ties)
{
    int64_t n = 0, at = 0;
    for (int64_t r = 0; r < c->rows; r++) {
        const int64_t end = c->start[r + 1];
        for (; at < end; at++) {
            if (!(c->value[at] > threshold || (c->value[at] >= threshold && ties-- > 0)))
                continue;
            c->index[n] = c->index[at];
            c->value[n++] = c->value[at];
        }
        c->start[r + 1] = n;
    }
}

/* Rows fill k places each, then move together. */
static void add_largest(struct sae_codes *c, const float *f, int64_t rows, int64_t width, int k, const int32_t *list)
{
    const int64_t base = c->start[c->rows];
    int64_t *start = c->start + c->rows;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const int64_t place = base + r * k;
        start[r + 1] = sae_largest(c->index + place, c->value + place, f + r * width, width, k);
        for (int64_t i = 0; list && i < start[r + 1]; i++)
            c->index[place + i] = list[c->index[place + i]];
    }
    int64_t to = base;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t from = base + r * k, count = start[r + 1];
        if (to != from) {
            memmove(c->index + to, c->index + from, (size_t)count * sizeof *c->index);
            memmove(c->value + to, c->value + from, (size_t)count * sizeof *c->value);
        }
        start[r + 1] = to += count;
    }
    c->rows += rows;
}

void sae_codes_add_largest(struct sae_codes *c, const float *f, int64_t rows, int K, int k)
{
    add_largest(c, f, rows, K, k, NULL);
}

void sae_codes_add_largest_of(struct sae_codes *c, float *gathered, const float *f, const int32_t *list, int64_t some,
                              int64_t rows, int K, int k)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < some; i++)
            gathered[r * some + i] = f[r * K + list[i]];
    add_largest(c, gathered, rows, some, k, list);
}
