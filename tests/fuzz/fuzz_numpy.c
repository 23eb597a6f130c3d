/* .npy. */
#include "store/tensors.h"
#include "store/tensors_write.h"
#include "tensor_files.h"

const size_t fuzz_memory = 1 << 20, fuzz_memory_per_byte = 256;

void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size)
{
    fuzz_tensors(arena, bytes, size);
}

static void write_file(struct output *output, const struct tensor *list, int count)
{
    (void)count;
    numpy_header(output, "<f4", list[0].rank, list[0].dims);
    output_add(output, list[0].data, 24);
}

static void write_one(struct output *output, const struct tensor *list, int count)
{
    (void)count;
    numpy_header(output, "<i8", 0, NULL);
    output_add(output, list[1].data, 8);
}

void fuzz_seeds(struct arena *arena, void (*add)(const char *name, const void *bytes, size_t size))
{
    fuzz_written(arena, "matrix", write_file, add);
    fuzz_written(arena, "number", write_one, add);
}
