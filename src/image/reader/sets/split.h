/* Splits for sources that have none: whole groups (lesions, patients), every class in its share. */
#ifndef IMAGE_READER_SPLIT_H
#define IMAGE_READER_SPLIT_H

#include <stdint.h>

struct arena;

struct split_request {
    int64_t rows;
    const char *const *id; /* [rows] names that differ: the draw of a group follows from those of its rows */
    const int64_t *group;  /* [rows] numbers below rows; NULL: each row is by itself */
    const int32_t *label;  /* [rows] below classes; NULL: rows are alike */
    int classes;
    double val_fraction, test_fraction;
    uint64_t seed;
};

/* split [rows] <- enum split. No group lies in two splits, and of each class the splits get their fractions as nearly
 * as its groups allow. Depends on the rows, not on their order. Local. */
void split_grouped(struct arena *arena, uint8_t *split, const struct split_request *request);

#endif
