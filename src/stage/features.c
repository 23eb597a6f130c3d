/* Reads embeddings.h5 for the concept stages: this rank's block of rows in whole
 * chunks, and everything that is small (split, labels) on every rank. */
#include "stage/features.h"

#include "image/corpus.h"
#include "math/vec.h"

/* First row of this rank's block that holds a NaN or an infinity, or -1. */
static int64_t bad_row(const float *values, int64_t first, int64_t rows, int width)
{
    for (int64_t r = 0; r < rows; r++)
        if (!vec_all_finite(values + r * width, width))
            return first + r;
    return -1;
}

static void read_rows(struct job *job, struct store *store, struct features *f)
{
    float *x = arena_take_raw(job->run, (size_t)(f->mine.count * f->dim), sizeof(float));
    float *logits = arena_take_raw(job->run, (size_t)(f->mine.count * f->classes), sizeof(float));
    store_read_rows(store, "/features", f->mine.first, f->mine.count, x);
    store_read_rows(store, "/logits", f->mine.first, f->mine.count, logits);
    f->x = x;
    f->logits = logits;
    int64_t row = bad_row(x, f->mine.first, f->mine.count, f->dim);
    if (row < 0)
        row = bad_row(logits, f->mine.first, f->mine.count, f->classes);
    agree(job->world, row < 0, EXIT_BAD_DATA,
          "%s: row %lld of /features or /logits holds a value that is not finite\n"
          "Look at the image of that row in corpus.h5, or train the backbone again.",
          store_path(store), (long long)row);
}

/* Splits and labels: read whole, checked alike on every rank. */
static void read_labels(struct job *job, struct store *store, struct features *f)
{
    uint8_t *split = arena_take_raw(job->run, (size_t)f->rows, sizeof(uint8_t));
    store_expect(store, "/split", STORE_U8, 1, &f->rows);
    store_read_all(store, "/split", split);
    f->split = split;
    int64_t bad = -1;
    for (int64_t i = 0; i < f->rows && bad < 0; i++)
        bad = split[i] >= SPLITS ? i : -1;
    agree(job->world, bad < 0, EXIT_BAD_DATA, "%s: /split of row %lld is %d\nExpected 0 train, 1 val or 2 test.",
          store_path(store), (long long)bad, bad < 0 ? 0 : (int)split[bad]);

    f->multi_label = store_has(store, "/labels");
    if (f->multi_label) {
        int8_t *labels = arena_take_raw(job->run, (size_t)(f->rows * f->classes), sizeof(int8_t));
        store_expect(store, "/labels", STORE_I8, 2, (int64_t[]){ f->rows, f->classes });
        store_read_all(store, "/labels", labels);
        f->labels = labels;
        return;
    }
    int32_t *label = arena_take_raw(job->run, (size_t)f->rows, sizeof(int32_t));
    store_expect(store, "/label", STORE_I32, 1, &f->rows);
    store_read_all(store, "/label", label);
    f->label = label;
    for (int64_t i = 0; i < f->rows && bad < 0; i++)
        bad = label[i] < 0 || label[i] >= f->classes ? i : -1;
    agree(job->world, bad < 0, EXIT_BAD_DATA, "%s: /label of row %lld is %d\nExpected 0 to %d.", store_path(store),
          (long long)bad, bad < 0 ? 0 : (int)label[bad], f->classes - 1);
}

struct features *features_load(struct job *job)
{
    struct features *f = arena_array(job->run, struct features, 1);
    enum phase before = phase_enter(PHASE_READ);
    struct store *store = job_open(job, "embeddings.h5", "embed");
    store_expect(store, "/features", STORE_F32, 2, (int64_t[]){ -1, -1 });
    store_expect(store, "/logits", STORE_F32, 2, (int64_t[]){ -1, -1 });
    int64_t dims[4];
    store_dims(store, "/features", dims);
    f->rows = dims[0];
    f->dim = (int)dims[1];
    store_dims(store, "/logits", dims);
    f->classes = (int)dims[1];
    agree(job->world, dims[0] == f->rows && f->rows > 0, EXIT_BAD_DATA,
          "%s: /features has %lld rows, /logits %lld\nExpected one of each per image; run cfn embed again.",
          store_path(store), (long long)f->rows, (long long)dims[0]);
    int names = 0;
    bool named = store_get_texts(store, "/", "class_names", &f->class_names, &names);
    agree(job->world, named && names == f->classes, EXIT_BAD_DATA,
          "%s: attribute class_names has %d names, /logits %d classes\nRun cfn embed again.", store_path(store), names,
          f->classes);
    f->mine = shard_chunks(f->rows, FEATURES_CHUNK, job->world->size, job->world->rank);
    read_labels(job, store, f);
    read_rows(job, store, f);
    store_close(store);
    phase_enter(before);
    return f;
}
