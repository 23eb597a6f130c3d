/* Rows by a key: sorted once, found by bisection. */
#include "image/reader/index.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

static int by_number(const void *a, const void *b)
{
    const struct number_key *x = a, *y = b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

struct number_index number_index(struct arena *arena, const int64_t *numbers, int64_t count)
{
    struct number_index index = { arena_array(arena, struct number_key, count + 1), count };
    for (int64_t i = 0; i < count; i++)
        index.list[i] = (struct number_key){ numbers[i], i };
    qsort(index.list, (size_t)count, sizeof *index.list, by_number);
    return index;
}

int64_t number_find(const struct number_index *index, int64_t number)
{
    int64_t low = 0, high = index->count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (index->list[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < index->count && index->list[low].number == number ? index->list[low].row : -1;
}

int64_t number_repeated(const struct number_index *index)
{
    for (int64_t i = 1; i < index->count; i++)
        if (index->list[i].number == index->list[i - 1].number)
            return index->list[i].row;
    return -1;
}

static int by_text(const void *a, const void *b)
{
    const struct text_key *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order ? order : (x->row > y->row) - (x->row < y->row);
}

struct text_index text_index(struct arena *arena, const char *const *texts, int64_t count)
{
    struct text_index index = { arena_array(arena, struct text_key, count + 1), count };
    for (int64_t i = 0; i < count; i++)
        index.list[i] = (struct text_key){ texts[i], i };
    qsort(index.list, (size_t)count, sizeof *index.list, by_text);
    return index;
}

/* Place of the first key that is not below the text. */
static int64_t text_place(const struct text_index *index, const char *text)
{
    int64_t low = 0, high = index->count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (strcmp(index->list[middle].text, text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool holds(const struct text_index *index, int64_t place, const char *text)
{
    return place < index->count && strcmp(index->list[place].text, text) == 0;
}

int64_t text_find(const struct text_index *index, const char *text)
{
    int64_t place = text_place(index, text);
    return holds(index, place, text) ? index->list[place].row : -1;
}

int64_t text_rows(const struct text_index *index, const char *text, int64_t *first)
{
    int64_t end = *first = text_place(index, text);
    while (holds(index, end, text))
        end++;
    return end - *first;
}

static bool repeats(const struct text_index *index, int64_t place)
{
    return place > 0 && strcmp(index->list[place].text, index->list[place - 1].text) == 0;
}

int64_t text_repeated(const struct text_index *index)
{
    int64_t first = -1;
    for (int64_t i = 0; i < index->count; i++)
        if (repeats(index, i) && (first < 0 || index->list[i].row < first))
            first = index->list[i].row;
    return first;
}

int64_t text_repeats(const struct text_index *index)
{
    int64_t count = 0;
    for (int64_t i = 0; i < index->count; i++)
        count += repeats(index, i);
    return count;
}
