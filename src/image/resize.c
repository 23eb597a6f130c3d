/* Resampling, bit for bit Pillow's for 8-bit images, and the centre crop.
 * Both passes are the same kernel, a weighted sum of rows at vector speed: the
 * pass along x works on panels of rows that are transposed within the caches. */
#include "image/resize.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/arena.h"

enum {
    WEIGHT_BITS = 32 - 8 - 2,
    STEP = 64,  /* bytes that are summed at once, in registers */
    PANEL = 64, /* rows of a panel: a multiple of STEP */
    TILE = 8,
};

/* For each of `count` output positions: inputs first[i] .. first[i] + taps[i] - 1 and their weights. */
struct weights {
    int *first, *taps;
    int32_t *weight; /* [count x most] */
    int most;
};

static struct weights make_weights(struct arena *arena, int in_size, int out_size, enum filter filter);
static void combine_rows(uint8_t *out, const uint8_t *in, const struct weights *weights, int out_rows, size_t row);
static void transpose(uint8_t *out, size_t out_row, const uint8_t *in, size_t in_row, size_t h, size_t w);
static void resize_columns(struct arena *scratch, uint8_t *out, int to_w, const uint8_t *in, int h, int w, int c,
                           enum filter filter);

/* Pillow's nearest: output pixels' centres in the input, cut to whole pixels. */
static void resize_nearest(uint8_t *out, int to_h, int to_w, const uint8_t *in, int h, int w, int c)
{
    size_t channels = (size_t)c;
    double step_y = (double)h / to_h, step_x = (double)w / to_w;
    for (int y = 0; y < to_h; y++)
        for (int x = 0; x < to_w; x++, out += channels) {
            int from_y = (int)((y + 0.5) * step_y), from_x = (int)((x + 0.5) * step_x);
            memcpy(out, in + ((size_t)from_y * (size_t)w + (size_t)from_x) * channels, channels);
        }
}

void resize_bicubic(struct arena *scratch, uint8_t *out, int to_h, int to_w, const uint8_t *in, int h, int w, int c)
{
    resize_image(scratch, out, to_h, to_w, in, h, w, c, FILTER_BICUBIC);
}

void resize_image(struct arena *scratch, uint8_t *out, int to_h, int to_w, const uint8_t *in, int h, int w, int c,
                  enum filter filter)
{
    if (filter == FILTER_NEAREST) {
        resize_nearest(out, to_h, to_w, in, h, w, c);
        return;
    }
    struct arena_mark mark = arena_mark(scratch);
    size_t channels = (size_t)c;
    const uint8_t *wide = in; /* [h x to_w x c] after the pass along x */
    if (to_w != w) {
        uint8_t *narrow = to_h == h ? out : arena_take_raw(scratch, (size_t)h * (size_t)to_w, channels);
        resize_columns(scratch, narrow, to_w, in, h, w, c, filter);
        wide = narrow;
    }
    if (to_h != h) {
        struct weights weights = make_weights(scratch, h, to_h, filter);
        combine_rows(out, wide, &weights, to_h, (size_t)to_w * channels);
    } else if (wide == in) {
        memcpy(out, in, (size_t)h * (size_t)w * channels);
    }
    arena_release(scratch, mark);
}

void resize_short_side(int *to_h, int *to_w, int h, int w, int side)
{
    int64_t tall = w <= h ? (int64_t)side * h / w : side;
    int64_t broad = w <= h ? side : (int64_t)side * w / h;
    *to_h = (int)tall;
    *to_w = (int)broad;
}

/* Half of a difference, halves to even: Python's round((a - b) / 2). */
static int half(int difference)
{
    int below = difference / 2;
    return below + (difference % 2 != 0 && below % 2 != 0);
}

void crop_centre(uint8_t *out, int size, const uint8_t *in, int h, int w, int c)
{
    size_t channels = (size_t)c, row = (size_t)size * channels;
    int top = h > size ? half(h - size) : 0, left = w > size ? half(w - size) : 0;
    int pad_top = h < size ? (size - h) / 2 : 0, pad_left = w < size ? (size - w) / 2 : 0;
    int rows = h < size ? h : size, columns = w < size ? w : size;
    if (rows < size || columns < size)
        memset(out, 0, (size_t)size * row);
    for (int y = 0; y < rows; y++)
        memcpy(out + (size_t)(y + pad_top) * row + (size_t)pad_left * channels,
               in + ((size_t)(y + top) * (size_t)w + (size_t)left) * channels, (size_t)columns * channels);
}

/* Keys' cubic convolution kernel, a = -1/2. */
static double cubic(double x)
{
    x = fabs(x);
    if (x < 1.0)
        return (1.5 * x - 2.5) * x * x + 1.0;
    if (x < 2.0)
        return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5;
    return 0.0;
}

/* The hat of linear interpolation. */
static double hat(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static struct weights make_weights(struct arena *arena, int in_size, int out_size, enum filter filter)
{
#ifdef __clang__
#pragma clang fp contract(off) /* a fused multiply-add would move the last bit of a weight */
#endif
    double scale = (double)in_size / out_size, stretch = scale < 1.0 ? 1.0 : scale;
    bool cubed = filter == FILTER_BICUBIC;
    double support = (cubed ? 2.0 : 1.0) * stretch;
    struct weights w;
    w.most = (int)ceil(support) * 2 + 1;
    w.first = arena_take_raw(arena, (size_t)out_size, sizeof *w.first);
    w.taps = arena_take_raw(arena, (size_t)out_size, sizeof *w.taps);
    w.weight = arena_take_raw(arena, (size_t)out_size * (size_t)w.most, sizeof *w.weight);
    double *exact = arena_take_raw(arena, (size_t)w.most, sizeof *exact), inverse = 1.0 / stretch;
    for (int i = 0; i < out_size; i++) {
        double centre = (i + 0.5) * scale, total = 0.0;
        int first = (int)(centre - support + 0.5), last = (int)(centre + support + 0.5);
        first = first < 0 ? 0 : first;
        last = last > in_size ? in_size : last;
        w.first[i] = first;
        w.taps[i] = last - first;
        for (int t = 0; t < last - first; t++) {
            double x = (t + first - centre + 0.5) * inverse;
            total += exact[t] = cubed ? cubic(x) : hat(x);
        }
        for (int t = 0; t < last - first; t++) {
            double share = total != 0.0 ? exact[t] / total : exact[t];
            w.weight[(size_t)i * (size_t)w.most + (size_t)t] =
                (int32_t)(share * (1 << WEIGHT_BITS) + (share < 0 ? -0.5 : 0.5));
        }
    }
    return w;
}

/* out [STEP] <- sum_t weight[t] in[t * row], rounded and clipped to 8 bits. */
static inline void combine_step(uint8_t *restrict out, const uint8_t *restrict in, const int32_t *restrict weight,
                                int taps, size_t row)
{
    int32_t sum[STEP];
    for (int j = 0; j < STEP; j++)
        sum[j] = 1 << (WEIGHT_BITS - 1);
    for (int t = 0; t < taps; t++, in += row)
        for (int j = 0; j < STEP; j++)
            sum[j] += weight[t] * in[j];
    for (int j = 0; j < STEP; j++) {
        int32_t value = sum[j] >> WEIGHT_BITS;
        out[j] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
}

static uint8_t combine_one(const uint8_t *in, const int32_t *weight, int taps, size_t row)
{
    int32_t sum = 1 << (WEIGHT_BITS - 1);
    for (int t = 0; t < taps; t++)
        sum += weight[t] * in[(size_t)t * row];
    sum >>= WEIGHT_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* out[i][:] = sum_t weight[i][t] in[first[i] + t][:], rounded and clipped to 8 bits; rows of `row` bytes. */
static void combine_rows(uint8_t *restrict out, const uint8_t *restrict in, const struct weights *weights, int out_rows,
                         size_t row)
{
    for (int i = 0; i < out_rows; i++) {
        const int32_t *weight = weights->weight + (size_t)i * (size_t)weights->most;
        const uint8_t *block = in + (size_t)weights->first[i] * row;
        uint8_t *line = out + (size_t)i * row;
        int taps = weights->taps[i];
        for (size_t j = 0; j + STEP <= row; j += STEP)
            combine_step(line + j, block + j, weight, taps, row);
        if (row % STEP != 0 && row > STEP) /* the rest, and some once more */
            combine_step(line + row - STEP, block + row - STEP, weight, taps, row);
        for (size_t j = 0; row < STEP && j < row; j++)
            line[j] = combine_one(block + j, weight, taps, row);
    }
}

/* out [h x to_w x c] <- in [h x w x c]: panels of rows, each transposed, summed, and transposed back. A transposed
 * panel has a row of PANEL bytes for each channel of each column, so channels lie apart in the row of a pixel. */
static void resize_columns(struct arena *scratch, uint8_t *out, int to_w, const uint8_t *in, int h, int w, int c,
                           enum filter filter)
{
    struct weights weights = make_weights(scratch, w, to_w, filter);
    size_t in_row = (size_t)w * (size_t)c, out_row = (size_t)to_w * (size_t)c, height = (size_t)h;
    uint8_t *columns = arena_take(scratch, in_row, PANEL), *scaled = arena_take(scratch, out_row, PANEL);
    for (size_t y = 0; y < height; y += PANEL) {
        size_t rows = height - y < PANEL ? height - y : PANEL; /* what a short panel leaves in the others is not used */
        transpose(columns, PANEL, in + y * in_row, in_row, rows, in_row);
        combine_rows(scaled, columns, &weights, to_w, PANEL * (size_t)c);
        transpose(out + y * out_row, out_row, scaled, PANEL, out_row, rows);
    }
}

/* Exchanges the upper parts of `a` with the lower parts of `b`: blocks off the diagonal. */
static inline void exchange(uint64_t *a, uint64_t *b, uint64_t low, int bits)
{
    uint64_t different = (*a >> bits ^ *b) & low;
    *a ^= different << bits;
    *b ^= different;
}

/* 8 x 8 bytes as eight words: blocks of 4, 2 and 1 bytes change places (Warren, Hacker's Delight, 7-3). Compilers
 * make less of loops over bytes. */
static inline void transpose_tile(uint8_t *restrict out, size_t out_row, const uint8_t *restrict in, size_t in_row)
{
    uint64_t row[TILE];
    for (size_t y = 0; y < TILE; y++)
        memcpy(&row[y], in + y * in_row, TILE);
    for (int k = 0; k < 4; k++)
        exchange(&row[k], &row[k + 4], 0x00000000FFFFFFFF, 32);
    for (int k = 0; k < 6; k += k % 2 ? 3 : 1) /* 0, 1, 4, 5 */
        exchange(&row[k], &row[k + 2], 0x0000FFFF0000FFFF, 16);
    for (int k = 0; k < 8; k += 2)
        exchange(&row[k], &row[k + 1], 0x00FF00FF00FF00FF, 8);
    for (size_t x = 0; x < TILE; x++)
        memcpy(out + x * out_row, &row[x], TILE);
}

/* out [w x h] <- in [h x w], bytes, in rows of out_row and in_row. */
static void transpose(uint8_t *out, size_t out_row, const uint8_t *in, size_t in_row, size_t h, size_t w)
{
    const bool words = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
    for (size_t y = 0; y < h; y += TILE)
        for (size_t x = 0; x < w; x += TILE) {
            uint8_t *to = out + x * out_row + y;
            const uint8_t *from = in + y * in_row + x;
            size_t high = h - y < TILE ? h - y : TILE, wide = w - x < TILE ? w - x : TILE;
            if (words && high == TILE && wide == TILE)
                transpose_tile(to, out_row, from, in_row);
            else
                for (size_t i = 0; i < wide; i++)
                    for (size_t j = 0; j < high; j++)
                        to[i * out_row + j] = from[j * in_row + i];
        }
}
