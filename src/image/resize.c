/* Resampling, bit for bit Pillow's for 8-bit images, and the centre crop.
 * Both passes are the same kernel, a weighted sum of rows, which runs over whole
 * rows at vector speed: the pass along x works on the transposed image. */
#include "image/resize.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/arena.h"

enum { WEIGHT_BITS = 32 - 8 - 2, STRIP = 256, TILE = 16 };

/* For each of `count` output positions: inputs first[i] .. first[i] + taps[i] - 1 and their weights. */
struct weights {
    int *first, *taps;
    int32_t *weight; /* [count x most] */
    int most;
};

static struct weights make_weights(struct arena *arena, int in_size, int out_size, enum filter filter);
static void combine_rows(uint8_t *out, const uint8_t *in, const struct weights *weights, int out_rows, size_t row);
static void transpose(uint8_t *out, const uint8_t *in, int h, int w, int c);

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
        struct weights weights = make_weights(scratch, w, to_w, filter);
        uint8_t *columns = arena_take_raw(scratch, (size_t)h * (size_t)w, channels);
        uint8_t *scaled = arena_take_raw(scratch, (size_t)h * (size_t)to_w, channels);
        uint8_t *back = to_h == h ? out : arena_take_raw(scratch, (size_t)h * (size_t)to_w, channels);
        transpose(columns, in, h, w, c);
        combine_rows(scaled, columns, &weights, to_w, (size_t)h * channels);
        transpose(back, scaled, to_w, h, c);
        wide = back;
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

/* out[i][:] = sum_t weight[i][t] in[first[i] + t][:], rounded and clipped to 8 bits; rows of `row` bytes. */
static void combine_rows(uint8_t *restrict out, const uint8_t *restrict in, const struct weights *weights, int out_rows,
                         size_t row)
{
    int32_t sum[STRIP];
    for (int i = 0; i < out_rows; i++) {
        const int32_t *weight = weights->weight + (size_t)i * (size_t)weights->most;
        const uint8_t *block = in + (size_t)weights->first[i] * row;
        uint8_t *line = out + (size_t)i * row;
        for (size_t begin = 0; begin < row; begin += STRIP) {
            size_t n = row - begin < STRIP ? row - begin : STRIP;
            for (size_t j = 0; j < n; j++)
                sum[j] = 1 << (WEIGHT_BITS - 1);
            for (int t = 0; t < weights->taps[i]; t++) {
                const uint8_t *from = block + (size_t)t * row + begin;
                for (size_t j = 0; j < n; j++)
                    sum[j] += weight[t] * from[j];
            }
            for (size_t j = 0; j < n; j++) {
                int32_t value = sum[j] >> WEIGHT_BITS;
                line[begin + j] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
            }
        }
    }
}

/* One tile of pixels of c bytes; `c` is a constant where it is called, so that the copies are single moves. */
static inline void transpose_tile(uint8_t *restrict out, const uint8_t *restrict in, int h, int w, size_t c, int y0,
                                  int x0)
{
    int y1 = y0 + TILE < h ? y0 + TILE : h, x1 = x0 + TILE < w ? x0 + TILE : w;
    for (int x = x0; x < x1; x++)
        for (int y = y0; y < y1; y++)
            memcpy(out + ((size_t)x * (size_t)h + (size_t)y) * c, in + ((size_t)y * (size_t)w + (size_t)x) * c, c);
}

static void transpose(uint8_t *out, const uint8_t *in, int h, int w, int c)
{
    for (int y = 0; y < h; y += TILE)
        for (int x = 0; x < w; x += TILE) {
            if (c == 1)
                transpose_tile(out, in, h, w, 1, y, x);
            else if (c == 3)
                transpose_tile(out, in, h, w, 3, y, x);
            else
                transpose_tile(out, in, h, w, (size_t)c, y, x);
        }
}
