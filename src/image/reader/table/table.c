/* Tables by libcsv, fed line by line so that every message can name its line.
 * Encodings and separators: table_text.c. What the columns mean: labels_csv.c. */
#include "image/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <csv.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "image/reader/table_text.h"

enum { CELL_LIMIT = 65536, COLUMN_LIMIT = 10000, FILE_LIMIT = 2000000000 };

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
    int64_t empty, longer, formulas; /* rows left out, rows with empty cells at their end, cells like ="1" */
    const char *why;
};

static void on_cell(void *bytes, size_t size, void *data);
static void on_row(int last, void *data);
static void feed(struct reader *reader, struct csv_parser *parser, const char *bytes, size_t size);
static const char *check_header(struct reader *reader);
static size_t line_end(const char *text, size_t size, size_t at);
static void drop_unnamed(struct reader *reader, struct text *notes);
static void say_rest(const struct reader *reader, struct text *notes);

bool table_parse(struct arena *arena, struct table *out, const char *path, const char *bytes, size_t size,
                 const char **why)
{
    *out = (struct table){ .path = path };
    struct text notes = text_new(arena);
    struct reader reader = { .arena = arena, .table = out };
    struct csv_parser parser;
    size_t skip;
    const char *text = table_utf8(arena, path, bytes, &size, &notes, why);
    if (!text)
        return false;
    if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI) != 0) {
        *why = arena_printf(arena, "%s: the reader could not start", path);
        return false;
    }
    csv_set_delim(&parser, (unsigned char)table_separator(path, text, size, &skip, &notes));
    for (size_t at = 0; at < skip; at = line_end(text, size, at))
        reader.line++;
    feed(&reader, &parser, text + skip, size - skip);
    csv_free(&parser);
    out->cells = reader.cells.items;
    out->line = reader.lines.items;
    if (!reader.why && !out->header)
        reader.why = arena_printf(arena, "%s: the file is empty; expected a header row and one row per image", path);
    if (!reader.why && out->rows == 0)
        reader.why = arena_printf(arena, "%s: only a header; expected one row per image", path);
    if (!reader.why) {
        drop_unnamed(&reader, &notes);
        say_rest(&reader, &notes);
    }
    out->notes = notes.data;
    *why = reader.why;
    return reader.why == NULL;
}

bool table_open(struct arena *arena, struct table *out, const char *file, const char *path, const char **why)
{
    size_t size;
    const char *bytes = file_read(arena, file, FILE_LIMIT, &size, why);
    bytes = bytes ? table_inflate(arena, path, bytes, &size, FILE_LIMIT, why) : NULL;
    return bytes && table_parse(arena, out, path, bytes, size, why);
}

int table_column(const struct table *table, const char *name)
{
    int found = -1;
    for (int i = 0; i < table->columns; i++)
        if (strcmp(table->header[i], name) == 0)
            return i;
    for (int i = 0; i < table->columns; i++)
        if (strcasecmp(table->header[i], name) == 0)
            found = found == -1 ? i : -2; /* two of them: neither */
    return found < 0 ? -1 : found;
}

const char *table_cell(const struct table *table, int64_t row, int column)
{
    return table->cells[row * table->columns + column];
}

bool table_missing(const char *cell, const char *words)
{
    size_t length = strlen(cell);
    if (length == 0)
        return true;
    for (const char *word = words; *word;) {
        size_t end = strcspn(word, ",");
        if (end == length && strncasecmp(word, cell, length) == 0)
            return true;
        word += end + (word[end] == ',');
        word += strspn(word, " ");
    }
    return false;
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

/* Where the next line begins: behind LF, CRLF or CR. */
static size_t line_end(const char *text, size_t size, size_t at)
{
    while (at < size && text[at] != '\n' && text[at] != '\r')
        at++;
    if (at + 1 < size && text[at] == '\r' && text[at + 1] == '\n')
        at++;
    return at < size ? at + 1 : size;
}

/* One line of the file at a time: a callback then knows where it is. */
static void feed(struct reader *reader, struct csv_parser *parser, const char *bytes, size_t size)
{
    for (size_t at = 0; at < size && !reader->why;) {
        size_t length = line_end(bytes, size, at) - at;
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
    const char *cell_text = bytes;
    if (size >= 3 && cell_text[0] == '=' && cell_text[1] == '"' && cell_text[size - 1] == '"') { /* Excel's text */
        bytes = (char *)bytes + 2;
        size -= 3;
        reader->formulas++;
    }
    char *copy = arena_take_raw(reader->arena, size + 1, 1);
    if (size)
        memcpy(copy, bytes, size);
    copy[size] = '\0';
    const char **cell = list_add(reader->arena, &reader->cells, sizeof *cell);
    *cell = copy;
    reader->column++;
}

/* Cells of the row that ends now, from the `from`-th on: are they all empty? */
static bool all_empty(const struct reader *reader, int found, int from)
{
    const char *const *row = (const char *const *)reader->cells.items + (reader->cells.count - (size_t)found);
    for (int i = from; i < found; i++)
        if (*row[i])
            return false;
    return true;
}

/* A row as long as the header, or longer by empty cells, which go. */
static bool fit_row(struct reader *reader, int found)
{
    int columns = reader->table->columns;
    if (found < columns || !all_empty(reader, found, columns))
        return false;
    reader->longer += found > columns;
    reader->cells.count -= (size_t)(found - columns);
    return true;
}

static bool row_is_empty(const struct reader *reader)
{
    return all_empty(reader, reader->table->columns, 0);
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
    } else if (!fit_row(reader, found)) {
        reader->why =
            arena_printf(reader->arena, "%s:%lld: %d cells, the header has %d (a separator in a cell needs quotes)",
                         table->path, (long long)reader->row_line, found, table->columns);
    } else if (row_is_empty(reader)) {
        reader->cells.count -= (size_t)table->columns;
        reader->empty++;
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
    for (int i = 0; i < table->columns; i++)
        for (int j = 0; j < i && *table->header[i]; j++)
            if (strcmp(table->header[i], table->header[j]) == 0)
                return text_printable(
                    arena_printf(reader->arena, "%s:1: column '%.80s' appears twice", table->path, table->header[i]),
                    "");
    return NULL;
}

/* Row numbers of R and pandas (also once more written by pandas), or what a trailing separator makes. */
static bool is_unnamed(const char *name)
{
    return *name == '\0' || strncmp(name, "Unnamed: ", 9) == 0;
}

static void drop_unnamed(struct reader *reader, struct text *notes)
{
    struct table *table = reader->table;
    const char **header = arena_array(reader->arena, const char *, table->columns + 1);
    const char **cells = reader->cells.items; /* closed up in place: a kept cell never moves to the right */
    int kept = 0;
    for (int i = 0; i < table->columns; i++)
        if (!is_unnamed(table->header[i]))
            header[kept++] = table->header[i];
    if (kept == table->columns)
        return;
    size_t at = 0;
    for (int64_t row = 0; row < table->rows; row++)
        for (int i = 0; i < table->columns; i++)
            if (!is_unnamed(table->header[i]))
                cells[at++] = cells[row * table->columns + i];
    text_add(notes, "%s: %d of %d columns without a name: left out\n", table->path, table->columns - kept,
             table->columns);
    table->header = header;
    table->columns = kept;
}

static void say_rest(const struct reader *reader, struct text *notes)
{
    const char *path = reader->table->path;
    if (reader->empty)
        text_add(notes, "%s: %lld rows without any text: left out\n", path, (long long)reader->empty);
    if (reader->longer)
        text_add(notes, "%s: %lld rows have empty cells behind the last column: left out\n", path,
                 (long long)reader->longer);
    if (reader->formulas)
        text_add(notes, "%s: %lld cells like =\"1\" are read as the text between the quotes\n", path,
                 (long long)reader->formulas);
}
