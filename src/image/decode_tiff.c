/* TIFF by libtiff. Grey and RGB of 8 and 16 bits are read as they are, strip by strip or tile by tile; 1 to 4 bits,
 * palettes, CMYK and YCbCr go through libtiff's own conversion to 8-bit RGB, as in Pillow. Files of several pictures
 * and samples that are not unsigned whole numbers are refused. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <tiffio.h>

#include "base/arena.h"
#include "base/text.h"
#include "image/codec.h"

enum {
    OTHER_MEMORY = 1 << 20,
    MOST_SAMPLES = 8,
    BYTES_PER_PIXEL = 2 * MOST_SAMPLES,
};

struct tiff_job {
    struct arena *arena;
    const struct codec_input *in;
    uint64_t at;
    TIFF *tiff;
    bool failed;
    char message[200];
    uint32_t width, height;
    uint16_t bits, samples, photometric, planar, format;
};

/* A part of the picture as it is stored: a strip as wide as the picture, or a tile. */
struct part {
    uint32_t x, y, width, height, plane;
};

static int on_error(TIFF *tiff, void *data, const char *module, const char *fmt, va_list arguments)
    __attribute__((format(printf, 4, 0)));
static TIFF *open_memory(struct tiff_job *job);
static const char *read_tags(struct tiff_job *job);
static bool is_plain(const struct tiff_job *job);
static bool read_parts(struct tiff_job *job, struct raster *out);
static bool read_converted(struct tiff_job *job, struct raster *out);

bool tiff_read(struct arena *arena, struct raster *out, const struct codec_input *in, const char **why)
{
    struct tiff_job *job = arena_array(arena, struct tiff_job, 1);
    job->arena = arena;
    job->in = in;
    *why = "TIFF: cannot be read";
    job->tiff = open_memory(job);
    if (job->tiff) {
        *why = read_tags(job);
        if (!*why) {
            uint16_t orientation = 1;
            TIFFGetField(job->tiff, TIFFTAG_ORIENTATION, &orientation);
            *out = (struct raster){ .height = (int)job->height, .width = (int)job->width, .orientation = orientation };
            bool read = is_plain(job) ? read_parts(job, out) : read_converted(job, out);
            *why = read && !job->failed ? NULL : "TIFF: cannot be decoded";
        }
        TIFFClose(job->tiff);
    }
    if (*why && job->failed)
        *why = text_printable(arena_printf(arena, "TIFF: %s", job->message), "");
    return *why == NULL;
}

/* What libtiff says and goes on from is damage all the same: it fills in pixels. */
static int on_error(TIFF *tiff, void *data, const char *module, const char *fmt, va_list arguments)
{
    struct tiff_job *job = data;
    (void)tiff;
    (void)module;
    if (!job->failed)
        vsnprintf(job->message, sizeof job->message, fmt, arguments);
    job->failed = true;
    return 1;
}

static int on_warning(TIFF *tiff, void *data, const char *module, const char *fmt, va_list arguments)
{
    (void)tiff;
    (void)data;
    (void)module;
    (void)fmt;
    (void)arguments;
    return 1;
}

static tmsize_t read_memory(thandle_t handle, void *out, tmsize_t count)
{
    struct tiff_job *job = handle;
    uint64_t left = job->at < job->in->size ? job->in->size - job->at : 0;
    uint64_t n = (uint64_t)count < left ? (uint64_t)count : left;
    memcpy(out, job->in->bytes + (n ? job->at : 0), n);
    job->at += n;
    return (tmsize_t)n;
}

static tmsize_t write_nothing(thandle_t handle, void *bytes, tmsize_t count)
{
    (void)handle;
    (void)bytes;
    (void)count;
    return 0;
}

static toff_t seek_memory(thandle_t handle, toff_t to, int from)
{
    struct tiff_job *job = handle;
    job->at = from == SEEK_SET ? to : from == SEEK_CUR ? job->at + to : job->in->size + to;
    return job->at;
}

static int close_nothing(thandle_t handle)
{
    (void)handle;
    return 0;
}

static toff_t size_of_memory(thandle_t handle)
{
    return ((struct tiff_job *)handle)->in->size;
}

static TIFF *open_memory(struct tiff_job *job)
{
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options)
        return NULL;
    /* One allocation of libtiff is a part of the picture, or a tag. */
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, OTHER_MEMORY + (tmsize_t)job->in->max_pixels * BYTES_PER_PIXEL);
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, job);
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, job);
    TIFF *tiff = TIFFClientOpenExt("memory", "rm", job, read_memory, write_nothing, seek_memory, close_nothing,
                                   size_of_memory, NULL, NULL, options);
    TIFFOpenOptionsFree(options);
    return tiff;
}

/* Full-size pictures after the first one; smaller copies of it and masks do not count. */
static bool has_more_pages(struct tiff_job *job)
{
    uint32_t kind = 0, height = 0, width = 0;
    if (!TIFFReadDirectory(job->tiff))
        return false;
    TIFFGetField(job->tiff, TIFFTAG_SUBFILETYPE, &kind);
    TIFFGetField(job->tiff, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(job->tiff, TIFFTAG_IMAGELENGTH, &height);
    return !(kind & (FILETYPE_REDUCEDIMAGE | FILETYPE_MASK)) && width >= job->width && height >= job->height;
}

static const char *read_tags(struct tiff_job *job)
{
    TIFF *tiff = job->tiff;
    job->photometric = UINT16_MAX;
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &job->width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &job->height);
    TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &job->photometric);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &job->bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &job->samples);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &job->planar);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &job->format);
    const char *problem = image_size_problem(job->arena, job->width, job->height, job->in->max_pixels);
    if (problem)
        return problem;
    if (job->format != SAMPLEFORMAT_UINT && job->format != SAMPLEFORMAT_VOID)
        return arena_printf(job->arena, "TIFF: samples of %d bits that are %s; expected whole numbers without sign",
                            job->bits, job->format == SAMPLEFORMAT_INT ? "signed" : "no whole numbers");
    if (job->samples > MOST_SAMPLES)
        return arena_printf(job->arena, "TIFF: %d samples a pixel, %d at most", job->samples, MOST_SAMPLES);
    if (job->bits > 16 || (job->bits > 8 && job->bits < 16))
        return arena_printf(job->arena, "TIFF: samples of %d bits; expected 1 to 8 or 16", job->bits);
    if (job->bits == 16 && !is_plain(job))
        return arena_printf(job->arena, "TIFF: 16-bit samples of a colour form (%d) that is neither grey nor RGB",
                            job->photometric);
    bool more = has_more_pages(job);
    if (more)
        return "TIFF: several pictures in one file; expected one (save each page as a file)";
    return TIFFSetDirectory(tiff, 0) ? NULL : "TIFF: cannot be read";
}

/* Grey or RGB, perhaps with samples after it (alpha), of whole bytes. */
static bool is_plain(const struct tiff_job *job)
{
    bool grey = job->photometric == PHOTOMETRIC_MINISBLACK || job->photometric == PHOTOMETRIC_MINISWHITE;
    return (job->bits == 8 || job->bits == 16) &&
           (grey ? job->samples >= 1 : job->photometric == PHOTOMETRIC_RGB && job->samples >= 3);
}

/* Samples of a part into their places: `step` samples a pixel in the part, `take` of them wanted, from channel `to`. */
static void place(struct raster *out, const struct part *part, const uint8_t *from, size_t bytes, size_t step,
                  size_t take, size_t to)
{
    uint8_t *target = out->samples ? (uint8_t *)out->samples : out->pixels;
    size_t width = (size_t)out->width, channels = (size_t)out->channels;
    size_t rows = part->y + part->height > (uint32_t)out->height ? (uint32_t)out->height - part->y : part->height;
    size_t columns = part->x + part->width > width ? width - part->x : part->width;
    for (size_t y = 0; y < rows; y++)
        for (size_t x = 0; x < columns; x++) {
            size_t pixel = (part->y + y) * width + part->x + x;
            memcpy(target + (pixel * channels + to) * bytes, from + (y * part->width + x) * step * bytes, take * bytes);
        }
}

static bool read_part(struct tiff_job *job, struct raster *out, const struct part *part, uint8_t *buffer, tmsize_t most)
{
    bool separate = job->planar == PLANARCONFIG_SEPARATE;
    size_t bytes = job->bits / 8, step = separate ? 1 : job->samples, channels = (size_t)out->channels;
    tmsize_t want = (tmsize_t)((size_t)part->width * part->height * step * bytes), got;
    if (want > most)
        return false;
    if (TIFFIsTiled(job->tiff))
        got = TIFFReadEncodedTile(job->tiff, TIFFComputeTile(job->tiff, part->x, part->y, 0, (uint16_t)part->plane),
                                  buffer, want);
    else
        got =
            TIFFReadEncodedStrip(job->tiff, TIFFComputeStrip(job->tiff, part->y, (uint16_t)part->plane), buffer, want);
    if (got != want)
        return false;
    place(out, part, buffer, bytes, step, separate ? 1 : channels, separate ? part->plane : 0);
    return true;
}

static bool read_parts(struct tiff_job *job, struct raster *out)
{
    bool tiled = TIFFIsTiled(job->tiff), grey = job->photometric != PHOTOMETRIC_RGB;
    struct part part = { .width = job->width };
    out->channels = grey ? 1 : 3;
    out->negative = job->photometric == PHOTOMETRIC_MINISWHITE;
    TIFFGetFieldDefaulted(job->tiff, TIFFTAG_ROWSPERSTRIP, &part.height);
    if (tiled && (!TIFFGetField(job->tiff, TIFFTAG_TILEWIDTH, &part.width) ||
                  !TIFFGetField(job->tiff, TIFFTAG_TILELENGTH, &part.height)))
        return false;
    if (!tiled && part.height > job->height)
        part.height = job->height;
    tmsize_t most = tiled ? TIFFTileSize(job->tiff) : TIFFStripSize(job->tiff);
    size_t area = (size_t)job->height * job->width, count = area * (size_t)out->channels;
    if (part.width == 0 || part.height == 0 || most <= 0 ||
        (size_t)most > OTHER_MEMORY + area * BYTES_PER_PIXEL) /* a tile may be larger than a small picture */
        return false;
    uint8_t *buffer = arena_take(job->arena, (size_t)most, 1);
    if (job->bits == 16)
        out->samples = arena_take(job->arena, count, sizeof *out->samples);
    else
        out->pixels = arena_take(job->arena, count, 1);
    uint32_t planes = job->planar == PLANARCONFIG_SEPARATE ? (uint32_t)out->channels : 1, rows = part.height;
    for (part.plane = 0; part.plane < planes; part.plane++)
        for (part.y = 0; part.y < job->height; part.y += rows) {
            part.height = !tiled && job->height - part.y < rows ? job->height - part.y : rows;
            for (part.x = 0; part.x < job->width; part.x += part.width)
                if (!read_part(job, out, &part, buffer, most))
                    return false;
        }
    for (size_t i = 0; out->negative && out->pixels && i < count; i++)
        out->pixels[i] = (uint8_t)(255 - out->pixels[i]);
    return true;
}

static bool read_converted(struct tiff_job *job, struct raster *out)
{
    size_t count = (size_t)job->height * job->width;
    uint32_t *rgba = arena_take(job->arena, count, sizeof *rgba);
    TIFFRGBAImage image;
    char message[1024] = "";
    if (!TIFFRGBAImageOK(job->tiff, message) || !TIFFRGBAImageBegin(&image, job->tiff, 1, message)) {
        snprintf(job->message, sizeof job->message, "%.150s", message);
        job->failed = true;
        return false;
    }
    image.req_orientation = image.orientation; /* as it is stored: turned later */
    bool read = TIFFRGBAImageGet(&image, rgba, job->width, job->height) != 0;
    TIFFRGBAImageEnd(&image);
    out->channels = 3;
    out->pixels = arena_take_raw(job->arena, count, 3);
    for (size_t i = 0; i < count; i++) {
        out->pixels[3 * i] = (uint8_t)TIFFGetR(rgba[i]);
        out->pixels[3 * i + 1] = (uint8_t)TIFFGetG(rgba[i]);
        out->pixels[3 * i + 2] = (uint8_t)TIFFGetB(rgba[i]);
    }
    return read;
}
