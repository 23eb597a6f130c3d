/* What table files are before they are tables: compressed, in one of several
 * encodings, with one of several separators. */
#include "image/reader/table_text.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

#include <utf8proc.h>
#include <zlib.h>

#include "base/arena.h"

/* ---- gzip ---- */

const char *table_inflate(struct arena *arena, const char *path, const char *bytes, size_t *size, size_t limit,
                          const char **why)
{
    if (*size < 2 || memcmp(bytes, "\x1F\x8B", 2) != 0)
        return bytes;
    z_stream stream = { 0 };
    struct text out = text_new(arena);
    unsigned char block[65536];
    int state = inflateInit2(&stream, 15 + 16);
    size_t left = *size;
    stream.next_in = (unsigned char *)(uintptr_t)bytes;
    while (state == Z_OK && out.length <= limit) {
        if (stream.avail_in == 0) {
            stream.avail_in = left < UINT_MAX ? (unsigned)left : UINT_MAX;
            left -= stream.avail_in;
        }
        stream.next_out = block;
        stream.avail_out = sizeof block;
        state = inflate(&stream, Z_NO_FLUSH);
        text_add_bytes(&out, (const char *)block, sizeof block - stream.avail_out);
        if (state == Z_STREAM_END && stream.avail_in + left > 0) /* files that were put one behind the other */
            state = inflateReset(&stream);
    }
    inflateEnd(&stream);
    if (out.length > limit)
        *why = arena_printf(arena, "%s: more than %zu bytes when unpacked", path, limit);
    else if (state != Z_STREAM_END)
        *why = arena_printf(arena, "%s: the gzip file is cut off or damaged after %zu bytes of text", path, out.length);
    else
        *size = out.length;
    return out.length > limit || state != Z_STREAM_END ? NULL : out.data;
}

size_t table_inflate_head(char *out, size_t most, const char *bytes, size_t size)
{
    z_stream stream = { .next_in = (unsigned char *)(uintptr_t)bytes,
                        .avail_in = (unsigned)size,
                        .next_out = (unsigned char *)out,
                        .avail_out = (unsigned)most };
    if (inflateInit2(&stream, 15 + 16) == Z_OK)
        inflate(&stream, Z_SYNC_FLUSH); /* ends where the piece is cut off: what came is what counts */
    inflateEnd(&stream);
    return most - stream.avail_out;
}

/* ---- encodings ---- */

static void add_point(struct text *out, uint32_t point)
{
    char bytes[4];
    size_t count = 1;
    if (point < 0x80) {
        bytes[0] = (char)point;
    } else if (point < 0x800) {
        bytes[0] = (char)(0xC0 | point >> 6);
        count = 2;
    } else if (point < 0x10000) {
        bytes[0] = (char)(0xE0 | point >> 12);
        count = 3;
    } else {
        bytes[0] = (char)(0xF0 | point >> 18);
        count = 4;
    }
    for (size_t i = 1; i < count; i++)
        bytes[i] = (char)(0x80 | (point >> 6 * (count - 1 - i) & 0x3F));
    text_add_bytes(out, bytes, count);
}

static long long line_at(const char *text, size_t at)
{
    long long line = 1;
    for (size_t i = 0; i < at; i++)
        line += text[i] == '\n';
    return line;
}

/* Half of a surrogate pair alone is no character. */
static const char *from_utf16(struct arena *arena, const char *path, const char *bytes, size_t *size, bool big,
                              const char **why)
{
    struct text out = text_new(arena);
    const unsigned char *at = (const unsigned char *)bytes;
    size_t units = *size / 2;
    uint32_t high = 0;
    bool bad = *size % 2 != 0;
    for (size_t i = 0; i < units && !bad; i++) {
        uint32_t unit = big ? (uint32_t)at[2 * i] << 8 | at[2 * i + 1] : (uint32_t)at[2 * i + 1] << 8 | at[2 * i];
        bool low = unit >= 0xDC00 && unit < 0xE000;
        bad = low != (high != 0);
        if (!low && unit >= 0xD800 && unit < 0xDC00)
            high = unit;
        else {
            add_point(&out, low ? 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00) : unit);
            high = 0;
        }
    }
    if (bad || high) {
        *why = arena_printf(arena, "%s:%lld: UTF-16 that is cut off or damaged; save it as UTF-8", path,
                            line_at(out.data, out.length));
        return NULL;
    }
    *size = out.length;
    return out.data;
}

/* Windows-1252 above ASCII; 0 where it has no character. 0xA0 and up are Unicode's own numbers. */
static const uint16_t windows[32] = { 0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                      0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0,      0x017D, 0,
                                      0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                      0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178 };

static const char *from_windows(struct arena *arena, const char *path, const char *bytes, size_t *size, size_t first,
                                const char **why)
{
    struct text out = text_new(arena);
    for (size_t i = 0; i < *size; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        uint32_t point = byte < 0x80 || byte >= 0xA0 ? byte : windows[byte - 0x80];
        if (point == 0 && byte != 0) {
            *why = arena_printf(arena,
                                "%s:%lld: byte 0x%02X is text neither of UTF-8 nor of Windows-1252; save it as UTF-8",
                                path, line_at(bytes, first), (unsigned char)bytes[first]);
            return NULL;
        }
        add_point(&out, point);
    }
    *size = out.length;
    return out.data;
}

/* Place of the first byte that is not UTF-8, `size` when all is; how many characters beyond ASCII, and bad bytes. */
static size_t utf8_characters(const char *bytes, size_t size, size_t *beyond, size_t *bad)
{
    size_t first = size;
    for (size_t at = 0; at < size;) {
        utf8proc_int32_t point;
        size_t left = size - at;
        utf8proc_ssize_t length =
            utf8proc_iterate((const utf8proc_uint8_t *)bytes + at, left < 4 ? (utf8proc_ssize_t)left : 4, &point);
        if (length <= 0 && (*bad)++ == 0)
            first = at;
        *beyond += length > 1;
        at += length > 0 ? (size_t)length : 1;
    }
    return first;
}

const char *table_utf8(struct arena *arena, const char *path, const char *bytes, size_t *size, struct text *notes,
                       const char **why)
{
    if (*size >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) {
        bytes += 3;
        *size -= 3;
    } else if (*size >= 2 && (memcmp(bytes, "\xFF\xFE", 2) == 0 || memcmp(bytes, "\xFE\xFF", 2) == 0)) {
        *size -= 2;
        text_add(notes, "%s: UTF-16, read as such\n", path);
        return from_utf16(arena, path, bytes + 2, size, bytes[0] == '\xFE', why);
    }
    size_t beyond = 0, bad = 0, first = utf8_characters(bytes, *size, &beyond, &bad);
    if (bad == 0)
        return bytes;
    if (beyond > bad) {
        *why = arena_printf(arena, "%s:%lld: byte 0x%02X is not UTF-8, which the rest of the file is; save it as UTF-8",
                            path, line_at(bytes, first), (unsigned char)bytes[first]);
        return NULL;
    }
    text_add(notes, "%s: not UTF-8 (line %lld), read as Windows-1252\n", path, line_at(bytes, first));
    return from_windows(arena, path, bytes, size, first, why);
}

/* ---- separators ---- */

static const char separators[] = { '\t', ',', ';' }; /* which wins when they are as many */

/* Separators of one kind outside quotes in a line. */
static int count_separators(const char *line, size_t length, char separator)
{
    int count = 0;
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        quoted ^= line[i] == '"';
        count += !quoted && line[i] == separator;
    }
    return count;
}

static size_t line_length(const char *text, size_t size)
{
    size_t length = 0;
    while (length < size && text[length] != '\n' && text[length] != '\r')
        length++;
    return length;
}

/* Most frequent one; a comma when there is none. *count of it. */
static char most_frequent(const char *line, size_t length, int *count)
{
    char best = ',';
    *count = 0;
    for (size_t i = 0; i < sizeof separators; i++) {
        int here = count_separators(line, length, separators[i]);
        if (here > *count) {
            *count = here;
            best = separators[i];
        }
    }
    return best;
}

static size_t next_line(const char *text, size_t size, size_t at)
{
    at += line_length(text + at, size - at);
    while (at < size && (text[at] == '\n' || text[at] == '\r'))
        at++;
    return at;
}

char table_separator(const char *path, const char *text, size_t size, size_t *skip, struct text *notes)
{
    int count, below;
    size_t at = 0;
    while (at < size && (text[at] == '\n' || text[at] == '\r'))
        at++;
    size_t length = line_length(text + at, size - at);
    if ((length == 5 || length == 7) && strncmp(text + at + (length == 7), "sep=", 4) == 0 &&
        memchr(separators, text[at + 4 + (length == 7)], sizeof separators)) {
        *skip = next_line(text, size, at);
        return text[at + 4 + (length == 7)];
    }
    for (;;) { /* a comment has fewer columns than the line below it */
        length = line_length(text + at, size - at);
        size_t next = next_line(text, size, at);
        char separator = most_frequent(text + at, length, &count);
        most_frequent(text + next, line_length(text + next, size - next), &below);
        if (length == 0 || text[at] != '#' || count >= below) {
            *skip = at;
            if (separator != ',')
                text_add(notes, "%s: columns are separated by %s\n", path, separator == ';' ? "semicolons" : "TAB");
            return separator;
        }
        text_add(notes, "%s: a comment before the header is passed over: %.*s\n", path,
                 (int)(length < 80 ? length : 80), text + at);
        at = next;
    }
}
