/* Text: growable buffers, suggestions, numbers for people. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

/* A growable string owned by its arena; `data` is always NUL-terminated. */
struct text {
    struct arena *arena;
    char *data;
    size_t length, room;
};
struct text text_new(struct arena *arena);
void text_add(struct text *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_add_bytes(struct text *text, const char *bytes, size_t count);

/* The nearest of `count` words to `word` by edit distance, or NULL if none is near. */
const char *text_suggest(const char *word, const char *const *words, size_t count);
/* "1.4 GB", "23.1 s" and "01:12:40" for people; owned by the arena. */
char *text_bytes(struct arena *arena, double bytes);
char *text_seconds(struct arena *arena, double seconds);
char *text_clock(struct arena *arena, double seconds);
bool text_starts(const char *text, const char *prefix);
bool text_ends(const char *text, const char *suffix);
/* Control characters of `text` but those of `keep` ("\n", "") become '?', in place: what came from a file is said on a
 * terminal. Returns the text. */
char *text_printable(char *text, const char *keep);
/* The text with &, <, >, quotes as HTML entities; owned by the arena. */
char *text_html(struct arena *arena, const char *text);

#endif
