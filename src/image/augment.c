/* Rotation, flip, blur and normalisation of the published training recipe, with
 * the arithmetic of torchvision 0.14 on Pillow images. Resampling: resize.c. */
#include "image/augment.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "image/resize.h"

struct augment augment_draw(uint64_t seed, int epoch, int64_t row)
{
    struct rng rng = { seed, RNG_AUGMENT, (uint32_t)epoch };
    return (struct augment){
        .angle = rng_range(&rng, (uint64_t)row, 0, -30.0, 30.0),
        .flip = rng_uniform(&rng, (uint64_t)row, 1) < 0.5,
        .sigma = rng_range(&rng, (uint64_t)row, 2, 0.1, 2.0),
    };
}

void augment_apply(struct arena *scratch, uint8_t *out, const struct preprocess *view, const uint8_t *in, int h, int w,
                   int c, const struct augment *draws)
{
    struct arena_mark mark = arena_mark(scratch);
    size_t bytes = (size_t)h * (size_t)w * (size_t)c;
    if (draws) {
        uint8_t *turned = arena_take_raw(scratch, bytes, 1);
        augment_rotate(turned, in, h, w, c, draws->angle);
        if (draws->flip)
            augment_flip(turned, h, w, c);
        augment_blur(scratch, turned, h, w, c, draws->sigma);
        in = turned;
    }
    int to_h, to_w;
    resize_short_side(&to_h, &to_w, h, w, view->resize ? view->resize : view->size);
    if (to_h != h || to_w != w) {
        uint8_t *scaled = arena_take_raw(scratch, (size_t)to_h * (size_t)to_w, (size_t)c);
        resize_image(scratch, scaled, to_h, to_w, in, h, w, c, view->filter);
        in = scaled;
    }
    crop_centre(out, view->size, in, to_h, to_w, c);
    arena_release(scratch, mark);
}

/* Python's round(value, 15), which Pillow applies to sine and cosine: correctly rounded through decimal text. */
static double round_15(double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.15f", value);
    return strtod(text, NULL);
}

static int64_t to_fixed(double value)
{
    return (int64_t)floor(value * 65536.0 + 0.5);
}

static inline void copy_turned(uint8_t *restrict out, const uint8_t *restrict in, int h, int w, size_t c,
                               const int64_t m[6])
{
    int64_t row_x = m[2], row_y = m[5];
    for (int y = 0; y < h; y++, row_x += m[1], row_y += m[4]) {
        int64_t at_x = row_x, at_y = row_y;
        for (int x = 0; x < w; x++, at_x += m[0], at_y += m[3], out += c) {
            int64_t from_x = at_x >> 16, from_y = at_y >> 16;
            if (from_x >= 0 && from_x < w && from_y >= 0 && from_y < h)
                memcpy(out, in + (size_t)(from_y * w + from_x) * c, c);
            else
                memset(out, 0, c);
        }
    }
}

/* The inverse map [cos sin; -sin cos] about the centre, in 16.16 fixed point as Pillow's affine_fixed: source
 * position of output pixel centres, cut to whole pixels. (Pillow takes floating point beyond 32768 pixels; the
 * fixed-point steps differ from it only there.) */
void augment_rotate(uint8_t *out, const uint8_t *in, int h, int w, int c, double angle)
{
#ifdef __clang__
#pragma clang fp contract(off)
#endif
    double degrees = fmod(angle, 360.0);
    if (degrees < 0)
        degrees += 360.0;
    if (degrees == 0.0 || degrees == 360.0) {
        memcpy(out, in, (size_t)h * (size_t)w * (size_t)c);
        return;
    }
    double radians = -(degrees * (3.14159265358979323846 / 180.0));
    double a = round_15(cos(radians)), b = round_15(sin(radians)), d = round_15(-sin(radians)), e = a;
    double centre_x = w / 2.0, centre_y = h / 2.0;
    double shift_x = a * -centre_x + b * -centre_y + 0.0, shift_y = d * -centre_x + e * -centre_y + 0.0;
    shift_x += centre_x;
    shift_y += centre_y;
    int64_t m[6] = { to_fixed(a), to_fixed(b), to_fixed(shift_x + a * 0.5 + b * 0.5),
                     to_fixed(d), to_fixed(e), to_fixed(shift_y + d * 0.5 + e * 0.5) };
    if (c == 1)
        copy_turned(out, in, h, w, 1, m);
    else if (c == 3)
        copy_turned(out, in, h, w, 3, m);
    else
        copy_turned(out, in, h, w, (size_t)c, m);
}

void augment_flip(uint8_t *pixels, int h, int w, int c)
{
    for (int y = 0; y < h; y++) {
        uint8_t *left = pixels + (size_t)y * (size_t)w * (size_t)c, *right = left + (size_t)(w - 1) * (size_t)c;
        for (; left < right; left += c, right -= c)
            for (int k = 0; k < c; k++) {
                uint8_t kept = left[k];
                left[k] = right[k];
                right[k] = kept;
            }
    }
}

/* Position mirrored at the borders without repeating them, for any offset. */
static int mirrored(int at, int size)
{
    if (size == 1)
        return 0;
    int period = 2 * (size - 1);
    at = abs(at) % period;
    return at < size ? at : period - at;
}

static void blur_kernel(float kernel[5], double sigma)
{
    float total = 0.0f, width = (float)sigma;
    for (int i = 0; i < 5; i++) {
        float x = (float)(i - 2) / width;
        kernel[i] = expf(-0.5f * (x * x));
        total += kernel[i];
    }
    for (int i = 0; i < 5; i++)
        kernel[i] /= total;
}

/* line [w x c] <- row `y` blurred along x. `wide` [(w + 4) x c] is the row with its mirrored borders. */
static void blur_along_row(float *restrict line, float *restrict wide, const uint8_t *row, int w, int c,
                           const float k[5])
{
    size_t n = (size_t)w * (size_t)c, step = (size_t)c;
    for (size_t i = 0; i < n; i++)
        wide[2 * step + i] = (float)row[i];
    for (int x = 0; x < 2; x++)
        for (size_t j = 0; j < step; j++) {
            wide[(size_t)x * step + j] = (float)row[(size_t)mirrored(x - 2, w) * step + j];
            wide[(size_t)(w + 2 + x) * step + j] = (float)row[(size_t)mirrored(w + x, w) * step + j];
        }
    for (size_t i = 0; i < n; i++)
        line[i] = k[0] * wide[i] + k[1] * wide[i + step] + k[2] * wide[i + 2 * step] + k[3] * wide[i + 3 * step] +
                  k[4] * wide[i + 4 * step];
}

/* Separable: along x into a float image, then along y. */
void augment_blur(struct arena *scratch, uint8_t *pixels, int h, int w, int c, double sigma)
{
    struct arena_mark mark = arena_mark(scratch);
    size_t n = (size_t)w * (size_t)c;
    float k[5];
    blur_kernel(k, sigma);
    float *lines = arena_take_raw(scratch, (size_t)h * n, sizeof *lines);
    float *wide = arena_take_raw(scratch, n + 4 * (size_t)c, sizeof *wide);
    for (int y = 0; y < h; y++)
        blur_along_row(lines + (size_t)y * n, wide, pixels + (size_t)y * n, w, c, k);
    for (int y = 0; y < h; y++) {
        const float *from[5];
        for (int t = 0; t < 5; t++)
            from[t] = lines + (size_t)mirrored(y + t - 2, h) * n;
        uint8_t *restrict out = pixels + (size_t)y * n;
        for (size_t i = 0; i < n; i++) {
            float value =
                k[0] * from[0][i] + k[1] * from[1][i] + k[2] * from[2][i] + k[3] * from[3][i] + k[4] * from[4][i];
            out[i] = (uint8_t)(int)rintf(value < 0.0f ? 0.0f : value > 255.0f ? 255.0f : value);
        }
    }
    arena_release(scratch, mark);
}

void augment_normalise(float *out, const uint8_t *pixels, const struct preprocess *view, int c)
{
    size_t plane = (size_t)view->size * (size_t)view->size, step = (size_t)c;
    for (size_t channel = 0; channel < 3; channel++) {
        float value[256];
        for (int level = 0; level < 256; level++)
            value[level] = ((float)level / 255.0f - view->mean[channel]) / view->deviation[channel];
        const uint8_t *from = pixels + (c == 3 ? channel : 0);
        float *to = out + channel * plane;
        for (size_t i = 0; i < plane; i++)
            to[i] = value[from[i * step]];
    }
}
