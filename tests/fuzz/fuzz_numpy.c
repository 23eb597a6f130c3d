/* .npy: numbers, and texts. */
#include "store/numpy.h"

#include "store/tensors.h"
#include "store/tensors_write.h"
#include "tensor_files.h"

const size_t fuzz_memory = 1 << 20, fuzz_memory_per_byte = 256;

void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size)
{
    const char **texts, *why;
    int64_t count;
    fuzz_tensors(arena, bytes, size);
    numpy_texts(arena, "a.npy", bytes, size, &texts, &count, &why);
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

static void write_texts(struct output *output, const struct tensor *list, int count)
{
    const int64_t three = 3;
    (void)list, (void)count;
    numpy_header(output, "<U2", 1, &three);
    output_add(output, "a\0\0\0b\0\0\0\xe9\0\0\0\x3c\xf6\1\0z\0\0\0\0\0\0\0", 24);
}

void fuzz_seeds(struct arena *arena, void (*add)(const char *name, const void *bytes, size_t size))
{
    fuzz_written(arena, "matrix", write_file, add);
    fuzz_written(arena, "number", write_one, add);
    fuzz_written(arena, "texts", write_texts, add);
}
