/* Text: growable buffers, paths, suggestions, numbers for people. */
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

/* "a/b" without doubled slashes; owned by the arena. */
char *text_path(struct arena *arena, const char *dir, const char *name);
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
/* A relative path that stays below its root: no "..", no leading slash, no empty part, no control character. */
bool text_path_is_safe(const char *path);

/* Whole regular file into the arena, NUL-terminated; limit 0 = none. Returns NULL and sets *why (a static or arena
 * text) when it cannot. */
char *text_read_file(struct arena *arena, const char *path, size_t limit_bytes, size_t *length, const char **why);
/* Writes `path` whole or not at all: path.part, fsync, rename. Returns false and sets *why. */
bool text_write_file(struct arena *arena, const char *path, const char *data, size_t length, const char **why);
/* mkdir -p; returns false and sets *why. */
bool text_make_dirs(struct arena *arena, const char *path, const char **why);
bool text_file_exists(const char *path);

#endif
