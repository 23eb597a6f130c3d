/* WebP pictures. */
#include "pictures.h"

const size_t fuzz_memory = PICTURE_MEMORY, fuzz_memory_per_byte = 4;

void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size)
{
    fuzz_picture(arena, bytes, size);
}

void fuzz_seeds(struct arena *arena, void (*add)(const char *name, const void *bytes, size_t size))
{
    fuzz_fixtures(arena, "webp", add);
}
