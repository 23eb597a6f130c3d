/* PNG by libpng, both ways. Its errors come back as a reason through setjmp. */
#include <png.h>

#include <setjmp.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "image/codec.h"

struct png_job {
    png_structp png;
    png_infop info;
    const struct codec_input *in;
    size_t at;
    struct text written;
    jmp_buf escape;
    char message[200];
};

static void on_error(png_structp png, png_const_charp message);
static void on_warning(png_structp png, png_const_charp message);
static const char *read_all(struct arena *arena, struct png_job *job, struct raster *out);
static void write_all(struct png_job *job, const struct image *picture);

bool png_read(struct arena *arena, struct raster *out, const struct codec_input *in, const char **why)
{
    struct png_job *job = arena_array(arena, struct png_job, 1);
    job->in = in;
    if (setjmp(job->escape) == 0)
        *why = read_all(arena, job, out);
    else
        *why = arena_printf(arena, "PNG: %s", job->message);
    png_destroy_read_struct(&job->png, &job->info, NULL);
    return *why == NULL;
}

uint8_t *image_encode_png(struct arena *arena, const struct image *picture, size_t *size, const char **why)
{
    struct png_job *job = arena_array(arena, struct png_job, 1);
    job->written = text_new(arena);
    *why = NULL;
    if (setjmp(job->escape) == 0)
        write_all(job, picture);
    else
        *why = arena_printf(arena, "PNG: %s", job->message);
    png_destroy_write_struct(&job->png, &job->info);
    *size = job->written.length;
    return *why ? NULL : (uint8_t *)job->written.data;
}

static void on_error(png_structp png, png_const_charp message)
{
    struct png_job *job = png_get_error_ptr(png);
    size_t length = strnlen(message, sizeof job->message - 1);
    memcpy(job->message, message, length);
    job->message[length] = '\0';
    longjmp(job->escape, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void take_bytes(png_structp png, png_bytep out, size_t count)
{
    struct png_job *job = png_get_io_ptr(png);
    if (count > job->in->size - job->at)
        png_error(png, "the file is cut off");
    memcpy(out, job->in->bytes + job->at, count);
    job->at += count;
}

/* Any file as grey or RGB of 8 bits, or of 16 in this machine's order: what png_read_row will hand out. */
static void set_transforms(struct png_job *job, int depth, int colour)
{
    if (depth == 16 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
        png_set_swap(job->png);
    if (colour == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(job->png);
    if (colour == PNG_COLOR_TYPE_GRAY && depth < 8)
        png_set_expand_gray_1_2_4_to_8(job->png);
    png_set_strip_alpha(job->png);
}

/* Of 16-bit samples: the bits that chunk sBIT says are used, in the channel that uses most; 0 without it. */
static int significant_bits(struct png_job *job, bool grey)
{
    png_color_8p bits = NULL;
    if (!(png_get_sBIT(job->png, job->info, &bits) & PNG_INFO_sBIT))
        return 0;
    int most = grey ? bits->gray : bits->red;
    if (!grey && bits->green > most)
        most = bits->green;
    if (!grey && bits->blue > most)
        most = bits->blue;
    return most < IMAGE_BITS ? most : IMAGE_BITS;
}

/* Returns NULL or the reason. Anything allocated is the arena's or libpng's, so a jump out of here loses nothing. */
static const char *read_all(struct arena *arena, struct png_job *job, struct raster *out)
{
    job->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, job, on_error, on_warning);
    job->info = job->png ? png_create_info_struct(job->png) : NULL;
    if (!job->info)
        return "PNG: out of memory";
    png_set_read_fn(job->png, job, take_bytes);
    png_set_user_limits(job->png, 0x7fffffff, 0x7fffffff);
    png_set_chunk_malloc_max(job->png, 16 << 20); /* text and profile chunks that inflate without end */
    png_read_info(job->png, job->info);

    png_uint_32 width = png_get_image_width(job->png, job->info), height = png_get_image_height(job->png, job->info);
    const char *problem = image_size_problem(arena, width, height, job->in->max_pixels);
    if (problem)
        return problem;
    int colour = png_get_color_type(job->png, job->info), depth = png_get_bit_depth(job->png, job->info);
    set_transforms(job, depth, colour);
    int passes = png_set_interlace_handling(job->png);
    png_read_update_info(job->png, job->info);

    bool grey = colour == PNG_COLOR_TYPE_GRAY || colour == PNG_COLOR_TYPE_GRAY_ALPHA;
    *out = (struct raster){ .height = (int)height, .width = (int)width, .channels = grey ? 1 : 3 };
    size_t row_bytes = (size_t)width * (grey ? 1 : 3) * (depth == 16 ? 2 : 1);
    if (png_get_rowbytes(job->png, job->info) != row_bytes)
        return "PNG: a kind of pixels that is not known here";
    uint8_t *rows = arena_take(arena, height, row_bytes);
    for (int pass = 0; pass < passes; pass++)
        for (size_t y = 0; y < height; y++)
            png_read_row(job->png, rows + y * row_bytes, NULL);
    png_read_end(job->png, job->info);
    if (depth == 16) {
        out->samples = (uint16_t *)(void *)rows;
        out->significant = significant_bits(job, grey);
    } else {
        out->pixels = rows;
    }

    png_uint_32 exif_size = 0;
    png_bytep exif = NULL;
    out->orientation = png_get_eXIf_1(job->png, job->info, &exif_size, &exif) ? exif_orientation(exif, exif_size) : 1;
    return NULL;
}

static void add_bytes(png_structp png, png_bytep bytes, size_t count)
{
    struct png_job *job = png_get_io_ptr(png);
    text_add_bytes(&job->written, (const char *)bytes, count);
}

static void nothing_to_flush(png_structp png)
{
    (void)png;
}

static void write_all(struct png_job *job, const struct image *picture)
{
    job->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, job, on_error, on_warning);
    job->info = job->png ? png_create_info_struct(job->png) : NULL;
    if (!job->info) {
        memcpy(job->message, "out of memory", sizeof "out of memory");
        longjmp(job->escape, 1);
    }
    png_set_write_fn(job->png, job, add_bytes, nothing_to_flush);
    png_set_IHDR(job->png, job->info, (png_uint_32)picture->width, (png_uint_32)picture->height, 8,
                 picture->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(job->png, job->info);
    size_t row_bytes = (size_t)picture->width * (size_t)picture->channels;
    for (int y = 0; y < picture->height; y++)
        png_write_row(job->png, picture->pixels + (size_t)y * row_bytes);
    png_write_end(job->png, job->info);
}
