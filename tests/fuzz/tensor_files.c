/* Reading a weight file to its last value, and small files from the writers. */
#include "tensor_files.h"

#include <stdio.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "store/tensors.h"

/* Expanded tensors may have more values than the file has bytes, within a limit; those are not read here. */
static void read_values(struct arena *arena, const struct tensor *t, size_t size)
{
    enum { EXPANDED = 1 << 22 };
    int64_t places = 1;
    for (int d = 0; d < t->rank; d++)
        places += (t->dims[d] - 1) * t->strides[d];
    if (places < t->count && (size_t)t->count > size && t->count <= EXPANDED)
        return;
    if (t->count < 0 || (size_t)t->count > size)
        fuzz_finding("tensor \"%s\" has %lld elements in a file of %zu bytes", t->name, (long long)t->count, size);
    struct arena_mark mark = arena_mark(arena);
    float *floats = arena_take_raw(arena, (size_t)t->count + 1, sizeof *floats);
    uint8_t *packed = arena_take_raw(arena, (size_t)t->count + 1, tensor_bytes(t->type));
    tensor_floats(floats, t);
    tensor_packed(packed, t);
    arena_release(arena, mark);
}

void fuzz_tensors(struct arena *arena, const uint8_t *bytes, size_t size)
{
    const char *why = NULL;
    const struct tensors *tensors = tensors_read(arena, "file", bytes, size, &why);
    if ((tensors == NULL) != (why != NULL))
        fuzz_finding("neither tensors nor a reason, or both");
    if (why)
        fuzz_message(why, 0);
    for (int i = 0; tensors && i < tensors->count; i++)
        read_values(arena, &tensors->list[i], size);
}

void fuzz_written(struct arena *arena, const char *name,
                  void (*write)(struct output *output, const struct tensor *list, int count),
                  void (*add)(const char *name, const void *bytes, size_t size))
{
    static const float values[6] = { 0, 1, 2, 3, 4, 5 };
    static const int64_t steps = 7;
    const struct tensor list[] = {
        { .name = "conv.weight", .type = TENSOR_F32, .rank = 2, .dims = { 2, 3 }, .strides = { 3, 1 }, .count = 6 },
        { .name = "bn.num_batches_tracked", .type = TENSOR_I64, .count = 1, .data = (const uint8_t *)&steps },
        { .name = "bn.bias", .type = TENSOR_F32, .rank = 1, .dims = { 4 }, .strides = { 1 }, .count = 4 },
    };
    struct tensor whole[3];
    for (int i = 0; i < 3; i++) {
        whole[i] = list[i];
        if (!whole[i].data)
            whole[i].data = (const uint8_t *)values;
    }
    struct output output = { .arena = arena, .path = arena_printf(arena, "%s/%s", fuzz_folder(), name) };
    size_t size;
    const char *why = "";
    output_open(&output);
    write(&output, whole, 3);
    const char *bytes = output_close(&output) ? file_read(arena, output.path, 0, &size, &why) : NULL;
    if (!bytes)
        fuzz_finding("%s: %s", output.path, output.why ? output.why : why);
    add(name, bytes, size);
}
