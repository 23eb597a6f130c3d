/* Text: growable buffers, suggestions, numbers for people, escapes. Files and
 * paths are in file.c. */
#include "base/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/error.h"

struct text text_new(struct arena *arena)
{
    struct text text = { .arena = arena, .room = 256 };
    text.data = arena_take_raw(arena, text.room, 1);
    text.data[0] = '\0';
    return text;
}

/* Room for `more` bytes and the NUL; doubling keeps the abandoned buffers below the size of the last. */
static void grow(struct text *text, size_t more)
{
    size_t need = text->length + more + 1;
    if (need <= text->room)
        return;
    while (text->room < need)
        text->room *= 2;
    char *data = arena_take_raw(text->arena, text->room, 1);
    memcpy(data, text->data, text->length + 1);
    text->data = data;
}

void text_add(struct text *text, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    require(length >= 0, EXIT_INTERNAL, "text: bad format \"%s\"", fmt);
    grow(text, (size_t)length);
    vsnprintf(text->data + text->length, (size_t)length + 1, fmt, again);
    text->length += (size_t)length;
    va_end(again);
}

void text_add_bytes(struct text *text, const char *bytes, size_t count)
{
    grow(text, count);
    if (count > 0)
        memcpy(text->data + text->length, bytes, count);
    text->length += count;
    text->data[text->length] = '\0';
}

enum { WORD_LIMIT = 63 };

/* Damerau's distance with adjacent swaps (optimal string alignment), case ignored. */
static int edit_distance(const char *a, const char *b)
{
    int rows[3][WORD_LIMIT + 1];
    int n = (int)strlen(a), m = (int)strlen(b);
    int *before = rows[0], *last = rows[1], *now = rows[2];
    for (int j = 0; j <= m; j++)
        last[j] = j;
    for (int i = 1; i <= n; i++) {
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            bool same = strncasecmp(a + i - 1, b + j - 1, 1) == 0;
            int best = last[j - 1] + !same;
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            bool swapped = i > 1 && j > 1 && strncasecmp(a + i - 1, b + j - 2, 1) == 0 &&
                           strncasecmp(a + i - 2, b + j - 1, 1) == 0;
            if (swapped && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        int *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[m];
}

const char *text_suggest(const char *word, const char *const *words, size_t count)
{
    const char *best = NULL;
    size_t length = strlen(word);
    int near = length < 4 ? 1 : length < 8 ? 2 : 3;
    if (length == 0 || length > WORD_LIMIT)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (strlen(words[i]) > WORD_LIMIT)
            continue;
        int distance = edit_distance(word, words[i]);
        if (distance < near || (distance == near && !best)) {
            near = distance;
            best = words[i];
        }
    }
    return best;
}

char *text_bytes(struct arena *arena, double bytes)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
    size_t unit = 0;
    while (fabs(bytes) >= 999.95 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1000.0;
        unit++;
    }
    return arena_printf(arena, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

char *text_seconds(struct arena *arena, double seconds)
{
    if (fabs(seconds) >= 0.9995)
        return arena_printf(arena, "%.1f s", seconds);
    if (fabs(seconds) >= 0.9995e-3)
        return arena_printf(arena, "%.1f ms", seconds * 1e3);
    return arena_printf(arena, "%.1f us", seconds * 1e6);
}

char *text_clock(struct arena *arena, double seconds)
{
    if (!(seconds >= 0.0) || seconds > 1e9)
        return arena_strdup(arena, "--:--:--");
    long whole = lround(seconds);
    return arena_printf(arena, "%02ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
}

bool text_starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_ends(const char *text, const char *suffix)
{
    size_t length = strlen(text), end = strlen(suffix);
    return length >= end && memcmp(text + length - end, suffix, end) == 0;
}

char *text_printable(char *text, const char *keep)
{
    for (char *at = text; *at; at++)
        if (((unsigned char)*at < ' ' || *at == 0x7f) && !strchr(keep, *at))
            *at = '?';
    return text;
}

char *text_html(struct arena *arena, const char *text)
{
    struct text out = text_new(arena);
    for (const char *at = text; *at;) {
        size_t plain = strcspn(at, "&<>\"'");
        text_add_bytes(&out, at, plain);
        at += plain;
        switch (*at) {
        case '&':
            text_add(&out, "&amp;");
            break;
        case '<':
            text_add(&out, "&lt;");
            break;
        case '>':
            text_add(&out, "&gt;");
            break;
        case '"':
            text_add(&out, "&quot;");
            break;
        case '\'':
            text_add(&out, "&#39;");
            break;
        default:
            continue;
        }
        at++;
    }
    return out.data;
}
