/* PNG pictures. Checksums of the chunks are set right first, so that what is inside is looked at. */
#include <string.h>

#include <zlib.h>

#include "base/arena.h"
#include "pictures.h"

const size_t fuzz_memory = PICTURE_MEMORY, fuzz_memory_per_byte = 4;

static size_t big_endian(const uint8_t *at)
{
    return (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size)
{
    uint8_t *file = arena_take_raw(arena, size + 1, 1);
    memcpy(file, bytes, size);
    for (size_t at = 8; at + 12 <= size && big_endian(file + at) <= size - at - 12;) {
        size_t length = big_endian(file + at);
        uint32_t sum = (uint32_t)crc32(0, file + at + 4, (uInt)length + 4);
        at += 8 + length;
        for (int i = 0; i < 4; i++)
            file[at++] = (uint8_t)(sum >> (24 - 8 * i));
    }
    fuzz_picture(arena, file, size);
}

void fuzz_seeds(struct arena *arena, void (*add)(const char *name, const void *bytes, size_t size))
{
    fuzz_fixtures(arena, "png", add);
}
