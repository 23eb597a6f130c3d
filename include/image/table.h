/* A comma-separated table with a header row, in memory, checked. */
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
    const char *const *cells; /* [rows x columns], trimmed of spaces unless quoted */
    const int64_t *line;      /* [rows] line of the file where the row begins, from 1 */
};

/* Parses `bytes` (RFC 4180; CRLF and a UTF-8 byte order mark are fine). Everything is owned by the arena; `path` is
 * borrowed and only named. False with *why = "path:line: reason" on: no header, no rows, a row with more or fewer cells
 * than the header, a bad or unclosed quote, a NUL byte, UTF-16, an empty or repeated column name, a cell above 64 KiB.
 * Local. */
bool table_parse(struct arena *arena, struct table *out, const char *path, const char *bytes, size_t size,
                 const char **why);

/* Column of this name, -1 when there is none. */
int table_column(const struct table *table, const char *name);
const char *table_cell(const struct table *table, int64_t row, int column);
/* Whole cell as a finite number; false when it is not one. */
bool table_number(const char *cell, double *value);

#endif
