/* Images that lie in the arrays of an .npz: bytes, grey or RGB, one image an array or many. */
#ifndef IMAGE_ARRAY_IMAGE_H
#define IMAGE_ARRAY_IMAGE_H

#include <stdbool.h>

#include "image/decode.h"
#include "image/manifest.h"

struct arena;
struct array_images;

/* What one thread reads such images by. The array that it read last stays open, so images of one array that are asked
 * for in their order cost one pass over it, also when it is deflated. Owned by the caller, who ends it with
 * array_images_close. */
struct array_images *array_images_open(void);
void array_images_close(struct array_images *images);

/* Image place->index of array place->member in root/place->path (found as manifest_open finds files). An array of bytes
 * with the extents (H, W) or (H, W, 1 or 3) is one image, with (N, H, W) or (N, H, W, 1 or 3) it is N of them; of two
 * readings of three extents the first holds. Pixels and the reason are owned by the arena. False with *why. */
bool array_image(struct array_images *images, struct arena *arena, struct image *out, const char *root,
                 const struct image_place *place, int max_megapixels, const char **why);

#endif
