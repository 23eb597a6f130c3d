/* WebP by libwebp: one picture, lossy or lossless; alpha is dropped, animations are refused. */
#include <string.h>

#include <webp/decode.h>

#include "base/arena.h"
#include "image/codec.h"

enum { RIFF_HEAD = 12, CHUNK_HEAD = 8 };

/* Chunk `name` of the file, or NULL. Sizes are checked against the bytes that are there. */
static const uint8_t *find_chunk(const struct codec_input *in, const char *name, size_t *size)
{
    for (size_t at = RIFF_HEAD; at + CHUNK_HEAD <= in->size;) {
        size_t length = codec_number(in->bytes + at + 4, 4, false);
        if (length > in->size - at - CHUNK_HEAD)
            return NULL;
        *size = length;
        if (memcmp(in->bytes + at, name, 4) == 0)
            return in->bytes + at + CHUNK_HEAD;
        at += CHUNK_HEAD + length + length % 2;
    }
    return NULL;
}

static const char *reason(VP8StatusCode status)
{
    switch (status) {
    case VP8_STATUS_NOT_ENOUGH_DATA:
        return "WebP: the file is cut off";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return "WebP: a feature that libwebp does not know";
    case VP8_STATUS_OUT_OF_MEMORY:
        return "WebP: out of memory";
    default:
        return "WebP: damaged";
    }
}

bool webp_read(struct arena *arena, struct raster *out, const struct codec_input *in, const char **why)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config)) {
        *why = "WebP: built for another libwebp than is here";
        return false;
    }
    VP8StatusCode status = WebPGetFeatures(in->bytes, in->size, &config.input);
    if (status == VP8_STATUS_OK && codec_number(in->bytes + 4, 4, false) > in->size - CHUNK_HEAD)
        status = VP8_STATUS_NOT_ENOUGH_DATA;
    *why = status != VP8_STATUS_OK ? reason(status) : NULL;
    if (!*why)
        *why = config.input.has_animation
                   ? "WebP: an animation; expected one picture"
                   : image_size_problem(arena, config.input.width, config.input.height, in->max_pixels);
    if (*why)
        return false;
    *out = (struct raster){ .height = config.input.height, .width = config.input.width, .channels = 3 };
    size_t row_bytes = 3 * (size_t)out->width, bytes = row_bytes * (size_t)out->height, exif_size = 0;
    out->pixels = arena_take(arena, bytes, 1);
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = out->pixels;
    config.output.u.RGBA.stride = (int)row_bytes;
    config.output.u.RGBA.size = bytes;
    status = WebPDecode(in->bytes, in->size, &config);
    WebPFreeDecBuffer(&config.output);
    if (status != VP8_STATUS_OK) {
        *why = reason(status);
        return false;
    }
    const uint8_t *exif = find_chunk(in, "EXIF", &exif_size);
    out->orientation = exif ? exif_orientation(exif, exif_size) : 1;
    return true;
}
