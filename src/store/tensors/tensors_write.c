/* Tensors for other programs. The .pth is a zip archive of stored members as torch.save makes it: data.pkl, a pickle
 * of protocol 2 with an OrderedDict of torch._utils._rebuild_tensor_v2 calls; data/0, data/1, ... with the values,
 * each at a multiple of 64 bytes by padding in its header; version. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/arena.h"
#include "base/text.h"
#include "store/tensors_write.h"

enum { ALIGN = 64 };

/* ---- .npy, .safetensors ---- */

static void add_zeros(struct output *output, char fill, size_t count)
{
    char bytes[ALIGN];
    memset(bytes, fill, sizeof bytes);
    output_add(output, bytes, count);
}

static void add_shape(struct text *text, int rank, const int64_t *dims, const char *last)
{
    for (int d = 0; d < rank; d++)
        text_add(text, "%s%lld", d ? ", " : "", (long long)dims[d]);
    text_add(text, "%s", rank == 1 ? last : "");
}

void numpy_header(struct output *output, const char *descr, int rank, const int64_t *dims)
{
    struct text text = text_new(output->arena);
    text_add(&text, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    add_shape(&text, rank, dims, ",");
    text_add(&text, "), }");
    while ((10 + text.length + 1) % ALIGN != 0)
        text_add(&text, " ");
    text_add(&text, "\n");
    const unsigned char start[] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)text.length, (unsigned char)(text.length >> 8)
    };
    output_add(output, start, sizeof start);
    output_add(output, text.data, text.length);
}

static void add_quoted(struct text *text, const char *value)
{
    text_add(text, "\"");
    for (const unsigned char *at = (const unsigned char *)value; *at; at++)
        if (*at < ' ' || *at == '"' || *at == '\\')
            text_add(text, "\\u%04x", *at);
        else
            text_add(text, "%c", *at);
    text_add(text, "\"");
}

static void add_values(struct output *output, const struct tensor *tensor)
{
    output_add(output, tensor->data, (size_t)tensor->count * tensor_bytes(tensor->type));
}

void safetensors_write(struct output *output, const struct tensor *list, int count, const char *metadata)
{
    struct text text = text_new(output->arena);
    unsigned long long at = 0;
    text_add(&text, "{\"__metadata__\":{\"format\":\"pt\",\"source\":");
    add_quoted(&text, metadata);
    text_add(&text, "}");
    for (int i = 0; i < count; i++) {
        unsigned long long bytes = (unsigned long long)list[i].count * tensor_bytes(list[i].type);
        text_add(&text, ",");
        add_quoted(&text, list[i].name);
        text_add(&text, ":{\"dtype\":\"%s\",\"shape\":[", list[i].type == TENSOR_I64 ? "I64" : "F32");
        add_shape(&text, list[i].rank, list[i].dims, "");
        text_add(&text, "],\"data_offsets\":[%llu,%llu]}", at, at + bytes);
        at += bytes;
    }
    text_add(&text, "}");
    while (text.length % 8 != 0)
        text_add(&text, " ");
    unsigned char length[8];
    for (int byte = 0; byte < 8; byte++)
        length[byte] = (unsigned char)((uint64_t)text.length >> (8 * byte));
    output_add(output, length, sizeof length);
    output_add(output, text.data, text.length);
    for (int i = 0; i < count; i++)
        add_values(output, &list[i]);
}

/* ---- the pickle ---- */

static void add_number(struct text *out, uint64_t number, int bytes)
{
    for (int byte = 0; byte < bytes; byte++)
        text_add_bytes(out, &(char){ (char)(number >> (8 * byte)) }, 1);
}

static void pickle_text(struct text *out, const char *value)
{
    text_add(out, "X");
    add_number(out, strlen(value), 4);
    text_add(out, "%s", value);
}

static void pickle_integer(struct text *out, int64_t value)
{
    bool is_small = value <= INT_MAX;
    text_add_bytes(out, is_small ? "J" : "\x8a\x08", is_small ? 1 : 2);
    add_number(out, (uint64_t)value, is_small ? 4 : 8);
}

static void pickle_tuple(struct text *out, int rank, const int64_t *values)
{
    text_add(out, "(");
    for (int d = 0; d < rank; d++)
        pickle_integer(out, values[d]);
    text_add(out, "t");
}

/* torch._utils._rebuild_tensor_v2(('storage', type, key, 'cpu', n), 0, size, stride, False, OrderedDict()) */
static void pickle_tensor(struct text *out, const struct tensor *t, int key)
{
    char number[16];
    snprintf(number, sizeof number, "%d", key);
    text_add(out, "ctorch._utils\n_rebuild_tensor_v2\n((");
    pickle_text(out, "storage");
    text_add(out, "ctorch\n%s\n", t->type == TENSOR_I64 ? "LongStorage" : "FloatStorage");
    pickle_text(out, number);
    pickle_text(out, "cpu");
    pickle_integer(out, t->count);
    text_add(out, "tQ");
    pickle_integer(out, 0);
    pickle_tuple(out, t->rank, t->dims);
    pickle_tuple(out, t->rank, t->strides);
    text_add(out, "\x89"
                  "ccollections\nOrderedDict\n)RtR");
}

static struct text state_dict(struct arena *arena, const struct tensor *list, int count)
{
    struct text out = text_new(arena);
    text_add_bytes(&out, "\x80\x02", 2);
    text_add(&out, "ccollections\nOrderedDict\n)R(");
    for (int i = 0; i < count; i++) {
        pickle_text(&out, list[i].name);
        pickle_tensor(&out, &list[i], i);
    }
    text_add(&out, "u.");
    return out;
}

/* ---- the archive ---- */

enum { LOCAL_BYTES = 30, ZIP_VERSION = 20, UTF8 = 1 << 11, DATE = 0x21 /* 1980-01-01 */ };

struct archive {
    struct output *output;
    struct text directory;
    const char *folder;
    int members;
};

/* The fields that the local header and the directory share. */
static void add_common(struct text *out, uint32_t crc, uint64_t size, size_t name, size_t extra)
{
    add_number(out, ZIP_VERSION, 2);
    add_number(out, UTF8, 2);
    add_number(out, 0, 2); /* stored */
    add_number(out, 0, 2);
    add_number(out, DATE, 2);
    add_number(out, crc, 4);
    add_number(out, size, 4);
    add_number(out, size, 4);
    add_number(out, name, 2);
    add_number(out, extra, 2);
}

static void add_member(struct archive *a, const char *name, const void *data, size_t size)
{
    struct arena *arena = a->output->arena;
    const char *path = arena_printf(arena, "%s/%s", a->folder, name);
    size_t offset = a->output->bytes, length = strlen(path);
    size_t extra = 4 + (ALIGN - (offset + LOCAL_BYTES + length + 4) % ALIGN) % ALIGN;
    uint32_t crc = (uint32_t)crc32_z(crc32_z(0, NULL, 0), data, size);
    struct text local = text_new(arena);
    text_add(&local, "PK\003\004");
    add_common(&local, crc, size, length, extra);
    text_add(&local, "%sFB", path);
    add_number(&local, extra - 4, 2);
    output_add(a->output, local.data, local.length);
    add_zeros(a->output, 'Z', extra - 4);
    output_add(a->output, data, size);

    text_add(&a->directory, "PK\001\002");
    add_number(&a->directory, ZIP_VERSION, 2);
    add_common(&a->directory, crc, size, length, 0);
    add_number(&a->directory, 0, 2 + 2 + 2); /* comment, disk, attributes */
    add_number(&a->directory, 0, 4);
    add_number(&a->directory, offset, 4);
    text_add(&a->directory, "%s", path);
    a->members++;
}

static void finish(struct archive *a)
{
    uint64_t start = a->output->bytes, bytes = a->directory.length;
    text_add(&a->directory, "PK\005\006");
    add_number(&a->directory, 0, 4);
    add_number(&a->directory, (uint64_t)a->members, 2);
    add_number(&a->directory, (uint64_t)a->members, 2);
    add_number(&a->directory, bytes, 4);
    add_number(&a->directory, start, 4);
    add_number(&a->directory, 0, 2);
    output_add(a->output, a->directory.data, a->directory.length);
}

void torch_write(struct output *output, const struct tensor *list, int count, const char *folder)
{
    struct archive a = { .output = output, .directory = text_new(output->arena), .folder = folder };
    uint64_t total = 0;
    for (int i = 0; i < count; i++)
        total += (uint64_t)list[i].count * tensor_bytes(list[i].type) + 1024;
    if ((total > UINT32_MAX || count > 60000) && !output->why) {
        output->why =
            arena_printf(output->arena, "%s: more than a .pth of 4 GiB holds; use .safetensors", output->path);
        return;
    }
    struct text pickle = state_dict(output->arena, list, count);
    add_member(&a, "data.pkl", pickle.data, pickle.length);
    for (int i = 0; i < count; i++)
        add_member(&a, arena_printf(output->arena, "data/%d", i), list[i].data,
                   (size_t)list[i].count * tensor_bytes(list[i].type));
    add_member(&a, "version", "3\n", 2);
    finish(&a);
}
