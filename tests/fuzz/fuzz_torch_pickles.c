/* .pth as PyTorch wrote it before 1.6: a stream of pickles and storages. */
#include "tensor_files.h"
#include "torch_legacy.h"

const size_t fuzz_memory = 1 << 20, fuzz_memory_per_byte = 2048;

void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size)
{
    fuzz_tensors(arena, bytes, size);
}

void fuzz_seeds(struct arena *arena, void (*add)(const char *name, const void *bytes, size_t size))
{
    (void)arena;
    add("legacy", legacy, sizeof legacy);
}
