/* The files below a data folder, listed once: what recognises a collection asks it, and what a table says of an image
 * is found in it. Local; rank 0 lists. */
#ifndef IMAGE_READER_TREE_H
#define IMAGE_READER_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct tree {
    const char *root; /* real path */
    int64_t images;
    const char *const *image; /* [images] paths below root of files named like images, in byte order */
    int64_t others;
    const char *const *other; /* [others] of all other files, in byte order */
    int64_t folders;
    const char *const *folder; /* [folders] in byte order */
    int64_t outside;
    const char *const *outer; /* [outside] links to folders that leave the root (but root/images): not entered */
    const int64_t *by_stem;   /* [images] numbers of `image` in the order of their stems */
};

/* Lists `root`. Hidden names and __MACOSX are passed over; a link to a folder is followed below the root, and
 * root/images wherever it leads. Everything is owned by the arena. NULL with *why. */
const struct tree *tree_list(struct arena *arena, const char *root, const char **why);

/* Is there a file (image or other), a folder, of this path below the root? Letter by letter. */
bool tree_has(const struct tree *tree, const char *path);
bool tree_has_folder(const struct tree *tree, const char *folder);
/* Number of the image of this path, -1 when there is none. */
int64_t tree_image(const struct tree *tree, const char *path);
/* First and count of the images below `folder`: they are neighbours. */
int64_t tree_images_below(const struct tree *tree, const char *folder, int64_t *first);
/* First and count of the images of this stem ("ISIC_0024306" of "part_1/ISIC_0024306.jpg"), as numbers in by_stem. */
int64_t tree_images_of_stem(const struct tree *tree, const char *stem, size_t length, int64_t *first);
/* "17 .txt, 2 .csv, 1 without ending" of the other files; arena. */
const char *tree_kinds(struct arena *arena, const struct tree *tree);

/* Is the name that of an image file, by its ending? Length of the name without the ending, or of all of it. */
bool tree_image_name(const char *name);
size_t tree_stem_length(const char *name);

#endif
