/* What a picture looks like, small enough to compare it with all others: a perceptual hash from its lowest frequencies,
 * a sketch of its finer detail, and a thumbnail. They survive recompression, rescaling and changes of brightness and
 * contrast; they do not survive cropping by more than a few hundredths, turning or mirroring. Kernels on arrays; local.
 * The hash follows the DCT hash of Zauner (2010), with bits set at the median of the corpus instead of the picture's
 * own: every bit then tells as much as it can, also where all pictures are alike. Method: docs/methods/audit.md. */
#ifndef IMAGE_LIKENESS_H
#define IMAGE_LIKENESS_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct image;

enum { LIKENESS_SIDE = 64, LIKENESS_PIXELS = LIKENESS_SIDE * LIKENESS_SIDE, LIKENESS_FREQUENCIES = 64 };

/* Of one picture. */
struct likeness {
    float frequency[LIKENESS_FREQUENCIES]; /* DCT without the mean, over its norm: brightness and contrast are gone */
    uint64_t sign[4], clear[4];            /* of 256 differences of neighbours: which way, and whether it is plain */
    int32_t resolution;                    /* pixels of the short side */
    int32_t flat;                          /* 1: of one grey level, like any other such picture */
};

/* Luma of a picture [height x width]: its own pixels when it is grey, otherwise from the arena. */
const uint8_t *likeness_luma(struct arena *arena, const struct image *picture);

/* out and thumbnail [64 x 64] <- luma [h x w], stretched to a square. `resolution`: of the file it came from, at most
 * (a picture that was enlarged holds no more than before). Scratch is taken and given back. */
void likeness_measure(struct likeness *out, uint8_t *thumbnail, struct arena *scratch, const uint8_t *luma, int h,
                      int w, int resolution);

/* What every rank holds of each picture. */
struct likeness_code {
    uint64_t hash, sign[4], clear[4];
    int32_t resolution, flat;
};
struct likeness_code likeness_encode(const struct likeness *of, const float median[LIKENESS_FREQUENCIES]);

/* How far apart, 0 = equal, or -1: too far for copies of each other. `bits`: of the two hashes that differ. */
int likeness_distance(int *bits, const struct likeness_code *a, const struct likeness_code *b);

/* Do thumbnails a and b [64 x 64] agree at every size of detail that both pictures hold? resolution: of the coarser
 * one. *correlation: of the whole thumbnails. */
bool likeness_agree(double *correlation, const uint8_t *a, const uint8_t *b, int resolution);

/* The same beyond what `count` pictures that look like both have in common (others [count][64 x 64]): where many
 * pictures agree, agreeing is no sign of a copy. */
bool likeness_stands_out(const uint8_t *a, const uint8_t *b, const uint8_t *const *others, int count);

/* Side of the square at which two pictures of this resolution (of the coarser one) are compared once more: 256, 128, or
 * 0 where thumbnails say it all. */
int likeness_fine_side(int resolution);
/* Do the finest details of a and b [side x side] agree, as texture and noise of two pictures of the same kind do not?
 */
bool likeness_agree_finely(struct arena *scratch, const uint8_t *a, const uint8_t *b, int side);

#endif
