/* Perceptual hash, sketch and thumbnail of one picture, and the comparison of two. Thresholds are from copies planted
 * among blood cells, brain slices and made-up patterns (tests/unit/test_likeness.c; docs/methods/audit.md). */
#include "image/likeness.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "image/decode.h"
#include "image/resize.h"

enum {
    HALF = LIKENESS_SIDE / 2,
    ORDERS = 12,      /* frequencies along one side */
    CELLS = 16,       /* of the sketch, along one side */
    PLAIN = 16,       /* a difference of 4 levels over two pixels of HALF, in sums of 4 */
    NEAR_BITS = 16,   /* of 64: copies differ by 10 at most, pictures at random by 32 */
    SKETCH_LEAST = 32 /* plain differences of both, below which the sketch says nothing */
};

/* Details finer than this many pixels a side are compared only if the picture has half as many again: the finest octave
 * of a file is where compression works. */
static bool holds(int resolution, int side)
{
    return 2 * resolution >= 3 * side;
}

const uint8_t *likeness_luma(struct arena *arena, const struct image *picture)
{
    if (picture->channels == 1)
        return picture->pixels;
    size_t pixels = (size_t)picture->height * (size_t)picture->width;
    uint8_t *luma = arena_take_raw(arena, pixels, 1);
    for (size_t i = 0; i < pixels; i++) { /* ITU-R 601, as Pillow rounds it */
        const uint8_t *p = picture->pixels + 3 * i;
        luma[i] = (uint8_t)((p[0] * 19595u + p[1] * 38470u + p[2] * 7471u + 0x8000u) >> 16);
    }
    return luma;
}

/* out [side/2 x side/2] = sums of 2 x 2 of in [side x side]. */
static void halve(int32_t *out, const int32_t *in, int side)
{
    for (int y = 0; y < side / 2; y++)
        for (int x = 0; x < side / 2; x++) {
            const int32_t *p = in + 2 * y * side + 2 * x;
            out[y * (side / 2) + x] = p[0] + p[1] + p[side] + p[side + 1];
        }
}

/* The lowest frequencies of small [HALF x HALF], diagonal by diagonal, to unit length. */
static void measure_frequencies(float *out, const int32_t *small)
{
    double basis[ORDERS][HALF], rows[HALF][ORDERS], value[LIKENESS_FREQUENCIES], norm = 0;
    for (int u = 0; u < ORDERS; u++)
        for (int x = 0; x < HALF; x++)
            basis[u][x] = cos(3.14159265358979323846 * (2 * x + 1) * u / (2 * HALF)) * (u ? 1 : 0.70710678118654752440);
    for (int y = 0; y < HALF; y++)
        for (int u = 0; u < ORDERS; u++) {
            rows[y][u] = 0;
            for (int x = 0; x < HALF; x++)
                rows[y][u] += basis[u][x] * small[y * HALF + x];
        }
    for (int n = 0, k = 0; k < LIKENESS_FREQUENCIES; n++) /* diagonals 1, 2, ... ; 0 is the mean */
        for (int u = 0; u <= n + 1 && k < LIKENESS_FREQUENCIES; u++, k++) {
            value[k] = 0;
            for (int y = 0; y < HALF; y++)
                value[k] += basis[n + 1 - u][y] * rows[y][u];
            norm += value[k] * value[k];
        }
    for (int k = 0; k < LIKENESS_FREQUENCIES; k++)
        out[k] = norm > 1e-6 ? (float)(value[k] / sqrt(norm)) : 0; /* below: rounding, of a flat picture */
}

/* Left against right and top against bottom in turn, over cells of 2 x 2. */
static void measure_sketch(struct likeness *out, const int32_t *small)
{
    for (int y = 0; y < CELLS; y++)
        for (int x = 0; x < CELLS; x++) {
            const int32_t *p = small + 2 * y * HALF + 2 * x;
            int32_t across = p[0] + p[HALF] - p[1] - p[HALF + 1], down = p[0] + p[1] - p[HALF] - p[HALF + 1];
            int32_t d = (x + y) % 2 ? down : across;
            int bit = y * CELLS + x;
            out->sign[bit / 64] |= (uint64_t)(d > 0) << bit % 64;
            out->clear[bit / 64] |= (uint64_t)(d >= PLAIN || d <= -PLAIN) << bit % 64;
        }
}

void likeness_measure(struct likeness *out, uint8_t *thumbnail, struct arena *scratch, const uint8_t *luma, int h,
                      int w, int resolution)
{
    int32_t whole[LIKENESS_PIXELS], small[HALF * HALF];
    *out = (struct likeness){ .resolution = resolution, .flat = 1 };
    resize_image(scratch, thumbnail, LIKENESS_SIDE, LIKENESS_SIDE, luma, h, w, 1, FILTER_BILINEAR);
    for (int i = 0; i < LIKENESS_PIXELS; i++) {
        whole[i] = thumbnail[i];
        out->flat &= thumbnail[i] == thumbnail[0];
    }
    halve(small, whole, LIKENESS_SIDE);
    measure_frequencies(out->frequency, small);
    if (holds(resolution, HALF))
        measure_sketch(out, small);
}

struct likeness_code likeness_encode(const struct likeness *of, const float median[LIKENESS_FREQUENCIES])
{
    struct likeness_code code = { .resolution = of->resolution, .flat = of->flat };
    memcpy(code.sign, of->sign, sizeof code.sign);
    memcpy(code.clear, of->clear, sizeof code.clear);
    for (int k = 0; k < LIKENESS_FREQUENCIES; k++)
        code.hash |= (uint64_t)(of->frequency[k] > median[k]) << k;
    return code;
}

int likeness_distance(int *bits, const struct likeness_code *a, const struct likeness_code *b)
{
    enum { SCALE = 256 };
    *bits = __builtin_popcountll(a->hash ^ b->hash);
    if (*bits > NEAR_BITS)
        return -1;
    int plain = 0, differ = 0;
    for (int i = 0; i < 4; i++) {
        uint64_t both = a->clear[i] & b->clear[i];
        plain += __builtin_popcountll(both);
        differ += __builtin_popcountll(both & (a->sign[i] ^ b->sign[i]));
    }
    if (plain < SKETCH_LEAST)
        return *bits * SCALE / LIKENESS_FREQUENCIES + SCALE / 4;
    if (4 * differ > plain) /* copies differ by a seventh at most, pictures at random by half */
        return -1;
    return *bits * SCALE / LIKENESS_FREQUENCIES + differ * SCALE / plain;
}

/* Second moments of the details of two pictures at one size: what is left of each 2 x 2 block without its mean. */
struct moments {
    double aa, bb, ab;
};

/* `top`: side of the picture whose pixels were added up. */
static struct moments detail_moments(const int32_t *a, const int32_t *b, int side, int top)
{
    int64_t aa = 0, bb = 0, ab = 0;
    for (int y = 0; y < side; y += 2)
        for (int x = 0; x < side; x += 2) {
            const int at = y * side + x, four[4] = { at, at + 1, at + side, at + side + 1 };
            int64_t sum_a = 0, sum_b = 0;
            for (int i = 0; i < 4; i++) {
                sum_a += a[four[i]];
                sum_b += b[four[i]];
            }
            for (int i = 0; i < 4; i++) {
                int64_t p = 4 * (int64_t)a[four[i]] - sum_a, q = 4 * (int64_t)b[four[i]] - sum_b;
                aa += p * p;
                bb += q * q;
                ab += p * q;
            }
        }
    double scale = 4.0 * (top / side) * (top / side) * side; /* of a pixel, in grey levels */
    scale *= scale;
    return (struct moments){ (double)aa / scale, (double)bb / scale, (double)ab / scale };
}

static double correlation_of(struct moments m)
{
    return m.aa > 0 && m.bb > 0 ? m.ab / sqrt(m.aa * m.bb) : 0;
}

/* One of them lost these details: it was made smaller and larger again. */
static bool is_lost(double a, double b)
{
    return 4 * fmin(a, b) < fmax(a, b);
}

bool likeness_agree(double *correlation, const uint8_t *a, const uint8_t *b, int resolution)
{
    enum { LEVELS = 4 };
    /* Of details at 64, 32, 16 and 8 pixels a side. Different pictures of real collections reach 0.78, 0.88, 0.94; the
     * copies of 64 pixels a side that compression of quality 60 leaves, 0.66, 0.91, 0.99. Small files have to agree
     * better in the details they have. */
    static const double least[LEVELS] = { 0.75, 0.88, 0.95, 0.95 }, least_small = 0.97;
    int32_t pa[LIKENESS_PIXELS], pb[LIKENESS_PIXELS];
    struct moments level[LEVELS], all = { 0 };
    for (int i = 0; i < LIKENESS_PIXELS; i++) {
        pa[i] = a[i];
        pb[i] = b[i];
    }
    for (int k = 0, side = LIKENESS_SIDE; k < LEVELS; k++, side /= 2) {
        level[k] = detail_moments(pa, pb, side, LIKENESS_SIDE);
        if (k == 0 || holds(resolution, side) || side <= CELLS) {
            all.aa += level[k].aa;
            all.bb += level[k].bb;
            all.ab += level[k].ab;
        }
        int32_t next[LIKENESS_PIXELS / 4];
        halve(next, pa, side);
        memcpy(pa, next, (size_t)(side * side / 4) * sizeof *next);
        halve(next, pb, side);
        memcpy(pb, next, (size_t)(side * side / 4) * sizeof *next);
    }
    *correlation = correlation_of(all);
    const bool small = !holds(resolution, HALF);
    const double gain = level[LEVELS - 1].bb > 0 ? level[LEVELS - 1].aa / level[LEVELS - 1].bb : 1;
    int fine = 0, compared = 0;
    for (int k = 0, side = LIKENESS_SIDE; k < LEVELS; k++, side /= 2) {
        if (side > CELLS && !holds(resolution, side))
            continue;
        double x = level[k].aa, y = level[k].bb * gain;
        if (fmax(level[k].aa, level[k].bb) < 1) /* below a grey level: rounding */
            continue;
        if (side > HALF && is_lost(x, y))
            continue;
        if (correlation_of(level[k]) < (small ? least_small : least[k]))
            return false;
        fine += side >= (small ? CELLS : HALF);
        compared++;
    }
    return fine > 0 && compared > 1;
}

bool likeness_agree_finely(struct arena *scratch, const uint8_t *a, const uint8_t *b, int side)
{
    /* Noise and texture of different pictures have nothing in common; compression leaves more than half of it. */
    static const double least = 0.5;
    struct arena_mark mark = arena_mark(scratch);
    size_t pixels = (size_t)side * (size_t)side;
    int32_t *pa = arena_take_raw(scratch, pixels, sizeof *pa), *pb = arena_take_raw(scratch, pixels, sizeof *pb);
    int32_t *half_a = arena_take_raw(scratch, pixels / 4, sizeof *pa),
            *half_b = arena_take_raw(scratch, pixels / 4, sizeof *pb);
    for (size_t i = 0; i < pixels; i++) {
        pa[i] = a[i];
        pb[i] = b[i];
    }
    halve(half_a, pa, side);
    halve(half_b, pb, side);
    struct moments level[2] = { detail_moments(pa, pb, side, side), detail_moments(half_a, half_b, side / 2, side) };
    bool agree = true;
    for (int k = 0; k < 2; k++)
        if (fmax(level[k].aa, level[k].bb) >= 1 && !is_lost(level[k].aa, level[k].bb))
            agree = agree && correlation_of(level[k]) >= least;
    arena_release(scratch, mark);
    return agree;
}

int likeness_fine_side(int resolution)
{
    return holds(resolution, 4 * LIKENESS_SIDE)   ? 4 * LIKENESS_SIDE
           : holds(resolution, 2 * LIKENESS_SIDE) ? 2 * LIKENESS_SIDE
                                                  : 0;
}

/* out [LIKENESS_PIXELS]: a thumbnail without its mean, to unit length. */
static void normalised(double *out, const uint8_t *in)
{
    double mean = 0, norm = 0;
    for (int i = 0; i < LIKENESS_PIXELS; i++)
        mean += in[i];
    mean /= LIKENESS_PIXELS;
    for (int i = 0; i < LIKENESS_PIXELS; i++) {
        out[i] = in[i] - mean;
        norm += out[i] * out[i];
    }
    for (int i = 0; i < LIKENESS_PIXELS && norm > 0; i++)
        out[i] /= sqrt(norm);
}

static double dot(const double *a, const double *b)
{
    double sum = 0;
    for (int i = 0; i < LIKENESS_PIXELS; i++)
        sum += a[i] * b[i];
    return sum;
}

bool likeness_stands_out(const uint8_t *a, const uint8_t *b, const uint8_t *const *others, int count)
{
    /* Pictures that share a pattern leave their own noise, which has nothing in common; copies leave the same. When
     * hardly anything is left, all of them are copies. */
    static const double least = 0.35, hardly = 0.0005;
    double x[LIKENESS_PIXELS], y[LIKENESS_PIXELS], one[LIKENESS_PIXELS], common[LIKENESS_PIXELS] = { 0 };
    for (int k = 0; k < count; k++) {
        normalised(one, others[k]);
        for (int i = 0; i < LIKENESS_PIXELS; i++)
            common[i] += one[i];
    }
    double norm = sqrt(dot(common, common));
    for (int i = 0; i < LIKENESS_PIXELS && norm > 0; i++)
        common[i] /= norm;
    normalised(x, a);
    normalised(y, b);
    double along_x = dot(x, common), along_y = dot(y, common), xx = 1 - along_x * along_x, yy = 1 - along_y * along_y;
    if (xx < hardly && yy < hardly)
        return true;
    return dot(x, y) - along_x * along_y >= least * sqrt(xx * yy);
}
