/* What the labels and the files say: images and labels by split, floors, balance,
 * rows left out, sizes, grey levels. */
#include <math.h>
#include <stdlib.h>

#include "stage/corpus/audit.h"

enum { FEW_LEVELS = 64, TOP_OF_DARK = 63 };

static double percent(int64_t part, int64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

static void count_labels(struct audit *audit)
{
    const struct corpus *c = audit->corpus;
    size_t cells = SPLITS * (size_t)c->classes;
    audit->count = arena_array(audit->job->run, int64_t, cells);
    audit->uncertain = arena_array(audit->job->run, int64_t, cells);
    audit->blank = arena_array(audit->job->run, int64_t, cells);
    for (int64_t i = 0; i < c->rows; i++) {
        size_t base = (size_t)c->split[i] * (size_t)c->classes;
        bool any = false, known = false;
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
            known |= state == LABEL_POSITIVE || state == LABEL_NEGATIVE;
        }
        audit->all_negative[c->split[i]] += !any;
        audit->all_unknown[c->split[i]] += !known;
    }
}

static void json_row(struct audit *audit, const char *key, const int64_t *counts)
{
    json_array(&audit->json, key);
    for (int k = 0; k < audit->corpus->classes; k++)
        json_integer(&audit->json, NULL, counts[k]);
    json_end_array(&audit->json);
}

static void table_of_counts(struct audit *audit)
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
}

void audit_counts(struct audit *audit)
{
    const struct corpus *c = audit->corpus;
    count_labels(audit);
    table_of_counts(audit);
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
            json_integer(&audit->json, "no_known_label", audit->all_unknown[s]);
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

void audit_floors(struct audit *audit)
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

/* A class is off when a split has a third more or less of it than of all images, by more than chance gives: 2.5
 * deviations of a draw without replacement. Where a split has none of it, audit_counts has said so. */
static bool is_off(double count, double expected, double rows, double all)
{
    double share = all > 0 ? rows / all : 0, deviation = sqrt(expected * (1 - share));
    return count > 0 && expected >= 5 && fabs(count - expected) > 2.5 * deviation &&
           (count > 4.0 / 3 * expected || count < 2.0 / 3 * expected);
}

void audit_balance(struct audit *audit)
{
    const struct corpus *c = audit->corpus;
    int off = 0;
    json_object(&audit->json, "balance");
    json_object(&audit->json, "share_of_images");
    for (int s = 0; s < SPLITS; s++)
        json_number(&audit->json, split_name((enum split)s), percent(audit->rows[s], c->rows) / 100);
    json_end_object(&audit->json);
    json_object(&audit->json, "share_of_class");
    for (int k = 0; k < c->classes; k++) {
        int64_t total = 0;
        for (int s = 0; s < SPLITS; s++)
            total += audit->count[s * c->classes + k];
        json_array(&audit->json, c->class_names[k]);
        for (int s = 0; s < SPLITS; s++) {
            double count = (double)audit->count[s * c->classes + k];
            double expected = c->rows ? (double)total * (double)audit->rows[s] / (double)c->rows : 0;
            json_number(&audit->json, NULL, total ? count / (double)total : NAN);
            if (is_off(count, expected, (double)audit->rows[s], (double)c->rows) && off++ < 5)
                NOTE(audit, "%s has %.0f images of '%s', where its share of all images would be %.0f",
                     split_name((enum split)s), count, c->class_names[k], expected);
        }
        json_end_array(&audit->json);
    }
    json_end_object(&audit->json);
    json_integer(&audit->json, "off", off);
    json_end_object(&audit->json);
    if (off > 5)
        NOTE(audit, "%d more classes are far from a split's share (audit.json: balance)", off - 5);
}

void audit_dropped(struct audit *audit)
{
    int64_t unknown = audit->all_unknown[0] + audit->all_unknown[1] + audit->all_unknown[2];
    json_object(&audit->json, "dropped");
    json_bool(&audit->json, "known", audit->rejected >= 0);
    if (audit->rejected >= 0)
        json_integer(&audit->json, "rows_left_out_by_pack", audit->rejected);
    json_integer(&audit->json, "rows_without_known_label", unknown);
    json_end_object(&audit->json);
    if (audit->rejected > 0)
        NOTE(audit, "%lld of %lld rows were left out by pack, since their images cannot be used (rejects.csv)",
             (long long)audit->rejected, (long long)(audit->rejected + audit->corpus->rows));
    if (unknown > 0)
        NOTE(audit, "%lld images have no known label: all are blank or uncertain", (long long)unknown);
}

void audit_sizes(struct audit *audit)
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

/* ---- grey levels ---- */

static int rising(const void *a, const void *b)
{
    return *(const int32_t *)a - *(const int32_t *)b;
}

/* All levels of the corpus in `level`; median of a picture's number of them. Collective. */
static int gather_levels(struct audit *audit, uint64_t level[4])
{
    struct job *job = audit->job;
    struct arena_mark mark = arena_mark(job->scratch);
    uint64_t *all = arena_array(job->scratch, uint64_t, 4 * job->world->size);
    int32_t *count = arena_array(job->scratch, int32_t, audit->corpus->rows + 1);
    for (int64_t i = 0; i < audit->mine.count; i++) {
        for (int k = 0; k < 4; k++)
            level[k] |= audit->appearance[i].level[k];
        count[audit->mine.first + i] = appearance_levels(audit->appearance[i].level);
    }
    world_allgather_rows(job->world, all, level, 1, 4 * sizeof *all);
    for (int r = 0; r < job->world->size; r++)
        for (int k = 0; k < 4; k++)
            level[k] |= all[4 * r + k];
    world_allgather_rows(job->world, count, count + audit->mine.first, audit->mine.count, sizeof *count);
    qsort(count, (size_t)audit->corpus->rows, sizeof *count, rising);
    int median = count[audit->corpus->rows / 2];
    arena_release(job->scratch, mark);
    return median;
}

void audit_levels(struct audit *audit)
{
    uint64_t level[4] = { 0 };
    int median = gather_levels(audit, level), corpus = appearance_levels(level), low = 255, high = 0;
    for (int v = 0; v < 256; v++)
        if (level[v / 64] >> v % 64 & 1) {
            low = v < low ? v : low;
            high = v;
        }
    json_object(&audit->json, "grey_levels");
    json_integer(&audit->json, "of_the_corpus", corpus);
    json_integer(&audit->json, "of_an_image_median", median);
    json_integer(&audit->json, "lowest", corpus ? low : 0);
    json_integer(&audit->json, "highest", high);
    json_integer(&audit->json, "flat_images", audit->near.flat);
    json_end_object(&audit->json);
    text_add(&audit->out, "  grey levels: %d of 256, %d to %d; median image %d\n", corpus, corpus ? low : 0, high,
             median);
    if (corpus > 0 && (corpus <= FEW_LEVELS || median <= FEW_LEVELS / 2))
        NOTE(audit, "few grey levels: %d in the corpus, %d in the median image; were 10 or 12 bits read as 16?", corpus,
             median);
    else if (corpus > 0 && high <= TOP_OF_DARK)
        NOTE(audit, "no image is brighter than level %d of 255; were 10 or 12 bits read as 16?", high);
    if (audit->near.flat)
        NOTE(audit, "%lld images are of one grey level", (long long)audit->near.flat);
}
