/* Features of a picture that need no idea of what it shows. */
#include "image/appearance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "image/decode.h"

enum { BINS = 16, DARK = 16, BRIGHT = 240 };

const char *const appearance_names[APPEARANCE_FAMILIES] = { "histogram", "borders", "size", "sharpness",
                                                            "brightness and colour" };
const int appearance_first[APPEARANCE_FAMILIES + 1] = { 0, 16, 28, 31, 36, APPEARANCE_FEATURES };

static double measure_grey(float *out, uint64_t *level, const uint8_t *luma, int64_t pixels)
{
    int64_t count[256] = { 0 }, sum = 0, squares = 0;
    for (int64_t i = 0; i < pixels; i++)
        count[luma[i]]++;
    for (int v = 0; v < 256; v++) {
        out[v / (256 / BINS)] += (float)((double)count[v] / (double)pixels);
        level[v / 64] |= (uint64_t)(count[v] > 0) << v % 64;
        sum += v * count[v];
        squares += (int64_t)v * v * count[v];
    }
    double mean = (double)sum / (double)pixels;
    return (double)squares / (double)pixels - mean * mean;
}

/* Rows y0..y1-1 of columns x0..x1-1. */
static void measure_strip(float *out, const uint8_t *luma, int w, int y0, int y1, int x0, int x1)
{
    int64_t sum = 0, dark = 0, bright = 0;
    double pixels = (double)(y1 - y0) * (x1 - x0);
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) {
            int v = luma[(int64_t)y * w + x];
            sum += v;
            dark += v < DARK;
            bright += v >= BRIGHT;
        }
    out[0] = (float)((double)sum / pixels / 255);
    out[1] = (float)((double)dark / pixels);
    out[2] = (float)((double)bright / pixels);
}

static void measure_borders(float *out, const uint8_t *luma, int h, int w)
{
    int strip = (h < w ? h : w) / 16 > 0 ? (h < w ? h : w) / 16 : 1;
    measure_strip(out, luma, w, 0, strip, 0, w);
    measure_strip(out + 3, luma, w, h - strip, h, 0, w);
    measure_strip(out + 6, luma, w, 0, h, 0, strip);
    measure_strip(out + 9, luma, w, 0, h, w - strip, w);
}

static void measure_sharpness(float *out, const uint8_t *luma, int h, int w, double variance)
{
    int64_t across = 0, down = 0, bent = 0, steps = 0;
    for (int y = 1; y + 1 < h; y++)
        for (int x = 1; x + 1 < w; x++, steps++) {
            const uint8_t *p = luma + (int64_t)y * w + x;
            int dx = p[1] - p[0], dy = p[w] - p[0], laplace = p[1] + p[-1] + p[w] + p[-w] - 4 * p[0];
            across += dx * dx;
            down += dy * dy;
            bent += laplace * laplace;
        }
    double n = steps > 0 ? (double)steps : 1;
    out[0] = (float)log1p((double)across / n);
    out[1] = (float)log1p((double)down / n);
    out[2] = (float)log1p((double)bent / n);
    out[3] = (float)log1p((double)down / n / (variance + 1));
    out[4] = (float)log1p((double)bent / n / (variance + 1));
}

static void measure_colour(float *out, const struct image *picture)
{
    int64_t pixels = (int64_t)picture->height * picture->width, sum[3] = { 0 }, squares[3] = { 0 }, apart[2] = { 0 };
    int step = picture->channels, green = step == 3 ? 1 : 0, blue = step == 3 ? 2 : 0;
    for (int64_t i = 0; i < pixels; i++) {
        const uint8_t *p = picture->pixels + i * step;
        const int v[3] = { p[0], p[green], p[blue] };
        for (int c = 0; c < 3; c++) {
            sum[c] += v[c];
            squares[c] += v[c] * v[c];
        }
        apart[0] += abs(v[0] - v[1]);
        apart[1] += abs(v[1] - v[2]);
    }
    double n = (double)pixels;
    for (int c = 0; c < 3; c++) {
        double mean = (double)sum[c] / n;
        out[c] = (float)(mean / 255);
        out[3 + c] = (float)(sqrt(fmax((double)squares[c] / n - mean * mean, 0)) / 255);
    }
    out[6] = (float)((double)apart[0] / n / 255);
    out[7] = (float)((double)apart[1] / n / 255);
}

void appearance_measure(struct appearance *out, const struct image *picture, const uint8_t *luma, int file_height,
                        int file_width)
{
    int h = picture->height, w = picture->width;
    memset(out, 0, sizeof *out);
    float *size = out->feature + appearance_first[APPEARANCE_SIZE];
    double variance = measure_grey(out->feature, out->level, luma, (int64_t)h * w);
    measure_borders(out->feature + appearance_first[APPEARANCE_BORDERS], luma, h, w);
    size[0] = (float)log2(file_height);
    size[1] = (float)log2(file_width);
    size[2] = (float)log2((double)file_height / file_width);
    measure_sharpness(out->feature + appearance_first[APPEARANCE_SHARPNESS], luma, h, w, variance);
    measure_colour(out->feature + appearance_first[APPEARANCE_COLOUR], picture);
}

int appearance_levels(const uint64_t level[4])
{
    int count = 0;
    for (int i = 0; i < 4; i++)
        count += __builtin_popcountll(level[i]);
    return count;
}
