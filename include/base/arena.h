/* Arenas: memory with a lifetime. Three of them carry a job: run (until the
 * stage ends), step (reset each batch) and scratch (mark and release).
 * The only caller of malloc/mmap; `make lint` holds everyone else to it. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct arena_mark {
    size_t block, used;
};

/* `name` shows in messages (borrowed: a literal). Blocks grow by at least
 * `block_bytes`. The caller ends it with arena_destroy. */
struct arena *arena_create(const char *name, size_t block_bytes);
void arena_destroy(struct arena *arena);

/* An arena for --dry-run. It counts as any other (arena_peak_bytes), but what is taken from it lies in no memory until
 * it is written to. Functions that take memory run in it as ever; those that go on to fill it ask arena_is_plan, and
 * leave that out. */
struct arena *arena_plan(const char *name);
bool arena_is_plan(const struct arena *arena);

/* `count * size` zeroed bytes, 64-byte aligned, owned by the arena.
 * Overflow-safe; out of memory ends the job with the arena's name and size. */
void *arena_take(struct arena *arena, size_t count, size_t size);
#define arena_array(arena, type, count) ((type *)arena_take((arena), (size_t)(count), sizeof(type)))
/* The same without the zeroing, for large buffers that are filled at once. */
void *arena_take_raw(struct arena *arena, size_t count, size_t size);

struct arena_mark arena_mark(const struct arena *arena);
void arena_release(struct arena *arena, struct arena_mark mark); /* memory taken since `mark` may be reused */
void arena_reset(struct arena *arena);

size_t arena_bytes(const struct arena *arena); /* reserved from the system */
/* Bytes that were taken and lie in no memory yet, as nobody has touched them. */
size_t arena_absent_bytes(const struct arena *arena);
size_t arena_peak_bytes(const struct arena *arena); /* most ever in use */

char *arena_strdup(struct arena *arena, const char *text);
char *arena_printf(struct arena *arena, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
