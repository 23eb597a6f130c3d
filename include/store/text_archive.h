/* Texts of a zip archive, one at a time and without unpacking it: reports of a collection. Zip64 is fine. Local. */
#ifndef STORE_TEXT_ARCHIVE_H
#define STORE_TEXT_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct text_archive;

/* Opens the archive at `path`; `name` is for messages. Only its directory is held; the reader is the arena's, and the
 * caller ends it with text_archive_close. NULL with *why. */
struct text_archive *text_archive_open(struct arena *arena, const char *name, const char *path, const char **why);
bool text_archive_has(const struct text_archive *archive, const char *member);
/* The member's bytes with a NUL behind them, in `arena`. NULL with *why when there is none of that name, it is longer
 * than `limit_bytes`, damaged, encrypted, compressed by another method than deflate, or holds a NUL byte. */
const char *text_archive_read(struct arena *arena, struct text_archive *archive, const char *member, size_t limit_bytes,
                              const char **why);
void text_archive_close(struct text_archive *archive);

#endif
