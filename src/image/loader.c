/* Corpus rows as network input. Small corpora stay in memory; of large ones the
 * rows of a batch are read at once. Files are touched by one thread; decoding and
 * transforms run on all threads of the rank, a scratch arena each. */
#include "image/loader.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/phase.h"
#include "image/augment.h"
#include "image/codec.h"
#include "image/corpus.h"
#include "image/decode.h"
#include "image/resize.h"
#include "store/store.h"

enum { WORKERS = 256, SCRATCH_BLOCK = 1 << 20, DECODE_MEGAPIXELS = 4000 };

static int64_t cache_limit = (int64_t)1 << 30;

void loader_set_cache(int64_t bytes)
{
    cache_limit = bytes;
}

int64_t loader_cache_bytes(void)
{
    return cache_limit;
}

struct loader {
    struct store *store;
    int64_t rows;
    struct preprocess view;
    uint64_t seed;
    bool encoded, plan;           /* plan: nothing is read */
    struct image_reading reading; /* of encoded corpora */
    int height, width, channels;  /* of pixel corpora */
    int64_t *offset;              /* [rows + 1] of encoded corpora */
    uint8_t *cache;               /* all pixels or bytes, NULL when too large */
    struct arena *batch;          /* rows read for one call */
    int workers;
    struct arena *scratch[WORKERS];
};

/* One call's rows: where each lies in memory. */
struct source {
    const uint8_t *bytes;
    size_t size;
};
static struct source *gather(struct loader *loader, const int64_t *rows, int64_t count);
static struct image image_of(struct loader *loader, struct arena *scratch, const struct source *source, int64_t row);

static int count_threads(void)
{
    int threads = 0;
#pragma omp parallel reduction(+ : threads)
    threads += 1;
    return threads < WORKERS ? threads : WORKERS;
}

static void take_cache(struct loader *loader, struct arena *arena, const char *name, int64_t bytes)
{
    loader->cache = arena_take_raw(arena, (size_t)bytes + 1, 1);
    if (!loader->plan)
        store_read_all(loader->store, name, loader->cache);
}

static void open_pixels(struct loader *loader, struct arena *arena)
{
    int64_t dims[4];
    int rank = store_dims(loader->store, "/images", dims);
    require(rank == 4 && dims[1] > 0 && dims[2] > 0 && dims[1] < 1 << 24 && dims[2] < 1 << 24 &&
                (dims[3] == 1 || dims[3] == 3) && store_typeof(loader->store, "/images") == STORE_U8,
            EXIT_BAD_DATA, "%s: /images: expected 8-bit pixels (N, H, W, 1 or 3)", store_path(loader->store));
    const char *problem = image_size_problem(arena, dims[2], dims[1], (int64_t)DECODE_MEGAPIXELS * 1000000);
    require(!problem, EXIT_BAD_DATA, "%s: /images: %s", store_path(loader->store), problem);
    loader->rows = dims[0];
    loader->height = (int)dims[1];
    loader->width = (int)dims[2];
    loader->channels = (int)dims[3];
    int64_t bytes = dims[0] * dims[1] * dims[2] * dims[3];
    if (bytes > cache_limit)
        return;
    take_cache(loader, arena, "/images", bytes);
}

static void open_encoded(struct loader *loader, struct arena *arena)
{
    int64_t bytes = store_rows(loader->store, "/encoded"), entries = store_rows(loader->store, "/encoded_offset"),
            any = -1;
    store_expect(loader->store, "/encoded", STORE_U8, 1, &any);
    store_expect(loader->store, "/encoded_offset", STORE_I64, 1, &any);
    loader->encoded = true;
    loader->rows = entries - 1;
    loader->offset = arena_array(arena, int64_t, entries + 1);
    store_read_all(loader->store, "/encoded_offset", loader->offset);
    bool ok = entries > 0 && loader->offset[0] == 0 && loader->offset[entries - 1] == bytes;
    for (int64_t i = 1; i < entries && ok; i++)
        ok = loader->offset[i] >= loader->offset[i - 1];
    require(ok, EXIT_BAD_DATA, "%s: /encoded_offset: expected rising offsets from 0 to %lld", store_path(loader->store),
            (long long)bytes);
    if (bytes > cache_limit)
        return;
    take_cache(loader, arena, "/encoded", bytes);
}

static struct loader *start(struct store *corpus, struct arena *arena, const struct preprocess *view, uint64_t seed,
                            bool plan)
{
    struct loader *loader = arena_array(arena, struct loader, 1);
    loader->plan = plan;
    loader->store = corpus;
    loader->view = *view;
    loader->reading = corpus_reading(corpus, arena, DECODE_MEGAPIXELS);
    loader->seed = seed;
    if (store_has(corpus, "/images"))
        open_pixels(loader, arena);
    else if (store_has(corpus, "/encoded") && store_has(corpus, "/encoded_offset"))
        open_encoded(loader, arena);
    else
        fatal(EXIT_BAD_DATA, "%s: neither /images nor /encoded; expected a corpus made by cfn pack",
              store_path(corpus));
    loader->batch = arena_create("loader batch", SCRATCH_BLOCK);
    loader->workers = count_threads();
    for (int w = 0; w < loader->workers; w++)
        loader->scratch[w] = arena_create("loader scratch", SCRATCH_BLOCK);
    return loader;
}

struct loader *loader_open(struct store *corpus, struct arena *arena, const struct preprocess *view, uint64_t seed)
{
    return start(corpus, arena, view, seed, false);
}

struct loader *loader_plan(struct store *corpus, struct arena *arena, const struct preprocess *view, uint64_t seed)
{
    return start(corpus, arena, view, seed, true);
}

int64_t loader_bytes(const struct loader *loader, int64_t count)
{
    enum { COPIES = 4, FROM_ENCODED = 10 }; /* a picture on its way; pixels of a compressed byte */
    int64_t image = (int64_t)loader->height * loader->width * loader->channels;
    if (loader->encoded)
        image = loader->rows > 0 ? loader->offset[loader->rows] / loader->rows : 0;
    int64_t read = loader->cache ? 0 : count * image;
    int64_t picture = loader->encoded ? FROM_ENCODED * image : image;
    int64_t view = 3 * (int64_t)loader->view.size * loader->view.size;
    return read + loader->workers * COPIES * (picture + view);
}

/* Where the views of a batch go. */
struct filling {
    struct loader *loader;
    float *out;
    const int64_t *rows;
    int epoch;
    bool augment;
};

static void fill_one(void *data, struct arena *scratch, const struct image *picture, int64_t i)
{
    const struct filling *f = data;
    const struct preprocess *view = &f->loader->view;
    size_t plane = (size_t)view->size * (size_t)view->size;
    uint8_t *pixels = arena_take_raw(scratch, plane, (size_t)picture->channels);
    struct augment draws = augment_draw(f->loader->seed, f->epoch, f->rows[i]);
    augment_apply(scratch, pixels, view, picture->pixels, picture->height, picture->width, picture->channels,
                  f->augment ? &draws : NULL);
    augment_normalise(f->out + (size_t)i * 3 * plane, pixels, view, picture->channels);
}

void loader_fill(struct loader *loader, float *out, const int64_t *rows, int64_t count, int epoch, bool augment)
{
    struct filling filling = { loader, out, rows, epoch, augment };
    loader_each(loader, rows, count, fill_one, &filling);
}

void loader_view(struct loader *loader, uint8_t *out, int64_t row, int size)
{
    struct source *source = gather(loader, &row, 1);
    struct arena *scratch = loader->scratch[0];
    struct arena_mark mark = arena_mark(scratch);
    struct image picture = image_widen(scratch, image_of(loader, scratch, source, row));
    struct preprocess view = loader->view;
    view.resize = (int)((int64_t)view.resize * size / view.size);
    view.size = size;
    augment_apply(scratch, out, &view, picture.pixels, picture.height, picture.width, 3, NULL);
    arena_release(scratch, mark);
}

void loader_each(struct loader *loader, const int64_t *rows, int64_t count, loader_see *see, void *data)
{
    enum phase before = phase_enter(PHASE_READ);
    struct source *sources = gather(loader, rows, count);
    phase_enter(PHASE_DECODE);
    int workers = loader->workers;
#pragma omp parallel for schedule(static, 1)
    for (int w = 0; w < workers; w++) {
        struct arena *scratch = loader->scratch[w];
        for (int64_t i = w; i < count; i += workers) {
            struct arena_mark mark = arena_mark(scratch);
            struct image picture = image_of(loader, scratch, &sources[i], rows[i]);
            see(data, scratch, &picture, i);
            arena_release(scratch, mark);
        }
    }
    phase_enter(before);
}

/* Bytes of each row: in the cache, or read now into the batch arena. */
static struct source *gather(struct loader *loader, const int64_t *rows, int64_t count)
{
    arena_reset(loader->batch);
    struct source *sources = arena_array(loader->batch, struct source, count + 1);
    size_t image = (size_t)loader->height * (size_t)loader->width * (size_t)loader->channels;
    uint8_t *read = NULL;
    for (int64_t i = 0; i < count; i++)
        require(rows[i] >= 0 && rows[i] < loader->rows, EXIT_INTERNAL, "loader: row %lld of %lld", (long long)rows[i],
                (long long)loader->rows);
    if (!loader->encoded && !loader->cache) {
        read = arena_take_raw(loader->batch, (size_t)count + 1, image);
        store_read_list(loader->store, "/images", rows, count, read);
    }
    for (int64_t i = 0; i < count; i++) {
        struct source *s = &sources[i];
        size_t at = loader->encoded ? (size_t)loader->offset[rows[i]] : (size_t)rows[i] * image;
        s->size = loader->encoded ? (size_t)(loader->offset[rows[i] + 1] - loader->offset[rows[i]]) : image;
        if (loader->cache) {
            s->bytes = loader->cache + at;
        } else if (read) {
            s->bytes = read + (size_t)i * image;
        } else {
            uint8_t *bytes = arena_take_raw(loader->batch, s->size + 1, 1);
            store_read_range(loader->store, "/encoded", (int64_t)at, (int64_t)s->size, bytes);
            s->bytes = bytes;
        }
    }
    return sources;
}

/* Pixels borrowed from the source, or decoded into the scratch arena. Packing has decoded every row once: one that
 * does not decode now means that the file has changed. */
static struct image image_of(struct loader *loader, struct arena *scratch, const struct source *source, int64_t row)
{
    if (!loader->encoded) {
        uint8_t *pixels = (uint8_t *)(uintptr_t)source->bytes; /* read only from here on */
        return (struct image){ loader->height, loader->width, loader->channels, pixels };
    }
    struct image picture;
    const char *why;
    bool fine = image_decode(scratch, &picture, NULL, source->bytes, source->size, &loader->reading, &why);
    require(fine, EXIT_BAD_DATA, "%s: /encoded, row %lld: %s\nthe file is damaged; make it again with cfn pack",
            store_path(loader->store), (long long)row, why);
    return picture;
}
