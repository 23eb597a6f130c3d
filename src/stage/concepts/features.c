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

/* Ends the job when a value of this rank's rows is not finite. Collective. */
static void check_finite(struct job *job, struct store *store, const char *name, const float *values, struct span mine,
                         int width)
{
    int64_t row = bad_row(values, mine.first, mine.count, width);
    agree(job->world, row < 0, EXIT_BAD_DATA,
          "%s: row %lld of %s holds a value that is not finite\n"
          "Look at the image of that row in corpus.h5, or train the backbone again.",
          store_path(store), (long long)row, name);
}

static void read_rows(struct job *job, struct store *store, struct features *f)
{
    float *x = arena_take_raw(job->run, (size_t)(f->mine.count * f->dim), sizeof(float));
    store_read_rows(store, "/features", f->mine.first, f->mine.count, x);
    f->x = x;
    check_finite(job, store, "/features", x, f->mine, f->dim);
    if (!store_has(store, "/logits"))
        return;
    float *logits = arena_take_raw(job->run, (size_t)(f->mine.count * f->classes), sizeof(float));
    store_read_rows(store, "/logits", f->mine.first, f->mine.count, logits);
    f->logits = logits;
    check_finite(job, store, "/logits", logits, f->mine, f->classes);
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

    if (f->classes == 0)
        return;
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

/* Classes from their names; 0 when the rows have no labels. */
static void read_classes(struct job *job, struct store *store, struct features *f)
{
    if (!store_has(store, "/label") && !store_has(store, "/labels"))
        return;
    bool named = store_get_texts(store, "/", "class_names", &f->class_names, &f->classes) && f->classes > 0;
    agree(job->world, named, EXIT_BAD_DATA, "%s: attribute class_names is missing\nRun cfn embed again.",
          store_path(store));
    if (store_has(store, "/logits"))
        store_expect(store, "/logits", STORE_F32, 2, (int64_t[]){ f->rows, f->classes });
}

struct features *features_load(struct job *job)
{
    struct features *f = arena_array(job->run, struct features, 1);
    enum phase before = phase_enter(PHASE_READ);
    struct store *store = job_open(job, "embeddings.h5", "embed");
    store_expect(store, "/features", STORE_F32, 2, (int64_t[]){ -1, -1 });
    int64_t dims[4];
    store_dims(store, "/features", dims);
    f->rows = dims[0];
    f->dim = (int)dims[1];
    agree(job->world, f->rows > 0, EXIT_BAD_DATA, "%s: /features has no rows\nRun cfn embed again.", store_path(store));
    read_classes(job, store, f);
    f->mine = shard_chunks(f->rows, FEATURES_CHUNK, job->world->size, job->world->rank);
    read_labels(job, store, f);
    read_rows(job, store, f);
    store_close(store);
    phase_enter(before);
    return f;
}

void features_need_labels(struct job *job, const struct features *f, const char *what)
{
    agree(job->world, f->classes > 0, EXIT_BAD_DATA,
          "%s: %s needs labels, and embeddings.h5 was imported without\n"
          "import the representations again with --labels TABLE.csv (docs/encoders.md)",
          job->command->name, what);
}
