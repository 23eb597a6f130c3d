/* cfn audit: what is wrong with a corpus or its splits. Counts, majority floors,
 * the same picture more than once, groups in several splits, images smaller than
 * the network's input. Every rank reads the labels; rank 0 counts and writes. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "image/corpus.h"
#include "report/json.h"
#include "stage/stage.h"

struct audit {
    struct job *job;
    struct corpus *corpus;
    const uint64_t *hash; /* [N], or NULL */
    const int32_t *size;  /* [N x 2] height, width, or NULL */
    int64_t rows[SPLITS];
    int64_t *count;             /* [SPLITS x C] images of a class; positives of a label */
    int64_t *uncertain, *blank; /* [SPLITS x C] of a multi-label corpus */
    int64_t all_negative[SPLITS];
    struct text notes, out;
    int note_count;
    struct json_writer json;
};

static void count_labels(struct audit *audit);
static void report_counts(struct audit *audit);
static void report_floors(struct audit *audit);
static void report_duplicates(struct audit *audit);
static void report_groups(struct audit *audit);
static void report_sizes(struct audit *audit);
static void finish(struct audit *audit, const char **text, struct text *file);

#define NOTE(audit, ...)                                                                                               \
    do {                                                                                                               \
        text_add(&(audit)->notes, "  note: ");                                                                         \
        text_add(&(audit)->notes, __VA_ARGS__);                                                                        \
        text_add(&(audit)->notes, "\n");                                                                               \
        (audit)->note_count++;                                                                                         \
    } while (0)

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
    audit->job = job;
    audit->corpus = corpus_load(store, job->run);
    audit->hash = read_column(audit, store, "/content_hash", STORE_I64, 1);
    audit->size = read_column(audit, store, "/source_size", STORE_I32, 2);
    audit->notes = text_new(job->run);
    audit->out = text_new(job->run);
    store_close(store);

    const char *text = "", *why = "";
    struct text file = text_new(job->run);
    bool ok = true;
    if (job->world->rank == 0) {
        audit->json = json_start(&file);
        json_object(&audit->json, NULL);
        count_labels(audit);
        report_counts(audit);
        report_floors(audit);
        report_duplicates(audit);
        report_groups(audit);
        report_sizes(audit);
        finish(audit, &text, &file);
        log_info("%s", text);
        ok = file_write(job->run, job_path(job, "audit.json"), file.data, file.length, &why);
    }
    agree(job->world, ok, EXIT_IO, "%s: %s", job_path(job, "audit.json"), why);
    return job_done(job);
}

static void finish(struct audit *audit, const char **text, struct text *file)
{
    text_add(&audit->out, "%s", audit->note_count ? audit->notes.data : "  nothing to note\n");
    json_array(&audit->json, "notes");
    for (char *line = audit->notes.data, *rest = NULL; (line = strtok_r(line, "\n", &rest)) != NULL; line = NULL)
        json_text(&audit->json, NULL, line + strlen("  note: "));
    json_end_array(&audit->json);
    json_end_object(&audit->json);
    text_add(file, "\n");
    *text = audit->out.data;
}

static double percent(int64_t part, int64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

/* Counts. */

static void count_labels(struct audit *audit)
{
    const struct corpus *c = audit->corpus;
    size_t cells = SPLITS * (size_t)c->classes;
    audit->count = arena_array(audit->job->run, int64_t, cells);
    audit->uncertain = arena_array(audit->job->run, int64_t, cells);
    audit->blank = arena_array(audit->job->run, int64_t, cells);
    for (int64_t i = 0; i < c->rows; i++) {
        size_t base = (size_t)c->split[i] * (size_t)c->classes;
        bool any = false;
        audit->rows[c->split[i]]++;
        if (!c->multi_label) {
            audit->count[base + (size_t)c->label[i]]++;
            continue;
        }
        for (int k = 0; k < c->classes; k++) {
            int8_t state = c->labels[i * c->classes + k];
            int64_t *cell = state == LABEL_POSITIVE    ? audit->count
                            : state == LABEL_UNCERTAIN ? audit->uncertain
                            : state == LABEL_BLANK     ? audit->blank
                                                       : NULL;
            if (cell)
                cell[base + (size_t)k]++;
            any |= state == LABEL_POSITIVE;
        }
        audit->all_negative[c->split[i]] += !any;
    }
}

static void json_row(struct audit *audit, const char *key, const int64_t *counts)
{
    json_array(&audit->json, key);
    for (int k = 0; k < audit->corpus->classes; k++)
        json_integer(&audit->json, NULL, counts[k]);
    json_end_array(&audit->json);
}

static void report_counts(struct audit *audit)
{
    const struct corpus *c = audit->corpus;
    text_add(&audit->out, "audit: %lld images, %d %s\n  %-28s%10s%10s%10s\n", (long long)c->rows, c->classes,
             c->multi_label ? "labels" : "classes", "", "train", "val", "test");
    text_add(&audit->out, "  %-28s%10lld%10lld%10lld\n", "images", (long long)audit->rows[0], (long long)audit->rows[1],
             (long long)audit->rows[2]);
    for (int k = 0; k < c->classes; k++) {
        text_add(&audit->out, "  %-28.28s", c->class_names[k]);
        for (int s = 0; s < SPLITS; s++) {
            int64_t count = audit->count[s * c->classes + k];
            text_add(&audit->out, "%10lld", (long long)count);
            if (count == 0)
                NOTE(audit, "%s '%s' does not occur in %s", c->multi_label ? "label" : "class", c->class_names[k],
                     split_name((enum split)s));
        }
        text_add(&audit->out, "\n");
    }
    json_text(&audit->json, "data", audit->job->config->run.data);
    json_integer(&audit->json, "images", c->rows);
    json_bool(&audit->json, "multi_label", c->multi_label);
    json_array(&audit->json, "class_names");
    for (int k = 0; k < c->classes; k++)
        json_text(&audit->json, NULL, c->class_names[k]);
    json_end_array(&audit->json);
    json_object(&audit->json, "splits");
    for (int s = 0; s < SPLITS; s++) {
        json_object(&audit->json, split_name((enum split)s));
        json_integer(&audit->json, "images", audit->rows[s]);
        json_row(audit, c->multi_label ? "positive" : "per_class", audit->count + s * c->classes);
        if (c->multi_label) {
            json_row(audit, "uncertain", audit->uncertain + s * c->classes);
            json_row(audit, "blank", audit->blank + s * c->classes);
        }
        json_end_object(&audit->json);
        if (audit->rows[s] == 0)
            NOTE(audit, "no images in %s", split_name((enum split)s));
    }
    json_end_object(&audit->json);
}

/* Accuracy without looking at the images. Single label: always the most frequent class of the train rows. Multi-label:
 * never any label, as the mean over labels and as whole rows. */
static double floor_of(const struct audit *audit, int split, double *whole_rows)
{
    const struct corpus *c = audit->corpus;
    int majority = 0;
    int64_t positives = 0, cells = audit->rows[split] * c->classes;
    for (int k = 0; k < c->classes; k++) {
        majority = audit->count[k] > audit->count[majority] ? k : majority;
        positives += audit->count[split * c->classes + k];
    }
    *whole_rows = percent(audit->all_negative[split], audit->rows[split]) / 100.0;
    return (c->multi_label ? percent(cells - positives, cells)
                           : percent(audit->count[split * c->classes + majority], audit->rows[split])) /
           100.0;
}

static void report_floors(struct audit *audit)
{
    bool multi = audit->corpus->multi_label;
    text_add(&audit->out, "  %-28s", multi ? "accuracy of no label at all" : "accuracy of majority class");
    json_object(&audit->json, "floor");
    for (int s = 0; s < SPLITS; s++) {
        double rows_without, accuracy = floor_of(audit, s, &rows_without);
        text_add(&audit->out, "%9.1f%%", 100.0 * accuracy);
        json_object(&audit->json, split_name((enum split)s));
        json_number(&audit->json, "accuracy", accuracy);
        if (multi)
            json_number(&audit->json, "rows_without_label", rows_without);
        json_end_object(&audit->json);
        if (s == SPLIT_TEST && accuracy > (multi ? 0.85 : 0.6))
            NOTE(audit, "%.1f %% test accuracy without looking at an image: judge by AUROC or balanced accuracy",
                 100.0 * accuracy);
    }
    json_end_object(&audit->json);
    text_add(&audit->out, "\n");
}

/* Rows that share a key, and the splits they are in. */
struct keyed {
    uint64_t key;
    int64_t row;
};
static int by_key(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

struct overlap {
    int64_t keys;                /* with more than one row */
    int64_t rows;                /* of those keys */
    int64_t same_split;          /* keys with all rows in one split */
    int64_t shared_keys;         /* keys in several splits */
    int64_t shared_rows[SPLITS]; /* rows of val and test whose key is in train; [train]: rows of keys in several */
    int64_t conflicts;           /* keys whose rows have different labels */
};

static bool labels_equal(const struct corpus *c, int64_t a, int64_t b)
{
    if (!c->multi_label)
        return c->label[a] == c->label[b];
    return memcmp(c->labels + a * c->classes, c->labels + b * c->classes, (size_t)c->classes) == 0;
}

static void add_run(struct overlap *o, const struct corpus *c, const struct keyed *run, int64_t length)
{
    int64_t in[SPLITS] = { 0 };
    bool conflict = false;
    for (int64_t i = 0; i < length; i++) {
        in[c->split[run[i].row]]++;
        conflict |= !labels_equal(c, run[0].row, run[i].row);
    }
    int splits = (in[0] > 0) + (in[1] > 0) + (in[2] > 0);
    o->keys += length > 1;
    o->rows += length > 1 ? length : 0;
    o->same_split += length > 1 && splits == 1;
    o->shared_keys += splits > 1;
    o->conflicts += conflict;
    for (int s = 0; s < SPLITS; s++)
        o->shared_rows[s] += splits > 1 && (s == SPLIT_TRAIN || in[SPLIT_TRAIN] > 0) ? in[s] : 0;
}

static struct overlap overlap_of(struct arena *scratch, const struct corpus *c, const uint64_t *key)
{
    struct arena_mark mark = arena_mark(scratch);
    struct keyed *sorted = arena_array(scratch, struct keyed, c->rows + 1);
    struct overlap o = { 0 };
    for (int64_t i = 0; i < c->rows; i++)
        sorted[i] = (struct keyed){ key[i], i };
    qsort(sorted, (size_t)c->rows, sizeof *sorted, by_key);
    for (int64_t i = 0, length; i < c->rows; i += length) {
        for (length = 1; i + length < c->rows && sorted[i + length].key == sorted[i].key;)
            length++;
        add_run(&o, c, sorted + i, length);
    }
    arena_release(scratch, mark);
    return o;
}

static void json_overlap(struct audit *audit, const struct overlap *o, const char *keys)
{
    json_integer(&audit->json, keys, o->keys);
    json_integer(&audit->json, "images", o->rows);
    json_integer(&audit->json, "in_several_splits", o->shared_keys);
    json_integer(&audit->json, "val_images_also_in_train", o->shared_rows[SPLIT_VAL]);
    json_integer(&audit->json, "test_images_also_in_train", o->shared_rows[SPLIT_TEST]);
}

static void report_duplicates(struct audit *audit)
{
    json_object(&audit->json, "duplicates");
    json_bool(&audit->json, "known", audit->hash != NULL);
    if (audit->hash) {
        struct overlap o = overlap_of(audit->job->scratch, audit->corpus, audit->hash);
        json_overlap(audit, &o, "pictures");
        json_integer(&audit->json, "with_different_labels", o.conflicts);
        text_add(&audit->out, "  pictures that occur more than once: %lld (%lld images), in several splits: %lld\n",
                 (long long)o.keys, (long long)o.rows, (long long)o.shared_keys);
        if (o.shared_keys)
            NOTE(audit, "%lld pictures are in several splits: %lld val and %lld test images are also in train",
                 (long long)o.shared_keys, (long long)o.shared_rows[SPLIT_VAL], (long long)o.shared_rows[SPLIT_TEST]);
        if (o.same_split)
            NOTE(audit, "%lld pictures occur more than once within a split", (long long)o.same_split);
        if (o.conflicts)
            NOTE(audit, "%lld pictures occur with different labels", (long long)o.conflicts);
    }
    json_end_object(&audit->json);
}

static void report_groups(struct audit *audit)
{
    json_object(&audit->json, "groups");
    json_bool(&audit->json, "known", audit->corpus->group != NULL);
    if (audit->corpus->group) {
        struct overlap o = overlap_of(audit->job->scratch, audit->corpus, (const uint64_t *)audit->corpus->group);
        int64_t groups = 0;
        for (int64_t i = 0; i < audit->corpus->rows; i++)
            groups = audit->corpus->group[i] >= groups ? audit->corpus->group[i] + 1 : groups;
        json_integer(&audit->json, "groups", groups);
        json_overlap(audit, &o, "with_several_images");
        text_add(&audit->out, "  groups: %lld, in several splits: %lld\n", (long long)groups, (long long)o.shared_keys);
        if (o.shared_keys)
            NOTE(audit,
                 "%lld groups are in several splits: %lld val and %lld test images have a relative in train; without a "
                 "split column, pack.group keeps groups together",
                 (long long)o.shared_keys, (long long)o.shared_rows[SPLIT_VAL], (long long)o.shared_rows[SPLIT_TEST]);
    }
    json_end_object(&audit->json);
}

static void report_sizes(struct audit *audit)
{
    const struct corpus *c = audit->corpus;
    int wanted = audit->job->config->image.size;
    int64_t small = 0;
    json_object(&audit->json, "sizes");
    json_bool(&audit->json, "known", audit->size != NULL);
    if (audit->size && c->rows) {
        int32_t low[2] = { audit->size[0], audit->size[1] }, high[2] = { audit->size[0], audit->size[1] };
        for (int64_t i = 0; i < c->rows; i++) {
            const int32_t *size = audit->size + 2 * i;
            small += size[0] < wanted || size[1] < wanted;
            for (int k = 0; k < 2; k++) {
                low[k] = size[k] < low[k] ? size[k] : low[k];
                high[k] = size[k] > high[k] ? size[k] : high[k];
            }
        }
        json_integer(&audit->json, "lowest_height", low[0]);
        json_integer(&audit->json, "highest_height", high[0]);
        json_integer(&audit->json, "lowest_width", low[1]);
        json_integer(&audit->json, "highest_width", high[1]);
        json_integer(&audit->json, "image_size", wanted);
        json_integer(&audit->json, "smaller_than_image_size", small);
        text_add(&audit->out, "  sizes: height %d to %d, width %d to %d; network input %d\n", low[0], high[0], low[1],
                 high[1], wanted);
        if (small)
            NOTE(audit, "%lld images are smaller than image.size %d and will be enlarged", (long long)small, wanted);
    }
    json_end_object(&audit->json);
}
