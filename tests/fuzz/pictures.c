/* Decoding a picture, and what must hold of one that was accepted. */
#include "pictures.h"

#include "image/decode.h"

void fuzz_picture(struct arena *arena, const uint8_t *bytes, size_t size)
{
    struct image picture = { 0 };
    const struct image_reading reading = { .max_megapixels = PICTURE_MEGAPIXELS };
    const char *why = NULL;
    if (!image_decode(arena, &picture, NULL, bytes, size, &reading, &why)) {
        if (!why)
            fuzz_finding("refused without a reason");
        fuzz_message(why, 0);
        return;
    }
    if (picture.height < 1 || picture.width < 1 || (picture.channels != 1 && picture.channels != 3) ||
        (int64_t)picture.height * picture.width > (int64_t)PICTURE_MEGAPIXELS * 1000000)
        fuzz_finding("a picture of %d x %d x %d", picture.height, picture.width, picture.channels);
    picture = image_widen(arena, picture);
    unsigned sum = 0;
    for (int64_t i = 0; i < (int64_t)picture.height * picture.width * 3; i++)
        sum += picture.pixels[i];
    volatile unsigned seen = sum;
    (void)seen;
}
