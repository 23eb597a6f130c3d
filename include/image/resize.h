/* Resizing and cropping of 8-bit pixels with the rounding of Pillow and torchvision. Local; kernels on arrays. */
#ifndef IMAGE_RESIZE_H
#define IMAGE_RESIZE_H

#include <stdint.h>

struct arena;

enum filter { FILTER_BICUBIC, FILTER_BILINEAR, FILTER_NEAREST };

/* out [to_h x to_w x c] <- in [h x w x c], bit for bit Pillow's resize() with this filter. As resize_bicubic. */
void resize_image(struct arena *scratch, uint8_t *out, int to_h, int to_w, const uint8_t *in, int h, int w, int c,
                  enum filter filter);

/* out [to_h x to_w x c] <- in [h x w x c], bicubic (a = -1/2) with antialias, as Pillow resamples 8-bit data: weights
 * of 22 fractional bits, columns first, rounded to 8 bits between the passes. Scratch is taken from the arena and
 * given back. Equal sizes: a copy. */
void resize_bicubic(struct arena *scratch, uint8_t *out, int to_h, int to_w, const uint8_t *in, int h, int w, int c);

/* Size after scaling so that the short side has `side` pixels; the long side is cut to whole pixels, at least 1. */
void resize_short_side(int *to_h, int *to_w, int h, int w, int side);

/* out [size x size x c] <- the centre of in [h x w x c]; zeros where `in` is smaller. Offsets round half to even. */
void crop_centre(uint8_t *out, int size, const uint8_t *in, int h, int w, int c);

#endif
