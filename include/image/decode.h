/* JPEG and PNG files in memory to 8-bit pixels, and PNG back.
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

/* Decodes `bytes` as a reference decoder (Pillow's convert('RGB') after ImageOps.exif_transpose) does: palette and
 * CMYK become RGB, alpha is dropped, 16-bit samples keep their high byte, the EXIF orientation is applied. Grey files
 * stay one channel. JPEG: integer ("islow") DCT and fancy upsampling, libjpeg's defaults.
 * Pixels and the reason are owned by the arena. False with *why when the file is not JPEG or PNG, is damaged or cut
 * off, or holds more than `max_megapixels` (found before anything of that size is allocated). Never ends the job.
 * Local; safe from several threads on different arenas. */
bool image_decode(struct arena *arena, struct image *out, const uint8_t *bytes, size_t size, int max_megapixels,
                  const char **why);

/* The same without the EXIF orientation: the pixels as the file has them. */
bool image_decode_stored(struct arena *arena, struct image *out, const uint8_t *bytes, size_t size, int max_megapixels,
                         const char **why);

/* `picture` as a PNG file: bytes owned by the arena. The same bytes for the same pixels. NULL with *why on failure. */
uint8_t *image_encode_png(struct arena *arena, const struct image *picture, size_t *size, const char **why);

/* Grey to RGB by repeating the value, in place of the arena: returns `picture` itself when it has 3 channels. */
struct image image_widen(struct arena *arena, struct image picture);

#endif
