/* A report is cut at its headings; what stands between two of them is a section. */
#include "image/reader/sets/mimic/sections.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/arena.h"

enum { HEADING_LIMIT = 80 };

/* Length of the heading at the beginning of a line, without its colon; 0 when it is none. */
static size_t heading_length(const char *line)
{
    size_t length = strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZ ()/,&-");
    bool ends = line[length] == ':' && (line[length + 1] == '\0' || isspace((unsigned char)line[length + 1]));
    return ends && length > 2 && length <= HEADING_LIMIT && isupper((unsigned char)*line) ? length : 0;
}

static bool holds(const char *heading, size_t length, const char *word)
{
    return memmem(heading, length, word, strlen(word)) != NULL;
}

/* Text from `begin` to `end` with single blanks. */
static const char *tidy(struct arena *arena, const char *begin, const char *end)
{
    char *out = arena_take_raw(arena, (size_t)(end - begin) + 1, 1), *to = out;
    for (const char *at = begin; at < end; at++) {
        if (!isspace((unsigned char)*at))
            *to++ = *at;
        else if (to > out && to[-1] != ' ')
            *to++ = ' ';
    }
    if (to > out && to[-1] == ' ')
        to--;
    *to = '\0';
    return out;
}

static const char *line_start(const char *at)
{
    return at + strspn(at, " \t\r");
}

/* The next heading at or after `at`, a line's beginning; the end of the text when there is none. */
static const char *next_heading(const char *at, size_t *length)
{
    for (;;) {
        const char *line = line_start(at), *end = strchr(at, '\n');
        *length = heading_length(line);
        if (*length)
            return line;
        if (!end)
            return at + strlen(at);
        at = end + 1;
    }
}

static void take(struct arena *arena, struct report_sections *out, const char *heading, size_t length, const char *end)
{
    const char *text = heading + length + 1;
    if (holds(heading, length, "PROVISIONAL") || holds(heading, length, "PRELIMINARY"))
        return; /* replaced by the final sections */
    if (holds(heading, length, "FINDING"))
        out->findings = tidy(arena, text, end);
    else if (holds(heading, length, "IMPRESSION") || holds(heading, length, "CONCLUSION"))
        out->impression = tidy(arena, text, end);
}

struct report_sections report_sections(struct arena *arena, const char *report)
{
    struct report_sections out = { "", "" };
    size_t length, next_length;
    const char *heading = next_heading(report, &length);
    while (length) {
        const char *next = next_heading(heading + length + 1, &next_length);
        take(arena, &out, heading, length, next);
        heading = next;
        length = next_length;
    }
    return out;
}
