/* Decoding: picks the reader by magic bytes, then applies the EXIF orientation.
 * Formats: decode_jpeg.c, decode_png.c. Reading files and limits on their size
 * are the caller's. */
#include "image/decode.h"

#include <string.h>

#include "base/arena.h"
#include "image/codec.h"

/* Where the source's pixel (row, column) = (0, 0) goes, and how a step right and a step down move in the result. */
struct turn {
    bool swap;           /* width and height change places */
    bool flip_y, flip_x; /* of the result */
};
static const struct turn turns[9] = {
    [1] = { false, false, false }, [2] = { false, false, true }, [3] = { false, true, true },
    [4] = { false, true, false },  [5] = { true, false, false }, [6] = { true, false, true },
    [7] = { true, true, true },    [8] = { true, true, false },
};

static struct image turned(struct arena *arena, struct image in, int orientation);

/* Pixels as they are stored, and how the file says they are to be turned. */
static bool decode(struct arena *arena, struct image *out, int *orientation, const uint8_t *bytes, size_t size,
                   int max_megapixels, const char **why)
{
    static const uint8_t jpeg_magic[3] = { 0xFF, 0xD8, 0xFF };
    static const uint8_t png_magic[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n' };
    int64_t max_pixels = (int64_t)max_megapixels * 1000000;
    if (size == 0) {
        *why = "the file is empty";
        return false;
    }
    if (size >= sizeof jpeg_magic && memcmp(bytes, jpeg_magic, sizeof jpeg_magic) == 0) {
        return jpeg_read(arena, out, orientation, bytes, size, max_pixels, why);
    } else if (size >= sizeof png_magic && memcmp(bytes, png_magic, sizeof png_magic) == 0) {
        return png_read(arena, out, orientation, bytes, size, max_pixels, why);
    }
    *why = "neither JPEG nor PNG (by its first bytes)";
    return false;
}

bool image_decode_stored(struct arena *arena, struct image *out, const uint8_t *bytes, size_t size, int max_megapixels,
                         const char **why)
{
    int orientation = 1;
    return decode(arena, out, &orientation, bytes, size, max_megapixels, why);
}

bool image_decode(struct arena *arena, struct image *out, const uint8_t *bytes, size_t size, int max_megapixels,
                  const char **why)
{
    int orientation = 1;
    if (!decode(arena, out, &orientation, bytes, size, max_megapixels, why))
        return false;
    if (orientation > 1 && orientation <= 8)
        *out = turned(arena, *out, orientation);
    return true;
}

/* Thinner images would be blown up without bound when their short side is scaled to the network's input. */
enum { LONGEST = 1000 };

const char *image_size_problem(struct arena *arena, int64_t width, int64_t height, int64_t max_pixels)
{
    if (width < 1 || height < 1)
        return "the image has no pixels";
    if (width > max_pixels / height)
        return arena_printf(arena, "%lld x %lld pixels, above the limit of %lld megapixels (pack.max_megapixels)",
                            (long long)width, (long long)height, (long long)(max_pixels / 1000000));
    if (width / LONGEST >= height || height / LONGEST >= width)
        return arena_printf(arena, "%lld x %lld pixels: one side is %d times the other or more", (long long)width,
                            (long long)height, LONGEST);
    return NULL;
}

struct image image_widen(struct arena *arena, struct image picture)
{
    if (picture.channels == 3)
        return picture;
    size_t count = (size_t)picture.height * (size_t)picture.width;
    uint8_t *rgb = arena_take_raw(arena, count, 3);
    for (size_t i = 0; i < count; i++)
        rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = picture.pixels[i];
    return (struct image){ picture.height, picture.width, 3, rgb };
}

/* EXIF 2.32, tag Orientation: the result's pixel (y, x) for each of the source. */
static struct image turned(struct arena *arena, struct image in, int orientation)
{
    struct turn turn = turns[orientation];
    struct image out = in;
    if (turn.swap) {
        out.height = in.width;
        out.width = in.height;
    }
    size_t channels = (size_t)in.channels;
    out.pixels = arena_take_raw(arena, (size_t)in.height * (size_t)in.width, channels);
    const uint8_t *from = in.pixels;
    for (int row = 0; row < in.height; row++)
        for (int column = 0; column < in.width; column++, from += channels) {
            int y = turn.swap ? column : row, x = turn.swap ? row : column;
            if (turn.flip_y)
                y = out.height - 1 - y;
            if (turn.flip_x)
                x = out.width - 1 - x;
            memcpy(out.pixels + ((size_t)y * (size_t)out.width + (size_t)x) * channels, from, channels);
        }
    return out;
}

static uint32_t number(const uint8_t *at, size_t bytes, bool big)
{
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[big ? i : bytes - 1 - i];
    return value;
}

int exif_orientation(const uint8_t *tiff, size_t size)
{
    enum { ORIENTATION = 0x0112, BYTE = 1, SHORT = 3, LONG = 4 };
    if (size < 14 || (memcmp(tiff, "II*\0", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0))
        return 1;
    bool big = tiff[0] == 'M';
    size_t at = number(tiff + 4, 4, big);
    if (at > size - 2)
        return 1;
    uint32_t entries = number(tiff + at, 2, big);
    at += 2;
    for (uint32_t i = 0; i < entries && size - at >= 12; i++, at += 12) {
        if (number(tiff + at, 2, big) != ORIENTATION)
            continue;
        uint32_t type = number(tiff + at + 2, 2, big);
        size_t bytes = type == BYTE ? 1 : type == SHORT ? 2 : type == LONG ? 4 : 0;
        uint32_t value = bytes ? number(tiff + at + 8, bytes, big) : 1;
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}
