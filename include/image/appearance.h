/* What can be measured of a picture without knowing what it shows: grey levels, borders, size, sharpness and colour.
 * If a linear model tells the classes apart by these, a network can too. Local; kernels on arrays. */
#ifndef IMAGE_APPEARANCE_H
#define IMAGE_APPEARANCE_H

#include <stdint.h>

struct image;

enum appearance_family {
    APPEARANCE_HISTOGRAM,
    APPEARANCE_BORDERS,
    APPEARANCE_SIZE,
    APPEARANCE_SHARPNESS,
    APPEARANCE_COLOUR,
    APPEARANCE_FAMILIES
};
extern const char *const appearance_names[APPEARANCE_FAMILIES]; /* "histogram", "borders", ... */

/* First feature of each family, and one past the last:
 * histogram: share of pixels in 16 equal bins of grey levels; borders: of the top, bottom, left and right sixteenth
 * mean, share below 16 and share above 239; size: log2 of height, width and their ratio, of the file; sharpness: log of
 * the mean square of steps across and down and of the Laplacian, and the last two over the variance; colour: mean and
 * deviation of red, green and blue, mean |red - green| and |green - blue|. */
enum { APPEARANCE_FEATURES = 16 + 12 + 3 + 5 + 8 };
extern const int appearance_first[APPEARANCE_FAMILIES + 1];

struct appearance {
    float feature[APPEARANCE_FEATURES];
    uint64_t level[4]; /* bit set of the grey levels that occur (of RGB: of its luma) */
};

/* luma [h x w] of the picture; height and width of the file it came from. */
void appearance_measure(struct appearance *out, const struct image *picture, const uint8_t *luma, int file_height,
                        int file_width);
int appearance_levels(const uint64_t level[4]); /* how many occur */

#endif
