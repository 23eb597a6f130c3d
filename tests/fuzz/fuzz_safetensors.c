/* .safetensors. */
#include <string.h>

#include "store/tensors_write.h"
#include "tensor_files.h"

const size_t fuzz_memory = 1 << 20, fuzz_memory_per_byte = 256;

void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size)
{
    fuzz_tensors(arena, bytes, size);
}

static void write_file(struct output *output, const struct tensor *list, int count)
{
    safetensors_write(output, list, count, "a \"test\"\n");
}

void fuzz_seeds(struct arena *arena, void (*add)(const char *name, const void *bytes, size_t size))
{
    static const char types[] = "{\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]},"
                                "\"b\":{\"dtype\":\"BF16\",\"shape\":[1,1],\"data_offsets\":[2,4]},"
                                "\"c\":{\"dtype\":\"BOOL\",\"shape\":[0,7],\"data_offsets\":[4,4]}}";
    unsigned char file[8 + sizeof types - 1 + 4] = { sizeof types - 1 };
    memcpy(file + 8, types, sizeof types - 1);
    add("types", file, sizeof file);
    fuzz_written(arena, "written", write_file, add);
}
