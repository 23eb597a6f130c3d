/* What readers of collections share: finding the files of a download, and joining tables on keys. Local. */
#ifndef IMAGE_READER_SETS_COLLECTION_H
#define IMAGE_READER_SETS_COLLECTION_H

#include "image/reader/reader.h"

/* Path below root of the file of this name, plain or with .gz behind it: of several that in the folder nearest to the
 * root. NULL when there is none. */
const char *collection_file(const struct reading *reading, const char *name);
/* The same of a name "PREFIX-VERSION-what.csv" whose version may be any ("2.0.0"): the newest one. */
const char *collection_version(const struct reading *reading, const char *prefix, const char *suffix);
/* "a/b" of "a/b/c.csv", "" of "c.csv"; and "c.csv". Arena. */
const char *collection_folder(struct arena *arena, const char *path);
const char *collection_name(const char *path);
/* The first bytes of the file at `path` below root, at most `most`: how many. */
size_t collection_head(const struct reading *reading, const char *path, char *head, size_t most);
/* Do its first 4096 hold all of these `words` (NULL-terminated)? */
bool collection_begins(const struct reading *reading, const char *path, const char *const *words);
/* Does the zip archive (.npz) at `path` below root hold the array `name`? */
bool collection_holds_array(const struct reading *reading, const char *path, const char *name);
/* The table that pack.labels names, when it names another than its default; otherwise NULL. */
const char *collection_stated(const struct reading *reading);

/* Column of this name, or -1 after reading_fail: what is missing, and which columns there are. */
int collection_column(struct reading *reading, const struct table *table, const char *name);
/* The rows of `table` that `keep` says [rows], without copying their texts. */
struct table collection_rows(struct arena *arena, const struct table *table, const bool *keep);
/* The rows of `a`, then those of `b` by its columns of the same names; what `b` has none of is empty. */
struct table collection_joined(struct arena *arena, const struct table *a, const struct table *b);
/* The rows of *out that are of the train split are cut into train and val (pack.val_fraction) and, when `with_test`,
 * test (pack.test_fraction): whole groups, and of each class its share. Needs ids, groups and labels, those that there
 * are. */
void collection_cut(struct reading *reading, struct manifest *out, bool with_test);
/* Whole number of a cell ("50414267", also "50414267.0"); false when it is none. */
bool collection_whole(const char *cell, int64_t *number);

/* Label state of a cell: 1, 0, -1 or nothing (pack.missing); false when it is none of them. */
bool collection_state(const struct reading *reading, const char *cell, int8_t *state);

#endif
