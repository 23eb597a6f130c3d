/* What the readers of public collections share: tables and images by stem, classes of a known list, splits. */
#ifndef IMAGE_READER_SETS_SETS_H
#define IMAGE_READER_SETS_SETS_H

#include "image/reader/reader.h"

/* "ISIC_0024306" of "part_1/ISIC_0024306.jpg"; arena. */
const char *set_stem(struct arena *arena, const char *path);

/* Files that are no images whose name without folder is `name`, or `name` with .gz behind it: the first in byte order,
 * and how many there are. NULL without any. */
const char *set_file(const struct reading *reading, const char *name, int64_t *count);

/* ---- columns of tables ---- */

/* The column of this name, or reading_fail with the columns that a table of `collection` has. */
int set_needed_column(struct reading *reading, const struct table *table, const char *name, const char *expected);
/* Cells of a column [rows]; arena. */
const char **set_column(struct arena *arena, const struct table *table, int column);
/* `table` with the rows row [rows] in this order; -1 is a row of empty cells. Arena. */
struct table set_reordered(struct arena *arena, const struct table *table, const int64_t *row, int64_t rows);

/* ---- images ---- */

/* Where an image of a name may lie in several folders: the place with the lowest number is it, SET_COPY or more are
 * copies that are taken when there is nothing else. */
enum { SET_COPY = 100 };
typedef int set_rank(const char *path, const void *context);
/* path <- the image of this stem, or NULL when there is none; *copies counts others of it. False after reading_fail:
 * two places of one rank. */
bool set_image(struct reading *reading, const char *stem, set_rank *rank, const void *context, const char **path,
               int64_t *copies);
/* Is `part` one of the path's folders ("Training" of "images/Training/a.jpg"), in any case when `any_case`? */
bool set_is_in(const char *path, const char *part, bool any_case);

/* Images below root that no row of the manifest names, and are no copies: said. */
void set_note_unused(struct reading *reading, const struct manifest *out, int64_t copies, const char *source);
/* Files that are neither images nor arrays [arrays, those of them that are read] nor inputs of this reading: said,
 * tables and texts by their names. */
void set_note_others(struct reading *reading, int64_t arrays);
/* `missing` of the manifest's rows have no image. When one of the folders [count] that hold them is not there, that is
 * reading_fail, unless pack.on_bad lets rows be left out; else packing says so of each row. */
bool set_check_missing(struct reading *reading, const struct manifest *out, int64_t missing, const char *const *folders,
                       int count);

/* ---- columns of the manifest ---- */

/* label, class_names, classes from the place of each row in `names` [count]: those that occur, in their order. */
void set_classes(struct arena *arena, struct manifest *out, const int32_t *place, const char *const *names, int count);
/* Groups: column pack.group of `table` (whose rows are the manifest's), else column `usual` (NULL: none), which names
 * lesions. False after reading_fail: no such column. */
bool set_groups(struct reading *reading, struct manifest *out, const struct table *table, const char *usual);
/* All columns of `table` (whose rows are the manifest's) but those of `used` [count] as attributes. */
void set_attributes(struct reading *reading, struct manifest *out, const struct table *table, const int *used,
                    int count);

/* Of the rows of the split files: the key of each path [rows] (arena), and in row [rows] where `names` has it, -1 in
 * *unknown of them. `key_of` may return NULL for a path that has none. */
const char **set_align(struct arena *arena, const struct manifest *out, const struct text_index *names,
                       const char *(*key_of)(struct arena *, const char *), int64_t *row, int64_t *unknown);
/* Are the published split files there, whose rows, classes and splits are to be read? */
bool set_is_published(const struct reading *reading);

#endif
