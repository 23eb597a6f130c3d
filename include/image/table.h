/* A table with a header row, in memory, checked: as spreadsheets, R and pandas write them. */
#ifndef IMAGE_TABLE_H
#define IMAGE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct table {
    const char *path; /* for messages */
    int columns;
    const char *const *header; /* [columns] */
    int64_t rows;
    const char *const *cells; /* [rows x columns] UTF-8, trimmed of spaces */
    const int64_t *line;      /* [rows] line of the file where the row begins, from 1 */
    const char *notes;        /* what was not as plain as it could be, a line each: separator, encoding, left out; "" */
};

/* Parses `bytes` (RFC 4180 with any line ends): comma, TAB or semicolon, told by the header or Excel's first line
 * "sep=;"; UTF-8 with or without byte order mark, UTF-16 with one, or Windows-1252 when it cannot be UTF-8. Columns
 * without a name (row numbers, a trailing separator), rows without any text and lines of comment before the header are
 * left out. Everything is owned by the arena; `path` is borrowed and only named. False with *why = "path:line: reason"
 * on: no header, no rows, a row with more or fewer cells than the header, a bad or unclosed quote, a NUL byte, text of
 * no or of two encodings, a repeated column name, a cell above 64 KiB. Local. */
bool table_parse(struct arena *arena, struct table *out, const char *path, const char *bytes, size_t size,
                 const char **why);
/* The same of a file, which may be compressed by gzip (told by its first bytes): `file` is opened, `path` only named.
 */
bool table_open(struct arena *arena, struct table *out, const char *file, const char *path, const char **why);

/* Column of this name, letter by letter, else the only one that differs by case; -1 when there is none. */
int table_column(const struct table *table, const char *name);
const char *table_cell(const struct table *table, int64_t row, int column);
/* Is the cell empty, or one of the comma-separated `words` (pack.missing) in any case? */
bool table_missing(const char *cell, const char *words);
/* Whole cell as a finite number; false when it is not one. */
bool table_number(const char *cell, double *value);

#endif
