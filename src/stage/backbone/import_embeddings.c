/* cfn import FILE --as embeddings: representations that were computed elsewhere become the embeddings.h5 of a run, as
 * cfn embed writes it, without /logits and with what is known of its rows. Ranks share the rows and read only theirs,
 * in blocks: memory does not grow with the dimension times the rows. */
#include "stage/backbone/import_embeddings.h"

#include <string.h>

#include "base/timer.h"
#include "config/key.h"
#include "job/home.h"
#include "math/vec.h"
#include "stage/backbone/import_rows.h"
#include "store/matrix.h"

enum { BLOCK_BYTES = 32 << 20, DATASETS = 8, DIM_LIMIT = 1 << 20 };

struct task {
    struct job *job;
    const char *file, *dataset, *encoder; /* dataset: NULL, the only one */
    struct matrix *matrix;
    const struct import_rows *rows;
};

/* ---- arguments ---- */

static const char *argument(const struct job *job, const char *flag)
{
    for (int a = 0; a + 1 < job->argc; a++)
        if (strcmp(job->argv[a], flag) == 0)
            return job->argv[a + 1];
    return NULL;
}

bool import_is_embeddings(struct job *job)
{
    static const char *const own[] = { "--labels", "--ids", "--dataset", "--encoder" };
    const char *as = argument(job, "--as");
    agree(job->world, !as || strcmp(as, "embeddings") == 0, EXIT_USAGE,
          "import: --as %s: expected embeddings; weights and arrays are told by their file", as ? as : "");
    for (size_t f = 0; f < sizeof own / sizeof *own && !as; f++)
        agree(job->world, !argument(job, own[f]), EXIT_USAGE, "import: %s is of representations: --as embeddings",
              own[f]);
    return as != NULL;
}

/* The one argument that is no flag. */
static const char *read_file(struct job *job)
{
    const char *file = NULL;
    int files = 0;
    for (int a = 0; a < job->argc; a++)
        if (text_starts(job->argv[a], "--"))
            a++;
        else if (files++ == 0)
            file = job->argv[a];
    agree(job->world, files == 1, EXIT_USAGE,
          "import: expected one file, found %d\nusage: cfn import FILE --as embeddings --data NAME --backbone NAME "
          "[--labels TABLE.csv] [--ids FILE]",
          files);
    return file;
}

static void read_arguments(struct task *t)
{
    struct job *job = t->job;
    t->file = read_file(job);
    t->dataset = argument(job, "--dataset");
    agree(
        job->world, !argument(job, "--out"), EXIT_USAGE,
        "import: --out: representations go to embeddings.h5 of a run\n--result_dir, --data, --backbone and --trial say "
        "which");
    static const char *const needed[] = { "data", "backbone" };
    for (int k = 0; k < 2; k++)
        agree(
            job->world, strcmp(job->config->values[key_find(needed[k])].origin, "default") != 0, EXIT_USAGE,
            "import: expected --data NAME and --backbone NAME: the run that the representations are of\nany name will "
            "do for an encoder of your own");
    const char *encoder = argument(job, "--encoder");
    t->encoder = encoder && *encoder ? encoder : job->config->run.backbone;
}

/* ---- writing ---- */

static void add(struct layout *layout, size_t *count, const char *name, enum store_type type, const char *dims,
                const char *description)
{
    layout[(*count)++] = (struct layout){ name, type, dims, "1", description, NULL, false };
}

static struct store *create(const struct task *t)
{
    struct job *job = t->job;
    const struct corpus *known = &t->rows->known;
    struct layout *layout = arena_array(job->run, struct layout, DATASETS + known->attributes);
    size_t n = 0;
    add(layout, &n, "/features", STORE_F32, "N,D", "representation of each image, imported");
    add(layout, &n, "/split", STORE_U8, "N", "0 train, 1 val, 2 test");
    if (known->multi_label)
        add(layout, &n, "/labels", STORE_I8, "N,L", "1 positive, 0 negative, -1 uncertain, -2 blank");
    else if (known->classes > 0)
        add(layout, &n, "/label", STORE_I32, "N", "class index");
    if (known->group)
        add(layout, &n, "/group", STORE_I64, "N", "patient, lesion or slide, by first appearance");
    if (t->rows->pictures)
        add(layout, &n, "/corpus_row", STORE_I64, "N", "row of corpus.h5 with the image");
    if (t->rows->id_bytes > 0) {
        add(layout, &n, "/id", STORE_TEXT, "N", "name of the image in its source");
        layout[n - 1].width = "id_bytes";
    }
    for (int a = 0; a < known->attributes; a++)
        add(layout, &n, arena_printf(job->run, "/attributes/%s", known->attribute_names[a]), STORE_F32, "N",
            "what was measured of the image; NaN where it is not known");
    const struct extent sizes[] = {
        { "N", t->rows->rows }, { "D", t->matrix->dim }, { "L", known->classes }, { "id_bytes", t->rows->id_bytes }
    };
    return job_create(job, "embeddings.h5", layout, n, sizes, sizeof sizes / sizeof *sizes);
}

/* First row of the block that holds a NaN or an infinity, as a row of the file; -1: none. */
static int64_t bad_row(const float *x, const int64_t *source, int64_t count, int64_t dim)
{
    for (int64_t i = 0; i < count; i++)
        if (!vec_all_finite(x + i * dim, dim))
            return source[i];
    return -1;
}

/* All rows in blocks, as many calls on every rank. Returns a bad row, the last one of those the ranks met at once, or
 * -1; nothing is written after one was met. */
static int64_t write_features(const struct task *t, struct store *out)
{
    struct job *job = t->job;
    const int64_t dim = t->matrix->dim, wanted = BLOCK_BYTES / (dim * (int64_t)sizeof(float)),
                  step = wanted > 0 ? wanted : 1;
    const struct span mine = shard_rows(t->rows->rows, job->world->size, job->world->rank);
    const int64_t most = mine.count < step ? mine.count : step;
    float *x = arena_take_raw(job->run, (size_t)most + 1, (size_t)dim * sizeof *x);
    double rounds = (double)((mine.count + step - 1) / step), bad = -1;
    world_max_f64(job->world, &rounds, 1);
    for (int64_t k = 0; k < (int64_t)rounds && bad < 0; k++) {
        const int64_t done = k * step < mine.count ? k * step : mine.count;
        const int64_t count = mine.count - done < step ? mine.count - done : step;
        const int64_t *source = t->rows->source + mine.first + done;
        matrix_read(t->matrix, job->scratch, source, count, x);
        bad = (double)bad_row(x, source, count, dim);
        world_max_f64(job->world, &bad, 1);
        if (bad < 0)
            store_write_rows(out, "/features", mine.first + done, count, x);
        progress("import", "", (double)(done + count) * job->world->size, (double)t->rows->rows, "row");
    }
    progress_end();
    return (int64_t)bad;
}

static void write_ids(const struct task *t, struct store *out)
{
    struct job *job = t->job;
    const size_t width = store_width(out, "/id");
    const int64_t count = job->world->rank == 0 ? t->rows->rows : 0; /* who has them */
    struct arena_mark mark = arena_mark(job->scratch);
    char *packed = arena_take(job->scratch, (size_t)count + 1, width);
    for (int64_t i = 0; i < count; i++)
        memcpy(packed + (size_t)i * width, t->rows->id[i], strlen(t->rows->id[i]));
    store_write_rows(out, "/id", 0, count, packed);
    arena_release(job->scratch, mark);
}

static void write_known(const struct task *t, struct store *out)
{
    const struct corpus *known = &t->rows->known;
    store_write_all(out, "/split", known->split);
    if (known->multi_label)
        store_write_all(out, "/labels", known->labels);
    else if (known->classes > 0)
        store_write_all(out, "/label", known->label);
    if (known->group)
        store_write_all(out, "/group", known->group);
    if (t->rows->pictures)
        store_write_all(out, "/corpus_row", t->rows->place);
    if (t->rows->id_bytes > 0)
        write_ids(t, out);
    for (int a = 0; a < known->attributes; a++)
        store_write_all(out, arena_printf(t->job->run, "/attributes/%s", known->attribute_names[a]),
                        known->attribute[a]);
    if (known->classes > 0)
        store_set_texts(out, "/", "class_names", known->class_names, known->classes);
}

static void publish(const struct task *t, struct store *out)
{
    struct job *job = t->job;
    const struct matrix *m = t->matrix;
    const char *slash = strrchr(t->file, '/');
    store_set_text(out, "/", "encoder", t->encoder);
    store_set_text(out, "/", "source", slash ? slash + 1 : t->file);
    store_set_text(out, "/", "source_format", m->format);
    store_set_text(out, "/", "source_type", m->type);
    store_set_text(out, "/", "source_dataset", m->name);
    store_set_i64(out, "/", "source_rows", m->rows);
    job_publish(job, out);
}

static void say(const struct task *t)
{
    const struct matrix *m = t->matrix;
    const struct corpus *known = &t->rows->known;
    int64_t of[SPLITS] = { 0 };
    for (int64_t i = 0; i < t->rows->rows; i++)
        of[known->split[i]]++;
    log_info("import: %s: %s%s%s, %lld rows of %lld values in %s%s", t->file, m->format, *m->name ? ", " : "", m->name,
             (long long)m->rows, (long long)m->dim, m->type, strcmp(m->type, "f32") == 0 ? "" : ", which become f32");
    const char *labels = known->classes == 0 ? "no labels"
                                             : arena_printf(t->job->run, "%d %s", known->classes,
                                                            known->multi_label ? "findings" : "classes");
    log_info("import: %lld rows taken: %lld train, %lld val, %lld test; %s", (long long)t->rows->rows,
             (long long)of[SPLIT_TRAIN], (long long)of[SPLIT_VAL], (long long)of[SPLIT_TEST], labels);
    if (!t->rows->pictures)
        log_info("import: without images: there is no corpus.h5 they belong to");
}

static void write_file(const struct task *t)
{
    struct job *job = t->job;
    double begin = timer_seconds();
    struct store *out = create(t);
    phase_enter(PHASE_COMPUTE);
    int64_t bad = write_features(t, out);
    if (bad >= 0)
        store_discard(out);
    agree(
        job->world, bad < 0, EXIT_BAD_DATA,
        "%s: row %lld holds a value that is not finite in single precision\nan autoencoder cannot learn from it: leave "
        "the row out, by --ids and a table without it",
        t->file, (long long)bad);
    write_known(t, out);
    publish(t, out);
    home_describe(job);
    log_info("import: %s, %.1f s", job_path(job, "embeddings.h5"), timer_seconds() - begin);
}

int import_embeddings(struct job *job)
{
    struct task t = { .job = job };
    read_arguments(&t);
    home_paths_of(job, job->run);
    home_set(job, job->command);
    job_start(job);
    phase_enter(PHASE_READ);
    t.matrix = matrix_open(job->world, job->run, job_input_file(job, t.file), t.dataset);
    agree(job->world, t.matrix->dim <= DIM_LIMIT, EXIT_BAD_DATA, "%s: %lld values a row, at most %d are expected",
          t.file, (long long)t.matrix->dim, DIM_LIMIT);
    struct import_request request = { t.file, t.matrix->rows, argument(job, "--labels"), argument(job, "--ids") };
    t.rows = import_rows_find(job, &request);
    say(&t);
    if (job_may_write(job, "embeddings.h5")) {
        home_lock(job, false);
        write_file(&t);
    }
    matrix_close(t.matrix);
    return job_done(job);
}
