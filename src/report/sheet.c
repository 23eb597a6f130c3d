/* Pictures as PNG bytes (libpng into memory) and contact sheets. Captions live
 * beside the picture: in the page, and in the file's text chunks. */
#include <png.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/text.h"
#include "report/sheet.h"

struct picture picture_new(struct arena *arena, int width, int height, int channels)
{
    size_t bytes = (size_t)width * (size_t)height * (size_t)channels;
    struct picture out = { width, height, channels, arena_take_raw(arena, bytes, 1) };
    memset(out.pixels, 255, bytes);
    return out;
}

bool picture_is_grey(const uint8_t *rgb, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (rgb[3 * i] != rgb[3 * i + 1] || rgb[3 * i] != rgb[3 * i + 2])
            return false;
    return true;
}

/* Fills a rectangle with one colour. */
static void fill(struct picture *p, int x, int y, int width, int height, const uint8_t *rgb)
{
    for (int i = y; i < y + height; i++) {
        uint8_t *row = p->pixels + ((int64_t)i * p->width + x) * p->channels;
        for (int j = 0; j < width; j++)
            memcpy(row + j * p->channels, rgb, (size_t)p->channels);
    }
}

/* Copies one RGB tile; a grey sheet takes its first channel. */
static void blit(struct picture *p, int x, int y, const uint8_t *rgb, int size)
{
    for (int i = 0; i < size; i++) {
        uint8_t *row = p->pixels + ((int64_t)(y + i) * p->width + x) * p->channels;
        const uint8_t *in = rgb + (int64_t)i * size * 3;
        for (int j = 0; j < size; j++)
            memcpy(row + j * p->channels, in + 3 * j, (size_t)p->channels);
    }
}

struct picture sheet_grid(struct arena *arena, const uint8_t *rgb, int count, int size, struct sheet_style style,
                          const uint8_t *frame)
{
    static const uint8_t mid_grey[3] = { 128, 128, 128 };
    int64_t tile_bytes = (int64_t)size * size * 3;
    bool grey = picture_is_grey(rgb, (int64_t)count * size * size) && (!frame || picture_is_grey(frame, count));
    int columns = count < style.columns ? (count > 0 ? count : 1) : style.columns;
    int lines = count > 0 ? (count + columns - 1) / columns : 1;
    int cell = size + 2 * style.border, step = cell + style.gap;
    struct picture sheet = picture_new(arena, columns * step + style.gap, lines * step + style.gap, grey ? 1 : 3);
    for (int t = 0; t < count; t++) {
        int x = style.gap + t % columns * step, y = style.gap + t / columns * step;
        fill(&sheet, x, y, cell, cell, frame ? frame + 3 * t : mid_grey);
        blit(&sheet, x + style.border, y + style.border, rgb + t * tile_bytes, size);
    }
    return sheet;
}

/* ---- PNG ---- */

static void png_to_text(png_structp png, png_bytep data, png_size_t length)
{
    text_add_bytes(png_get_io_ptr(png), (const char *)data, length);
}
static void png_no_flush(png_structp png)
{
    (void)png;
}
_Noreturn static void png_refused(png_structp png, png_const_charp message)
{
    (void)png;
    fatal(EXIT_INTERNAL, "writing a PNG: %s", message);
}

static void png_texts(png_structp png, png_infop info, const char *title, const char *description)
{
    const char *keys[] = { "Title", "Description" }, *values[] = { title, description };
    for (int i = 0; i < 2; i++) {
        if (!values[i])
            continue;
        png_text chunk = { .compression = PNG_ITXT_COMPRESSION_NONE,
                           .key = (png_charp)(uintptr_t)keys[i],
                           .text = (png_charp)(uintptr_t)values[i],
                           .itxt_length = strlen(values[i]),
                           .lang = (png_charp)(uintptr_t) "en" };
        png_set_text(png, info, &chunk, 1);
    }
}

uint8_t *picture_png(struct arena *arena, struct picture picture, const char *title, const char *description,
                     size_t *length)
{
    struct text out = text_new(arena);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, png_refused, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    require(info, EXIT_INTERNAL, "writing a PNG: libpng cannot start");
    png_set_write_fn(png, &out, png_to_text, png_no_flush);
    png_set_IHDR(png, info, (png_uint_32)picture.width, (png_uint_32)picture.height, 8,
                 picture.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(png, 6);
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_ALL_FILTERS);
    png_texts(png, info, title, description);
    png_write_info(png, info);
    for (int y = 0; y < picture.height; y++)
        png_write_row(png, picture.pixels + (int64_t)y * picture.width * picture.channels);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    *length = out.length;
    return (uint8_t *)out.data;
}
