/* cfn audit: what is wrong with a corpus or its splits. Every rank looks at its
 * block of the pictures; what follows from that and from the labels is counted on
 * all ranks alike (audit_*.c), and rank 0 writes it. */
#include "stage/corpus/audit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "image/decode.h"
#include "image/loader.h"
#include "stage/preprocess.h"

enum { AT_ONCE = 64 }; /* pictures read at a time */

static void open_corpus(struct audit *audit, struct store *store);
static void look(struct audit *audit);
static void finish(struct audit *audit, struct text *file);
static void write_files(struct audit *audit, const struct text *file);

int stage_audit(struct job *job)
{
    if (!job_may_write(job, "audit.json") && !job->dry_run)
        return EXIT_DONE;
    job_start(job);
    struct store *store = job_open(job, "corpus.h5", "pack");
    if (job->dry_run) {
        store_close(store);
        return EXIT_DONE;
    }
    struct audit *audit = arena_array(job->run, struct audit, 1);
    struct text file = text_new(job->run);
    audit->job = job;
    open_corpus(audit, store);
    look(audit);

    audit->json = json_start(&file);
    json_object(&audit->json, NULL);
    audit_counts(audit);
    audit_floors(audit);
    audit_balance(audit);
    audit_dropped(audit);
    audit_copies(audit);
    audit_groups(audit);
    audit_sizes(audit);
    audit_levels(audit);
    audit_shortcut(audit);
    finish(audit, &file);
    log_info("%s", audit->out.data);
    write_files(audit, &file);
    store_close(store);
    return job_done(job);
}

static void *read_column(struct audit *audit, struct store *store, const char *name, enum store_type type,
                         int64_t width)
{
    int64_t dims[2] = { audit->corpus->rows, width };
    if (!store_has(store, name))
        return NULL;
    store_expect(store, name, type, width > 1 ? 2 : 1, dims);
    size_t bytes = store_width(store, name) * (size_t)width;
    void *values = arena_take(audit->job->run, (size_t)audit->corpus->rows + 1, bytes);
    store_read_all(store, name, values);
    return values;
}

static void open_corpus(struct audit *audit, struct store *store)
{
    struct job *job = audit->job;
    struct preprocess view = preprocess_configured(job);
    audit->corpus = corpus_load(store, job->run);
    audit->hash = read_column(audit, store, "/content_hash", STORE_I64, 1);
    audit->size = read_column(audit, store, "/source_size", STORE_I32, 2);
    audit->id = store_has(store, "/id") ? store_read_texts(store, job->run, "/id") : NULL;
    audit->rejected = -1;
    store_get_i64(store, "/", "rejected", &audit->rejected);
    audit->group = audit->corpus->group;
    audit->notes = text_new(job->run);
    audit->out = text_new(job->run);
    loader_set_cache(0); /* every row is wanted once, by one rank */
    audit->loader = loader_open(store, job->run, &view, 0);
}

/* ---- every picture, once ---- */

struct looking {
    struct audit *audit;
    int64_t first; /* of this batch, among this rank's rows */
};

static void look_at(void *data, struct arena *scratch, const struct image *picture, int64_t i)
{
    struct looking *l = data;
    struct audit *audit = l->audit;
    int64_t at = l->first + i, row = audit->mine.first + at;
    const uint8_t *luma = likeness_luma(scratch, picture);
    int height = audit->size ? audit->size[2 * row] : picture->height;
    int width = audit->size ? audit->size[2 * row + 1] : picture->width;
    int side = picture->height < picture->width ? picture->height : picture->width;
    int file_side = height < width ? height : width;
    likeness_measure(&audit->likeness[at], audit->thumbnail + at * LIKENESS_PIXELS, scratch, luma, picture->height,
                     picture->width, side < file_side ? side : file_side);
    appearance_measure(&audit->appearance[at], picture, luma, height, width);
}

static void look(struct audit *audit)
{
    struct job *job = audit->job;
    struct looking looking = { audit, 0 };
    audit->mine = shard_rows(audit->corpus->rows, job->world->size, job->world->rank);
    int64_t mine = audit->mine.count, rows[AT_ONCE];
    for (int64_t i = 0; audit->size && i < 2 * audit->corpus->rows; i++)
        require(audit->size[i] > 0, EXIT_BAD_DATA, "corpus.h5: /source_size, row %lld: %d; expected pixels > 0",
                (long long)(i / 2), (int)audit->size[i]);
    audit->likeness = arena_array(job->run, struct likeness, mine + 1);
    audit->appearance = arena_array(job->run, struct appearance, mine + 1);
    audit->thumbnail = arena_take_raw(job->run, (size_t)mine + 1, LIKENESS_PIXELS);
    for (; looking.first < mine; looking.first += AT_ONCE) {
        int64_t count = mine - looking.first < AT_ONCE ? mine - looking.first : AT_ONCE;
        for (int64_t i = 0; i < count; i++)
            rows[i] = audit->mine.first + looking.first + i;
        loader_each(audit->loader, rows, count, look_at, &looking);
        progress("audit", "looking", (double)(looking.first + count) * job->world->size, (double)audit->corpus->rows,
                 "img");
    }
    progress_end();
    phase_count("images", (double)mine);
}

/* ---- what is written ---- */

static void finish(struct audit *audit, struct text *file)
{
    text_add(&audit->out, "%s", audit->note_count ? audit->notes.data : "  nothing to note\n");
    json_array(&audit->json, "notes");
    for (char *at = audit->notes.data, *end; (end = strchr(at, '\n')); at = end + 1) {
        at += strlen("  note: ");
        json_text(&audit->json, NULL, arena_printf(audit->job->scratch, "%.*s", (int)(end - at), at));
    }
    json_end_array(&audit->json);
    json_end_object(&audit->json);
    text_add(file, "\n");
}

/* The page and the list first: where audit.json is, the others are. */
static void write_files(struct audit *audit, const struct text *file)
{
    struct job *job = audit->job;
    const char *why = "", *name = "near_duplicates.csv";
    bool ok = true;
    if (job->world->rank == 0) {
        struct text page = text_new(job->run);
        ok = audit_write_copies(audit, &why);
        if (ok) {
            name = "audit.html";
            audit_page(audit, &page);
            ok = file_write(job->run, job_path(job, name), page.data, page.length, &why);
        }
        if (ok) {
            name = "audit.json";
            ok = file_write(job->run, job_path(job, name), file->data, file->length, &why);
        }
    }
    agree(job->world, ok, EXIT_IO, "%s: %s", job_path(job, name), why);
    log_info("audit: %s shows it", job_path(job, "audit.html"));
}
