/* The same picture more than once: identical pixels by their checksum, near-identical ones by image/near_copies.h. What
 * is linked by either is one picture. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "stage/corpus/audit.h"

enum { LISTED = 1000 }; /* pairs in audit.json; near_duplicates.csv has all */

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

/* Rows by key, then row; arena. */
static struct keyed *sorted_by_key(struct arena *arena, const uint64_t *key, int64_t rows)
{
    struct keyed *sorted = arena_array(arena, struct keyed, rows + 1);
    for (int64_t i = 0; i < rows; i++)
        sorted[i] = (struct keyed){ key[i], i };
    qsort(sorted, (size_t)rows, sizeof *sorted, by_key);
    return sorted;
}

bool audit_labels_equal(const struct corpus *c, int64_t a, int64_t b)
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
        conflict |= !audit_labels_equal(c, run[0].row, run[i].row);
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

struct overlap overlap_of(struct arena *scratch, const struct corpus *c, const uint64_t *key)
{
    struct arena_mark mark = arena_mark(scratch);
    struct keyed *sorted = sorted_by_key(scratch, key, c->rows);
    struct overlap o = { 0 };
    for (int64_t i = 0, length; i < c->rows; i += length) {
        for (length = 1; i + length < c->rows && sorted[i + length].key == sorted[i].key;)
            length++;
        add_run(&o, c, sorted + i, length);
    }
    arena_release(scratch, mark);
    return o;
}

void overlap_write(struct audit *audit, const struct overlap *o, const char *keys)
{
    json_integer(&audit->json, keys, o->keys);
    json_integer(&audit->json, "images", o->rows);
    json_integer(&audit->json, "in_several_splits", o->shared_keys);
    json_integer(&audit->json, "val_images_also_in_train", o->shared_rows[SPLIT_VAL]);
    json_integer(&audit->json, "test_images_also_in_train", o->shared_rows[SPLIT_TEST]);
}

/* ---- identical ---- */

static void report_identical(struct audit *audit)
{
    json_object(&audit->json, "duplicates");
    json_bool(&audit->json, "known", audit->hash != NULL);
    if (audit->hash) {
        struct overlap o = overlap_of(audit->job->scratch, audit->corpus, audit->hash);
        overlap_write(audit, &o, "pictures");
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

/* The first row with the same pixels as each row: the row itself where there is none. */
static int64_t *first_of_identical(struct audit *audit)
{
    int64_t rows = audit->corpus->rows, *first = arena_array(audit->job->run, int64_t, rows + 1);
    struct arena_mark mark = arena_mark(audit->job->scratch);
    for (int64_t i = 0; i < rows; i++)
        first[i] = i;
    if (audit->hash) {
        struct keyed *sorted = sorted_by_key(audit->job->scratch, audit->hash, rows);
        for (int64_t i = 1; i < rows; i++)
            if (sorted[i].key == sorted[i - 1].key)
                first[sorted[i].row] = first[sorted[i - 1].row];
    }
    arena_release(audit->job->scratch, mark);
    return first;
}

/* ---- near-identical ---- */

static uint64_t root_of(uint64_t *root, uint64_t row)
{
    while (root[row] != row)
        row = root[row] = root[root[row]];
    return row;
}

/* Lowest row that each row is linked with, over pairs. */
static uint64_t *link_rows(struct audit *audit)
{
    uint64_t *root = arena_array(audit->job->run, uint64_t, audit->corpus->rows + 1);
    for (int64_t i = 0; i < audit->corpus->rows; i++)
        root[i] = (uint64_t)i;
    for (int64_t p = 0; p < audit->near.count; p++) {
        uint64_t a = root_of(root, (uint64_t)audit->near.pair[p].first);
        uint64_t b = root_of(root, (uint64_t)audit->near.pair[p].second);
        root[a > b ? a : b] = a > b ? b : a;
    }
    for (int64_t i = 0; i < audit->corpus->rows; i++)
        root[i] = root_of(root, (uint64_t)i);
    return root;
}

/* Pairs found, and with them each row with the first that has the same pixels: correlation 1, 0 bits. */
static void find_pairs(struct audit *audit)
{
    struct job *job = audit->job;
    int64_t rows = audit->corpus->rows, *first = first_of_identical(audit), identical = 0;
    bool *left_out = arena_array(job->run, bool, rows + 1);
    for (int64_t i = 0; i < rows; i++)
        identical += left_out[i] = first[i] != i;
    struct near_rows near = {
        .rows = rows, .mine = audit->mine, .of = audit->likeness, .thumbnail = audit->thumbnail, .left_out = left_out
    };
    enum phase before = phase_enter(PHASE_COMPUTE);
    audit->near = near_copies(job->world, job->run, job->scratch, &near);
    near_confirm(&audit->near, job->world, job->run, job->scratch, audit->loader);
    phase_enter(before);
    struct near_pair *all = arena_array(job->run, struct near_pair, audit->near.count + identical + 1);
    memcpy(all, audit->near.pair, (size_t)audit->near.count * sizeof *all);
    int64_t count = audit->near.count;
    for (int64_t i = 0; i < rows; i++)
        if (left_out[i])
            all[count++] = (struct near_pair){ .first = first[i], .second = i, .correlation = 1 };
    audit->near.pair = all;
    audit->near.count = count;
}

/* What a pair says, the most telling first: across splits, with train; then different labels; near before identical,
 * since that is what a checksum does not find. */
static int weight_of(const struct audit *audit, const struct near_pair *p)
{
    const struct corpus *c = audit->corpus;
    int across = c->split[p->first] != c->split[p->second];
    int train = c->split[p->first] == SPLIT_TRAIN || c->split[p->second] == SPLIT_TRAIN;
    return 8 * across + 4 * (across && train) + 2 * !audit_labels_equal(c, p->first, p->second) + (p->bits > 0);
}

static void order_pairs(struct audit *audit)
{
    enum { WEIGHTS = 16 };
    int64_t *shown = arena_array(audit->job->run, int64_t, audit->near.count + 1), at = 0;
    for (int w = WEIGHTS - 1; w >= 0; w--)
        for (int64_t p = 0; p < audit->near.count; p++)
            if (weight_of(audit, &audit->near.pair[p]) == w)
                shown[at++] = p;
    audit->shown = shown;
    audit->shown_count = at;
}

static void list_pairs(struct audit *audit)
{
    struct json_writer *w = &audit->json;
    json_array(w, "pairs");
    for (int64_t i = 0; i < audit->shown_count && i < LISTED; i++) {
        const struct near_pair *p = &audit->near.pair[audit->shown[i]];
        json_object(w, NULL);
        json_integer(w, "first", p->first);
        json_integer(w, "second", p->second);
        json_text(w, "first_split", split_name((enum split)audit->corpus->split[p->first]));
        json_text(w, "second_split", split_name((enum split)audit->corpus->split[p->second]));
        json_bool(w, "same_label", audit_labels_equal(audit->corpus, p->first, p->second));
        json_number(w, "correlation", p->correlation);
        json_integer(w, "hash_bits", p->bits);
        json_end_object(w);
    }
    json_end_array(w);
}

static void report_near(struct audit *audit)
{
    find_pairs(audit);
    order_pairs(audit);
    struct overlap o = overlap_of(audit->job->scratch, audit->corpus, link_rows(audit)), same = { 0 };
    if (audit->hash)
        same = overlap_of(audit->job->scratch, audit->corpus, audit->hash);
    int64_t found = audit->near.count - (same.rows - same.keys); /* beside the identical ones */
    json_object(&audit->json, "near_duplicates");
    overlap_write(audit, &o, "pictures");
    json_integer(&audit->json, "with_different_labels", o.conflicts);
    json_integer(&audit->json, "pairs_found", audit->near.count);
    json_integer(&audit->json, "pairs_not_identical", found);
    json_integer(&audit->json, "images_in_crowds", audit->near.crowded);
    list_pairs(audit);
    json_end_object(&audit->json);
    text_add(&audit->out, "  with near-identical copies: %lld (%lld images), in several splits: %lld\n",
             (long long)o.keys, (long long)o.rows, (long long)o.shared_keys);
    if (found && o.shared_keys > same.shared_keys)
        NOTE(audit,
             "%lld pictures have near-identical copies in several splits: %lld val and %lld test images have one in "
             "train (near_duplicates.csv)",
             (long long)o.shared_keys, (long long)o.shared_rows[SPLIT_VAL], (long long)o.shared_rows[SPLIT_TEST]);
    if (found && o.same_split > same.same_split)
        NOTE(audit, "%lld pictures have near-identical copies within a split", (long long)o.same_split);
    if (o.conflicts > same.conflicts)
        NOTE(audit, "%lld pictures have near-identical copies with other labels", (long long)o.conflicts);
}

void audit_copies(struct audit *audit)
{
    report_identical(audit);
    report_near(audit);
}

/* ---- the list ---- */

static void add_row(struct audit *audit, struct text *out, int64_t row)
{
    text_add(out, "%lld,%s,\"", (long long)row, split_name((enum split)audit->corpus->split[row]));
    for (const char *id = audit->id ? audit->id[row] : ""; *id; id++)
        text_add(out, *id == '"' ? "\"\"" : "%c", *id);
    text_add(out, "\",");
}

bool audit_write_copies(struct audit *audit, const char **why)
{
    struct job *job = audit->job;
    const char *path = job_path(job, "near_duplicates.csv");
    if (audit->near.count == 0) {
        unlink(path); /* of an earlier audit */
        return true;
    }
    struct text out = text_new(job->run);
    text_add(&out, "first_row,first_split,first_id,second_row,second_split,second_id,same_label,correlation,"
                   "hash_bits\n");
    for (int64_t i = 0; i < audit->shown_count; i++) {
        const struct near_pair *p = &audit->near.pair[audit->shown[i]];
        add_row(audit, &out, p->first);
        add_row(audit, &out, p->second);
        text_add(&out, "%d,%.4f,%d\n", audit_labels_equal(audit->corpus, p->first, p->second), p->correlation, p->bits);
    }
    return file_write(job->run, path, out.data, out.length, why);
}
