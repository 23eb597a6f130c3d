/* The second pass of cfn pack: the layout of corpus.h5, images in blocks of rows,
 * reading back, and the columns of the manifest. */
#include <math.h>
#include <string.h>

#include <xxhash.h>

#include "image/corpus.h"
#include "stage/corpus/pack.h"

enum {
    BLOCK_BYTES = 32 << 20, /* written at once by a rank */
    DATASETS = 16,
};

static struct store *create(struct pack *pack);
static void write_images(struct pack *pack, struct store *store);
static void write_rest(struct pack *pack, struct store *store);

struct store *pack_write(struct pack *pack)
{
    struct store *store = create(pack);
    write_images(pack, store);
    write_rest(pack, store);
    return store;
}

/* One row of the layout table, which grows with what the manifest knows. */
static void add_dataset(struct layout *layout, size_t *count, const char *name, enum store_type type, const char *dims,
                        const char *unit, const char *description, const char *width)
{
    layout[(*count)++] = (struct layout){
        .name = name, .type = type, .dims = dims, .unit = unit, .description = description, .width = width
    };
}

static const char *attribute_path(struct arena *arena, const struct manifest_attribute *attribute)
{
    return arena_printf(arena, "/attributes/%s", attribute->name);
}

/* Codes of text as whole numbers; numbers as single precision unless a whole one would lose digits. */
static enum store_type attribute_type(const struct manifest *m, int a)
{
    const struct manifest_attribute *one = &m->attribute[a];
    if (one->values)
        return STORE_I32;
    for (int64_t i = 0; i < m->rows; i++)
        if (fabs(one->value[i]) > 0x1p24 && one->value[i] == floor(one->value[i]) &&
            one->value[i] != (double)(float)one->value[i])
            return STORE_F64;
    return STORE_F32;
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

static int64_t total_bytes(const struct pack *pack, const char *const *texts)
{
    int64_t total = 0;
    for (int64_t i = 0; texts && i < pack->good; i++)
        total += (int64_t)strlen(texts[pack->row[i]]);
    return total;
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
        add_dataset(layout, &n, "/encoded", STORE_U8, "B", "byte", "image files, one after another", NULL);
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
    if (m->report) {
        add_dataset(layout, &n, "/report", STORE_U8, "report_bytes", "byte", "reports, UTF-8, one after another", NULL);
        add_dataset(layout, &n, "/report_offset", STORE_I64, "N+1", "byte", "where each report begins; last: end",
                    NULL);
    }
    for (int a = 0; a < m->attributes; a++)
        add_dataset(layout, &n, attribute_path(job->run, &m->attribute[a]), attribute_type(m, a), "N", "1",
                    m->attribute[a].values ? "which of the texts of attribute `values`; -1 where not known"
                                           : "column of the table; NaN where not known",
                    NULL);
    struct extent section_sizes[SECTIONS];
    pack_sections_layout(pack, layout, &n, section_sizes);
    struct extent sizes[] = { { "N", pack->good },
                              { "N+1", pack->good + 1 },
                              { "H", one->stored_height },
                              { "W", one->stored_width },
                              { "c", pack->channels },
                              { "B", pack->offset[pack->good] },
                              { "L", m->classes },
                              { "two", 2 },
                              { "id_bytes", widest(pack, m->id) },
                              { "report_bytes", total_bytes(pack, m->report) },
                              section_sizes[SECTION_FINDINGS],
                              section_sizes[SECTION_IMPRESSION] };
    return job_create(job, "corpus.h5", layout, n, sizes, sizeof sizes / sizeof sizes[0]);
}

/* Second pass. */

bool pack_picture(struct pack *pack, int worker, struct image *out, int64_t source, const char **why)
{
    struct intake intake = pack->intake;
    struct intake_facts facts;
    intake.arrays = pack->arrays[worker];
    *out = pack->kept[source - pack->mine.first];
    return out->pixels ||
           (intake_image(pack->scratch[worker], out, &facts, &intake, manifest_image(&pack->manifest, source), why) &&
            facts.hash == pack->facts[source].hash);
}

/* Corpus row `row` into its place. What was good in the first pass and is not now has changed meanwhile. */
static void make_row(struct pack *pack, int worker, uint8_t *to, int64_t row)
{
    struct arena *scratch = pack->scratch[worker];
    struct arena_mark mark = arena_mark(scratch);
    int64_t source = pack->row[row], bytes = pack->offset[row + 1] - pack->offset[row];
    struct image picture;
    const char *why = "the file has changed";
    bool ok;
    if (pack->as_png) {
        ok = pack_encoded(pack, to, source);
    } else if (pack->intake.encoded) {
        size_t size = 0;
        const uint8_t *file =
            intake_bytes(scratch, &size, &pack->intake, manifest_image(&pack->manifest, source), &why);
        ok = file && (int64_t)size == bytes;
        if (ok)
            memcpy(to, file, size);
    } else {
        ok = pack_picture(pack, worker, &picture, source, &why);
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
                        make_row(pack, w, buffer + (pack->offset[i] - at), i);
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

static void write_attribute(struct pack *pack, struct store *store, int a)
{
    const struct manifest_attribute *one = &pack->manifest.attribute[a];
    const char *name = attribute_path(pack->job->run, one);
    int64_t rows = pack->manifest.rows;
    enum store_type type = store_typeof(store, name);
    struct arena_mark mark = arena_mark(pack->job->scratch);
    int32_t *code = arena_array(pack->job->scratch, int32_t, rows + 1);
    float *single = (float *)code;
    for (int64_t i = 0; i < rows; i++)
        if (type == STORE_I32)
            code[i] = isnan(one->value[i]) ? -1 : (int32_t)one->value[i];
        else
            single[i] = (float)one->value[i];
    if (type == STORE_F64)
        write_column(pack, store, name, one->value, sizeof *one->value);
    else
        write_column(pack, store, name, code, sizeof *code);
    if (one->values)
        store_set_texts(store, name, "values", one->value_names, one->values);
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

static void write_stream(struct pack *pack, struct store *store, const char *name, const char *const *texts)
{
    struct arena_mark mark = arena_mark(pack->job->scratch);
    const char **own = arena_array(pack->job->scratch, const char *, pack->own.count + 1);
    for (int64_t i = 0; i < pack->own.count; i++)
        own[i] = texts[pack->row[pack->own.first + i]];
    store_write_texts(store, pack->job->scratch, name, own, pack->own.count);
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
        write_attribute(pack, store, a);
    write_texts(pack, store, "/id", m->id);
    if (m->report)
        write_stream(pack, store, "/report", m->report);
    pack_sections_write(pack, store);
    store_set_texts(store, "/", "class_names", m->class_names, m->classes);
    store_set_text(store, "/", "data", pack->job->config->run.data);
    store_set_text(store, "/", "source", m->source);
    corpus_keep_reading(store, run, &pack->intake.reading);
    if (pack->intake.reading.scale_side)
        store_set_text(store, "/", "decode", "scaled");
    store_set_text(store, "/", "reader", m->reader);
    store_set_text(store, "/", "notes", m->notes);
    store_set_i64(store, "/", "rejected", m->rows - pack->good);
}
