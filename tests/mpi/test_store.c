/* The store at any rank count: round trips of every type with even, uneven and empty ranks, shapes, texts, attributes,
 * optional datasets, replacement, lists of rows, checksums. Ends of the job are tests/cli/test_store_errors.sh. */
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

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "dist/shard.h"
#include "dist/world.h"
#include "store/store.h"

static struct world *world;
static struct arena *arena;
static const char *dir;

/* Element i of a dataset, different for every dataset. */
static double value(int64_t i, int salt)
{
    return (double)((i * 2654435761 + salt * 97) % 251 - 120);
}

static const struct layout TABLE[] = {
    { "/u8", STORE_U8, "N,H,W,c", "1", "pixels", NULL, false },
    { "/i8", STORE_I8, "N,L", "1", "labels", NULL, false },
    { "/group/i32", STORE_I32, "N", "1", "class", NULL, false },
    { "/group/deep/i64", STORE_I64, "N,3", "1", "rows", NULL, false },
    { "/f32", STORE_F32, "N,D", "1", "features", NULL, false },
    { "/f64", STORE_F64, "N,out=2", "nat", "gains", NULL, false },
    { "/id", STORE_TEXT, "N", "", "names", "width", false },
    { "/maybe", STORE_F32, "N,absent", "1", "left out", NULL, true },
};
enum { DATASETS = sizeof TABLE / sizeof *TABLE };

static void fill(enum store_type type, void *out, int64_t first, int64_t count, int salt)
{
    for (int64_t i = 0; i < count; i++) {
        const double v = value(first + i, salt);
        switch (type) {
        case STORE_U8:
            ((uint8_t *)out)[i] = (uint8_t)(v + 120);
            break;
        case STORE_I8:
            ((int8_t *)out)[i] = (int8_t)(v / 2);
            break;
        case STORE_I32:
            ((int32_t *)out)[i] = (int32_t)v * 1000003;
            break;
        case STORE_I64:
            ((int64_t *)out)[i] = (int64_t)v * 1000000000039;
            break;
        case STORE_F32:
            ((float *)out)[i] = (float)v / 3.0f;
            break;
        case STORE_F64:
            ((double *)out)[i] = v / 7.0;
            break;
        case STORE_TEXT:
            break;
        }
    }
}

enum { WIDTH = 12 };
static void fill_texts(char *out, int64_t first, int64_t count)
{
    memset(out, 0, (size_t)count * WIDTH);
    for (int64_t i = 0; i < count; i++) {
        char text[32];
        snprintf(text, sizeof text, "%s%lld", (first + i) % 5 == 0 ? "\xc3\xa4-row-" : "r", (long long)(first + i));
        memcpy(out + i * WIDTH, text, strlen(text) < WIDTH ? strlen(text) : WIDTH);
    }
}

/* Rows of this rank: balanced, all on the last rank, or growing with the rank. */
static struct span split(int64_t n, int mode)
{
    const int p = world->size, r = world->rank;
    if (mode == 0)
        return shard_rows(n, p, r);
    if (mode == 1)
        return r == p - 1 ? (struct span){ 0, n } : (struct span){ 0, 0 };
    const int64_t total = (int64_t)p * (p + 1) / 2;
    const int64_t first = n * ((int64_t)r * (r + 1) / 2) / total, end = n * ((int64_t)(r + 1) * (r + 2) / 2) / total;
    return (struct span){ first, end - first };
}

static int64_t row_elements(const struct store *store, const char *name)
{
    int64_t dims[4];
    const int rank = store_dims(store, name, dims);
    int64_t n = 1;
    for (int d = 1; d < rank; d++)
        n *= dims[d];
    return n;
}

static void write_all_types(const char *path, int64_t n, int mode)
{
    const struct extent sizes[] = { { "N", n }, { "H", 5 },  { "W", 7 },        { "c", 3 },
                                    { "L", 4 }, { "D", 33 }, { "width", WIDTH } };
    struct store *store = store_create(world, arena, path, TABLE, DATASETS, sizes, sizeof sizes / sizeof *sizes, true);
    const struct span mine = split(n, mode);
    for (int t = 0; t < DATASETS; t++) {
        if (TABLE[t].optional)
            continue;
        const int64_t row = row_elements(store, TABLE[t].name);
        char *data = arena_take(arena, (size_t)(mine.count * row) + 1, store_width(store, TABLE[t].name));
        if (TABLE[t].type == STORE_TEXT)
            fill_texts(data, mine.first, mine.count);
        else
            fill(TABLE[t].type, data, mine.first * row, mine.count * row, t);
        store_write_rows(store, TABLE[t].name, mine.first, mine.count, data);
    }
    store_set_f64(store, "/", "best_val", 0.75);
    store_set_i64(store, "/", "image_size", 224);
    store_set_texts(store, "/", "class_names", (const char *const[]){ "one", "tw\xc3\xb6", "" }, 3);
    store_set_text(store, "/f32", "note", "first");
    store_set_text(store, "/f32", "note", "second");
    store_note(store, "command_line", "cfn test");
    store_publish(store);
}

static void check_dataset(struct store *store, int t, int64_t n)
{
    const char *name = TABLE[t].name;
    const int64_t row = row_elements(store, name);
    const size_t width = store_width(store, name);
    char *expected = arena_take(arena, (size_t)(n * row) + 1, width),
         *found = arena_take(arena, (size_t)(n * row) + 1, width);
    if (TABLE[t].type == STORE_TEXT)
        fill_texts(expected, 0, n);
    else
        fill(TABLE[t].type, expected, 0, n * row, t);
    store_read_all(store, name, found);
    assert_memory_equal(expected, found, (size_t)(n * row) * width);
    const struct span mine = shard_rows(n, world->size, world->size - 1 - world->rank);
    store_read_rows(store, name, mine.first, mine.count, found);
    assert_memory_equal(expected + (size_t)(mine.first * row) * width, found, (size_t)(mine.count * row) * width);
}

static void every_type_comes_back(void **state)
{
    (void)state;
    const int64_t counts[] = { 0, 1, 2, 3, 37, 1000 };
    const char *path = path_join(arena, dir, "types.h5");
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (int mode = 0; mode < 3; mode++) {
            const struct arena_mark mark = arena_mark(arena);
            write_all_types(path, counts[c], mode);
            struct store *store = store_open(world, arena, path);
            assert_string_equal(store_path(store), path);
            for (int t = 0; t < DATASETS; t++)
                if (!TABLE[t].optional) {
                    assert_int_equal(store_typeof(store, TABLE[t].name), TABLE[t].type);
                    assert_int_equal(store_rows(store, TABLE[t].name), counts[c]);
                    check_dataset(store, t, counts[c]);
                }
            store_close(store);
            arena_release(arena, mark);
        }
}

static void shapes_names_and_attributes(void **state)
{
    (void)state;
    const char *path = path_join(arena, dir, "types.h5");
    write_all_types(path, 10, 0);
    struct store *store = store_open(world, arena, path);
    int64_t dims[4];
    assert_int_equal(store_dims(store, "/u8", dims), 4);
    assert_true(dims[0] == 10 && dims[1] == 5 && dims[2] == 7 && dims[3] == 3);
    assert_int_equal(store_dims(store, "/maybe", dims), 0);
    assert_false(store_has(store, "/maybe"));
    assert_false(store_has(store, "/group"));
    store_expect(store, "/group/deep/i64", STORE_I64, 2, (int64_t[]){ -1, 3 });
    store_expect(store, "/f64", STORE_F64, 2, (int64_t[]){ 10, 2 });
    const char *const *names;
    const int count = store_names(store, &names);
    assert_int_equal(count, DATASETS - 1);
    for (int i = 1; i < count; i++)
        assert_true(strcmp(names[i - 1], names[i]) < 0);

    double number;
    int64_t integer;
    const char *text;
    const char *const *texts;
    int length;
    assert_true(store_get_f64(store, "/", "best_val", &number) && number == 0.75);
    assert_true(store_get_i64(store, "/", "image_size", &integer) && integer == 224);
    assert_true(store_get_f64(store, "/", "image_size", &number) && number == 224);
    assert_true(store_get_texts(store, "/", "class_names", &texts, &length) && length == 3);
    assert_string_equal(texts[1], "tw\xc3\xb6");
    assert_string_equal(texts[2], "");
    assert_true(store_get_text(store, "/f32", "note", &text));
    assert_string_equal(text, "second");
    assert_true(store_get_text(store, "/f64", "unit", &text));
    assert_string_equal(text, "nat");
    assert_true(store_get_text(store, "/f64", "dims", &text));
    assert_string_equal(text, "N,out");
    assert_true(store_get_text(store, "/f64", "description", &text));
    assert_string_equal(text, "gains");
    assert_true(store_get_text(store, "/run", "command_line", &text));
    assert_string_equal(text, "cfn test");
    assert_false(store_get_text(store, "/f32", "absent", &text));
    assert_false(store_get_i64(store, "/", "best_val", &integer));
    int listed = 0;
    for (const struct store_attribute *a = store_attributes(store); a; a = a->next)
        listed++;
    assert_int_equal(listed, 3 * (DATASETS - 1) + 5);

    const char **ids = store_read_texts(store, arena, "/id");
    assert_string_equal(ids[5], "\xc3\xa4-row-5");
    assert_string_equal(ids[9], "r9");
    store_close(store);
}

/* A stream of texts, one of them long and some empty; ranks hold uneven parts, or none. */
static void streams_of_texts(void **state)
{
    (void)state;
    enum { ROWS = 11, LONG = 70000 };
    const char *texts[ROWS], *path = path_join(arena, dir, "streams.h5");
    int64_t bytes = 0;
    for (int i = 0; i < ROWS; i++) {
        char *text = arena_array(arena, char, LONG + 1);
        memset(text, 'a' + i, i == 4 ? LONG : (size_t)(i * 3 % 7));
        texts[i] = text;
        bytes += (int64_t)strlen(text);
    }
    const struct layout layout[] = { { "/report", STORE_U8, "B", "byte", "texts", NULL, false },
                                     { "/report_offset", STORE_I64, "N+1", "byte", "offsets", NULL, false } };
    const struct extent sizes[] = { { "B", bytes }, { "N+1", ROWS + 1 } };
    struct store *store = store_create(world, arena, path, layout, 2, sizes, 2, true);
    const struct span mine = shard_rows(ROWS, world->size, world->rank);
    store_write_texts(store, arena, "/report", texts + mine.first, mine.count);
    store_publish(store);
    store = store_open(world, arena, path);
    const char **found = store_read_texts(store, arena, "/report");
    for (int i = 0; i < ROWS; i++)
        assert_string_equal(found[i], texts[i]);
    store_close(store);
}

static void lists_of_rows(void **state)
{
    (void)state;
    const char *path = path_join(arena, dir, "types.h5");
    write_all_types(path, 100, 0);
    struct store *store = store_open(world, arena, path);
    int64_t rows[64];
    float x[64 * 33], plain[33];
    const int64_t count = world->rank == 1 ? 0 : 64; /* local: ranks may ask for different numbers of rows */
    for (int i = 0; i < 64; i++)
        rows[i] = i < 20 ? i + 50 : (i * 37 + world->rank) % 100; /* a run, then jumps and repeats */
    store_read_list(store, "/f32", rows, count, x);
    for (int64_t i = 0; i < count; i++) {
        fill(STORE_F32, plain, rows[i] * 33, 33, 4);
        assert_memory_equal(x + i * 33, plain, sizeof plain);
    }
    int32_t part[10], all[100];
    fill(STORE_I32, all, 0, 100, 2);
    store_read_range(store, "/group/i32", 90, 10, part);
    assert_memory_equal(part, all + 90, sizeof part);
    store_read_range(store, "/group/i32", 100, 0, part);
    store_close(store);
}

static void whole_datasets_small_and_large(void **state)
{
    (void)state;
    static const struct layout table[] = {
        { "/small", STORE_F64, "S", "1", "written by one rank", NULL, false },
        { "/large", STORE_F32, "N,D", "1", "a part by each rank", NULL, false },
        { "/empty", STORE_F32, "N,none", "1", "rows without columns", NULL, false },
    };
    const struct extent sizes[] = { { "S", 5 }, { "N", 1023 }, { "D", 513 }, { "none", 0 } };
    const char *path = path_join(arena, dir, "whole.h5");
    struct store *store = store_create(world, arena, path, table, 3, sizes, 4, true);
    double small[5], small_back[5];
    const int64_t n = 1023 * 513;
    float *large = arena_array(arena, float, n), *back = arena_array(arena, float, n), none = 7;
    fill(STORE_F64, small, 0, 5, 1);
    fill(STORE_F32, large, 0, n, 2);
    store_write_all(store, "/small", small);
    store_write_all(store, "/large", large);
    store_write_all(store, "/empty", &none);
    store_write_rows(store, "/empty", 0, 0, NULL);
    store_publish(store);
    store = store_open(world, arena, path);
    store_read_all(store, "/small", small_back);
    store_read_all(store, "/large", back);
    store_read_all(store, "/empty", &none);
    assert_memory_equal(small, small_back, sizeof small);
    assert_memory_equal(large, back, (size_t)n * sizeof *large);
    assert_true(none == 7);
    store_close(store);
}

/* Names appear when a file is whole; the former one stays until then. */
static void publication_is_atomic(void **state)
{
    (void)state;
    static const struct layout table[] = { { "/x", STORE_I32, "N", "1", "x", NULL, false } };
    const struct extent sizes[] = { { "N", 4 } };
    const char *path = path_join(arena, dir, "atomic.h5");
    if (world->rank == 0)
        unlink(path);
    for (int version = 0; version < 3; version++) {
        struct store *store = store_create(world, arena, path, table, 1, sizes, 1, version > 0);
        const int32_t x[4] = { version, 1, 2, 3 };
        store_write_all(store, "/x", x);
        if (version == 0)
            assert_false(file_exists(path));
        else {
            struct store *former = store_open(world, arena, path);
            int32_t y[4];
            store_read_all(former, "/x", y);
            assert_int_equal(y[0], version - 1);
            store_close(former);
        }
        world_barrier(world);
        store_publish(store);
        assert_true(file_exists(path));
        assert_false(file_exists(arena_printf(arena, "%s.part", path)));
        assert_false(file_exists(arena_printf(arena, "%s.lock", path)));
        world_barrier(world);
    }
}

static void left_over_part_is_replaced(void **state)
{
    (void)state;
    static const struct layout table[] = { { "/x", STORE_I32, "N", "1", "x", NULL, false } };
    const struct extent sizes[] = { { "N", 4 } };
    const char *path = path_join(arena, dir, "stale.h5"), *why;
    if (world->rank == 0) {
        unlink(path);
        char *junk = arena_array(arena, char, 100000);
        assert_true(file_write(arena, arena_printf(arena, "%s.part", path), junk, 100000, &why));
        assert_true(file_write(arena, arena_printf(arena, "%s.lock", path), "", 0, &why));
    }
    world_barrier(world);
    struct store *store = store_create(world, arena, path, table, 1, sizes, 1, false);
    const int32_t x[4] = { 5, 6, 7, 8 };
    int32_t y[4];
    store_write_all(store, "/x", x);
    store_publish(store);
    store = store_open(world, arena, path);
    store_read_all(store, "/x", y);
    assert_memory_equal(x, y, sizeof x);
    store_close(store);
}

static void checksum_is_that_of_xxhash(void **state)
{
    (void)state;
    const char *path = path_join(arena, dir, "bytes"), *why;
    if (world->rank == 0)
        assert_true(file_write(arena, path, "The quick brown fox jumps over the lazy dog", 43, &why));
    world_barrier(world);
    assert_string_equal(store_checksum(world, arena, path), "ddd650205ca3e7fa24a1cc2e3a8a7651"); /* xxh128sum */
    if (world->rank == 0)
        assert_true(file_write(arena, path, "", 0, &why));
    world_barrier(world);
    assert_string_equal(store_checksum(world, arena, path), "99aa06d3014798d86001c324468d497f");
    if (world->rank == 0) { /* several blocks, a hole but for the last byte */
        FILE *file = fopen(path, "wb");
        assert_int_equal(fseek(file, 200000000, SEEK_SET), 0);
        fputc(1, file);
        fclose(file);
    }
    world_barrier(world);
    assert_string_equal(store_checksum(world, arena, path), "a18ba8fa437da528bd150e7974719213");
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    arena = arena_create("test", 1 << 22);
    const char *top = getenv("CFN_TEST_TMP");
    const char *why = NULL;
    dir = arena_printf(arena, "%s/store-%d", top ? top : "/tmp", world->size);
    if (world->rank == 0 && !path_make_dirs(arena, dir, &why))
        return 1;
    world_barrier(world);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_comes_back),
        cmocka_unit_test(shapes_names_and_attributes),
        cmocka_unit_test(streams_of_texts),
        cmocka_unit_test(lists_of_rows),
        cmocka_unit_test(whole_datasets_small_and_large),
        cmocka_unit_test(publication_is_atomic),
        cmocka_unit_test(left_over_part_is_replaced),
        cmocka_unit_test(checksum_is_that_of_xxhash),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return world_end(world, failed);
}
