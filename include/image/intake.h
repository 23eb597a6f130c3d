/* One image on its way into a corpus: opened below the root, decoded,
 * measured, resized when asked to. Local; safe from several threads on different arenas. */
#ifndef IMAGE_INTAKE_H
#define IMAGE_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/array_image.h"
#include "image/decode.h"
#include "image/manifest.h"

struct intake {
    const char *root; /* real path */
    struct image_reading reading;
    int short_side;              /* 0: as it is */
    bool encoded;                /* files are stored, not pixels */
    struct array_images *arrays; /* of this thread, for images in arrays; NULL: those are refused */
};

/* What is known of a row before it is stored; plain bytes, exchanged between ranks. */
struct intake_facts {
    int32_t height, width;                /* of the file's image, upright */
    int32_t stored_height, stored_width;  /* after image.short_side */
    int32_t channels, file_channels;      /* of the picture; 3 and not 1 where a colour file is grey in fact */
    int32_t deep, significant, brightest; /* as struct image_source */
    int32_t ok;
    int64_t bytes; /* in an encoded corpus: of the file, or of its PNG */
    uint64_t hash; /* XXH3-64 of size and pixels (16-bit: samples) before resizing: equal for the same picture in
                    * another file */
};

/* The picture as it is to be stored, and its facts; owned by the arena. False with *why when it cannot be used. */
bool intake_image(struct arena *arena, struct image *out, struct intake_facts *facts, const struct intake *intake,
                  struct image_place place, const char **why);

/* The file as it is: what an encoded corpus without short_side stores of images that are files. Owned by the arena;
 * NULL with *why. */
const uint8_t *intake_bytes(struct arena *arena, size_t *size, const struct intake *intake, struct image_place place,
                            const char **why);

#endif
