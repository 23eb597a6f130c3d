/* Rows by a key. Local. */
#ifndef IMAGE_READER_INDEX_H
#define IMAGE_READER_INDEX_H

#include <stdint.h>

struct arena;

/* Rows by a whole number or a text. Owned by the arena. */
struct number_key {
    int64_t number, row;
};
struct number_index {
    struct number_key *list;
    int64_t count;
};
struct text_key {
    const char *text;
    int64_t row;
};
struct text_index {
    struct text_key *list;
    int64_t count;
};
struct number_index number_index(struct arena *arena, const int64_t *numbers, int64_t count);
struct text_index text_index(struct arena *arena, const char *const *texts, int64_t count);
/* First row of this key, -1 when there is none; a row whose key an earlier one has (of texts the first), -1 when all
 * differ. */
int64_t number_find(const struct number_index *index, int64_t number);
int64_t number_repeated(const struct number_index *index);
int64_t text_find(const struct text_index *index, const char *text);
int64_t text_repeated(const struct text_index *index);
int64_t text_repeats(const struct text_index *index); /* how many rows have a key that an earlier one has */
/* How many rows have this key: list[*first] and those after it, by row. */
int64_t text_rows(const struct text_index *index, const char *text, int64_t *first);

#endif
