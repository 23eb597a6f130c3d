/* The search for near-identical pictures: bands of hashes propose pairs, thumbnails decide. What decides about a pair
 * is a function of all hashes and of the thumbnails it names, so ranks may share the work as they like. */
#include "image/near_copies.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "dist/world.h"
#include "image/decode.h"
#include "image/loader.h"
#include "image/resize.h"
#include "math/vec.h"

enum {
    WINDOW = 4096, /* rows compared with one, a band */
    MOST_BITS = 8, /* of a band */
    NEAREST = 32,  /* of a row that are compared by thumbnail, a band */
    CROWD = 6,     /* look-alikes beyond which a pair has to stand out */
    SHARED = 16,   /* of them that say what is common */
    PAIRS = 4096,  /* compared between two exchanges of thumbnails */
    CROWD_PAIRS = 512,
    CHECKED = 32,  /* read once more at a time */
    SAMPLE = 16384 /* rows that the median of a frequency is taken from */
};

struct search {
    struct world *world;
    struct arena *arena, *scratch;
    const struct near_rows *rows;
    struct likeness_code *code; /* [N] */
    int64_t *place;             /* [places] rows that take part */
    int64_t places, flat;
    struct near_pair *found; /* of this rank, then of all */
    int64_t count, room;
};

/* Median of each frequency over rows at even distances. */
static void find_medians(float *median, struct search *s)
{
    const struct near_rows *r = s->rows;
    int64_t step = r->rows > SAMPLE ? (r->rows + SAMPLE - 1) / SAMPLE : 1, taken = 0;
    int64_t first = (r->mine.first + step - 1) / step * step, total = (r->rows + step - 1) / step;
    struct arena_mark mark = arena_mark(s->scratch);
    float *local = arena_array(s->scratch, float, (r->mine.count + 1) * LIKENESS_FREQUENCIES);
    float *all = arena_array(s->scratch, float, (total + 1) * LIKENESS_FREQUENCIES);
    double *column = arena_array(s->scratch, double, total + 1);
    for (int64_t row = first; row < r->mine.first + r->mine.count; row += step)
        memcpy(local + taken++ * LIKENESS_FREQUENCIES, r->of[row - r->mine.first].frequency, sizeof r->of->frequency);
    world_allgather_rows(s->world, all, local, taken, sizeof r->of->frequency);
    for (int k = 0; k < LIKENESS_FREQUENCIES; k++) {
        for (int64_t i = 0; i < total; i++)
            column[i] = (double)all[i * LIKENESS_FREQUENCIES + k];
        median[k] = (float)vec_median(column, total);
    }
    arena_release(s->scratch, mark);
}

static void share_codes(struct search *s)
{
    const struct near_rows *r = s->rows;
    float median[LIKENESS_FREQUENCIES];
    find_medians(median, s);
    s->code = arena_array(s->arena, struct likeness_code, r->rows + 1);
    for (int64_t i = 0; i < r->mine.count; i++)
        s->code[r->mine.first + i] = likeness_encode(&r->of[i], median);
    world_allgather_rows(s->world, s->code, s->code + r->mine.first, r->mine.count, sizeof *s->code);
    s->place = arena_array(s->arena, int64_t, r->rows + 1);
    for (int64_t i = 0; i < r->rows; i++) {
        if (r->left_out && r->left_out[i])
            continue;
        s->flat += s->code[i].flat;
        if (!s->code[i].flat)
            s->place[s->places++] = i;
    }
}

/* ---- candidates ---- */

struct turned {
    uint64_t hash;
    int64_t row;
};
static int by_hash(const void *a, const void *b)
{
    const struct turned *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

struct nearest {
    int count;
    int distance[NEAREST], bits[NEAREST];
    int64_t row[NEAREST];
};

/* Keeps the nearest; among equals the lowest row. */
static void keep(struct nearest *n, int distance, int bits, int64_t row)
{
    int at = n->count;
    while (at > 0 && (n->distance[at - 1] > distance || (n->distance[at - 1] == distance && n->row[at - 1] > row)))
        at--;
    if (at == NEAREST)
        return;
    int last = n->count < NEAREST ? n->count++ : NEAREST - 1;
    for (int i = last; i > at; i--) {
        n->distance[i] = n->distance[i - 1];
        n->bits[i] = n->bits[i - 1];
        n->row[i] = n->row[i - 1];
    }
    n->distance[at] = distance;
    n->bits[at] = bits;
    n->row[at] = row;
}

/* Candidates of the row at place i among those that follow it. */
static void look_ahead(struct nearest *out, const struct search *s, const struct turned *sorted, int64_t i, int width)
{
    const struct likeness_code *own = &s->code[sorted[i].row];
    int64_t end = i + 1 + WINDOW < s->places ? i + 1 + WINDOW : s->places;
    out->count = 0;
    for (int64_t j = i + 1; j < end; j++) {
        if (width > 0 && (sorted[i].hash ^ sorted[j].hash) >> (64 - width))
            break;
        int bits, distance = likeness_distance(&bits, own, &s->code[sorted[j].row]);
        if (distance >= 0)
            keep(out, distance, bits, sorted[j].row);
    }
}

/* Pairs that this rank's places propose in one band; scratch. */
static int64_t propose(struct near_pair **out, struct search *s, int band, int width)
{
    struct turned *sorted = arena_array(s->scratch, struct turned, s->places + 1);
    int turn = band * width;
    for (int64_t i = 0; i < s->places; i++) {
        uint64_t hash = s->code[s->place[i]].hash;
        sorted[i] = (struct turned){ turn ? hash << turn | hash >> (64 - turn) : hash, s->place[i] };
    }
    qsort(sorted, (size_t)s->places, sizeof *sorted, by_hash);
    struct span mine = shard_rows(s->places, s->world->size, s->world->rank);
    struct nearest *nearest = arena_take_raw(s->scratch, (size_t)mine.count + 1, sizeof *nearest);
#pragma omp parallel for schedule(dynamic, 64) num_threads(s->world->threads > 0 ? s->world->threads : 1)
    for (int64_t i = 0; i < mine.count; i++)
        look_ahead(&nearest[i], s, sorted, mine.first + i, width);
    int64_t total = 0;
    for (int64_t i = 0; i < mine.count; i++)
        total += nearest[i].count;
    struct near_pair *pair = *out = arena_take_raw(s->scratch, (size_t)total + 1, sizeof *pair);
    for (int64_t i = 0; i < mine.count; i++)
        for (int k = 0; k < nearest[i].count; k++) {
            int64_t a = sorted[mine.first + i].row, b = nearest[i].row[k];
            const int ra = s->code[a].resolution, rb = s->code[b].resolution;
            *pair++ = (struct near_pair){ .first = a < b ? a : b,
                                          .second = a < b ? b : a,
                                          .bits = nearest[i].bits[k],
                                          .resolution = ra < rb ? ra : rb };
        }
    return total;
}

/* ---- thumbnails ---- */

static void add(struct search *s, const struct near_pair *pair)
{
    if (s->count == s->room) {
        struct near_pair *before = s->found;
        s->room = 2 * s->room + PAIRS;
        s->found = arena_take_raw(s->arena, (size_t)s->room, sizeof *s->found);
        if (before)
            memcpy(s->found, before, (size_t)s->count * sizeof *before);
    }
    s->found[s->count++] = *pair;
}

static int64_t most_of_all(struct search *s, int64_t count)
{
    double most = (double)count;
    world_max_f64(s->world, &most, 1);
    return (int64_t)most;
}

/* Of the pairs proposed, those whose thumbnails agree. Ranks exchange thumbnails equally often. */
static void decide(struct search *s, struct near_pair *pair, int64_t count)
{
    struct arena_mark mark = arena_mark(s->scratch);
    uint8_t *picture = arena_take_raw(s->scratch, 2 * PAIRS, LIKENESS_PIXELS);
    int64_t *row = arena_array(s->scratch, int64_t, 2 * PAIRS);
    bool *agree_ = arena_array(s->scratch, bool, PAIRS);
    for (int64_t first = 0, most = most_of_all(s, count); first < most; first += PAIRS) {
        int64_t n = first >= count ? 0 : count - first < PAIRS ? count - first : PAIRS;
        for (int64_t i = 0; i < n; i++) {
            row[2 * i] = pair[first + i].first;
            row[2 * i + 1] = pair[first + i].second;
        }
        world_fetch_rows(s->world, picture, row, 2 * n, s->rows->thumbnail, s->rows->mine.first, s->rows->mine.count,
                         LIKENESS_PIXELS);
#pragma omp parallel for schedule(static) num_threads(s->world->threads > 0 ? s->world->threads : 1)
        for (int64_t i = 0; i < n; i++)
            agree_[i] = likeness_agree(&pair[first + i].correlation, picture + 2 * i * LIKENESS_PIXELS,
                                       picture + (2 * i + 1) * LIKENESS_PIXELS, pair[first + i].resolution);
        for (int64_t i = 0; i < n; i++)
            if (agree_[i])
                add(s, &pair[first + i]);
    }
    arena_release(s->scratch, mark);
}

static int by_rows(const void *a, const void *b)
{
    const struct near_pair *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return (x->second > y->second) - (x->second < y->second);
}

/* Pairs of all ranks on every rank, each once, in order. */
static void gather(struct search *s)
{
    int64_t total = s->count, kept = 0;
    world_sum_i64(s->world, &total, 1);
    struct near_pair *all = arena_take_raw(s->arena, (size_t)total + 1, sizeof *all);
    world_allgather_rows(s->world, all, s->found, s->count, sizeof *all);
    qsort(all, (size_t)total, sizeof *all, by_rows);
    for (int64_t i = 0; i < total; i++)
        if (kept == 0 || by_rows(&all[kept - 1], &all[i]) != 0)
            all[kept++] = all[i];
    s->found = all;
    s->count = kept;
}

/* ---- crowds ---- */

/* Of rows with more look-alikes than CROWD: the first SHARED of them. */
struct crowd {
    int32_t *size;    /* [N] look-alikes of a row */
    int32_t *index;   /* [N] among crowded rows, or -1 */
    int64_t *partner; /* [crowded x SHARED] */
    int64_t rows;
};

static struct crowd find_crowds(struct search *s)
{
    struct crowd c = { .size = arena_array(s->scratch, int32_t, s->rows->rows + 1),
                       .index = arena_array(s->scratch, int32_t, s->rows->rows + 1) };
    for (int64_t i = 0; i < s->count; i++) {
        c.size[s->found[i].first]++;
        c.size[s->found[i].second]++;
    }
    for (int64_t row = 0; row < s->rows->rows; row++)
        c.index[row] = c.size[row] > CROWD ? (int32_t)c.rows++ : -1;
    c.partner = arena_array(s->scratch, int64_t, (c.rows + 1) * SHARED);
    int32_t *held = arena_array(s->scratch, int32_t, c.rows + 1);
    for (int64_t i = 0; i < s->count; i++) {
        const int64_t end[2] = { s->found[i].first, s->found[i].second };
        for (int k = 0; k < 2; k++) {
            int32_t at = c.index[end[k]];
            if (at >= 0 && held[at] < SHARED)
                c.partner[at * SHARED + held[at]++] = end[1 - k];
        }
    }
    return c;
}

/* Rows that say what the two of a pair have in common with their crowd: SHARED - 1 at most, none of the two. */
static int bystanders(int64_t *out, const struct crowd *c, const struct near_pair *p)
{
    int64_t of = c->size[p->first] >= c->size[p->second] ? p->first : p->second;
    int held = c->size[of] < SHARED ? c->size[of] : SHARED, count = 0;
    for (int k = 0; k < held; k++) {
        int64_t row = c->partner[(int64_t)c->index[of] * SHARED + k];
        if (row != p->first && row != p->second)
            out[count++] = row;
    }
    return count;
}

/* stays [n] of pairs first .. first + n - 1 of this rank: those that are no matter of a crowd, or stand out of it. */
static void thin(struct search *s, const struct crowd *c, const struct near_pair *pair, int64_t n, uint8_t *stays)
{
    enum { EACH = 2 + SHARED };
    struct arena_mark mark = arena_mark(s->scratch);
    int64_t *row = arena_array(s->scratch, int64_t, n * EACH + 1), rows = 0;
    int64_t *at = arena_array(s->scratch, int64_t, n + 1);
    int *others = arena_array(s->scratch, int, n + 1);
    for (int64_t i = 0; i < n; i++) {
        at[i] = rows;
        if (c->index[pair[i].first] < 0 && c->index[pair[i].second] < 0)
            continue;
        row[rows] = pair[i].first;
        row[rows + 1] = pair[i].second;
        others[i] = bystanders(row + rows + 2, c, &pair[i]);
        rows += 2 + others[i];
    }
    uint8_t *picture = arena_take_raw(s->scratch, (size_t)rows + 1, LIKENESS_PIXELS);
    world_fetch_rows(s->world, picture, row, rows, s->rows->thumbnail, s->rows->mine.first, s->rows->mine.count,
                     LIKENESS_PIXELS);
#pragma omp parallel for schedule(dynamic, 8) num_threads(s->world->threads > 0 ? s->world->threads : 1)
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *p = picture + at[i] * LIKENESS_PIXELS, *other[SHARED];
        for (int k = 0; k < others[i]; k++)
            other[k] = p + (2 + k) * LIKENESS_PIXELS;
        stays[i] = others[i] == 0 || likeness_stands_out(p, p + LIKENESS_PIXELS, other, others[i]);
    }
    arena_release(s->scratch, mark);
}

/* Of pairs in a crowd, keeps those that stand out. Returns the crowded rows. */
static int64_t thin_crowds(struct search *s)
{
    struct arena_mark mark = arena_mark(s->scratch);
    struct crowd crowd = find_crowds(s);
    int64_t kept = 0;
    if (crowd.rows > 0) {
        struct span mine = shard_rows(s->count, s->world->size, s->world->rank);
        uint8_t *stays = arena_array(s->scratch, uint8_t, s->count + 1);
        for (int64_t first = 0, most = most_of_all(s, mine.count); first < most; first += CROWD_PAIRS) {
            int64_t left = mine.count - first, n = left < 0 ? 0 : left < CROWD_PAIRS ? left : CROWD_PAIRS;
            int64_t at = n > 0 ? mine.first + first : 0;
            thin(s, &crowd, s->found + at, n, stays + at);
        }
        world_allgather_rows(s->world, stays, stays + mine.first, mine.count, 1);
        for (int64_t i = 0; i < s->count; i++)
            if (stays[i])
                s->found[kept++] = s->found[i];
        s->count = kept;
    }
    arena_release(s->scratch, mark);
    return crowd.rows;
}

/* ---- once more, at the size of the files ---- */

struct fine {
    uint8_t *picture; /* [2 x CHECKED x 256 x 256] */
    const int *side;  /* [CHECKED] */
};

static void look_finely(void *data, struct arena *scratch, const struct image *picture, int64_t i)
{
    const struct fine *f = data;
    const int side = f->side[i / 2], most = 4 * LIKENESS_SIDE;
    const uint8_t *luma = likeness_luma(scratch, picture);
    resize_image(scratch, f->picture + i * most * most, side, side, luma, picture->height, picture->width, 1,
                 FILTER_BILINEAR);
}

/* stays [n]: of pairs [n], those that agree or are too small to tell. Local. */
static void check_finely(uint8_t *stays, struct arena *scratch, struct loader *loader, const struct near_pair *pair,
                         int n)
{
    enum { MOST = 4 * LIKENESS_SIDE };
    struct arena_mark mark = arena_mark(scratch);
    int64_t row[2 * CHECKED];
    int side[CHECKED], which[CHECKED], count = 0;
    for (int i = 0; i < n; i++) {
        stays[i] = 1;
        side[count] = likeness_fine_side(pair[i].resolution);
        if (side[count] == 0)
            continue;
        row[2 * count] = pair[i].first;
        row[2 * count + 1] = pair[i].second;
        which[count++] = i;
    }
    struct fine fine = { arena_take_raw(scratch, 2 * CHECKED, MOST * MOST), side };
    loader_each(loader, row, 2 * count, look_finely, &fine);
    for (int k = 0; k < count; k++) {
        const uint8_t *a = fine.picture + (int64_t)(2 * k) * MOST * MOST;
        stays[which[k]] = likeness_agree_finely(scratch, a, a + MOST * MOST, side[k]);
    }
    arena_release(scratch, mark);
}

void near_confirm(struct near_found *found, struct world *world, struct arena *arena, struct arena *scratch,
                  struct loader *loader)
{
    struct near_pair *kept = arena_array(arena, struct near_pair, found->count + 1);
    uint8_t *stays = arena_array(arena, uint8_t, found->count + 1);
    struct span mine = shard_rows(found->count, world->size, world->rank);
    for (int64_t first = 0; first < mine.count; first += CHECKED) {
        int n = mine.count - first < CHECKED ? (int)(mine.count - first) : CHECKED;
        check_finely(stays + mine.first + first, scratch, loader, found->pair + mine.first + first, n);
    }
    world_allgather_rows(world, stays, stays + mine.first, mine.count, 1);
    int64_t count = 0;
    for (int64_t i = 0; i < found->count; i++)
        if (stays[i])
            kept[count++] = found->pair[i];
    found->pair = kept;
    found->count = count;
}

struct near_found near_copies(struct world *world, struct arena *arena, struct arena *scratch,
                              const struct near_rows *rows)
{
    struct search s = { .world = world, .arena = arena, .scratch = scratch, .rows = rows };
    share_codes(&s);
    int width = 0;
    while (width < MOST_BITS && s.places >> width > WINDOW)
        width++;
    for (int band = 0; band < (width ? 64 / width : 1); band++) {
        struct arena_mark mark = arena_mark(scratch);
        struct near_pair *pair;
        int64_t count = propose(&pair, &s, band, width);
        decide(&s, pair, count);
        arena_release(scratch, mark);
    }
    gather(&s);
    int64_t crowded = thin_crowds(&s);
    return (struct near_found){ .count = s.count, .pair = s.found, .flat = s.flat, .crowded = crowded };
}
