/* Bytes of a table file as UTF-8 text. */
#ifndef IMAGE_READER_TABLE_TEXT_H
#define IMAGE_READER_TABLE_TEXT_H

#include "base/text.h"

/* Text of `bytes` (the same memory when it is UTF-8 already), without byte order mark; *size becomes its length. What
 * was converted is noted. NULL with *why. Arena. */
const char *table_utf8(struct arena *arena, const char *path, const char *bytes, size_t *size, struct text *notes,
                       const char **why);
/* The bytes of a file of gzip; `bytes` themselves when they are not compressed. At most `limit` come out. */
const char *table_inflate(struct arena *arena, const char *path, const char *bytes, size_t *size, size_t limit,
                          const char **why);
/* The first bytes of what a gzip file holds, from a piece at its beginning: out [most]; how many. */
size_t table_inflate_head(char *out, size_t most, const char *bytes, size_t size);
/* The separator of the table: a comma, a TAB or a semicolon. *skip <- bytes before the header: comments, Excel's
 * "sep=". */
char table_separator(const char *path, const char *text, size_t size, size_t *skip, struct text *notes);

#endif
