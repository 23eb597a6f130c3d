/* Pictures: pixels to PNG bytes, and contact sheets (a grid of equal tiles). Local; no files are written here. */
#ifndef REPORT_SHEET_H
#define REPORT_SHEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

/* An 8-bit picture, row-major, channels interleaved: 1 (grey) or 3 (RGB). */
struct picture {
    int width, height, channels;
    uint8_t *pixels; /* owned by the arena it was made with */
};

/* A white picture. */
struct picture picture_new(struct arena *arena, int width, int height, int channels);
/* True when every pixel of rgb [count x 3] is grey. */
bool picture_is_grey(const uint8_t *rgb, int64_t count);

struct sheet_style {
    int columns; /* tiles per line */
    int border;  /* pixels around each tile, in frame colour */
    int gap;     /* white pixels between tiles and around the sheet */
};
/* A contact sheet of `count` square tiles, rgb [count x size x size x 3], left to right, top to bottom; one channel
 * when all tiles are grey and no frame is coloured. frame [count x 3] colours of the borders, NULL = mid grey. */
struct picture sheet_grid(struct arena *arena, const uint8_t *rgb, int count, int size, struct sheet_style style,
                          const uint8_t *frame);

/* PNG bytes of a picture, owned by the arena. `title` and `description` become text chunks (either may be NULL).
 * The bytes depend on the picture alone: no time stamps. Ends the job with EXIT_INTERNAL if libpng refuses. */
uint8_t *picture_png(struct arena *arena, struct picture picture, const char *title, const char *description,
                     size_t *length);

#endif
