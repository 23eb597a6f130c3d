/* cfn pack: from image files to corpus.h5. Two passes over this rank's rows:
 * every file is opened, decoded and measured first, so that all ranks know which
 * rows are good and how large the file will be; then pixels or files are written
 * in blocks of rows. Pictures are kept between the passes while they fit. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "image/corpus.h"
#include "image/intake.h"
#include "image/manifest.h"
#include "stage/stage.h"

enum {
    PACK_CHUNK = 64,        /* rows that always go together to one rank */
    BLOCK_BYTES = 32 << 20, /* written at once by a rank */
    WORKERS = 256,
    DATASETS = 16,
    SCRATCH_BLOCK = 1 << 20,
};
static const size_t keep_bytes = (size_t)1 << 30;         /* pictures kept between the passes, per rank */
static const int64_t auto_pixel_bytes = (int64_t)8 << 30; /* store: auto takes pixels up to here */

struct pack {
    struct job *job;
    struct manifest manifest;
    struct intake intake;
    struct span mine;           /* manifest rows of this rank */
    struct intake_facts *facts; /* [rows], of all ranks */
    const char **why;           /* [mine.count], NULL where the row is good */
    struct image *kept;         /* [mine.count], pixels NULL when not kept */
    int64_t *row;               /* [good] manifest row of each corpus row */
    int64_t good;
    struct span own; /* corpus rows of this rank */
    int channels;
    int64_t *offset; /* [good + 1] byte where a row begins in its dataset */
    int workers;
    struct arena *scratch[WORKERS], *keep[WORKERS];
};

static void read_manifest(struct pack *pack);
static void examine(struct pack *pack);
static void reject(struct pack *pack);
static void choose_store(struct pack *pack);
static struct store *create(struct pack *pack);
static void write_images(struct pack *pack, struct store *store);
static void write_rest(struct pack *pack, struct store *store);
static void summary(const struct pack *pack);

static int count_threads(void)
{
    int threads = 0;
#pragma omp parallel reduction(+ : threads)
    threads += 1;
    return threads < WORKERS ? threads : WORKERS;
}

/* Tables below root that the manifest may have been read from: their checksums are recorded, so that `cfn run` packs
 * again when one has changed. */
static int find_tables(struct job *job, const char *tables[4])
{
    const char *const names[] = { job->config->pack.labels, "class2images_train.p", "class2images_val.p",
                                  "class2images_test.p" };
    int count = 0;
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        const char *path = text_path(job->run, job->config->run.root, names[n]);
        char there = job->world->rank == 0 && *names[n] && text_file_exists(path);
        world_broadcast(job->world, &there, 1, 0);
        if (there)
            tables[count++] = path;
    }
    return count;
}

int stage_pack(struct job *job)
{
    bool write = job_may_write(job, "corpus.h5");
    if (!write && !job->dry_run)
        return EXIT_DONE;
    phase_start("pack");
    struct pack *pack = arena_array(job->run, struct pack, 1);
    pack->job = job;
    read_manifest(pack);
    if (job->dry_run)
        return EXIT_DONE;

    pack->workers = count_threads();
    for (int w = 0; w < pack->workers; w++) {
        pack->scratch[w] = arena_create("pack scratch", SCRATCH_BLOCK);
        pack->keep[w] = arena_create("pack pictures", SCRATCH_BLOCK);
    }
    examine(pack);
    reject(pack);
    choose_store(pack);
    struct store *store = create(pack);
    write_images(pack, store);
    write_rest(pack, store);
    const char *tables[4];
    int count = find_tables(job, tables);
    job_publish(job, store, "pack", tables, count);
    for (int w = 0; w < pack->workers; w++) {
        arena_destroy(pack->scratch[w]);
        arena_destroy(pack->keep[w]);
    }
    summary(pack);
    return job_done(job);
}

/* Reading. */

static void read_manifest(struct pack *pack)
{
    struct job *job = pack->job;
    const struct config *config = job->config;
    const struct pack_config *c = &config->pack;
    struct manifest_request request = { .root = config->run.root,
                                        .reader = c->reader,
                                        .labels = c->labels,
                                        .data = config->run.data,
                                        .group = c->group,
                                        .val_fraction = c->val_fraction,
                                        .test_fraction = c->test_fraction };
    enum exit_code code = EXIT_DONE;
    const char *why = "";
    char real[PATH_MAX];
    bool ok = job->world->rank != 0 || manifest_read(job->run, &pack->manifest, &request, &code, &why);
    agree(job->world, ok, code, "pack: %s", why);
    manifest_share(job->world, job->run, &pack->manifest);

    bool here = realpath(config->run.root, real) != NULL;
    agree(job->world, here, EXIT_NO_INPUT, "pack: %s: this rank's host does not see the data folder", config->run.root);
    pack->intake = (struct intake){ arena_strdup(job->run, real), c->max_megapixels, config->image.short_side,
                                    strcmp(config->image.store, "pixels") != 0 };
    int64_t counts[SPLITS] = { 0 };
    for (int64_t i = 0; i < pack->manifest.rows; i++)
        counts[pack->manifest.split[i]]++;
    log_info("pack: %lld images in %s: %lld train, %lld val, %lld test; %d %s", (long long)pack->manifest.rows,
             pack->manifest.source, (long long)counts[0], (long long)counts[1], (long long)counts[2],
             pack->manifest.classes, pack->manifest.multi_label ? "labels" : "classes");
}

/* First pass. */

static void examine_row(struct pack *pack, int worker, int64_t i)
{
    struct arena *scratch = pack->scratch[worker], *keep = pack->keep[worker];
    struct arena_mark mark = arena_mark(scratch);
    int64_t row = pack->mine.first + i;
    struct image picture;
    const char *why = "";
    if (!intake_image(scratch, &picture, &pack->facts[row], &pack->intake, pack->manifest.path[row], &why)) {
        pack->facts[row].ok = 0;
        pack->why[i] = arena_strdup(keep, why);
    } else {
        size_t bytes = (size_t)picture.height * (size_t)picture.width * (size_t)picture.channels;
        if (arena_bytes(keep) + bytes <= keep_bytes / (size_t)pack->workers) {
            pack->kept[i] = picture;
            pack->kept[i].pixels = arena_take_raw(keep, bytes, 1);
            memcpy(pack->kept[i].pixels, picture.pixels, bytes);
        }
    }
    arena_release(scratch, mark);
}

static void examine(struct pack *pack)
{
    struct job *job = pack->job;
    struct world *world = job->world;
    int64_t rows = pack->manifest.rows;
    enum phase before = phase_enter(PHASE_DECODE);
    pack->mine = shard_chunks(rows, PACK_CHUNK, world->size, world->rank);
    pack->facts = arena_array(job->run, struct intake_facts, rows + 1);
    pack->why = arena_array(job->run, const char *, pack->mine.count + 1);
    pack->kept = arena_array(job->run, struct image, pack->mine.count + 1);
    for (int64_t begin = 0; begin < pack->mine.count; begin += PACK_CHUNK) {
        int64_t end = begin + PACK_CHUNK < pack->mine.count ? begin + PACK_CHUNK : pack->mine.count;
#pragma omp parallel for schedule(static, 1)
        for (int w = 0; w < pack->workers; w++)
            for (int64_t i = begin + w; i < end; i += pack->workers)
                examine_row(pack, w, i);
        progress("pack", "reading", (double)end * (double)rows / (double)pack->mine.count, (double)rows, "img");
    }
    progress_end();
    phase_count("images", (double)pack->mine.count);
    phase_enter(before);
    world_allgather_rows(world, pack->facts, pack->facts + pack->mine.first, pack->mine.count, sizeof *pack->facts);
}

/* Rows that cannot be used. */

static void add_quoted(struct text *out, const char *cell)
{
    text_add(out, "\"");
    for (; *cell; cell++)
        text_add(out, *cell == '"' ? "\"\"" : "%c", *cell);
    text_add(out, "\"");
}

/* rejects.csv: the same at any rank count, since ranks hold rows in order. An old one is taken away. */
static void write_rejects(struct pack *pack, int64_t bad)
{
    struct job *job = pack->job;
    struct text mine = text_new(job->run);
    const char *path = job_path(job, "rejects.csv"), *why = "";
    for (int64_t i = 0; i < pack->mine.count; i++)
        if (pack->why[i]) {
            text_add(&mine, "%lld,", (long long)(pack->mine.first + i));
            add_quoted(&mine, pack->manifest.path[pack->mine.first + i]);
            text_add(&mine, ",");
            add_quoted(&mine, pack->why[i]);
            text_add(&mine, "\n");
        }
    char *all = world_gather_text(job->world, job->run, mine.data);
    bool ok = true;
    if (job->world->rank == 0 && bad) {
        struct text table = text_new(job->run);
        text_add(&table, "row,path,reason\n");
        text_add_bytes(&table, all, strlen(all));
        ok = text_write_file(job->run, path, table.data, table.length, &why);
    } else if (job->world->rank == 0) {
        unlink(path);
    }
    agree(job->world, ok, EXIT_IO, "%s: %s", path, why);
}

static void reject(struct pack *pack)
{
    struct job *job = pack->job;
    const struct manifest *m = &pack->manifest;
    const struct pack_config *config = &job->config->pack;
    int64_t bad = 0, first = -1;
    for (int64_t i = 0; i < m->rows; i++)
        bad += !pack->facts[i].ok;
    for (int64_t i = pack->mine.count - 1; i >= 0; i--)
        if (pack->why[i])
            first = i;
    write_rejects(pack, bad);

    bool skip = strcmp(config->on_bad, "skip") == 0;
    bool stop = bad && (!skip || (double)bad > config->max_bad_fraction * (double)m->rows || bad == m->rows);
    agree(job->world, !stop || first < 0, EXIT_BAD_DATA,
          "pack: %lld of %lld images cannot be used%s; the first: %s: %s\n%s lists them all%s", (long long)bad,
          (long long)m->rows, skip ? ", more than pack.max_bad_fraction allows" : "",
          first < 0 ? "" : manifest_place(job->run, m, pack->mine.first + first), first < 0 ? "" : pack->why[first],
          job_path(job, "rejects.csv"), skip ? "." : "; pack.on_bad: skip leaves them out.");
    if (bad)
        log_warn("pack: %lld of %lld images are left out; %s says why", (long long)bad, (long long)m->rows,
                 job_path(job, "rejects.csv"));

    pack->row = arena_array(job->run, int64_t, m->rows + 1);
    for (int64_t i = 0; i < m->rows; i++) {
        if (i == pack->mine.first)
            pack->own.first = pack->good;
        if (pack->facts[i].ok) {
            pack->row[pack->good++] = i;
            pack->own.count += i >= pack->mine.first && i < pack->mine.first + pack->mine.count;
        }
    }
}

/* Pixels or files. */

static void choose_store(struct pack *pack)
{
    struct job *job = pack->job;
    const char *wanted = job->config->image.store;
    const struct intake_facts *one = &pack->facts[pack->row[0]];
    int64_t other = -1;
    pack->channels = 1;
    for (int64_t i = 0; i < pack->good; i++) {
        const struct intake_facts *f = &pack->facts[pack->row[i]];
        pack->channels = f->channels > pack->channels ? f->channels : pack->channels;
        if (other < 0 && (f->stored_height != one->stored_height || f->stored_width != one->stored_width))
            other = i;
    }
    int64_t row_bytes = (int64_t)one->stored_height * one->stored_width * pack->channels;
    bool pixels = strcmp(wanted, "pixels") == 0;
    if (pixels && other >= 0) {
        const struct intake_facts *f = &pack->facts[pack->row[other]];
        agree(job->world, false, EXIT_BAD_DATA,
              "pack: image.store: pixels needs images of one size; %s is %d x %d, %s is %d x %d\n"
              "set image.store: encoded, or image.short_side for images of one shape",
              manifest_place(job->run, &pack->manifest, pack->row[0]), one->stored_width, one->stored_height,
              manifest_place(job->run, &pack->manifest, pack->row[other]), f->stored_width, f->stored_height);
    }
    if (strcmp(wanted, "auto") == 0)
        pixels = other < 0 && row_bytes * pack->good <= auto_pixel_bytes;
    pack->intake.encoded = !pixels;
    pack->offset = arena_array(job->run, int64_t, pack->good + 1);
    for (int64_t i = 0; i < pack->good; i++)
        pack->offset[i + 1] = pack->offset[i] + (pixels ? row_bytes : pack->facts[pack->row[i]].bytes);
}

/* One row of the layout table, which grows with what the manifest knows. */
static void add_dataset(struct layout *layout, size_t *count, const char *name, enum store_type type, const char *dims,
                        const char *unit, const char *description, const char *width)
{
    layout[(*count)++] = (struct layout){
        .name = name, .type = type, .dims = dims, .unit = unit, .description = description, .width = width
    };
}

static int64_t widest(const struct pack *pack, const char *const *texts)
{
    size_t most = 1;
    for (int64_t i = 0; texts && i < pack->good; i++) {
        size_t length = strlen(texts[pack->row[i]]);
        most = length > most ? length : most;
    }
    return (int64_t)most;
}

static struct store *create(struct pack *pack)
{
    struct job *job = pack->job;
    const struct manifest *m = &pack->manifest;
    const struct intake_facts *one = &pack->facts[pack->row[0]];
    struct layout *layout = arena_array(job->run, struct layout, DATASETS + m->attributes);
    size_t n = 0;
    if (!pack->intake.encoded) {
        add_dataset(layout, &n, "/images", STORE_U8, "N,H,W,c", "level 0-255", "pixels, grey or RGB", NULL);
    } else {
        add_dataset(layout, &n, "/encoded", STORE_U8, "B", "byte", "JPEG and PNG files, one after another", NULL);
        add_dataset(layout, &n, "/encoded_offset", STORE_I64, "N+1", "byte", "where each file begins; last: end", NULL);
    }
    if (m->multi_label)
        add_dataset(layout, &n, "/labels", STORE_I8, "N,L", "1", "1 present, 0 absent, -1 uncertain, -2 blank", NULL);
    else
        add_dataset(layout, &n, "/label", STORE_I32, "N", "class", "index into class_names", NULL);
    add_dataset(layout, &n, "/split", STORE_U8, "N", "1", "0 train, 1 val, 2 test", NULL);
    add_dataset(layout, &n, "/id", STORE_TEXT, "N", "1", "name of the image in its source", "id_bytes");
    add_dataset(layout, &n, "/source_size", STORE_I32, "N,two", "pixel", "height and width before any resizing", NULL);
    add_dataset(layout, &n, "/content_hash", STORE_I64, "N", "1", "XXH3-64 of size and pixels before resizing", NULL);
    if (m->group)
        add_dataset(layout, &n, "/group", STORE_I64, "N", "1", "patient, lesion or slide, by first appearance", NULL);
    if (m->report)
        add_dataset(layout, &n, "/report", STORE_TEXT, "N", "1", "report of the image", "report_bytes");
    for (int a = 0; a < m->attributes; a++)
        add_dataset(layout, &n, arena_printf(job->run, "/attributes/%s", m->attribute_names[a]), STORE_F32, "N", "1",
                    "column of the table; NaN where it is empty", NULL);
    struct extent sizes[] = { { "N", pack->good },
                              { "N+1", pack->good + 1 },
                              { "H", one->stored_height },
                              { "W", one->stored_width },
                              { "c", pack->channels },
                              { "B", pack->offset[pack->good] },
                              { "L", m->classes },
                              { "two", 2 },
                              { "id_bytes", widest(pack, m->id) },
                              { "report_bytes", widest(pack, m->report) } };
    return job_create(job, "corpus.h5", layout, n, sizes, sizeof sizes / sizeof sizes[0]);
}

/* Second pass. */

/* Corpus row `row` into its place. What was good in the first pass and is not now has changed meanwhile. */
static void make_row(struct pack *pack, struct arena *scratch, uint8_t *to, int64_t row)
{
    struct arena_mark mark = arena_mark(scratch);
    int64_t source = pack->row[row], bytes = pack->offset[row + 1] - pack->offset[row];
    struct image picture = pack->kept[source - pack->mine.first];
    struct intake_facts facts = pack->facts[source];
    const char *path = pack->manifest.path[source], *why = "the file has changed";
    bool ok = true;
    if (pack->intake.encoded) {
        size_t size = 0;
        const uint8_t *file = intake_bytes(scratch, &size, &pack->intake, path, picture.pixels ? &picture : NULL, &why);
        ok = file && (int64_t)size == bytes;
        if (ok)
            memcpy(to, file, size);
    } else {
        if (!picture.pixels)
            ok = intake_image(scratch, &picture, &facts, &pack->intake, path, &why) &&
                 facts.hash == pack->facts[source].hash;
        if (ok && pack->channels == 3)
            picture = image_widen(scratch, picture);
        if (ok)
            memcpy(to, picture.pixels, (size_t)bytes);
    }
    require(ok, EXIT_IO, "pack: %s: %s between two readings; pack again",
            manifest_place(scratch, &pack->manifest, source), why);
    arena_release(scratch, mark);
}

/* Rows from `first` on that fit a block: at least one. */
static int64_t block_rows(const struct pack *pack, int64_t first)
{
    int64_t end = pack->own.first + pack->own.count, next = first + 1;
    while (next < end && pack->offset[next + 1] - pack->offset[first] <= BLOCK_BYTES)
        next++;
    return next - first;
}

static int64_t count_blocks(const struct pack *pack)
{
    double blocks = 0.0;
    for (int64_t row = pack->own.first; row < pack->own.first + pack->own.count; row += block_rows(pack, row))
        blocks += 1.0;
    world_max_f64(pack->job->world, &blocks, 1);
    return (int64_t)blocks;
}

/* Blocks of this rank's rows, the same number of calls on every rank; then everything is read back and compared,
 * since a file system that loses part of a parallel write says nothing. */
static void write_images(struct pack *pack, struct store *store)
{
    const char *name = pack->intake.encoded ? "/encoded" : "/images";
    int64_t unit = pack->intake.encoded ? 1 : pack->offset[1]; /* bytes of one row of the dataset */
    int64_t blocks = count_blocks(pack), most = BLOCK_BYTES, end = pack->own.first + pack->own.count;
    for (int64_t i = pack->own.first; i < end; i++) {
        int64_t bytes = pack->offset[i + 1] - pack->offset[i];
        most = bytes > most ? bytes : most;
    }
    uint8_t *buffer = arena_take_raw(pack->job->run, (size_t)most, 1);
    uint64_t *sums = arena_array(pack->job->run, uint64_t, blocks + 1);
    bool same = true;
    for (int pass = 0; pass < 2; pass++) {
        int64_t row = pack->own.first;
        for (int64_t b = 0; b < blocks; b++) {
            int64_t rows = row < end ? block_rows(pack, row) : 0;
            int64_t at = pack->offset[row < end ? row : 0], bytes = row < end ? pack->offset[row + rows] - at : 0;
            if (pass == 0) {
                enum phase before = phase_enter(PHASE_DECODE);
#pragma omp parallel for schedule(static, 1)
                for (int w = 0; w < pack->workers; w++)
                    for (int64_t i = row + w; i < row + rows; i += pack->workers)
                        make_row(pack, pack->scratch[w], buffer + (pack->offset[i] - at), i);
                phase_enter(before);
                sums[b] = XXH3_64bits(buffer, (size_t)bytes);
                store_write_rows(store, name, at / unit, bytes / unit, buffer);
                progress("pack", "writing", (double)(b + 1), (double)blocks, "block");
            } else {
                store_read_rows(store, name, at / unit, bytes / unit, buffer);
                same = same && sums[b] == XXH3_64bits(buffer, (size_t)bytes);
            }
            row += rows;
        }
        world_barrier(pack->job->world);
    }
    progress_end();
    agree(pack->job->world, same, EXIT_IO,
          "%s: %s does not read back as it was written\nthe file system does not keep parallel writes apart; pack with "
          "one rank, or elsewhere",
          store_path(store), name);
}

/* Values of the good rows of one column, which every rank holds. */
static void write_column(struct pack *pack, struct store *store, const char *name, const void *column, size_t bytes)
{
    struct arena_mark mark = arena_mark(pack->job->scratch);
    char *good = arena_take_raw(pack->job->scratch, (size_t)pack->good + 1, bytes);
    for (int64_t i = 0; i < pack->good; i++)
        memcpy(good + (size_t)i * bytes, (const char *)column + (size_t)pack->row[i] * bytes, bytes);
    store_write_all(store, name, good);
    arena_release(pack->job->scratch, mark);
}

static void write_texts(struct pack *pack, struct store *store, const char *name, const char *const *texts)
{
    struct arena_mark mark = arena_mark(pack->job->scratch);
    size_t width = store_width(store, name);
    char *packed = arena_take(pack->job->scratch, (size_t)pack->own.count + 1, width);
    for (int64_t i = 0; i < pack->own.count; i++) {
        const char *text = texts[pack->row[pack->own.first + i]];
        memcpy(packed + (size_t)i * width, text, strlen(text));
    }
    store_write_rows(store, name, pack->own.first, pack->own.count, packed);
    arena_release(pack->job->scratch, mark);
}

static void write_rest(struct pack *pack, struct store *store)
{
    const struct manifest *m = &pack->manifest;
    struct arena *run = pack->job->run;
    int32_t *size = arena_array(run, int32_t, 2 * m->rows + 1);
    uint64_t *hash = arena_array(run, uint64_t, m->rows + 1);
    for (int64_t i = 0; i < m->rows; i++) {
        size[2 * i] = pack->facts[i].height;
        size[2 * i + 1] = pack->facts[i].width;
        hash[i] = pack->facts[i].hash;
    }
    if (pack->intake.encoded)
        store_write_all(store, "/encoded_offset", pack->offset);
    if (m->multi_label)
        write_column(pack, store, "/labels", m->labels, (size_t)m->classes);
    else
        write_column(pack, store, "/label", m->label, sizeof *m->label);
    write_column(pack, store, "/split", m->split, 1);
    write_column(pack, store, "/source_size", size, 2 * sizeof *size);
    write_column(pack, store, "/content_hash", hash, sizeof *hash);
    if (m->group)
        write_column(pack, store, "/group", m->group, sizeof *m->group);
    for (int a = 0; a < m->attributes; a++)
        write_column(pack, store, arena_printf(run, "/attributes/%s", m->attribute_names[a]), m->attribute[a],
                     sizeof(float));
    write_texts(pack, store, "/id", m->id);
    if (m->report)
        write_texts(pack, store, "/report", m->report);
    store_set_texts(store, "/", "class_names", m->class_names, m->classes);
    store_set_text(store, "/", "data", pack->job->config->run.data);
    store_set_text(store, "/", "source", m->source);
    store_set_i64(store, "/", "rejected", m->rows - pack->good);
    const char *source = text_path(run, pack->job->config->run.root, m->source);
    char is_file =
        pack->job->world->rank == 0 && strcmp(m->source, pack->job->config->run.root) != 0 && text_file_exists(source);
    world_broadcast(pack->job->world, &is_file, 1, 0);
    if (is_file)
        store_note(store, "manifest",
                   arena_printf(run, "%s %s", m->source, store_checksum(pack->job->world, run, source)));
}

static void summary(const struct pack *pack)
{
    const struct intake_facts *one = &pack->facts[pack->row[0]];
    char *bytes = text_bytes(pack->job->run, (double)pack->offset[pack->good]);
    if (pack->intake.encoded)
        log_info("pack: %lld images as files, %s, in %s", (long long)pack->good, bytes,
                 job_path(pack->job, "corpus.h5"));
    else
        log_info("pack: %lld images of %d x %d x %d, %s, in %s", (long long)pack->good, one->stored_height,
                 one->stored_width, pack->channels, bytes, job_path(pack->job, "corpus.h5"));
}
