/* Picture files in memory to 8-bit pixels (JPEG, PNG, TIFF, WebP, BMP, PNM), and PNG back.
 * What a file is, is read from its first bytes, never from its name. */
#ifndef IMAGE_DECODE_H
#define IMAGE_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct image {
    int height, width, channels; /* channels: 1 grey, 3 RGB */
    uint8_t *pixels;             /* [height x width x channels], row-major */
};

/* How files become pixels; {0} with a limit is the plain way. */
enum { IMAGE_BITS = 16 };
struct image_reading {
    int max_megapixels;
    bool stored;    /* the pixels as the file has them: its EXIF orientation is not applied */
    int scale_side; /* above 0: JPEG may be decoded at 1/2, 1/4 or 1/8 of its size while no side gets below this */
    /* Samples of 16 bits: the one that becomes 255, by the significant bits that the file states (sBIT; 0: states
     * none). 0: 65535, which leaves the high byte. */
    int32_t white[IMAGE_BITS + 1];
};

/* What a file holds, beside its pixels. */
struct image_source {
    int height, width;          /* upright; larger than the picture's when that was decoded at a part of its size */
    int channels;               /* 3 though the picture has 1: a colour file whose pixels all are grey */
    bool deep;                  /* samples of 16 bits, mapped to 8 by image_reading.white */
    int significant, brightest; /* of deep ones: bits the file states, 0 none; the largest sample */
    uint64_t samples_hash;      /* of deep ones: XXH3-64 of the samples */
};

/* Decodes `bytes` as a reference decoder (Pillow's convert('RGB') after ImageOps.exif_transpose) does: palette and
 * CMYK become RGB, alpha is dropped, the orientation is applied. A picture whose pixels all are grey has one channel,
 * whatever its file says. 16-bit samples: floor(256 sample / (white + 1)), at most 255. JPEG: integer ("islow") DCT and
 * fancy upsampling, libjpeg's defaults.
 * Pixels and the reason are owned by the arena; `source` may be NULL. False with *why when the file is of no known
 * kind, is damaged or cut off, or holds more than `max_megapixels` (found before anything of that size is allocated).
 * Never ends the job. Local; safe from several threads on different arenas. */
bool image_decode(struct arena *arena, struct image *out, struct image_source *source, const uint8_t *bytes,
                  size_t size, const struct image_reading *reading, const char **why);

/* Does a file of this name look like a picture by its ending? */
bool image_is_named(const char *name);
/* The endings that image_is_named knows, for messages: ".png, .jpg, ..."; arena. */
const char *image_endings(struct arena *arena);

/* `picture` as a PNG file: bytes owned by the arena. The same bytes for the same pixels. NULL with *why on failure. */
uint8_t *image_encode_png(struct arena *arena, const struct image *picture, size_t *size, const char **why);

/* Grey to RGB by repeating the value, in place of the arena: returns `picture` itself when it has 3 channels. */
struct image image_widen(struct arena *arena, struct image picture);

#endif
