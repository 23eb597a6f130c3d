/* One image file on its way into a corpus: opened below the root, decoded,
 * measured, resized when asked to. Local; safe from several threads on different arenas. */
#ifndef IMAGE_INTAKE_H
#define IMAGE_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/decode.h"

struct intake {
    const char *root; /* real path */
    int max_megapixels;
    int short_side; /* 0: as it is */
    bool stored;    /* pixels as they are stored: the EXIF orientation is not applied */
    bool encoded;   /* files are stored, not pixels: facts.bytes is wanted */
};

/* What is known of a row before it is stored; plain bytes, exchanged between ranks. */
struct intake_facts {
    int32_t height, width;               /* of the file's image, upright */
    int32_t stored_height, stored_width; /* after image.short_side */
    int32_t channels;
    int32_t ok;
    int64_t bytes; /* in an encoded corpus */
    uint64_t hash; /* XXH3-64 of size and pixels before resizing: equal for the same picture in another file */
};

/* The picture as it is to be stored, and its facts; owned by the arena. False with *why when it cannot be used. */
bool intake_image(struct arena *arena, struct image *out, struct intake_facts *facts, const struct intake *intake,
                  const char *path, const char **why);

/* The bytes that an encoded corpus stores: the file as it is, or with short_side the resized picture as PNG
 * (`picture` when it is at hand, otherwise NULL). Owned by the arena; NULL with *why. */
const uint8_t *intake_bytes(struct arena *arena, size_t *size, const struct intake *intake, const char *path,
                            const struct image *picture, const char **why);

#endif
