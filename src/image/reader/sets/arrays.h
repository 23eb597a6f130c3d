/* Collections that are arrays in files: images in one array, labels in another. Local. */
#ifndef IMAGE_READER_SETS_ARRAYS_H
#define IMAGE_READER_SETS_ARRAYS_H

#include "image/reader/reader.h"
#include "store/tensors.h"

/* One split of such a collection. */
struct array_split {
    const char *file, *images, *labels_file,
        *labels; /* paths below root and names of the arrays; file NULL: not there */
    enum split split;
    const char *word; /* of its ids: "train/00012" */
    int64_t rows;
    int columns;          /* of its labels */
    const int64_t *label; /* [rows x columns] */
};

/* Reads shapes and labels of a split whose names are set. False after reading_fail: not images of bytes, grey or RGB,
 * or labels that are not as many whole numbers. */
bool array_split_read(struct reading *reading, struct array_split *split);
/* The manifest of `count` splits, those with rows. One column of labels: classes by number, named by `names` [classes]
 * or, when that is NULL, by their numbers; several columns: labels of 0 and 1. Without val rows, val is made of train
 * by the hash of the id (pack.val_fraction). False after reading_fail. */
bool arrays_fill(struct reading *reading, struct manifest *out, const struct array_split *splits, int count,
                 const char *const *names, int classes);

#endif
