/* .pth as PyTorch writes it since 1.6: a zip archive. Checksums of its members are set right first, so that what is
 * inside is looked at. */
#include <string.h>

#include <zlib.h>

#include "base/arena.h"
#include "store/tensors_write.h"
#include "tensor_files.h"

const size_t fuzz_memory = 1 << 20, fuzz_memory_per_byte = 2048;

static uint32_t number(const uint8_t *at, size_t bytes)
{
    uint32_t value = 0;
    for (size_t i = bytes; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

/* Of the member whose directory entry (46 bytes and more) begins at `entry`. */
static void set_checksum(uint8_t *file, size_t size, uint8_t *entry)
{
    size_t bytes = number(entry + 24, 4), local = number(entry + 42, 4);
    if (local > size || size - local < 30)
        return;
    uint8_t *header = file + local;
    size_t start = local + 30 + number(header + 26, 2) + number(header + 28, 2);
    if (start > size || bytes > size - start)
        return;
    uint32_t sum = (uint32_t)crc32(0, file + start, (uInt)bytes);
    for (size_t i = 0; i < 4; i++)
        entry[16 + i] = header[14 + i] = (uint8_t)(sum >> (8 * i));
}

void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size)
{
    uint8_t *file = arena_take_raw(arena, size + 1, 1);
    memcpy(file, bytes, size);
    for (size_t at = 0; at + 46 <= size; at++)
        if (memcmp(file + at, "PK\001\002", 4) == 0)
            set_checksum(file, size, file + at);
    fuzz_tensors(arena, file, size);
}

static void write_file(struct output *output, const struct tensor *list, int count)
{
    torch_write(output, list, count, "archive");
}

void fuzz_seeds(struct arena *arena, void (*add)(const char *name, const void *bytes, size_t size))
{
    fuzz_written(arena, "written", write_file, add);
}
