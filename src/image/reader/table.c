/* Tables by libcsv, fed line by line so that every message can name its line.
 * What the columns mean: manifest_csv.c. */
#include "image/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <csv.h>

#include "base/arena.h"
#include "base/text.h"

enum { CELL_LIMIT = 65536, COLUMN_LIMIT = 10000 };

/* Grows by doubling inside the arena; the old copies go with it. */
struct list {
    void *items;
    size_t count, room;
};
static void *list_add(struct arena *arena, struct list *list, size_t size);

struct reader {
    struct arena *arena;
    struct table *table;
    struct list cells, lines;
    int64_t line, row_line; /* being fed; where the current row began */
    int column;
    bool in_row;
    const char *why;
};

static void on_cell(void *bytes, size_t size, void *data);
static void on_row(int last, void *data);
static void feed(struct reader *reader, struct csv_parser *parser, const char *bytes, size_t size);
static const char *check_header(struct reader *reader);

bool table_parse(struct arena *arena, struct table *out, const char *path, const char *bytes, size_t size,
                 const char **why)
{
    *out = (struct table){ .path = path };
    if (size >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) {
        bytes += 3;
        size -= 3;
    } else if (size >= 2 && (memcmp(bytes, "\xFF\xFE", 2) == 0 || memcmp(bytes, "\xFE\xFF", 2) == 0)) {
        *why = arena_printf(arena, "%s:1: the file is UTF-16; save it as UTF-8", path);
        return false;
    }
    struct reader reader = { .arena = arena, .table = out };
    struct csv_parser parser;
    if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI) != 0) {
        *why = arena_printf(arena, "%s: the reader could not start", path);
        return false;
    }
    feed(&reader, &parser, bytes, size);
    csv_free(&parser);
    out->cells = reader.cells.items;
    out->line = reader.lines.items;
    if (!reader.why && !out->header)
        reader.why = arena_printf(arena, "%s: the file is empty; expected a header row and one row per image", path);
    if (!reader.why && out->rows == 0)
        reader.why = arena_printf(arena, "%s: only a header; expected one row per image", path);
    *why = reader.why;
    return reader.why == NULL;
}

int table_column(const struct table *table, const char *name)
{
    for (int i = 0; i < table->columns; i++)
        if (strcmp(table->header[i], name) == 0)
            return i;
    return -1;
}

const char *table_cell(const struct table *table, int64_t row, int column)
{
    return table->cells[row * table->columns + column];
}

bool table_number(const char *cell, double *value)
{
    char *end;
    if (*cell == '\0' || strspn(cell, "+-.0123456789eE") != strlen(cell))
        return false;
    *value = strtod(cell, &end);
    return *end == '\0' && isfinite(*value);
}

static void *list_add(struct arena *arena, struct list *list, size_t size)
{
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 256;
        void *items = arena_take_raw(arena, room, size);
        if (list->count)
            memcpy(items, list->items, list->count * size);
        list->items = items;
        list->room = room;
    }
    return (char *)list->items + size * list->count++;
}

/* One line of the file at a time: a callback then knows where it is. */
static void feed(struct reader *reader, struct csv_parser *parser, const char *bytes, size_t size)
{
    for (size_t at = 0; at < size && !reader->why;) {
        const char *end = memchr(bytes + at, '\n', size - at);
        size_t length = end ? (size_t)(end - (bytes + at)) + 1 : size - at;
        reader->line++;
        if (!reader->in_row)
            reader->row_line = reader->line;
        if (memchr(bytes + at, '\0', length))
            reader->why = arena_printf(reader->arena, "%s:%lld: a NUL byte; expected text", reader->table->path,
                                       (long long)reader->line);
        else if (csv_parse(parser, bytes + at, length, on_cell, on_row, reader) != length && !reader->why)
            reader->why = arena_printf(reader->arena, "%s:%lld: a quote inside an unquoted cell, or text after one",
                                       reader->table->path, (long long)reader->line);
        reader->in_row = parser->pstate != 0; /* a quoted cell goes on in the next line */
        at += length;
    }
    if (!reader->why && csv_fini(parser, on_cell, on_row, reader) != 0 && !reader->why)
        reader->why = arena_printf(reader->arena, "%s:%lld: a quote is opened here and never closed",
                                   reader->table->path, (long long)reader->row_line);
}

static void on_cell(void *bytes, size_t size, void *data)
{
    struct reader *reader = data;
    if (reader->why)
        return;
    if (size > CELL_LIMIT) {
        reader->why = arena_printf(reader->arena, "%s:%lld: a cell of %zu characters; %d at most", reader->table->path,
                                   (long long)reader->row_line, size, CELL_LIMIT);
        return;
    }
    char *copy = arena_take_raw(reader->arena, size + 1, 1);
    if (size)
        memcpy(copy, bytes, size);
    copy[size] = '\0';
    const char **cell = list_add(reader->arena, &reader->cells, sizeof *cell);
    *cell = copy;
    reader->column++;
}

static void on_row(int last, void *data)
{
    struct reader *reader = data;
    struct table *table = reader->table;
    (void)last;
    int found = reader->column;
    reader->column = 0;
    if (reader->why)
        return;
    if (!table->header) {
        table->header = reader->cells.items;
        table->columns = found;
        reader->cells = (struct list){ 0 };
        reader->why = check_header(reader);
    } else if (found != table->columns) {
        reader->why =
            arena_printf(reader->arena, "%s:%lld: %d cells, the header has %d (a comma in a cell needs quotes)",
                         table->path, (long long)reader->row_line, found, table->columns);
    } else {
        int64_t *line = list_add(reader->arena, &reader->lines, sizeof *line);
        *line = reader->row_line;
        table->rows++;
    }
    reader->row_line = reader->line;
}

static const char *check_header(struct reader *reader)
{
    struct table *table = reader->table;
    if (table->columns > COLUMN_LIMIT)
        return arena_printf(reader->arena, "%s:1: %d columns; %d at most", table->path, table->columns, COLUMN_LIMIT);
    for (int i = 0; i < table->columns; i++) {
        if (table->header[i][0] == '\0')
            return arena_printf(reader->arena, "%s:1: column %d has no name", table->path, i + 1);
        if (table_column(table, table->header[i]) != i)
            return text_printable(
                arena_printf(reader->arena, "%s:1: column '%.80s' appears twice", table->path, table->header[i]), "");
    }
    return NULL;
}
