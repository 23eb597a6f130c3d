/* Images in arrays: which extents are an image's, and its bytes out of the file. */
#include "image/array_image.h"

#include <string.h>

#include "base/arena.h"
#include "image/codec.h"
#include "store/array_file.h"

enum { ARENA_BLOCK = 1 << 17 };

struct array_images {
    struct arena *arena; /* of the array that is open */
    struct array_file *array;
    const char *path, *member; /* its place */
    struct arena_mark empty;   /* what was taken before any array */
};
struct extents {
    int64_t images, height, width;
    int channels;
};

struct array_images *array_images_open(void)
{
    struct arena *arena = arena_create("array images", ARENA_BLOCK);
    struct array_images *images = arena_array(arena, struct array_images, 1);
    images->arena = arena;
    images->empty = arena_mark(arena);
    return images;
}

static void forget(struct array_images *images)
{
    if (images->array)
        array_file_close(images->array);
    images->array = NULL;
    arena_release(images->arena, images->empty);
}

void array_images_close(struct array_images *images)
{
    forget(images);
    arena_destroy(images->arena);
}

/* The array of `place` is the one that is open. */
static bool open_array(struct array_images *images, const char *root, const struct image_place *place, const char **why)
{
    if (images->array && strcmp(images->path, place->path) == 0 && strcmp(images->member, place->member) == 0)
        return true;
    forget(images);
    images->path = arena_strdup(images->arena, place->path);
    images->member = arena_strdup(images->arena, place->member);
    int file = manifest_open_file(images->arena, root, place->path, why);
    if (file >= 0)
        images->array = array_file_open(images->arena, "", file, place->member, why);
    return images->array != NULL;
}

static bool is_colour(int64_t extent)
{
    return extent == 1 || extent == 3;
}

/* What the array's extents say; false with the reason when they are not those of images. */
static bool read_extents(struct arena *arena, struct extents *out, const struct tensor *shape, const char **why)
{
    const int64_t *d = shape->dims;
    bool is_last = shape->rank > 2 && is_colour(d[shape->rank - 1]);
    if (shape->type != TENSOR_U8 || shape->rank < 2 || shape->rank > 4 || (shape->rank == 4 && !is_last)) {
        *why =
            arena_printf(arena, "an array of %s with %d extents; expected bytes (u1), (height, width[, 3]) or several",
                         tensor_type_name(shape->type), shape->rank);
        return false;
    }
    int first = shape->rank - 2 - is_last;
    *out = (struct extents){ .images = first ? d[0] : 1,
                             .height = d[first],
                             .width = d[first + 1],
                             .channels = is_last ? (int)d[shape->rank - 1] : 1 };
    bool is_fortran = shape->rank > 1 && d[0] > 1 && shape->strides[0] == 1 && shape->count > d[0];
    if (!first || !is_fortran)
        return true;
    *why = "an array of several images in Fortran order; expected the images one after another";
    return false;
}

/* Bytes of one image as the file has them; those of an array in Fortran order come column by column. */
static bool read_pixels(struct array_images *images, struct arena *arena, struct image *out, int64_t index,
                        const char **why)
{
    size_t bytes = (size_t)out->height * (size_t)out->width * (size_t)out->channels;
    uint8_t *pixels = arena_take_raw(arena, bytes, 1);
    if (!array_file_read(images->array, pixels, (size_t)index * bytes, bytes, why))
        return false;
    struct tensor whole = *array_file_shape(images->array);
    out->pixels = pixels;
    if (whole.count > (int64_t)bytes || whole.strides[whole.rank - 1] == 1)
        return true;
    whole.data = pixels;
    out->pixels = arena_take_raw(arena, bytes, 1);
    tensor_packed(out->pixels, &whole);
    return true;
}

static bool read_image(struct array_images *images, struct arena *arena, struct image *out, const char *root,
                       const struct image_place *place, int max_megapixels, const char **why)
{
    struct extents extents;
    if (!open_array(images, root, place, why) || !read_extents(arena, &extents, array_file_shape(images->array), why))
        return false;
    if (place->index < 0 || place->index >= extents.images) {
        *why = arena_printf(arena, "image %lld of %lld", (long long)place->index, (long long)extents.images);
        return false;
    }
    *why = image_size_problem(arena, extents.width, extents.height, (int64_t)max_megapixels * 1000000);
    if (*why)
        return false;
    *out = (struct image){ (int)extents.height, (int)extents.width, extents.channels, NULL };
    return read_pixels(images, arena, out, place->index, why);
}

bool array_image(struct array_images *images, struct arena *arena, struct image *out, const char *root,
                 const struct image_place *place, int max_megapixels, const char **why)
{
    if (read_image(images, arena, out, root, place, max_megapixels, why))
        return true;
    *why = arena_strdup(arena, *why); /* what was said of an array lives as long as the array is open */
    forget(images);
    return false;
}
