/* From a path of the manifest to a checked picture. Which rows are taken and
 * where they go is the stage's (src/stage/corpus/pack.c). */
#include "image/intake.h"

#include <xxhash.h>

#include "base/arena.h"
#include "image/manifest.h"
#include "image/resize.h"

/* A file may be this much larger than its pixels: metadata, incompressible noise. */
enum { FILE_SLACK = 64 << 20, BYTES_PER_PIXEL = 8 };

static size_t file_limit(const struct intake *intake)
{
    return FILE_SLACK + (size_t)intake->max_megapixels * 1000000 * BYTES_PER_PIXEL;
}

static uint64_t image_hash(const struct image *picture)
{
    size_t bytes = (size_t)picture->height * (size_t)picture->width * (size_t)picture->channels;
    uint64_t shape = (uint64_t)picture->height << 34 | (uint64_t)picture->width << 4 | (uint64_t)picture->channels;
    return XXH3_64bits_withSeed(picture->pixels, bytes, shape);
}

static struct image resized(struct arena *arena, struct image in, int short_side)
{
    struct image out = in;
    resize_short_side(&out.height, &out.width, in.height, in.width, short_side);
    if (out.height == in.height && out.width == in.width)
        return in;
    out.pixels = arena_take_raw(arena, (size_t)out.height * (size_t)out.width, (size_t)out.channels);
    resize_bicubic(arena, out.pixels, out.height, out.width, in.pixels, in.height, in.width, in.channels);
    return out;
}

bool intake_image(struct arena *arena, struct image *out, struct intake_facts *facts, const struct intake *intake,
                  const char *path, const char **why)
{
    size_t size;
    *facts = (struct intake_facts){ 0 };
    uint8_t *bytes = manifest_open(arena, intake->root, path, file_limit(intake), &size, why);
    if (!bytes)
        return false;
    if (!(intake->stored ? image_decode_stored : image_decode)(arena, out, bytes, size, intake->max_megapixels, why))
        return false;
    facts->height = out->height;
    facts->width = out->width;
    facts->channels = out->channels;
    facts->hash = image_hash(out);
    facts->bytes = (int64_t)size;
    if (intake->short_side > 0) {
        int64_t longer = out->height > out->width ? out->height : out->width;
        int64_t shorter = out->height > out->width ? out->width : out->height;
        if (longer * intake->short_side / shorter * intake->short_side > (int64_t)intake->max_megapixels * 1000000) {
            *why = "so narrow that image.short_side makes it larger than pack.max_megapixels";
            return false;
        }
        *out = resized(arena, *out, intake->short_side);
    }
    facts->stored_height = out->height;
    facts->stored_width = out->width;
    if (intake->encoded && intake->short_side > 0) {
        if (!intake_bytes(arena, &size, intake, path, out, why))
            return false;
        facts->bytes = (int64_t)size;
    }
    facts->ok = 1;
    return true;
}

const uint8_t *intake_bytes(struct arena *arena, size_t *size, const struct intake *intake, const char *path,
                            const struct image *picture, const char **why)
{
    struct image own;
    struct intake_facts facts;
    if (intake->short_side == 0)
        return manifest_open(arena, intake->root, path, file_limit(intake), size, why);
    if (!picture) {
        struct intake pixels = *intake;
        pixels.encoded = false;
        if (!intake_image(arena, &own, &facts, &pixels, path, why))
            return NULL;
        picture = &own;
    }
    return image_encode_png(arena, picture, size, why);
}
