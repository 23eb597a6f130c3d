/* The loader: rows in any order, pixel and encoded corpora, kept in memory or read batch by batch, grey and colour:
 * the same input tensors, and the same at any rank count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "digest.h"
#include "dist/shard.h"
#include "dist/world.h"
#include "image/augment.h"
#include "image/corpus.h"
#include "image/decode.h"
#include "image/loader.h"
#include "store/store.h"

enum { N = 23, SIDE = 18, S = 16, CLASSES = 3 };
static struct world *world;
static struct arena *arena;
static const struct preprocess clip = { .size = S,
                                        .mean = { 0.48145466f, 0.4578275f, 0.40821073f },
                                        .deviation = { 0.26862954f, 0.26130258f, 0.27577711f } };

static uint8_t pixel(int64_t row, int i)
{
    return (uint8_t)((row * 97 + i * i / 3 + i * 5) & 255);
}

static struct image make_image(int64_t row, int channels)
{
    struct image image = { SIDE, SIDE, channels, arena_take(arena, SIDE * SIDE, (size_t)channels) };
    for (int i = 0; i < SIDE * SIDE * channels; i++)
        image.pixels[i] = pixel(row, i);
    return image;
}

/* A corpus of N formula images on disk; every rank writes its rows. */
static const char *make_corpus(const char *name, int channels, bool encoded)
{
    static const char *const names[CLASSES] = { "a", "b", "c" };
    const char *dir = getenv("CFN_TEST_TMP");
    char *path = arena_printf(arena, "%s/%s-%d.h5", dir ? dir : "/tmp", name, world->size), *why = "";
    int64_t offset[N + 1] = { 0 };
    uint8_t *file[N], split[N];
    int32_t label[N];
    float size[N];
    for (int row = 0; row < N; row++) {
        struct image image = make_image(row, channels);
        size_t bytes = (size_t)(SIDE * SIDE * channels);
        file[row] = encoded ? image_encode_png(arena, &image, &bytes, (const char **)&why) : image.pixels;
        offset[row + 1] = offset[row] + (int64_t)bytes;
        split[row] = (uint8_t)(row % 3);
        label[row] = row % CLASSES;
        size[row] = (float)row / 4;
    }
    const struct layout layout[] = {
        encoded ? (struct layout){ "/encoded", STORE_U8, "B", "byte", "files", NULL, false }
                : (struct layout){ "/images", STORE_U8, "N,H,W,c", "level", "pixels", NULL, false },
        { "/split", STORE_U8, "N", "1", "split", NULL, false },
        { "/label", STORE_I32, "N", "class", "label", NULL, false },
        { "/attributes/size", STORE_F32, "N", "1", "size", NULL, false },
        { "/encoded_offset", STORE_I64, "N+1", "byte", "offsets", NULL, false },
    };
    const struct extent sizes[] = { { "N", N },    { "N+1", N + 1 },  { "H", SIDE },
                                    { "W", SIDE }, { "c", channels }, { "B", offset[N] } };
    struct store *store = store_create(world, arena, path, layout, encoded ? 5 : 4, sizes, 6, true);
    struct span mine = shard_rows(N, world->size, world->rank);
    int64_t unit = encoded ? 1 : offset[1], first = offset[mine.first], bytes = offset[mine.first + mine.count] - first;
    uint8_t *block = arena_take(arena, (size_t)bytes + 1, 1);
    for (int64_t i = 0; i < mine.count; i++)
        memcpy(block + (offset[mine.first + i] - first), file[mine.first + i],
               (size_t)(offset[mine.first + i + 1] - offset[mine.first + i]));
    store_write_rows(store, encoded ? "/encoded" : "/images", first / unit, bytes / unit, block);
    store_write_all(store, "/split", split);
    store_write_all(store, "/label", label);
    store_write_all(store, "/attributes/size", size);
    if (encoded)
        store_write_all(store, "/encoded_offset", offset);
    store_set_texts(store, "/", "class_names", names, CLASSES);
    store_publish(store);
    return path;
}

/* What a row must become, by the kernels alone. */
static void expected_input(float *out, int64_t row, int channels, uint64_t seed, int epoch, bool augment)
{
    struct image image = make_image(row, channels);
    uint8_t *view = arena_take(arena, S * S, (size_t)channels);
    struct augment draws = augment_draw(seed, epoch, row);
    augment_apply(arena, view, &clip, image.pixels, SIDE, SIDE, channels, augment ? &draws : NULL);
    augment_normalise(out, view, &clip, channels);
}

static void check_loader(const char *name, int channels, bool encoded, int64_t cache)
{
    static const int64_t rows[] = { 22, 0, 7, 8, 9, 7, 3, 21, 1 };
    enum { COUNT = sizeof rows / sizeof rows[0], VALUES = 3 * S * S };
    struct store *store = store_open(world, arena, make_corpus(name, channels, encoded));
    loader_set_cache(cache);
    struct loader *loader = loader_open(store, arena, &clip, 42);
    float *found = arena_array(arena, float, COUNT *VALUES), *expected = arena_array(arena, float, VALUES);
    uint64_t hash = 0;
    for (int augment = 0; augment < 2; augment++) {
        loader_fill(loader, found, rows, COUNT, 5, augment);
        for (int i = 0; i < COUNT; i++) {
            expected_input(expected, rows[i], channels, 42, 5, augment);
            assert_memory_equal(found + i * VALUES, expected, VALUES * sizeof *expected);
        }
        hash = digest(hash, found, COUNT * VALUES * sizeof *found);
    }
    /* Ranks ask for different rows, or for none, without each other. */
    loader_fill(loader, found, rows + world->rank % COUNT, world->rank % 2, 1, true);

    uint8_t view[S * S * 3];
    loader_view(loader, view, 4, S);
    expected_input(expected, 4, channels, 42, 0, false);
    float *seen = arena_array(arena, float, VALUES);
    augment_normalise(seen, view, &clip, 3);
    assert_memory_equal(seen, expected, VALUES * sizeof *expected);
    store_close(store);
    world_barrier(world);
    assert_true(world->rank != 0 || digest_same(name, hash));
}

static void test_pixels(void **state)
{
    (void)state;
    check_loader("grey", 1, false, 1 << 20);
    check_loader("colour", 3, false, 1 << 20);
    check_loader("read", 3, false, 10);
}

static void test_encoded(void **state)
{
    (void)state;
    check_loader("encoded", 3, true, 1 << 20);
    check_loader("encoded_read", 1, true, 10);
}

/* A file of 16-bit samples is mapped to 8 bits as the corpus says: 2048 of 4095 is 128. */
static void test_deep(void **state)
{
    (void)state;
    static const char head[] = "P5 16 16 65535\n";
    enum { HEAD = sizeof head - 1, BYTES = HEAD + 2 * S * S };
    uint8_t file[BYTES], view[S * S * 3];
    const int64_t offset[2] = { 0, BYTES };
    memcpy(file, head, HEAD);
    for (int i = 0; i < S * S; i++) {
        file[HEAD + 2 * i] = 8;
        file[HEAD + 2 * i + 1] = 0;
    }
    const char *dir = getenv("CFN_TEST_TMP");
    char *path = arena_printf(arena, "%s/deep-%d.h5", dir ? dir : "/tmp", world->size);
    const struct layout layout[] = { { "/encoded", STORE_U8, "B", "byte", "files", NULL, false },
                                     { "/encoded_offset", STORE_I64, "2", "byte", "offsets", NULL, false } };
    struct store *store = store_create(world, arena, path, layout, 2, &(struct extent){ "B", BYTES }, 1, true);
    store_write_all(store, "/encoded", file);
    store_write_all(store, "/encoded_offset", offset);
    corpus_keep_reading(store, arena, &(struct image_reading){ .white = { [0] = 4095, [12] = 65535 } });
    store_publish(store);
    store = store_open(world, arena, path);
    struct image_reading reading = corpus_reading(store, arena, 7);
    assert_true(reading.white[0] == 4095 && reading.white[12] == 65535 && reading.white[10] == 0);
    assert_true(!reading.stored && reading.max_megapixels == 7);
    loader_view(loader_open(store, arena, &clip, 1), view, 0, S);
    for (int i = 0; i < S * S * 3; i++)
        assert_int_equal(view[i], 128);
    store_close(store);
}

static void test_corpus(void **state)
{
    (void)state;
    int64_t rows[N];
    struct store *store = store_open(world, arena, make_corpus("corpus", 1, false));
    struct corpus *corpus = corpus_load(store, arena);
    assert_int_equal(corpus->rows, N);
    assert_int_equal(corpus->classes, CLASSES);
    assert_false(corpus->multi_label);
    assert_string_equal(corpus->class_names[2], "c");
    assert_int_equal(corpus->label[5], 2);
    assert_null(corpus->group);
    assert_int_equal(corpus->attributes, 1);
    assert_string_equal(corpus->attribute_names[0], "size");
    assert_true(corpus->attribute[0][22] == 5.5f);
    assert_int_equal(corpus_rows_of(corpus, SPLIT_VAL, rows), 8);
    assert_int_equal(rows[7], 22);
    assert_int_equal(split_find("test"), SPLIT_TEST);
    assert_int_equal(split_find("later"), -1);
    store_close(store);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pixels),
        cmocka_unit_test(test_encoded),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_corpus),
    };
    world = world_start(&argc, &argv);
    arena = arena_create("test", 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return world_end(world, failed);
}
