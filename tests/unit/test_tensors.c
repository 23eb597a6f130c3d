/* Tensor files: what PyTorch, safetensors and NumPy write; what must be refused; thousands of damaged files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/output.h"
#include "base/rng.h"
#include "base/text.h"
#include "store/tensors.h"
#include "store/tensors_write.h"
#include "test_arena.h"
#include "torch_legacy.h"

static const char *why;

struct file {
    uint8_t *bytes; /* malloc: the sanitizer sees its end */
    size_t size;
};

static struct file file_of(const void *bytes, size_t size)
{
    struct file f = { malloc(size ? size : 1), size };
    memcpy(f.bytes, bytes, size);
    return f;
}

/* What a writer writes. */
static struct file written(void (*write)(struct output *))
{
    char path[] = "/tmp/cfn-tensors-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    struct output output = { .arena = arena, .path = path };
    output_open(&output);
    write(&output);
    assert_true(output_close(&output));
    size_t size;
    char *bytes = file_read(arena, path, 0, &size, &why);
    assert_non_null(bytes);
    unlink(path);
    return file_of(bytes, size);
}

static const float values[6] = { 0, 1, 2, 3, 4, 5 };
static const int64_t steps = 7;
static const struct tensor list[] = {
    { .name = "conv.weight",
      .type = TENSOR_F32,
      .rank = 2,
      .dims = { 2, 3 },
      .strides = { 3, 1 },
      .count = 6,
      .data = (const uint8_t *)values },
    { .name = "bn.num_batches_tracked", .type = TENSOR_I64, .count = 1, .data = (const uint8_t *)&steps },
    { .name = "bn.bias",
      .type = TENSOR_F32,
      .rank = 1,
      .dims = { 4 },
      .strides = { 1 },
      .count = 4,
      .data = (const uint8_t *)values },
};

static void write_zip(struct output *output)
{
    torch_write(output, list, 3, "archive");
}
static void write_safetensors(struct output *output)
{
    safetensors_write(output, list, 3, "a \"test\"\n");
}
static void write_numpy(struct output *output)
{
    numpy_header(output, "<f4", 2, (int64_t[]){ 2, 3 });
    output_add(output, values, sizeof values);
}

static const struct tensors *read_it(const struct file *f)
{
    why = NULL;
    const struct tensors *t = tensors_read(arena, "f", f->bytes, f->size, &why);
    assert_true((t == NULL) == (why != NULL));
    return t;
}

static void expect_refused(struct file f, const char *reason)
{
    if (read_it(&f))
        fail_msg("read, expected: %s", reason);
    if (!strstr(why, reason))
        fail_msg("\"%s\", expected: %s", why, reason);
    free(f.bytes);
}

static void expect_list(struct file f, const char *format)
{
    const struct tensors *t = read_it(&f);
    float out[6];
    if (!t)
        fail_msg("%s", why);
    assert_string_equal(t->format, format);
    assert_int_equal(t->count, 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(t->list[i].name, list[i].name);
        assert_int_equal(t->list[i].type, list[i].type);
        assert_int_equal(t->list[i].rank, list[i].rank);
        assert_memory_equal(t->list[i].dims, list[i].dims, sizeof(int64_t) * (size_t)list[i].rank);
    }
    tensor_floats(out, &t->list[0]);
    assert_memory_equal(out, values, sizeof values);
    tensor_floats(out, &t->list[1]);
    assert_true(out[0] == 7);
    tensor_floats(out, &t->list[2]);
    assert_memory_equal(out, values, 4 * sizeof *values);
    free(f.bytes);
}

static void test_round_trips(void **state)
{
    (void)state;
    expect_list(written(write_zip), "PyTorch zip");
    expect_list(written(write_safetensors), "safetensors");
    struct file f = written(write_numpy);
    const struct tensors *t = read_it(&f);
    float out[6];
    assert_non_null(t);
    assert_int_equal(t->list[0].rank, 2);
    tensor_floats(out, &t->list[0]);
    assert_memory_equal(out, values, sizeof values);
    free(f.bytes);
}

static void test_stream_of_pickles(void **state)
{
    (void)state;
    struct file f = file_of(legacy, sizeof legacy);
    const struct tensors *t = read_it(&f);
    if (!t)
        fail_msg("%s", why);
    assert_int_equal(t->count, 3);
    assert_string_equal(t->list[0].name, "a");
    assert_int_equal(t->list[0].dims[0], 3);
    float out[6];
    tensor_floats(out, &t->list[0]); /* transposed: columns of arange(6) */
    for (int i = 0; i < 6; i++)
        assert_true(out[i] == (float)(i / 2 + 3 * (i % 2)));
    tensor_floats(out, &t->list[2]);
    assert_true(out[0] == 1.5f && out[1] == -2.0f);
    free(f.bytes);
}

/* A safetensors file of this header and `data` bytes of the pattern 0, 1, 2, ... */
static struct file safetensors(const char *header, size_t data)
{
    size_t length = strlen(header);
    struct file f = { malloc(8 + length + data), 8 + length + data };
    for (size_t i = 0; i < 8; i++)
        f.bytes[i] = (uint8_t)((uint64_t)length >> (8 * i));
    memcpy(f.bytes + 8, header, length);
    for (size_t i = 0; i < data; i++)
        f.bytes[8 + length + i] = (uint8_t)i;
    return f;
}

static void expect_number(const char *type, const void *bytes, size_t size, float expected)
{
    char header[128];
    snprintf(header, sizeof header, "{\"x\":{\"dtype\":\"%s\",\"shape\":[1],\"data_offsets\":[0,%zu]}}", type, size);
    struct file f = safetensors(header, size);
    memcpy(f.bytes + f.size - size, bytes, size);
    const struct tensors *t = read_it(&f);
    if (!t)
        fail_msg("%s", why);
    float out;
    tensor_floats(&out, &t->list[0]);
    if (!(out == expected || (isnan(out) && isnan(expected))) || signbit(out) != signbit(expected))
        fail_msg("%s: found %a, expected %a", type, (double)out, (double)expected);
    free(f.bytes);
}

static void expect_half(uint16_t bits, float expected)
{
    expect_number("F16", &bits, 2, expected);
}

static void test_types(void **state)
{
    (void)state;
    expect_half(0x3c00, 1.0f);
    expect_half(0xc000, -2.0f);
    expect_half(0x7bff, 65504.0f);
    expect_half(0x0400, 0x1p-14f);
    expect_half(0x0001, 0x1p-24f);
    expect_half(0x83ff, -1023 * 0x1p-24f);
    expect_half(0x0000, 0.0f);
    expect_half(0x8000, -0.0f);
    expect_half(0x7c00, INFINITY);
    expect_half(0xfc00, -INFINITY);
    expect_half(0x7e00, NAN);
    expect_number("BF16", &(uint16_t){ 0x3fc0 }, 2, 1.5f);
    expect_number("F64", &(double){ 0.1 }, 8, 0.1f);
    expect_number("F32", &(float){ -3 }, 4, -3.0f);
    expect_number("I64", &(int64_t){ -5 }, 8, -5.0f);
    expect_number("I32", &(int32_t){ -6 }, 4, -6.0f);
    expect_number("I16", &(int16_t){ -7 }, 2, -7.0f);
    expect_number("I8", &(int8_t){ -8 }, 1, -8.0f);
    expect_number("U8", &(uint8_t){ 200 }, 1, 200.0f);
    expect_number("BOOL", &(uint8_t){ 1 }, 1, 1.0f);
}

#define X(shape, offsets) "{\"x\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void test_hostile_safetensors(void **state)
{
    (void)state;
    static const struct {
        const char *header, *reason;
        size_t data;
    } cases[] = {
        { X("[2]", "[0,8]"), "tensors end at 8", 12 },
        { X("[2]", "[4,12]"), "a gap", 12 },
        { X("[3]", "[0,8]"), "ends at element 3", 8 },
        { X("[1]", "[0,8]"), "not its shape", 8 },
        { X("[2]", "[0,9]"), "bytes 0 to 9 of 8", 8 },
        { X("[2]", "[-4,4]"), "bytes -4", 8 },
        { X("[2]", "[8,0]"), "bytes 8 to 0", 8 },
        { X("[-2]", "[0,8]"), "shape", 8 },
        { X("[2.0]", "[0,8]"), "shape", 8 },
        { X("[4611686018427387904,4]", "[0,8]"), "shape", 8 },
        { X("[4611686018427387904]", "[0,8]"), "ends at element", 8 },
        { X("[9223372036854775808]", "[0,8]"), "JSON", 8 },
        { X("[1,1,1,1,1,1,1,1,2]", "[0,8]"), "shape", 8 },
        { X("[2]", "[0]"), "data_offsets", 8 },
        { X("[2]", "null"), "data_offsets", 8 },
        { "{\"x\":{\"dtype\":\"F8\",\"shape\":[2],\"data_offsets\":[0,8]}}", "dtype \"F8\"", 8 },
        { "{\"x\":3}", "dtype \"nothing\"", 8 },
        { "{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
          "\"y\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
          "overlap", 12 },
        { "{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
          "\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
          "JSON", 16 },
        { "{\"x\":", "JSON", 8 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refused(safetensors(cases[i].header, cases[i].data), cases[i].reason);
    expect_refused(safetensors("{\"a\":\x1b[2J", 0), "near '?"); /* no control character comes through */
    struct file f = safetensors("{}", 0);
    memset(f.bytes, 0xff, 8);
    expect_refused(f, "claims");
}

/* Bytes `from` wherever they stand in `f` become `to`. */
static struct file patched(struct file f, const void *from, const void *to, size_t size)
{
    int found = 0;
    for (size_t i = 0; i + size <= f.size; i++)
        if (memcmp(f.bytes + i, from, size) == 0) {
            memcpy(f.bytes + i, to, size);
            found++;
        }
    assert_true(found > 0);
    return f;
}

/* One field of the directory entry (and of the local header) of member `index`. */
static struct file with_field(struct file f, int index, size_t central, size_t local, uint32_t value, size_t size)
{
    int seen = 0;
    for (size_t i = 0; i + 4 <= f.size; i++) {
        bool is_central = memcmp(f.bytes + i, "PK\001\002", 4) == 0;
        if (is_central && seen++ == index) {
            uint32_t offset;
            memcpy(f.bytes + i + central, &value, size);
            memcpy(&offset, f.bytes + i + 42, 4);
            if (local)
                memcpy(f.bytes + offset + local, &value, size);
        }
    }
    assert_true(seen > index);
    return f;
}

static void test_hostile_zip(void **state)
{
    (void)state;
    expect_refused(patched(written(write_zip), "archive/data/2", "archive/data/1", 14), "two zip members");
    expect_refused(patched(written(write_zip), "archive/data/2", "archive/../../x", 14), "leaves the archive");
    expect_refused(patched(written(write_zip), "archive/data/2", "/rchive/data/2", 14), "leaves the archive");
    expect_refused(patched(written(write_zip), "archive/data/2", "archive/data/9", 14), "storage is missing");
    expect_refused(patched(written(write_zip), "archive/data.pkl", "archive/data.pkx", 16), "without data.pkl");
    expect_refused(with_field(written(write_zip), 1, 10, 8, 8, 2), "damaged");
    expect_refused(with_field(written(write_zip), 1, 10, 8, 12, 2), "compressed by another method");
    /* libzip 1.11 sees these when it opens the archive, earlier ones leave them to us. */
    expect_refused(with_field(written(write_zip), 1, 24, 22, 0x7fffffff, 4), "sizes");
    expect_refused(with_field(written(write_zip), 1, 24, 22, 20, 4), "sizes");
    expect_refused(with_field(written(write_zip), 1, 20, 0, 20, 4), "");
    expect_refused(with_field(written(write_zip), 1, 16, 14, 1234, 4), "damaged");
    expect_refused(with_field(written(write_zip), 1, 8, 6, 1, 2), "");
    expect_refused(with_field(written(write_zip), 1, 42, 0, 5, 4), "zip archive");
    struct file f = written(write_zip);
    f.size -= 30;
    expect_refused(f, "zip archive");
}

static void test_hostile_pickles(void **state)
{
    (void)state;
    const char evil[] = "\x80\x02"
                        "cposix\nsystem\n(X\x02\x00\x00\x00"
                        "lstR.";
    struct file f = file_of(legacy, sizeof legacy);
    memcpy(f.bytes + 137, evil, sizeof evil - 1); /* in place of the dictionary */
    expect_refused(f, "names 'posix.system'");
    /* Things of unknown classes are left over, and named when there is nothing else. */
    const char opaque[] = "\x80\x02"
                          "cmy\nModel\n)R}b.";
    f = file_of(legacy, sizeof legacy);
    memcpy(f.bytes + 137, opaque, sizeof opaque - 1);
    expect_refused(f, "");
    expect_refused(patched(file_of(legacy, sizeof legacy), "torch\nFloatStorage", "torch\nFloatStorege", 18),
                   "names 'torch.FloatStorege'");
    expect_refused(patched(file_of(legacy, sizeof legacy), "little_endian", "little_indian", 13), "little-endian");
    const uint8_t huge[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f };
    const uint8_t six[] = { 6, 0, 0, 0, 0, 0, 0, 0 };
    expect_refused(patched(file_of(legacy, sizeof legacy), six, huge, 8), "elements, expected 6");
    for (size_t size = 0; size < sizeof legacy; size++) { /* cut off anywhere */
        struct file cut = file_of(legacy, size);
        assert_null(read_it(&cut));
        free(cut.bytes);
        arena_reset(arena);
    }
}

/* The first tensor of `legacy`, (3, 2) in a storage of 6, with another offset, other extents and strides. Behind its
 * BINPERSID stand K offset K extent K extent TUPLE2 BINPUT K stride K stride. */
static struct file first_tensor(const uint8_t change[5])
{
    struct file f = file_of(legacy, sizeof legacy);
    static const size_t places[5] = { 2, 4, 6, 11, 13 };
    uint8_t *at = memmem(f.bytes, f.size, "_rebuild_tensor_v2", 18), *id;
    assert_non_null(at);
    id = memchr(at, 'Q', 150);
    assert_non_null(id);
    for (int i = 0; i < 5; i++)
        id[places[i]] = change[i];
    return f;
}

/* Elements may share a place. */
static void expect_values(const uint8_t change[5], const float *expected)
{
    struct file f = first_tensor(change);
    const struct tensors *t = read_it(&f);
    if (!t)
        fail_msg("%s", why);
    float found[6];
    assert_int_equal(t->list[0].count, 6);
    tensor_floats(found, &t->list[0]);
    assert_memory_equal(found, expected, sizeof found);
    free(f.bytes);
}

static void test_hostile_tensors(void **state)
{
    (void)state;
    struct file fine = first_tensor((uint8_t[]){ 0, 2, 2, 3, 1 });
    assert_non_null(read_it(&fine));
    free(fine.bytes);
    expect_refused(first_tensor((uint8_t[]){ 1, 3, 2, 1, 3 }), "ends at element 7 of a storage that has 6");
    expect_refused(first_tensor((uint8_t[]){ 0, 3, 3, 1, 3 }), "ends at element 9");
    expect_values((uint8_t[]){ 0, 3, 2, 1, 0 }, (float[]){ 0, 0, 1, 1, 2, 2 }); /* expanded */
    expect_values((uint8_t[]){ 0, 3, 2, 1, 2 }, (float[]){ 0, 2, 1, 3, 2, 4 });
    expect_values((uint8_t[]){ 0, 2, 3, 1, 1 }, (float[]){ 0, 1, 2, 1, 2, 3 });
    expect_refused(first_tensor((uint8_t[]){ 200, 1, 1, 1, 1 }), "ends at element 201");
    fine = first_tensor((uint8_t[]){ 5, 1, 1, 200, 200 }); /* one element: strides say nothing */
    assert_non_null(read_it(&fine));
    free(fine.bytes);
}

static void test_hostile_numpy(void **state)
{
    (void)state;
    expect_refused(patched(written(write_numpy), "(2, 3)", "(3, 3)", 6), "ends at element 9");
    expect_refused(patched(written(write_numpy), "(2, 3)", "(1, 3)", 6), "not its shape");
    expect_refused(patched(written(write_numpy), "(2, 3)", "(2, -3", 6), "header");
    expect_refused(patched(written(write_numpy), "<f4", "|O8", 3), "type '|O8'");
    expect_refused(patched(written(write_numpy), "<f4", ">f4", 3), "type '>f4'");
    expect_refused(patched(written(write_numpy), "'descr'", "'shape'", 7), "header");
    struct file f = written(write_numpy);
    f.bytes[8] = f.bytes[9] = 0xff;
    expect_refused(f, "cut off");
    expect_refused(file_of("hello", 5), "another kind of file");
    expect_refused(file_of("", 0), "another kind of file: it is empty");
    expect_refused(file_of("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", 56), "Git LFS pointer");
    expect_refused(file_of("\n<!DOCTYPE html><html>", 22), "a web page");
}

/* Every value of what was read: the sanitizer watches. */
static double touch(const struct tensors *t)
{
    double sum = 0;
    for (int i = 0; i < t->count; i++) {
        assert_true(t->list[i].count >= 0 && t->list[i].count < 100000);
        float *out = malloc((size_t)(t->list[i].count + 1) * sizeof *out);
        tensor_floats(out, &t->list[i]);
        for (int64_t k = 0; k < t->list[i].count; k++)
            sum += isfinite(out[k]) ? (double)out[k] : 0;
        free(out);
    }
    return sum;
}

/* Mutation `n` of a file: up to four bytes changed, a number put over eight, a piece cut out or the end cut off. */
static struct file mutated(const struct file *f, uint64_t n)
{
    static const uint64_t numbers[] = { 0, 1, 0x7f, 0xff, 0x7fffffff, 0xffffffff, INT64_MAX, UINT64_MAX };
    const struct rng rng = { 20261123, RNG_TEST, 0 };
    struct file m = file_of(f->bytes, f->size);
    uint64_t kind = rng_below(&rng, n, 0, 8);
    size_t at = rng_below(&rng, n, 1, f->size);
    if (kind == 0) {
        m.size = at;
    } else if (kind == 1) {
        size_t length = rng_below(&rng, n, 2, f->size - at) + 1;
        memmove(m.bytes + at, m.bytes + at + length, f->size - at - length);
        m.size -= length;
    } else if (kind == 2) {
        size_t width = (size_t)1 << rng_below(&rng, n, 2, 4);
        if (at + width <= f->size)
            memcpy(m.bytes + at, &numbers[rng_below(&rng, n, 3, 8)], width);
    } else {
        for (uint64_t k = 0; k < kind - 2 && k < 4; k++)
            m.bytes[rng_below(&rng, n, 4 + 2 * k, f->size)] = (uint8_t)rng_below(&rng, n, 5 + 2 * k, 256);
    }
    struct file exact = file_of(m.bytes, m.size);
    free(m.bytes);
    return exact;
}

static void mutate(struct file f, uint64_t count)
{
    int refused = 0;
    for (uint64_t n = 0; n < count; n++) {
        struct file m = mutated(&f, n);
        const struct tensors *t = read_it(&m);
        if (t)
            touch(t);
        refused += t == NULL;
        free(m.bytes);
        arena_reset(arena);
    }
    assert_true(refused > (int)count / 4); /* the mutations bite */
    free(f.bytes);
}

static void test_mutations(void **state)
{
    (void)state;
    mutate(file_of(legacy, sizeof legacy), 4000);
    mutate(written(write_zip), 3000);
    mutate(written(write_safetensors), 3000);
    mutate(written(write_numpy), 2000);
}

static void test_sha256(void **state)
{
    (void)state;
    char out[65];
    sha256_hex(out, "abc", 3); /* FIPS 180-4 */
    assert_string_equal(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),     cmocka_unit_test(test_stream_of_pickles),
        cmocka_unit_test(test_types),           cmocka_unit_test(test_hostile_safetensors),
        cmocka_unit_test(test_hostile_zip),     cmocka_unit_test(test_hostile_pickles),
        cmocka_unit_test(test_hostile_tensors), cmocka_unit_test(test_hostile_numpy),
        cmocka_unit_test(test_mutations),       cmocka_unit_test(test_sha256),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
