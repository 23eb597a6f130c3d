/* BMP: Windows and OS/2 headers, palettes of 1, 4 and 8 bits, 24 and 32 bits, not compressed.
 * Format: Microsoft, "Bitmap Header Types" (BITMAPCOREHEADER, BITMAPINFOHEADER to BITMAPV5HEADER). */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "image/codec.h"

enum {
    FILE_HEADER = 14,
    CORE_HEADER = 12, /* OS/2: sizes of 16 bits, palette entries of 3 bytes */
    INFO_HEADER = 40, /* and all later ones, which begin alike */
    LARGEST_HEADER = 124,
    PLAIN = 0,
    MASKS = 3,
    ALPHA_MASKS = 6,
    COLOURS = 256,
};

struct bmp {
    int64_t width, height;
    bool top_down;
    int bits;
    uint32_t compression;
    size_t pixels; /* where they begin */
    uint8_t palette[COLOURS][3];
    int channel[3]; /* byte of a 24 or 32-bit pixel that is red, green, blue */
};

static uint32_t number_at(const struct codec_input *in, size_t at, size_t bytes)
{
    return codec_number(in->bytes + at, bytes, false);
}

/* Masks of whole bytes only: what 32-bit files have. */
static bool read_masks(struct bmp *bmp, const struct codec_input *in)
{
    static const uint32_t bytes[4] = { 0xFF, 0xFF00, 0xFF0000, 0xFF000000 };
    if (in->size < FILE_HEADER + INFO_HEADER + 12)
        return false;
    for (int k = 0; k < 3; k++) {
        uint32_t mask = number_at(in, FILE_HEADER + INFO_HEADER + 4 * (size_t)k, 4);
        bmp->channel[k] = -1;
        for (int b = 0; b < 4; b++)
            if (mask == bytes[b])
                bmp->channel[k] = b;
        if (bmp->channel[k] < 0)
            return false;
    }
    return true;
}

static bool read_palette(struct bmp *bmp, const struct codec_input *in, size_t header)
{
    size_t entry = header == CORE_HEADER ? 3 : 4, most = (size_t)1 << bmp->bits;
    size_t colours = header == CORE_HEADER ? most : number_at(in, FILE_HEADER + 32, 4);
    size_t at = FILE_HEADER + header;
    colours = colours == 0 || colours > most ? most : colours;
    if (header == CORE_HEADER && at + colours * entry > bmp->pixels)
        colours = bmp->pixels > at ? (bmp->pixels - at) / entry : 0;
    if (at + colours * entry > in->size)
        return false;
    for (size_t i = 0; i < colours; i++)
        for (size_t k = 0; k < 3; k++)
            bmp->palette[i][k] = in->bytes[at + i * entry + 2 - k];
    return true;
}

/* NULL or the reason. */
static const char *read_header(struct arena *arena, struct bmp *bmp, const struct codec_input *in)
{
    *bmp = (struct bmp){ .channel = { 2, 1, 0 } };
    size_t header = in->size >= FILE_HEADER + 4 ? number_at(in, FILE_HEADER, 4) : 0;
    if (header != CORE_HEADER && (header < INFO_HEADER || header > LARGEST_HEADER))
        return header ? arena_printf(arena, "BMP: a header of %zu bytes is not known", header)
                      : "BMP: the file is cut off";
    if (in->size < FILE_HEADER + header)
        return "BMP: the file is cut off";
    bool core = header == CORE_HEADER;
    bmp->pixels = number_at(in, 10, 4);
    bmp->width = core ? (int64_t)number_at(in, 18, 2) : (int32_t)number_at(in, 18, 4);
    bmp->height = core ? (int64_t)number_at(in, 20, 2) : (int32_t)number_at(in, 22, 4);
    bmp->bits = (int)number_at(in, core ? 24 : 28, 2);
    bmp->compression = core ? PLAIN : number_at(in, 30, 4);
    bmp->top_down = bmp->height < 0;
    bmp->height = llabs(bmp->height);
    const char *problem = image_size_problem(arena, bmp->width, bmp->height, in->max_pixels);
    if (problem)
        return problem;
    bool masks = bmp->bits == 32 && (bmp->compression == MASKS || bmp->compression == ALPHA_MASKS);
    if (bmp->compression != PLAIN && !masks)
        return arena_printf(arena, "BMP: compression %u with %d bits is not read; save it without", bmp->compression,
                            bmp->bits);
    if (masks && !read_masks(bmp, in))
        return "BMP: colour masks that are not whole bytes";
    if (bmp->bits != 1 && bmp->bits != 4 && bmp->bits != 8 && bmp->bits != 24 && bmp->bits != 32)
        return arena_printf(arena, "BMP: %d bits a pixel; expected 1, 4, 8, 24 or 32", bmp->bits);
    if (bmp->bits <= 8 && !read_palette(bmp, in, header))
        return "BMP: the file is cut off";
    return NULL;
}

static void read_row(uint8_t *out, const struct bmp *bmp, const uint8_t *row)
{
    for (int64_t x = 0; x < bmp->width; x++, out += 3) {
        if (bmp->bits > 8) {
            const uint8_t *pixel = row + x * (bmp->bits / 8);
            for (int k = 0; k < 3; k++)
                out[k] = pixel[bmp->channel[k]];
        } else {
            int64_t bit = x * bmp->bits;
            int index = row[bit / 8] >> (8 - bmp->bits - (int)(bit % 8)) & ((1 << bmp->bits) - 1);
            memcpy(out, bmp->palette[index], 3);
        }
    }
}

bool bmp_read(struct arena *arena, struct raster *out, const struct codec_input *in, const char **why)
{
    struct bmp *bmp = arena_array(arena, struct bmp, 1);
    *why = read_header(arena, bmp, in);
    if (*why)
        return false;
    size_t width = (size_t)bmp->width, height = (size_t)bmp->height;
    size_t row_bytes = (width * (size_t)bmp->bits + 31) / 32 * 4; /* rows end at whole 4 bytes */
    if (bmp->pixels < FILE_HEADER + CORE_HEADER || bmp->pixels > in->size ||
        height > (in->size - bmp->pixels) / row_bytes) {
        *why = "BMP: the file is cut off";
        return false;
    }
    *out = (struct raster){ .height = (int)height, .width = (int)width, .channels = 3 };
    out->pixels = arena_take_raw(arena, width * height, 3);
    for (size_t y = 0; y < height; y++)
        read_row(out->pixels + 3 * width * (bmp->top_down ? y : height - 1 - y), bmp,
                 in->bytes + bmp->pixels + y * row_bytes);
    return true;
}
