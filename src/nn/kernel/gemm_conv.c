/* Convolution by im2col and BLIS (Chellapilla et al., High performance
 * convolutional neural networks for document processing, 2006). A row of `cols` is
 * the window of one output pixel, [kernel][kernel][in]; the rows of all images
 * follow one another and go through a piece at a time, so that a piece stays in the
 * caches. A gradient of the source is summed over whole images: windows overlap. */
#include "nn/gemm_conv.h"

#include <string.h>

#include "math/blas.h"

enum { PIECE_FLOATS = 1 << 20 };

static int64_t window(const struct conv_shape *s)
{
    return (int64_t)s->kernel * s->kernel * s->in;
}

static int64_t image_rows(const struct conv_shape *s)
{
    return (int64_t)s->oh * s->ow;
}

/* Output pixels at a time. */
static int64_t piece_rows(const struct conv_shape *s)
{
    const int64_t all = s->images * image_rows(s), fit = PIECE_FLOATS / (window(s) + s->out);
    return fit < 16 ? 16 : fit < all ? fit : all;
}

/* Images at a time, of those whose windows are formed whole. */
static int piece_images(const struct conv_shape *s)
{
    const int64_t fit = piece_rows(s) / image_rows(s);
    return fit < 1 ? 1 : (int)fit;
}

int64_t gemm_conv_work(const struct gemm_conv *conv)
{
    const struct conv_shape *s = &conv->shape;
    const int64_t whole = piece_images(s) * image_rows(s), rows = piece_rows(s) > whole ? piece_rows(s) : whole;
    return rows * (window(s) + s->out);
}

/* First value of pixel `pixel` of image `image`, group 0; the next group is `pixels * lanes` values further on. */
static int64_t place(const struct view *v, int64_t image, int64_t pixel)
{
    return (image * v->groups * v->pixels + pixel) * v->lanes;
}

/* out [channels] = one pixel. */
static inline void load_pixel(float *restrict out, const void *values, const struct view *v, int64_t at,
                              enum value_type type)
{
    for (int g = 0; g < v->groups; g++, at += v->pixels * v->lanes)
        for (int l = 0; l < v->lanes; l++)
            out[g * v->lanes + l] = value_load(values, at + l, type);
}

/* Where output pixel `row` of all images looks: its image and the first pixel of its window, possibly outside. */
struct corner {
    int64_t image;
    int y, x;
};

static struct corner corner_of(const struct conv_shape *s, int64_t row)
{
    const int64_t pixel = row % image_rows(s);
    return (struct corner){ row / image_rows(s), (int)(pixel / s->ow) * s->stride - s->pad,
                            (int)(pixel % s->ow) * s->stride - s->pad };
}

/* cols [count x window] of the output pixels from `first` on; zeros outside the image. */
static void gather(float *cols, const struct gemm_conv *conv, const void *src, int64_t first, int64_t count)
{
    const struct conv_shape *s = &conv->shape;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < count; r++) {
        const struct corner c = corner_of(s, first + r);
        float *out = cols + r * window(s);
        for (int ky = 0; ky < s->kernel; ky++)
            for (int kx = 0; kx < s->kernel; kx++, out += s->in) {
                const int y = c.y + ky, x = c.x + kx;
                if (y < 0 || y >= s->h || x < 0 || x >= s->w)
                    memset(out, 0, (size_t)s->in * sizeof *out);
                else
                    BY_TYPE(load_pixel, conv->type, out, src, &conv->src, place(&conv->src, c.image, y * s->w + x));
            }
    }
}

/* rows [count x out] = output pixels from `first` on. */
static void load_rows(float *rows, const struct gemm_conv *conv, const void *dst, int64_t first, int64_t count)
{
    const struct conv_shape *s = &conv->shape;
    const int64_t pixels = image_rows(s);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < count; r++)
        BY_TYPE(load_pixel, conv->type, rows + r * s->out, dst, &conv->dst,
                place(&conv->dst, (first + r) / pixels, (first + r) % pixels));
}

/* One pixel of dst from its product. */
static inline void finish_pixel(void *dst, const float *row, const struct gemm_conv *conv, const float *bias,
                                int64_t at, enum value_type type)
{
    const struct view *v = &conv->dst;
    for (int g = 0; g < v->groups; g++, at += v->pixels * v->lanes)
        for (int l = 0; l < v->lanes; l++) {
            float x = row[g * v->lanes + l] + (bias ? bias[g * v->lanes + l] : 0.0f);
            x += conv->sum ? value_load(dst, at + l, type) : 0.0f;
            value_store(dst, at + l, conv->relu && x < 0.0f ? 0.0f : x, type);
        }
}

static void finish_rows(void *dst, const float *rows, const struct gemm_conv *conv, const float *bias, int64_t first,
                        int64_t count)
{
    const struct conv_shape *s = &conv->shape;
    const int64_t pixels = image_rows(s);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < count; r++)
        BY_TYPE(finish_pixel, conv->type, dst, rows + r * s->out, conv, bias,
                place(&conv->dst, (first + r) / pixels, (first + r) % pixels));
}

void gemm_conv_forward(void *dst, const struct gemm_conv *conv, const void *src, const float *weights,
                       const float *bias, float *work)
{
    const struct conv_shape *s = &conv->shape;
    const int64_t k = window(s), piece = piece_rows(s), all = s->images * image_rows(s);
    float *rows = work, *cols = work + piece * s->out;
    for (int64_t first = 0; first < all; first += piece) {
        const int64_t count = all - first < piece ? all - first : piece;
        gather(cols, conv, src, first, count);
        blas_sgemm('N', 'N', count, s->out, k, 1.0f, cols, k, weights, s->out, 0.0f, rows, s->out);
        finish_rows(dst, rows, conv, bias, first, count);
    }
}

/* sum [count] of what the windows that hold a source pixel give to its channels from `channel` on; `cols` [oh ow x
 * window] is of its image. */
static void sum_windows(float *restrict sum, const float *cols, const struct conv_shape *s, int y, int x, int channel,
                        int count)
{
    memset(sum, 0, (size_t)count * sizeof *sum);
    for (int ky = 0; ky < s->kernel; ky++)
        for (int kx = 0; kx < s->kernel; kx++) {
            const int top = y + s->pad - ky, left = x + s->pad - kx;
            if (top < 0 || left < 0 || top % s->stride || left % s->stride || top / s->stride >= s->oh ||
                left / s->stride >= s->ow)
                continue;
            const int64_t row = (int64_t)(top / s->stride) * s->ow + left / s->stride;
            const float *part = cols + row * window(s) + (int64_t)(ky * s->kernel + kx) * s->in + channel;
            for (int i = 0; i < count; i++)
                sum[i] += part[i];
        }
}

static void scatter_pixel(void *diff_src, const float *cols, const struct gemm_conv *conv, int64_t image, int pixel)
{
    enum { AT_ONCE = 64 };
    const struct conv_shape *s = &conv->shape;
    const struct view *v = &conv->src;
    float sum[AT_ONCE];
    for (int channel = 0, count; channel < s->in; channel += count) {
        const int lane = channel % v->lanes;
        const int64_t at = place(v, image, pixel) + channel / v->lanes * v->pixels * v->lanes + lane;
        count = v->lanes - lane < AT_ONCE ? v->lanes - lane : AT_ONCE;
        sum_windows(sum, cols, s, pixel / s->w, pixel % s->w, channel, count);
        for (int i = 0; i < count; i++)
            value_store(diff_src, at + i, sum[i], conv->type);
    }
}

/* diff_src of `images` images from `first` on, from their windows. */
static void scatter(void *diff_src, const struct gemm_conv *conv, const float *cols, int first, int images)
{
    const struct conv_shape *s = &conv->shape;
    const int64_t pixels = (int64_t)s->h * s->w;
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < images * pixels; p++)
        scatter_pixel(diff_src, cols + p / pixels * image_rows(s) * window(s), conv, first + p / pixels,
                      (int)(p % pixels));
}

void gemm_conv_backward_data(void *diff_src, const struct gemm_conv *conv, const void *diff_dst, const float *weights,
                             float *work)
{
    const struct conv_shape *s = &conv->shape;
    const int64_t k = window(s), per_image = image_rows(s);
    const int piece = piece_images(s);
    float *rows = work, *cols = work + piece * per_image * s->out;
    for (int first = 0; first < s->images; first += piece) {
        const int images = s->images - first < piece ? s->images - first : piece;
        const int64_t count = images * per_image;
        load_rows(rows, conv, diff_dst, first * per_image, count);
        blas_sgemm('N', 'T', count, k, s->out, 1.0f, rows, s->out, weights, s->out, 0.0f, cols, k);
        scatter(diff_src, conv, cols, first, images);
    }
}

void gemm_conv_backward_weights(float *diff_weights, const struct gemm_conv *conv, const void *src,
                                const void *diff_dst, float *work)
{
    const struct conv_shape *s = &conv->shape;
    const int64_t k = window(s), piece = piece_rows(s), all = s->images * image_rows(s);
    float *rows = work, *cols = work + piece * s->out;
    for (int64_t first = 0; first < all; first += piece) {
        const int64_t count = all - first < piece ? all - first : piece;
        gather(cols, conv, src, first, count);
        load_rows(rows, conv, diff_dst, first, count);
        blas_sgemm('T', 'N', k, s->out, count, 1.0f, cols, k, rows, s->out, first ? 1.0f : 0.0f, diff_weights, s->out);
    }
}
