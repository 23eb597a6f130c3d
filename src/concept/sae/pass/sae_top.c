/* Order statistics of activations. A row is searched by bisection over the bits
 * of the answer, one vector compare a value and step, after all but a few
 * candidates are dropped: those below the k-th largest of the maxima of groups
 * cannot be among the k largest. Long lists and lists over several ranks are
 * searched by counting three groups of bits, the highest first. Counts are
 * integers: no order of ranks or values can change the answer. */
#include "concept/sae/sae_top.h"

#include <stdbool.h>
#include <string.h>

#include "dist/world.h"
#include "math/simd.h"

enum { LOW_BITS = 10, LOW = 1 << LOW_BITS, HIGH = 2048 }; /* 11 + 10 + 10 bits below the sign */

static int32_t bits_of(float f)
{
    int32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static float float_of(int32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* How many of f are at least `threshold` > 0. */
static int64_t count_from(const float *f, int64_t n, float threshold)
{
    enum { BLOCK = 1 << 16 }; /* counts of a lane stay small */
    const simd bound = simd_all(threshold);
    int64_t all = 0, i = 0;
    while (i + SIMD <= n) {
        const int64_t end = i + BLOCK < n ? i + BLOCK : n;
        simd_mask hits = { 0 };
        for (; i + SIMD <= end; i += SIMD)
            hits -= simd_load(f, i, VALUE_F32) >= bound; /* -1 where it holds */
        for (int l = 0; l < SIMD; l++)
            all += hits[l];
    }
    for (; i < n; i++)
        all += f[i] >= threshold;
    return all;
}

/* The k-th largest positive value, 0 when there are fewer; 31 passes. */
static float bisect(const float *f, int64_t n, int64_t k)
{
    int32_t found = 0;
    for (int bit = 30; bit >= 0; bit--) {
        const int32_t trial = found | (INT32_C(1) << bit);
        if (trial <= 0x7f800000 && count_from(f, n, float_of(trial)) >= k)
            found = trial;
    }
    return float_of(found);
}

static int64_t ties_of(const float *f, int64_t n, int64_t k, float kth)
{
    return kth > 0 ? k - count_from(f, n, float_of(bits_of(kth) + 1)) : 0;
}

/* Values are seen as CHUNKS chunks of LANES columns; a group is a column of a chunk. */
enum { LANES = SIMD, GROUPS = 512, CHUNKS = GROUPS / LANES, LEAST = 4, CANDIDATES = 2048 };

/* A bound that at least k values reach, from the maxima of groups; 0 where groups are too few or too small. */
static float bound_of(const float *f, int64_t n, int64_t k)
{
    float most[GROUPS];
    const int64_t deep = n / GROUPS; /* values of a group; those beyond do not raise the bound */
    if (deep < LEAST || 2 * k > GROUPS)
        return 0;
    for (int64_t c = 0; c < CHUNKS; c++) {
        float *restrict column = most + c * LANES;
        for (int l = 0; l < LANES; l++)
            column[l] = 0;
        for (int64_t i = 0; i < deep; i++) {
            const float *restrict row = f + (c * deep + i) * LANES;
#pragma omp simd
            for (int l = 0; l < LANES; l++)
                column[l] = row[l] > column[l] ? row[l] : column[l];
        }
    }
    return bisect(most, GROUPS, k);
}

struct candidates {
    int64_t count;
    int32_t place[CANDIDATES];
    float value[CANDIDATES];
};

/* The values among which the k largest are, in order; false when no few of them can be told. */
static bool gather(struct candidates *c, const float *restrict f, int64_t n, int64_t k)
{
    const float bound = bound_of(f, n, k);
    int64_t found = 0;
    for (int64_t at = 0; at < n && bound > 0; at += LANES) {
        const int64_t end = at + LANES < n ? at + LANES : n;
        if (found + LANES > CANDIDATES)
            return false;
        if (end - at == LANES && simd_bits_of(simd_load(f, at, VALUE_F32) >= simd_all(bound)) == 0)
            continue;
        for (int64_t i = at; i < end; i++) {
            c->place[found] = (int32_t)i;
            c->value[found] = f[i];
            found += f[i] >= bound;
        }
    }
    c->count = found;
    return found > 0;
}

float sae_kth_largest(const float *f, int64_t n, int64_t k, int64_t *ties)
{
    struct candidates c;
    if (gather(&c, f, n, k)) {
        f = c.value;
        n = c.count;
    }
    const float kth = bisect(f, n, k);
    *ties = ties_of(f, n, k, kth);
    return kth;
}

/* Values above kth and the first `ties` that equal it, from a list with its places, or NULL for 0, 1, 2, ... */
static int64_t keep(int32_t *index, float *value, const int32_t *place, const float *f, int64_t n, float kth,
                    int64_t ties)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++)
        if (f[i] > kth || (kth > 0 && f[i] >= kth && ties-- > 0)) {
            index[kept] = place ? place[i] : (int32_t)i;
            value[kept++] = f[i];
        }
    return kept;
}

int64_t sae_largest(int32_t *index, float *value, const float *f, int64_t n, int64_t k)
{
    struct candidates c;
    const bool few = gather(&c, f, n, k);
    if (few) {
        f = c.value;
        n = c.count;
    }
    const float kth = bisect(f, n, k);
    return keep(index, value, few ? c.place : NULL, f, n, kth, ties_of(f, n, k, kth));
}

struct histogram {
    int64_t count[HIGH];
};

/* Counts the group of bits at `shift` of the values whose bits above it are those of `prefix`. */
static void tally(struct histogram *h, const float *value, int64_t n, int32_t prefix, int shift, int32_t mask)
{
    memset(h, 0, sizeof *h);
    for (int64_t i = 0; i < n; i++) {
        const int32_t bits = bits_of(value[i]);
        const int above = shift == 2 * LOW_BITS ? 31 : shift + LOW_BITS;
        if (above == 31 || bits >> above == prefix >> above)
            h->count[(bits >> shift) & mask]++;
    }
}

/* The group that holds the k-th largest; *k becomes its rank within the group. */
static int32_t pick(const struct histogram *h, int64_t *k)
{
    int32_t g = HIGH - 1;
    while (g > 0 && *k > h->count[g])
        *k -= h->count[g--];
    return g;
}

/* As the header says; *rest out: how many of all values equal to the answer are among the first k. */
static float search(const struct world *world, const float *value, int64_t n, int64_t k, int64_t *rest)
{
    static struct histogram h;
    int32_t prefix = 0;
    for (int shift = 2 * LOW_BITS; shift >= 0; shift -= LOW_BITS) {
        tally(&h, value, n, prefix, shift, shift == 2 * LOW_BITS ? HIGH - 1 : LOW - 1);
        if (world)
            world_sum_i64(world, h.count, shift == 2 * LOW_BITS ? HIGH : LOW);
        if (shift == 2 * LOW_BITS) {
            int64_t total = 0;
            for (int g = 0; g < HIGH; g++)
                total += h.count[g];
            if (total < k) {
                *rest = 0;
                return 0;
            }
        }
        prefix |= pick(&h, &k) << shift;
    }
    *rest = k;
    return float_of(prefix);
}

float sae_kth_largest_of_list(const float *value, int64_t n, int64_t k, int64_t *ties)
{
    return search(NULL, value, n, k, ties);
}

int64_t sae_kth_largest_bytes(int ranks)
{
    return (HIGH + 2 * LOW + ranks - 1) * (int64_t)sizeof(int64_t);
}

float sae_kth_largest_of_all(const struct world *world, int64_t *counts, const float *value, int64_t n, int64_t k,
                             int64_t *ties)
{
    int64_t rest, mine = 0, before = 0;
    const float found = search(world, value, n, k, &rest);
    for (int64_t i = 0; i < n; i++)
        mine += found > 0 && bits_of(value[i]) == bits_of(found);
    /* Ties of the ranks before this one come first. */
    world_allgather_rows(world, counts, &mine, 1, sizeof mine);
    for (int rank = 0; rank < world->rank; rank++)
        before += counts[rank];
    rest = rest > before ? rest - before : 0;
    *ties = rest < mine ? rest : mine;
    return found;
}
