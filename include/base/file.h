/* Files and paths. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

struct arena;

/* "a/b" without doubled slashes; owned by the arena. */
char *path_join(struct arena *arena, const char *dir, const char *name);
/* A relative path that stays below its root: no "..", no leading slash, no empty part. */
bool path_is_below(const char *path);
/* The same without control characters. */
bool path_is_safe(const char *path);

/* Whole regular file into the arena, NUL-terminated; limit 0 = none. Returns NULL and sets *why (a static or arena
 * text) when it cannot. */
char *file_read(struct arena *arena, const char *path, size_t limit_bytes, size_t *length, const char **why);
/* Writes `path` whole or not at all: path.part, fsync, rename. Returns false and sets *why. */
bool file_write(struct arena *arena, const char *path, const char *data, size_t length, const char **why);
/* mkdir -p; returns false and sets *why. */
bool path_make_dirs(struct arena *arena, const char *path, const char **why);
bool file_exists(const char *path);

#endif
