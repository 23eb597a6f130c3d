/* cfn pack: from image files to corpus.h5. Two passes over this rank's rows:
 * every file is opened, decoded and measured first, so that all ranks know which
 * rows are good and how large the file will be; pack_write.c then writes pixels or
 * files. Pictures are kept between the passes while they fit. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "image/corpus.h"
#include "image/loader.h"
#include "stage/corpus/pack.h"

enum {
    SCRATCH_BLOCK = 1 << 20,
    KEEP_BYTES = 160 << 20, /* pictures kept between the passes, per rank */
};

static void read_manifest(struct pack *pack);
static void examine(struct pack *pack);
static void reject(struct pack *pack);
static void settle_white(struct pack *pack);
static void choose_store(struct pack *pack);
static void place_rows(struct pack *pack);
static void summary(const struct pack *pack);

static int count_threads(void)
{
    int threads = 0;
#pragma omp parallel reduction(+ : threads)
    threads += 1;
    return threads < PACK_WORKERS ? threads : PACK_WORKERS;
}

/* What the manifest was read from is input: `cfn run` packs again when one has changed. */
static void note_tables(struct job *job, const struct manifest *manifest)
{
    for (int i = 0; i < manifest->inputs; i++)
        job_input_file(job, manifest->input[i]);
}

int stage_pack(struct job *job)
{
    bool write = job_may_write(job, "corpus.h5");
    if (!write && !job->dry_run)
        return EXIT_DONE;
    agree(job->world, job->config->image.decode == DECODE_EXACT || job->config->image.short_side > 0, EXIT_BAD_CONFIG,
          "image.decode: scaled decodes for a size that image.short_side gives, which is 0\n"
          "set image.short_side, or image.decode: exact");
    job_start(job);
    struct pack *pack = arena_array(job->run, struct pack, 1);
    pack->job = job;
    read_manifest(pack);
    if (job->dry_run)
        return EXIT_DONE;

    pack->workers = count_threads();
    for (int w = 0; w < pack->workers; w++) {
        pack->scratch[w] = arena_create("pack scratch", SCRATCH_BLOCK);
        pack->keep[w] = arena_create("pack pictures", SCRATCH_BLOCK);
        pack->arrays[w] = array_images_open();
    }
    examine(pack);
    reject(pack);
    settle_white(pack);
    choose_store(pack);
    if (pack->as_png)
        pack_encode(pack);
    place_rows(pack);
    struct store *store = pack_write(pack);
    note_tables(job, &pack->manifest);
    job_publish(job, store);
    for (int w = 0; w < pack->workers; w++) {
        arena_destroy(pack->scratch[w]);
        arena_destroy(pack->keep[w]);
        array_images_close(pack->arrays[w]);
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
                                        .data = config->run.data,
                                        .pack = c,
                                        .default_fractions =
                                            config_is_default(job->run, config, "pack.val_fraction") &&
                                            config_is_default(job->run, config, "pack.test_fraction") };
    enum exit_code code = EXIT_DONE;
    const char *why = "";
    char real[PATH_MAX];
    bool ok = job->world->rank != 0 || manifest_read(job->run, &pack->manifest, &request, &code, &why);
    agree(job->world, ok, code, "pack: %s", why);
    manifest_share(job->world, job->run, &pack->manifest);

    bool here = realpath(config->run.root, real) != NULL;
    agree(job->world, here, EXIT_NO_INPUT, "pack: %s: this rank's host does not see the data folder", config->run.root);
    pack->intake = (struct intake){ .root = arena_strdup(job->run, real),
                                    .reading = { .max_megapixels = c->max_megapixels, .stored = !config->image.exif },
                                    .short_side = config->image.short_side,
                                    .encoded = config->image.store != IMAGE_STORE_PIXELS };
    if (config->image.decode == DECODE_SCALED)
        pack->intake.reading.scale_side = config->image.short_side;
    pack_say_manifest(&pack->manifest);
}

/* First pass. */

static void examine_row(struct pack *pack, int worker, int64_t i)
{
    struct arena *scratch = pack->scratch[worker], *keep = pack->keep[worker];
    struct arena_mark mark = arena_mark(scratch);
    int64_t row = pack->mine.first + i;
    struct intake intake = pack->intake;
    struct image picture;
    const char *why = "";
    intake.arrays = pack->arrays[worker];
    if (!intake_image(scratch, &picture, &pack->facts[row], &intake, manifest_image(&pack->manifest, row), &why)) {
        pack->facts[row].ok = 0;
        pack->why[i] = arena_strdup(keep, why);
    } else if (!pack->facts[row].deep) { /* how 16-bit samples are mapped is not known yet */
        size_t bytes = (size_t)picture.height * (size_t)picture.width * (size_t)picture.channels;
        if (arena_bytes(keep) + bytes <= KEEP_BYTES / (size_t)pack->workers) {
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
            add_quoted(&mine, manifest_escaped(job->run, pack->manifest.path[pack->mine.first + i]));
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
        ok = file_write(job->run, path, table.data, table.length, &why);
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

    bool skip = config->on_bad == ON_BAD_SKIP;
    bool stop = bad && (!skip || (double)bad > config->max_bad_fraction * (double)m->rows || bad == m->rows);
    agree(job->world, !stop || first < 0, EXIT_BAD_DATA,
          "pack: %lld of %lld images cannot be used%s; the first: %s: %s: %s\n%s lists them all%s", (long long)bad,
          (long long)m->rows, skip ? ", more than pack.max_bad_fraction allows" : "",
          first < 0 ? "" : manifest_place(job->run, m, pack->mine.first + first),
          first < 0 ? "" : manifest_escaped(job->run, m->path[pack->mine.first + first]),
          first < 0 ? "" : pack->why[first], job_path(job, "rejects.csv"),
          skip ? "." : "; pack.on_bad: skip leaves them out.");
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

/* 16-bit samples become 8 bits alike in the whole corpus. Where files state their bits (sBIT), white is the largest
 * number of so many bits, or 65535 when samples go beyond: then they are stored scaled up, as the format wants it.
 * Other files often hold 10 to 14 bits without a word: white is the largest sample of all of them. */
static void settle_white(struct pack *pack)
{
    int32_t brightest[IMAGE_BITS + 1] = { 0 };
    int64_t files[IMAGE_BITS + 1] = { 0 }, grey = 0;
    for (int64_t i = 0; i < pack->good; i++) {
        const struct intake_facts *f = &pack->facts[pack->row[i]];
        grey += f->file_channels > f->channels;
        if (!f->deep)
            continue;
        files[f->significant]++;
        if (f->brightest > brightest[f->significant])
            brightest[f->significant] = f->brightest;
    }
    for (int bits = 0; bits <= IMAGE_BITS; bits++) {
        int32_t white = bits ? (1 << bits) - 1 : brightest[0] ? brightest[0] : UINT16_MAX;
        if (!files[bits])
            continue;
        white = brightest[bits] > white ? UINT16_MAX : white;
        pack->intake.reading.white[bits] = white;
        log_info("pack: %lld images have samples of 16 bits, %s: 0 to %d becomes 0 to 255", (long long)files[bits],
                 bits ? arena_printf(pack->job->run, "%d of them used (sBIT)", bits)
                      : "at most as large as the largest of all",
                 white);
    }
    if (grey)
        log_info("pack: %lld images are grey in colour files: read as grey", (long long)grey);
}

/* Pixels or files. */

static void choose_store(struct pack *pack)
{
    struct job *job = pack->job;
    enum image_store wanted = job->config->image.store;
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
    bool pixels = wanted == IMAGE_STORE_PIXELS;
    if (pixels && other >= 0) {
        const struct intake_facts *f = &pack->facts[pack->row[other]];
        agree(job->world, false, EXIT_BAD_DATA,
              "pack: image.store: pixels needs images of one size; %s is %d x %d, %s is %d x %d\n"
              "set image.store: encoded, or image.short_side for images of one shape",
              manifest_place(job->run, &pack->manifest, pack->row[0]), one->stored_width, one->stored_height,
              manifest_place(job->run, &pack->manifest, pack->row[other]), f->stored_width, f->stored_height);
    }
    if (wanted == IMAGE_STORE_AUTO)
        pixels = other < 0 && row_bytes * pack->good <= loader_cache_bytes();
    pack->intake.encoded = !pixels;
    pack->as_png = !pixels && (pack->intake.short_side > 0 || pack->manifest.member);
}

static void place_rows(struct pack *pack)
{
    const struct intake_facts *one = &pack->facts[pack->row[0]];
    int64_t row_bytes = (int64_t)one->stored_height * one->stored_width * pack->channels;
    pack->offset = arena_array(pack->job->run, int64_t, pack->good + 1);
    for (int64_t i = 0; i < pack->good; i++)
        pack->offset[i + 1] = pack->offset[i] + (pack->intake.encoded ? pack->facts[pack->row[i]].bytes : row_bytes);
}

static void summary(const struct pack *pack)
{
    pack_say_classes(pack);
    const struct intake_facts *one = &pack->facts[pack->row[0]];
    char *bytes = text_bytes(pack->job->run, (double)pack->offset[pack->good]);
    if (pack->intake.encoded)
        log_info("pack: %lld images as files, %s, in %s", (long long)pack->good, bytes,
                 job_path(pack->job, "corpus.h5"));
    else
        log_info("pack: %lld images of %d x %d x %d, %s, in %s", (long long)pack->good, one->stored_height,
                 one->stored_width, pack->channels, bytes, job_path(pack->job, "corpus.h5"));
}
