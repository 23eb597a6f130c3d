/* From a path of the manifest to a checked picture. Which rows are taken and
 * where they go is the stage's (src/stage/corpus/pack.c). */
#include "image/intake.h"

#include <xxhash.h>

#include "base/arena.h"
#include "image/array_image.h"
#include "image/manifest.h"
#include "image/resize.h"

/* A file may be this much larger than its pixels: metadata, incompressible noise. */
enum { FILE_SLACK = 64 << 20, BYTES_PER_PIXEL = 8 };

static size_t file_limit(const struct intake *intake)
{
    return FILE_SLACK + (size_t)intake->reading.max_megapixels * 1000000 * BYTES_PER_PIXEL;
}

/* The picture before any resizing, and the bytes of its file; 0 of one in an array. */
static bool read_picture(struct arena *arena, struct image *out, struct image_source *source, size_t *size,
                         const struct intake *intake, const struct image_place *place, const char **why)
{
    if (!place->member) {
        uint8_t *bytes = manifest_open(arena, intake->root, place->path, file_limit(intake), size, why);
        return bytes && image_decode(arena, out, source, bytes, *size, &intake->reading, why);
    }
    *size = 0;
    *why = "images in arrays of a file are not read here";
    if (!intake->arrays ||
        !array_image(intake->arrays, arena, out, intake->root, place, intake->reading.max_megapixels, why))
        return false;
    *source = (struct image_source){ .height = out->height, .width = out->width, .channels = out->channels };
    return true;
}

static uint64_t image_hash(const struct image *picture, const struct image_source *source)
{
    size_t bytes = (size_t)picture->height * (size_t)picture->width * (size_t)picture->channels;
    uint64_t shape = (uint64_t)picture->height << 34 | (uint64_t)picture->width << 4 | (uint64_t)picture->channels;
    if (source->deep) /* the same whatever they are mapped to */
        return XXH3_64bits_withSeed(&source->samples_hash, sizeof source->samples_hash, shape);
    return XXH3_64bits_withSeed(picture->pixels, bytes, shape);
}

/* The size follows from the file's, not from that of a picture decoded at a part of it. */
static struct image resized(struct arena *arena, struct image in, const struct image_source *source, int short_side)
{
    struct image out = in;
    resize_short_side(&out.height, &out.width, source->height, source->width, short_side);
    if (out.height == in.height && out.width == in.width)
        return in;
    out.pixels = arena_take_raw(arena, (size_t)out.height * (size_t)out.width, (size_t)out.channels);
    resize_bicubic(arena, out.pixels, out.height, out.width, in.pixels, in.height, in.width, in.channels);
    return out;
}

static bool grows_too_large(const struct intake *intake, const struct image_source *source)
{
    int64_t longer = source->height > source->width ? source->height : source->width;
    int64_t shorter = source->height > source->width ? source->width : source->height;
    return longer * intake->short_side / shorter * intake->short_side >
           (int64_t)intake->reading.max_megapixels * 1000000;
}

bool intake_image(struct arena *arena, struct image *out, struct intake_facts *facts, const struct intake *intake,
                  struct image_place place, const char **why)
{
    size_t size;
    struct image_source source;
    *facts = (struct intake_facts){ 0 };
    if (!read_picture(arena, out, &source, &size, intake, &place, why))
        return false;
    *facts = (struct intake_facts){ .height = source.height,
                                    .width = source.width,
                                    .channels = out->channels,
                                    .file_channels = source.channels,
                                    .deep = source.deep,
                                    .significant = source.significant,
                                    .brightest = source.brightest,
                                    .hash = image_hash(out, &source),
                                    .bytes = (int64_t)size };
    if (intake->short_side > 0 && grows_too_large(intake, &source)) {
        *why = "so narrow that image.short_side makes it larger than pack.max_megapixels";
        return false;
    }
    if (intake->short_side > 0)
        *out = resized(arena, *out, &source, intake->short_side);
    facts->stored_height = out->height;
    facts->stored_width = out->width;
    facts->ok = 1;
    return true;
}

const uint8_t *intake_bytes(struct arena *arena, size_t *size, const struct intake *intake, struct image_place place,
                            const char **why)
{
    return manifest_open(arena, intake->root, place.path, file_limit(intake), size, why);
}
