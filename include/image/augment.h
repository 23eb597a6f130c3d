/* The published transforms on 8-bit pixels, as torchvision applies them to Pillow images. Kernels on arrays; local.
 * Method: docs/methods/images.md. */
#ifndef IMAGE_AUGMENT_H
#define IMAGE_AUGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "image/resize.h"

struct arena;

/* What a network sees of an image: part of the model (backbone.h5 keeps it). */
struct preprocess {
    int size;   /* S: the centre crop */
    int resize; /* short side before it; 0: S */
    enum filter filter;
    float mean[3], deviation[3];
};

/* One image's draws. */
struct augment {
    double angle; /* degrees, counter-clockwise, [-30, 30) */
    bool flip;
    double sigma; /* of the blur, pixels, [0.1, 2) */
};
/* The draws of global row `row` in `epoch`: the same whatever rank or thread asks. */
struct augment augment_draw(uint64_t seed, int epoch, int64_t row);

/* out [h x w x c] <- in turned about its centre, nearest neighbour, 0 outside. Bit for bit Pillow's rotate(). */
void augment_rotate(uint8_t *out, const uint8_t *in, int h, int w, int c, double angle);
/* Left and right exchanged, in place. */
void augment_flip(uint8_t *pixels, int h, int w, int c);
/* Gaussian blur of 5 x 5 pixels in float with mirrored borders, rounded half to even, in place. At most one level
 * beside torchvision's, which sums 25 products in another order. */
void augment_blur(struct arena *scratch, uint8_t *pixels, int h, int w, int c, double sigma);

/* out [S x S x c] <- in [h x w x c]: the training transform with these draws (NULL: the evaluation transform), before
 * normalisation. Scratch is taken and given back. */
void augment_apply(struct arena *scratch, uint8_t *out, const struct preprocess *view, const uint8_t *in, int h, int w,
                   int c, const struct augment *draws);

/* out [3 x S x S] <- pixels [S x S x c] / 255, minus the mean, over the deviation of each channel; c = 1 is widened. */
void augment_normalise(float *out, const uint8_t *pixels, const struct preprocess *view, int c);

#endif
