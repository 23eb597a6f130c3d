/* A reader of foreign bytes under test. Each tests/fuzz/fuzz_NAME.c gives one reader and a few files it reads.
 *
 * `make fuzz` links it with libFuzzer, which makes up bytes; `make check` with replay.c, which goes through the files
 * and some hundred damaged ones. A reader refuses bytes by a reason: one that ends the process, takes memory out of
 * proportion to what it was given, or says something that a terminal would obey, has failed. */
#ifndef FUZZ_TARGET_H
#define FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

struct arena;

/* Of each fuzz_NAME.c. The arena is new for every input. */
void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size);
void fuzz_seeds(struct arena *arena, void (*add)(const char *name, const void *bytes, size_t size));
extern const size_t fuzz_memory, fuzz_memory_per_byte; /* what an input of `size` bytes may take from the arena */

/* Ends the process with the reason: a finding. */
_Noreturn void fuzz_finding(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* `message` must be printable; a line break only where `lines` allows it. */
void fuzz_message(const char *message, int lines);
/* A folder of this process in memory, made once and removed at its end; the bytes as a file in it. */
const char *fuzz_folder(void);
void fuzz_file(const char *name, const void *bytes, size_t size);
/* Calls `add` for the pictures of tests/parity/fixtures whose names begin with `prefix`. */
void fuzz_fixtures(struct arena *arena, const char *prefix, void (*add)(const char *, const void *, size_t));

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#endif
