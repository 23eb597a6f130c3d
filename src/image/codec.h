/* Inside the image module: one reader per file format, behind image/decode.h. */
#ifndef IMAGE_CODEC_H
#define IMAGE_CODEC_H

#include "image/decode.h"

/* As image_decode, but leaves the pixels as they are stored and says how they are to be turned:
 * *orientation is the EXIF value 1-8. */
bool jpeg_read(struct arena *arena, struct image *out, int *orientation, const uint8_t *bytes, size_t size,
               int64_t max_pixels, const char **why);
bool png_read(struct arena *arena, struct image *out, int *orientation, const uint8_t *bytes, size_t size,
              int64_t max_pixels, const char **why);

/* Tag 0x0112 of the first directory of a TIFF header, 1 when it is absent or damaged. */
int exif_orientation(const uint8_t *tiff, size_t size);

/* What is wrong with a size: beyond the limit, or a side a thousand times the other. NULL when it is fine. */
const char *image_size_problem(struct arena *arena, int64_t width, int64_t height, int64_t max_pixels);

#endif
