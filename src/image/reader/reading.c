/* What readers say and open. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <utf8proc.h>

#include "base/arena.h"
#include "base/file.h"
#include "image/reader/reader.h"

bool reading_fail(struct reading *reading, enum exit_code code, const char *fmt, ...)
{
    char line[4000];
    va_list arguments;
    va_start(arguments, fmt);
    vsnprintf(line, sizeof line, fmt, arguments);
    va_end(arguments);
    if (!reading->why) {
        reading->code = code;
        reading->why = text_printable(arena_strdup(reading->arena, line), "\n");
    }
    return false;
}

void reading_note(struct reading *reading, const char *fmt, ...)
{
    char line[4000];
    va_list arguments;
    va_start(arguments, fmt);
    vsnprintf(line, sizeof line, fmt, arguments);
    va_end(arguments);
    text_add(&reading->notes, "%s\n", text_printable(line, ""));
}

const char *reading_input(struct reading *reading, const char *name)
{
    if (reading->inputs == reading->input_room) {
        int room = reading->input_room ? 2 * reading->input_room : 8;
        const char **bigger = arena_array(reading->arena, const char *, room);
        if (reading->inputs)
            memcpy(bigger, reading->input, (size_t)reading->inputs * sizeof *bigger);
        reading->input = bigger;
        reading->input_room = room;
    }
    const char *path = *name == '/' ? name : path_join(reading->arena, reading->request->root, name);
    reading->input[reading->inputs++] = path;
    return path;
}

bool reading_table(struct reading *reading, struct table *out, const char *name)
{
    struct arena *arena = reading->arena;
    const char *why = NULL, *root = *name == '/' ? "" : reading->request->root;
    const char *packed = arena_printf(arena, "%s.gz", name);
    bool plain = file_exists(*root ? path_join(arena, root, name) : name);
    if (!plain && !file_exists(*root ? path_join(arena, root, packed) : packed))
        return reading_fail(reading, EXIT_NO_INPUT, "%s: missing; expected a table\npack.labels names it",
                            *root ? path_join(arena, root, name) : name);
    name = plain ? name : packed;
    if (!table_open(arena, out, reading_input(reading, name), name, &why))
        return reading_fail(reading, EXIT_BAD_DATA, "%s", why);
    text_add(&reading->notes, "%s", out->notes);
    return true;
}

/* Was this name [length] looked for? */
static bool was_asked(const struct reading *reading, const char *name, size_t length)
{
    for (const char *at = reading->asked.data; *at;) {
        size_t end = strcspn(at, ",");
        if (end == length && strncmp(at, name, length) == 0)
            return true;
        at += end + (at[end] ? 2 : 0);
    }
    return false;
}

/* pack.columns = "path=Path,label=dx": is `name` among the words before the signs? */
const char *reading_renamed(struct reading *reading, const char *name)
{
    if (!was_asked(reading, name, strlen(name)))
        text_add(&reading->asked, "%s%s", reading->asked.length ? ", " : "", name);
    const char *list = reading->request->pack->columns;
    for (const char *at = list ? list : ""; *at;) {
        size_t end = strcspn(at, ","), sign = strcspn(at, "=");
        if (sign < end && sign == strlen(name) && strncmp(at, name, sign) == 0)
            return arena_printf(reading->arena, "%.*s", (int)(end - sign - 1), at + sign + 1);
        at += end + (at[end] == ',');
        at += strspn(at, " ");
    }
    return NULL;
}

bool reading_columns_fit(struct reading *reading, const char *reader)
{
    const char *list = reading->request->pack->columns;
    for (const char *at = list ? list : ""; *at;) {
        size_t end = strcspn(at, ","), sign = strcspn(at, "=");
        if (sign >= end || !was_asked(reading, at, sign))
            return reading_fail(reading, EXIT_BAD_CONFIG,
                                "pack.columns: '%.*s'; expected NAME=COLUMN with a NAME that reader %s looks for: %s",
                                (int)end, at, reader,
                                reading->asked.length ? reading->asked.data : "it looks for none");
        at += end + (at[end] == ',');
        at += strspn(at, " ");
    }
    return true;
}

int reading_column(struct reading *reading, const struct table *table, const char *name)
{
    const char *wanted = reading_renamed(reading, name), *near = NULL;
    int column = table_column(table, wanted ? wanted : name);
    if (column < 0 && wanted && *wanted) {
        near = text_suggest(wanted, table->header, (size_t)table->columns);
        reading_fail(reading, EXIT_BAD_CONFIG, "pack.columns: %s has no column '%s'%s%s%s", table->path, wanted,
                     near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    }
    return column;
}

int reading_image_column(struct reading *reading, const struct table *table, bool *file)
{
    static const char *const names[] = {
        "file_name", "filename", "file_path",  "filepath", "image_path",
        "file",      "image",    "image_name", "img",      "Image Index", /* files up to here, ids from here on */
        "image_id",  "id",       "isic_id",    "dicom_id", "img_id"
    };
    enum { FILES = 10, NAMES = sizeof names / sizeof names[0] };
    int column = reading_column(reading, table, "path");
    *file = true;
    for (int i = 0; i < NAMES && column < 0 && !reading->why; i++) {
        column = table_column(table, names[i]);
        *file = i < FILES;
    }
    return column;
}

/* One form of each letter (NFC), no spaces around. */
const char *reading_text(struct reading *reading, const char *cell)
{
    size_t begin = strspn(cell, " \t"), end = strlen(cell);
    while (end > begin && (cell[end - 1] == ' ' || cell[end - 1] == '\t'))
        end--;
    bool ascii = true;
    for (size_t i = begin; i < end; i++)
        ascii = ascii && (unsigned char)cell[i] < 0x80;
    if (ascii)
        return cell[end] == '\0' ? cell + begin
                                 : arena_printf(reading->arena, "%.*s", (int)(end - begin), cell + begin);
    const utf8proc_uint8_t *from = (const utf8proc_uint8_t *)cell + begin;
    utf8proc_ssize_t most = 4 * (utf8proc_ssize_t)(end - begin) + 4;
    utf8proc_int32_t *points = arena_array(reading->arena, utf8proc_int32_t, most);
    utf8proc_ssize_t count =
        utf8proc_decompose(from, (utf8proc_ssize_t)(end - begin), points, most - 1, UTF8PROC_COMPOSE);
    if (count < 0 || count >= most || utf8proc_reencode(points, count, UTF8PROC_COMPOSE) < 0)
        return cell;
    return (const char *)points; /* written over them */
}

const char *reading_value(struct reading *reading, const char *cell)
{
    const char *text = reading_text(reading, cell);
    return table_missing(text, reading->request->pack->missing) ? "" : text;
}
