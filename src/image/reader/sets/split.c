/* Groups are dealt out one by one, the largest first and those of one size in random order. Each goes where it most
 * lowers sum over splits s and classes c of (have_sc - want_sc)^2 / want_sc, Pearson's chi-square of what the splits
 * hold against what they should: far from the end that is the split whose share is filled least, so large groups spread
 * over all splits; near the end, and for rare classes, the one that a group does not push beyond its share. The many
 * small groups come last and even out what the large ones left. The last
 * groups of a class go to splits that lack it. */
#include "image/reader/sets/split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/arena.h"
#include "image/reader/reader.h"

struct part {           /* a group */
    int64_t first, row; /* in the rows sorted by group; its lowest row */
    int64_t count;
    uint64_t draw;
};
struct deal {
    const struct split_request *request;
    int64_t *row; /* [rows] sorted by group */
    int classes;
    double *want, *have;  /* [SPLITS x classes] rows */
    int64_t *held;        /* [classes] rows of the group at hand */
    int64_t *left;        /* [classes] groups not dealt yet */
    int32_t *kind, kinds; /* [classes] its classes */
};

static int32_t label_of(const struct split_request *request, int64_t row)
{
    return request->label ? request->label[row] : 0;
}

static int by_size(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    if (x->draw != y->draw)
        return x->draw < y->draw ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* Rows sorted by group (a counting sort: numbers are below rows), and the groups in the order of dealing. */
static struct part *find_parts(struct arena *arena, struct deal *deal, int64_t *parts)
{
    const struct split_request *q = deal->request;
    struct part *part = arena_array(arena, struct part, q->rows + 1);
    int64_t *start = arena_array(arena, int64_t, q->rows + 1), at = 0;
    deal->row = arena_array(arena, int64_t, q->rows + 1);
    for (int64_t i = 0; i < q->rows; i++)
        start[q->group ? q->group[i] : i]++;
    *parts = 0;
    for (int64_t g = 0; g < q->rows; g++) {
        int64_t count = start[g];
        start[g] = at;
        if (count > 0)
            part[(*parts)++] = (struct part){ .first = at, .count = count };
        at += count;
    }
    for (int64_t i = 0; i < q->rows; i++)
        deal->row[start[q->group ? q->group[i] : i]++] = i;
    for (int64_t p = 0; p < *parts; p++) {
        part[p].row = deal->row[part[p].first];
        for (int64_t i = part[p].first; i < part[p].first + part[p].count; i++) {
            const char *id = q->id[deal->row[i]];
            part[p].draw ^= XXH3_64bits_withSeed(id, strlen(id), q->seed);
        }
    }
    qsort(part, (size_t)*parts, sizeof *part, by_size);
    return part;
}

static void set_wanted(struct arena *arena, struct deal *deal)
{
    const struct split_request *q = deal->request;
    double share[SPLITS] = { [SPLIT_TRAIN] = 1.0 - q->val_fraction - q->test_fraction,
                             [SPLIT_VAL] = q->val_fraction,
                             [SPLIT_TEST] = q->test_fraction };
    deal->want = arena_array(arena, double, SPLITS * deal->classes);
    deal->have = arena_array(arena, double, SPLITS * deal->classes);
    deal->held = arena_array(arena, int64_t, deal->classes);
    deal->kind = arena_array(arena, int32_t, deal->classes);
    for (int64_t i = 0; i < q->rows; i++)
        for (int s = 0; s < SPLITS; s++)
            deal->want[s * deal->classes + label_of(q, i)] += share[s];
}

static void look_at(struct deal *deal, const struct part *part)
{
    deal->kinds = 0;
    for (int64_t i = part->first; i < part->first + part->count; i++) {
        int32_t c = label_of(deal->request, deal->row[i]);
        if (deal->held[c]++ == 0)
            deal->kind[deal->kinds++] = c;
    }
}

/* What the sum of squares gains when split `s` gets the group at hand. */
static double cost(const struct deal *deal, int s)
{
    double sum = 0.0;
    for (int k = 0; k < deal->kinds; k++) {
        int at = s * deal->classes + deal->kind[k];
        double n = (double)deal->held[deal->kind[k]];
        sum += n * (n + 2.0 * (deal->have[at] - deal->want[at])) / deal->want[at];
    }
    return sum;
}

static bool is_empty(const struct deal *deal, int s, int c)
{
    const int at = s * deal->classes + c;
    return deal->want[at] > 0.0 && deal->have[at] == 0.0;
}

/* A class of the group at hand that has no more groups left than splits that lack it; -1 when there is none. */
static int scarce(const struct deal *deal)
{
    for (int k = 0; k < deal->kinds; k++) {
        int64_t lacking = 0;
        for (int s = 0; s < SPLITS; s++)
            lacking += is_empty(deal, s, deal->kind[k]);
        if (lacking > 0 && deal->left[deal->kind[k]] <= lacking)
            return deal->kind[k];
    }
    return -1;
}

/* The split of least cost, of equal ones the first: of those that want something, or lack the scarce class. */
static int choose(const struct deal *deal)
{
    const int rare = scarce(deal);
    int best = SPLIT_TRAIN;
    double least = INFINITY;
    for (int s = 0; s < SPLITS; s++)
        if (deal->want[s * deal->classes + deal->kind[0]] > 0.0 && (rare < 0 || is_empty(deal, s, rare)) &&
            cost(deal, s) < least) {
            best = s;
            least = cost(deal, s);
        }
    return best;
}

/* How many groups each class occurs in. */
static void count_groups(struct arena *arena, struct deal *deal, const struct part *part, int64_t parts)
{
    deal->left = arena_array(arena, int64_t, deal->classes);
    for (int64_t p = 0; p < parts; p++) {
        look_at(deal, &part[p]);
        for (int k = 0; k < deal->kinds; k++) {
            deal->left[deal->kind[k]]++;
            deal->held[deal->kind[k]] = 0;
        }
    }
}

void split_grouped(struct arena *arena, uint8_t *split, const struct split_request *request)
{
    struct arena_mark mark = arena_mark(arena);
    struct deal deal = { .request = request, .classes = request->label ? request->classes : 1 };
    int64_t parts;
    struct part *part = find_parts(arena, &deal, &parts);
    set_wanted(arena, &deal);
    count_groups(arena, &deal, part, parts);
    for (int64_t p = 0; p < parts; p++) {
        look_at(&deal, &part[p]);
        int s = choose(&deal);
        for (int k = 0; k < deal.kinds; k++) {
            deal.have[s * deal.classes + deal.kind[k]] += (double)deal.held[deal.kind[k]];
            deal.left[deal.kind[k]]--;
            deal.held[deal.kind[k]] = 0;
        }
        for (int64_t i = part[p].first; i < part[p].first + part[p].count; i++)
            split[deal.row[i]] = (uint8_t)s;
    }
    arena_release(arena, mark);
}

/* ---- what is asked for ---- */

static const char *asked(const struct reading *reading)
{
    return config_choice("pack.split", (int)reading->request->pack->split);
}

/* lesion or patient, when the reader's groups are not the other. */
static bool check_kind(struct reading *reading, const struct manifest *out)
{
    const char *wanted = asked(reading), *kind = reading->group_kind;
    if (!out->group)
        return reading_fail(reading, EXIT_BAD_CONFIG,
                            "pack.split: %s, but %s does not say which images belong together\n"
                            "set pack.group: to the column of the table pack.labels that does",
                            wanted, out->source);
    return !kind || strcmp(kind, wanted) == 0 ||
           reading_fail(reading, EXIT_BAD_CONFIG, "pack.split: %s, but %s groups its images by %s\nset pack.split: %s",
                        wanted, out->source, kind, kind);
}

static bool make_split(struct reading *reading, struct manifest *out)
{
    const struct pack_config *pack = reading->request->pack;
    const bool tenths = reading->request->default_fractions;
    const struct split_request request = { .rows = out->rows,
                                           .id = out->id,
                                           .group = out->group,
                                           .label = out->label,
                                           .classes = out->classes,
                                           .val_fraction = tenths ? 0.1 : pack->val_fraction,
                                           .test_fraction = tenths ? 0.1 : pack->test_fraction };
    if (request.val_fraction + request.test_fraction >= 1.0)
        return reading_fail(reading, EXIT_BAD_CONFIG,
                            "pack.val_fraction + pack.test_fraction is %g; expected less than 1",
                            request.val_fraction + request.test_fraction);
    split_grouped(reading->arena, out->split, &request);
    const char *kind = !out->group ? "image" : reading->group_kind ? reading->group_kind : "group";
    reading_note(reading,
                 "splits: whole %ss, %s %g : %g : %g (pack.split: lesion, patient, published or hash; "
                 "pack.val_fraction, pack.test_fraction)",
                 kind, out->label ? "every class" : "images", 1.0 - request.val_fraction - request.test_fraction,
                 request.val_fraction, request.test_fraction);
    return true;
}

bool reading_split(struct reading *reading, struct manifest *out)
{
    reading->split_made = true;
    return reading->request->pack->split != SPLIT_BY_AUTO || make_split(reading, out); /* else as asked, afterwards */
}

/* A group goes where the name of its first image goes, so that it stays whole. */
static void split_by_hash(struct reading *reading, struct manifest *out)
{
    const struct pack_config *pack = reading->request->pack;
    const char **name = arena_array(reading->arena, const char *, out->rows + 1);
    for (int64_t i = 0; i < out->rows; i++) {
        int64_t group = out->group ? out->group[i] : i;
        name[group] = name[group] ? name[group] : out->id[i];
        out->split[i] = manifest_hash_split(name[group], pack->val_fraction, pack->test_fraction);
    }
    reading_note(reading, "splits: by the hash of the name%s, as pack.split asks",
                 out->group ? " of the first image of each group" : "");
}

bool reading_split_asked(struct reading *reading, struct manifest *out)
{
    const struct pack_config *pack = reading->request->pack;
    switch (pack->split) {
    case SPLIT_BY_AUTO:
        return true;
    case SPLIT_BY_SOURCE:
        return !reading->split_made ||
               reading_fail(reading, EXIT_BAD_DATA,
                            "pack.split: published, but %s has no splits of its own; expected them "
                            "in the data folder",
                            out->source);
    case SPLIT_BY_HASH:
        split_by_hash(reading, out);
        return true;
    default:
        return check_kind(reading, out) && make_split(reading, out);
    }
}
