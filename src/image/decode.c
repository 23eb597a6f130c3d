/* Decoding: picks the reader by magic bytes, maps 16-bit samples to 8, finds colour files that are grey, applies the
 * EXIF orientation. Formats: decode_NAME.c. Reading files and limits on their size are the caller's. */
#include "image/decode.h"

#include <string.h>
#include <strings.h>

#include <xxhash.h>

#include "base/arena.h"
#include "base/text.h"
#include "image/codec.h"

/* Kinds of file by their first bytes; '?' in a magic is any byte. Those without a reader are named to the user. */
static const struct format {
    const char *name;
    size_t offset, length;
    const char *magic;
    codec_read *read;
} formats[] = {
    { "JPEG", 0, 3, "\xFF\xD8\xFF", jpeg_read },
    { "PNG", 0, 8, "\x89PNG\r\n\x1A\n", png_read },
    { "TIFF", 0, 4, "II*\0", tiff_read },
    { "TIFF", 0, 4, "MM\0*", tiff_read },
    { "BigTIFF", 0, 4, "II+\0", tiff_read },
    { "BigTIFF", 0, 4, "MM\0+", tiff_read },
    { "WebP", 0, 12, "RIFF????WEBP", webp_read },
    { "PNM", 0, 2, "P1", pnm_read },
    { "PNM", 0, 2, "P2", pnm_read },
    { "PNM", 0, 2, "P3", pnm_read },
    { "PNM", 0, 2, "P4", pnm_read },
    { "PNM", 0, 2, "P5", pnm_read },
    { "PNM", 0, 2, "P6", pnm_read },
    { "BMP", 0, 2, "BM", bmp_read },
    { "DICOM", 128, 4, "DICM", NULL },
    { "GIF", 0, 4, "GIF8", NULL },
    { "JPEG 2000", 0, 12, "\0\0\0\x0CjP  \r\n\x87\n", NULL },
    { "JPEG XL", 0, 12, "\0\0\0\x0CJXL \r\n\x87\n", NULL },
    { "HEIF or AVIF", 4, 4, "ftyp", NULL },
    { "gzip", 0, 2, "\x1F\x8B", NULL },
    { "ZIP", 0, 4, "PK\3\4", NULL },
    { "PDF", 0, 5, "%PDF-", NULL },
    { "NumPy", 0, 6, "\x93NUMPY", NULL },
    { "HDF5", 0, 4, "\x89HDF", NULL },
};

static const char *const endings[] = { ".png",  ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff",
                                       ".webp", ".bmp", ".dib",  ".pnm", ".pbm",  ".pgm", ".ppm" };

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
static void measure_samples(struct image_source *source, const struct raster *raster);
static uint8_t *map_samples(struct arena *arena, const struct raster *raster, int brightest, int32_t white);
static void narrow(struct raster *raster);

static bool begins_as(const struct format *format, const uint8_t *bytes, size_t size)
{
    if (size < format->offset + format->length)
        return false;
    for (size_t i = 0; i < format->length; i++)
        if (format->magic[i] != '?' && (uint8_t)format->magic[i] != bytes[format->offset + i])
            return false;
    return true;
}

static const struct format *format_of(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (begins_as(&formats[i], bytes, size))
            return &formats[i];
    return NULL;
}

static bool read_raster(struct arena *arena, struct raster *out, const struct codec_input *in, const char **why)
{
    const struct format *format = format_of(in->bytes, in->size);
    *out = (struct raster){ 0 };
    if (in->size == 0)
        *why = "the file is empty";
    else if (!format)
        *why = "of no kind that is read here (JPEG, PNG, TIFF, WebP, BMP, PNM), by its first bytes";
    else if (!format->read)
        *why = arena_printf(arena, "a %s file; convert it to PNG or TIFF", format->name);
    else
        return format->read(arena, out, in, why);
    return false;
}

bool image_decode(struct arena *arena, struct image *out, struct image_source *source, const uint8_t *bytes,
                  size_t size, const struct image_reading *reading, const char **why)
{
    struct raster raster;
    struct image_source own;
    struct codec_input in = { bytes, size, (int64_t)reading->max_megapixels * 1000000, reading->scale_side };
    if (!read_raster(arena, &raster, &in, why))
        return false;
    bool turn = !reading->stored && raster.orientation > 1 && raster.orientation <= 8;
    bool swap = turn && turns[raster.orientation].swap;
    int height = raster.file_height ? raster.file_height : raster.height;
    int width = raster.file_width ? raster.file_width : raster.width;
    source = source ? source : &own;
    *source = (struct image_source){ .height = swap ? width : height,
                                     .width = swap ? height : width,
                                     .channels = raster.channels,
                                     .deep = raster.samples != NULL };
    narrow(&raster);
    if (raster.samples) {
        measure_samples(source, &raster);
        raster.pixels = map_samples(arena, &raster, source->brightest, reading->white[raster.significant]);
    }
    *out = (struct image){ raster.height, raster.width, raster.channels, raster.pixels };
    if (turn)
        *out = turned(arena, *out, raster.orientation);
    return true;
}

bool image_is_named(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t tail = strlen(endings[i]);
        if (length > tail && strcasecmp(name + length - tail, endings[i]) == 0)
            return true;
    }
    return false;
}

const char *image_endings(struct arena *arena)
{
    struct text list = text_new(arena);
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        text_add(&list, "%s%s", i ? ", " : "", endings[i]);
    return list.data;
}

static void measure_samples(struct image_source *source, const struct raster *raster)
{
    size_t count = (size_t)raster->height * (size_t)raster->width * (size_t)raster->channels;
    uint16_t most = 0;
    for (size_t i = 0; i < count; i++)
        most = raster->samples[i] > most ? raster->samples[i] : most;
    source->brightest = most;
    source->significant = raster->significant;
    source->samples_hash = XXH3_64bits(raster->samples, count * sizeof *raster->samples);
}

/* floor(256 sample / (white + 1)): the high byte of 65535, the upper 8 of 12 bits of 4095. */
static uint8_t *map_samples(struct arena *arena, const struct raster *raster, int brightest, int32_t white)
{
    size_t count = (size_t)raster->height * (size_t)raster->width * (size_t)raster->channels;
    uint8_t *pixels = arena_take_raw(arena, count, 1), *level = arena_take_raw(arena, (size_t)brightest + 1, 1);
    uint64_t levels = white > 0 ? (uint64_t)white + 1 : 65536;
    for (uint64_t s = 0; s <= (uint64_t)brightest; s++) {
        uint64_t value = 256 * s / levels;
        level[s] = (uint8_t)(value > 255 ? 255 : value);
        if (raster->negative)
            level[s] = (uint8_t)(255 - level[s]);
    }
    for (size_t i = 0; i < count; i++)
        pixels[i] = level[raster->samples[i]];
    return pixels;
}

/* One channel, in place, when all three agree in every pixel. */
static void narrow(struct raster *raster)
{
    size_t count = (size_t)raster->height * (size_t)raster->width;
    uint8_t *p = raster->pixels;
    uint16_t *s = raster->samples;
    if (raster->channels != 3)
        return;
    for (size_t i = 0; i < 3 * count; i += 3)
        if (s ? s[i] != s[i + 1] || s[i] != s[i + 2] : p[i] != p[i + 1] || p[i] != p[i + 2])
            return;
    for (size_t i = 0; i < count; i++)
        if (s)
            s[i] = s[3 * i];
        else
            p[i] = p[3 * i];
    raster->channels = 1;
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

uint32_t codec_number(const uint8_t *at, size_t bytes, bool big_endian)
{
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[big_endian ? i : bytes - 1 - i];
    return value;
}

int exif_orientation(const uint8_t *tiff, size_t size)
{
    enum { ORIENTATION = 0x0112, BYTE = 1, SHORT = 3, LONG = 4 };
    if (size > 6 && memcmp(tiff, "Exif\0", 5) == 0) {
        tiff += 6;
        size -= 6;
    }
    if (size < 14 || (memcmp(tiff, "II*\0", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0))
        return 1;
    bool big = tiff[0] == 'M';
    size_t at = codec_number(tiff + 4, 4, big);
    if (at > size - 2)
        return 1;
    uint32_t entries = codec_number(tiff + at, 2, big);
    at += 2;
    for (uint32_t i = 0; i < entries && size - at >= 12; i++, at += 12) {
        if (codec_number(tiff + at, 2, big) != ORIENTATION)
            continue;
        uint32_t type = codec_number(tiff + at + 2, 2, big);
        size_t bytes = type == BYTE ? 1 : type == SHORT ? 2 : type == LONG ? 4 : 0;
        uint32_t value = bytes ? codec_number(tiff + at + 8, bytes, big) : 1;
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}
