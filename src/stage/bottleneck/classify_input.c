/* What cfn classify starts from: selected vectors, codes, training rows and
 * the inputs a head sees. Method: docs/methods/classify.md. */
#include <string.h>

#include "concept/head_loss.h"
#include "image/corpus.h"
#include "stage/bottleneck/classify.h"

static void read_atoms(struct classify *t)
{
    struct job *job = t->job;
    struct store *cav = job_open(job, "cav.h5", "cav"), *selection = job_open(job, "selection.h5", "select");
    store_expect(cav, "/cav", STORE_F32, 2, (int64_t[]){ -1, t->features->dim });
    store_expect(selection, "/index", STORE_I64, 1, (int64_t[]){ -1 });
    int64_t vectors = store_rows(cav, "/cav"), M = store_rows(selection, "/index"), bad = -1;
    int64_t *index = arena_array(job->run, int64_t, M);
    store_read_all(selection, "/index", index);
    for (int64_t m = M - 1; m >= 0; m--)
        bad = index[m] < 0 || index[m] >= vectors ? m : bad;
    agree(job->world, M > 0 && bad < 0, EXIT_BAD_DATA,
          "%s: /index[%lld] is not a row of /cav, which has %lld\nmake it again: cfn select --force",
          store_path(selection), (long long)bad, (long long)vectors);
    float *atoms = arena_array(job->run, float, M * t->features->dim);
    store_read_list(cav, "/cav", index, M, atoms);
    store_close(cav);
    store_close(selection);
    t->M = (int)M;
    t->atoms = atoms;
}

struct classify_codes classify_codes_take(struct arena *arena, int64_t rows, int S)
{
    return (struct classify_codes){ arena_array(arena, int32_t, rows * S), arena_array(arena, double, rows *S),
                                    arena_array(arena, double, rows) };
}

static struct classify_codes read_codes(struct classify *t)
{
    struct job *job = t->job;
    struct span mine = t->features->mine;
    struct store *store = job_open(job, "codes.h5", "decompose");
    store_expect(store, "/atom", STORE_I32, 2, (int64_t[]){ t->features->rows, -1 });
    int64_t dims[4];
    store_dims(store, "/atom", dims);
    store_expect(store, "/value", STORE_F32, 2, dims);
    store_expect(store, "/intercept", STORE_F32, 1, dims);
    t->S = (int)dims[1];
    struct classify_codes codes = classify_codes_take(job->run, mine.count, t->S);
    int64_t entries = mine.count * t->S, bad = -1;
    float *value = arena_array(job->run, float, entries), *constant = arena_array(job->run, float, mine.count);
    store_read_rows(store, "/atom", mine.first, mine.count, codes.atom);
    store_read_rows(store, "/value", mine.first, mine.count, value);
    store_read_rows(store, "/intercept", mine.first, mine.count, constant);
    for (int64_t i = 0; i < entries; i++) {
        codes.value[i] = (double)value[i];
        bad = bad < 0 && (codes.atom[i] < -1 || codes.atom[i] >= t->M) ? i : bad;
    }
    for (int64_t i = 0; i < mine.count; i++)
        codes.constant[i] = (double)constant[i];
    agree(job->world, bad < 0, EXIT_BAD_DATA,
          "%s: /atom of row %lld names concept %d, but %d are selected\nmake it again: cfn decompose --force",
          store_path(store), (long long)(mine.first + bad / t->S), bad < 0 ? 0 : codes.atom[bad], t->M);
    store_close(store);
    return codes;
}

void classify_inputs(float *x, const struct classify *t, const struct classify_codes *codes,
                     const struct head_basis *basis)
{
    int width = basis ? basis->width : t->M;
    for (int64_t i = 0; i < t->features->mine.count; i++) {
        const int32_t *atom = codes->atom + i * t->S;
        const double *value = codes->value + i * t->S;
        float *row = x + i * width;
        if (basis) {
            head_basis_rebuild(row, basis, atom, value, t->S, codes->constant[i]);
            continue;
        }
        memset(row, 0, (size_t)width * sizeof *row);
        for (int s = 0; s < t->S && atom[s] >= 0; s++)
            row[atom[s]] = (float)value[s];
    }
}

static void find_training_rows(struct classify *t)
{
    const struct features *f = t->features;
    struct job *job = t->job;
    t->train = arena_array(job->run, int64_t, f->rows);
    for (int64_t row = 0; row < f->rows; row++) {
        if (f->split[row] == SPLIT_TRAIN)
            t->train[t->train_rows++] = row;
        t->val_rows += f->split[row] == SPLIT_VAL;
    }
    agree(job->world, t->train_rows > 0, EXIT_BAD_DATA,
          "classify: no training rows\nthe split is decided by `cfn pack`");
    agree(job->world, t->val_rows > 0 || job->config->classify.search != SEARCH_PUBLISHED, EXIT_BAD_DATA,
          "classify: the search for C needs a validation split, and this corpus has none\n"
          "set classify.search: fixed and classify.c");
}

static void weigh_classes(struct classify *t)
{
    const struct features *f = t->features;
    struct job *job = t->job;
    if (job->config->classify.class_weight != CLASS_WEIGHT_BALANCED)
        return;
    int32_t *label = f->label ? arena_array(job->run, int32_t, t->train_rows) : NULL;
    int8_t *labels = f->labels ? arena_array(job->run, int8_t, t->train_rows * f->classes) : NULL;
    for (int64_t i = 0; i < t->train_rows; i++)
        if (label)
            label[i] = f->label[t->train[i]];
        else
            memcpy(labels + i * f->classes, f->labels + t->train[i] * f->classes, (size_t)f->classes);
    t->class_weight = head_balanced_weights(job->run, label, labels, t->train_rows, f->classes);
}

struct classify_codes classify_open(struct classify *t)
{
    t->features = features_load(t->job);
    features_need_labels(t->job, t->features, "the head of the bottleneck");
    read_atoms(t);
    struct classify_codes codes = read_codes(t);
    find_training_rows(t);
    weigh_classes(t);
    return codes;
}

struct head_rows *classify_rows(const struct classify *t, const float *x, int width, const float *offset)
{
    const struct features *f = t->features;
    struct job *job = t->job;
    struct head_rows *rows = head_rows_create(job->run, job->world, t->train_rows, f->classes, width, f->multi_label);
    int64_t n = rows->mine.count;
    const int64_t *train = t->train + rows->mine.first;
    int32_t *label = f->label ? arena_array(job->run, int32_t, n) : NULL;
    int8_t *labels = f->labels ? arena_array(job->run, int8_t, n * f->classes) : NULL;
    for (int64_t i = 0; i < n && label; i++)
        label[i] = f->label[train[i]];
    for (int64_t i = 0; i < n && labels; i++)
        memcpy(labels + i * f->classes, f->labels + train[i] * f->classes, (size_t)f->classes);
    float *inputs = arena_take_raw(job->run, (size_t)n * (size_t)width, sizeof(float));
    world_fetch_rows(job->world, inputs, train, n, x, f->mine.first, f->mine.count, (size_t)width * sizeof(float));
    if (offset) {
        float *fixed = arena_take_raw(job->run, (size_t)n * (size_t)f->classes, sizeof(float));
        world_fetch_rows(job->world, fixed, train, n, offset, f->mine.first, f->mine.count,
                         (size_t)f->classes * sizeof(float));
        rows->offset = fixed;
    }
    rows->x = inputs;
    rows->label = label;
    rows->labels = labels;
    rows->class_weight = t->class_weight;
    head_rows_prepare(rows, job->scratch);
    return rows;
}
