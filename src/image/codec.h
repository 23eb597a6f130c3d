/* Inside the image module: one reader per file format, behind image/decode.h. */
#ifndef IMAGE_CODEC_H
#define IMAGE_CODEC_H

#include "image/decode.h"

/* A file's pixels as they are stored: 8 bits, or 16 that are yet to be mapped to 8. Taken from the arena. */
struct raster {
    int height, width, channels;
    uint8_t *pixels;             /* [height x width x channels], NULL when deep */
    uint16_t *samples;           /* the same, NULL otherwise */
    int significant;             /* of 16 bits: how many the file says it uses; 0: it does not say */
    bool negative;               /* 0 is white: mapped to 8 bits, then inverted */
    int orientation;             /* EXIF 1-8; 0 and others: as it is */
    int file_height, file_width; /* where the file's own size is another; 0 otherwise */
};

/* What a reader is given. */
struct codec_input {
    const uint8_t *bytes;
    size_t size;
    int64_t max_pixels;
    int scale_side;
};

/* False with *why (NULL otherwise) as image_decode. Each reader checks image_size_problem before it takes memory. */
typedef bool codec_read(struct arena *arena, struct raster *out, const struct codec_input *in, const char **why);
codec_read jpeg_read, png_read, tiff_read, webp_read, bmp_read, pnm_read;

/* The orientation in an EXIF block, with or without the six bytes "Exif\0\0" before it; 1 when absent or damaged. */
int exif_orientation(const uint8_t *tiff, size_t size);

/* What is wrong with a size: beyond the limit, or a side a thousand times the other. NULL when it is fine. */
const char *image_size_problem(struct arena *arena, int64_t width, int64_t height, int64_t max_pixels);

/* Numbers of `bytes` bytes in a file, high byte first or last. */
uint32_t codec_number(const uint8_t *at, size_t bytes, bool big_endian);

#endif
