/* What the targets of pictures share. */
#ifndef FUZZ_PICTURES_H
#define FUZZ_PICTURES_H

#include "target.h"

enum {
    PICTURE_MEGAPIXELS = 1,
    PICTURE_MEMORY = 40 << 20
}; /* a strip of 8 samples, decoded, mapped to 8 bits, turned, widened */

/* Decodes and widens; a picture above the limit, or of other than 1 and 3 channels, is a finding. */
void fuzz_picture(struct arena *arena, const uint8_t *bytes, size_t size);

#endif
