/* Objectives: gains of candidates and the state that picks leave, leaf by leaf
 * of the rows (the candidates' own rows for those marked `owner`). Reconstruction
 * lives in reconstruction.c; which candidate to take is left to greedy.c. */
#include "concept/objective.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "concept/select/reconstruction.h"
#include "dist/tree.h"
#include "dist/world.h"

struct term {
    struct term_spec spec;
    struct similarities *similarities;
    struct residual *residual;
    double **state, **extra; /* [leaves][leaf rows] */
};

/* Facility location: state = similarity to the nearest pick. Rounding keeps order, so no term and no sum grows. */
static double facility_gain(const float *restrict sim, const double *restrict nearest, const double *extra,
                            int64_t rows, double parameter)
{
    (void)extra, (void)parameter;
    double gain = 0;
#pragma omp simd reduction(+ : gain)
    for (int64_t j = 0; j < rows; j++) {
        double more = (double)sim[j] - nearest[j];
        gain += more > 0 ? more : 0;
    }
    return gain;
}

static void facility_take(double *nearest, double *extra, const float *sim, int64_t rows, double parameter)
{
    (void)extra, (void)parameter;
    for (int64_t j = 0; j < rows; j++)
        nearest[j] = nearest[j] > (double)sim[j] ? nearest[j] : (double)sim[j];
}

/* Feature-based: state = sum over the picks, extra = phi of it. */
#define FEATURE(name, phi)                                                                                             \
    static double name##_gain(const float *restrict x, const double *restrict sum, const double *restrict before,      \
                              int64_t rows, double parameter)                                                          \
    {                                                                                                                  \
        (void)parameter;                                                                                               \
        double gain = 0;                                                                                               \
        for (int64_t j = 0; j < rows; j++)                                                                             \
            gain += phi(sum[j] + (double)x[j]) - before[j];                                                            \
        return gain;                                                                                                   \
    }                                                                                                                  \
    static void name##_take(double *sum, double *after, const float *x, int64_t rows, double parameter)                \
    {                                                                                                                  \
        (void)parameter;                                                                                               \
        for (int64_t j = 0; j < rows; j++)                                                                             \
            after[j] = phi(sum[j] += (double)x[j]);                                                                    \
    }

static double sigmoid(double x)
{
    return x / (1 + x);
}

FEATURE(sqrt, sqrt)
FEATURE(log1p, log1p)
FEATURE(sigmoid, sigmoid)

static double least(double a, double b)
{
    return a < b ? a : b;
}

/* Coverage: state = sum over the picks, a cap for all rows or (extra) for each. */
static double max_gain(const float *restrict x, const double *restrict sum, const double *extra, int64_t rows,
                       double cap)
{
    (void)extra;
    double gain = 0;
    for (int64_t j = 0; j < rows; j++)
        gain += least(sum[j] + (double)x[j], cap) - least(sum[j], cap);
    return gain;
}

static double saturated_gain(const float *restrict sim, const double *restrict sum, const double *restrict cap,
                             int64_t rows, double parameter)
{
    (void)parameter;
    double gain = 0;
    for (int64_t j = 0; j < rows; j++)
        gain += least(sum[j] + (double)sim[j], cap[j]) - least(sum[j], cap[j]);
    return gain;
}

static void sum_take(double *sum, double *extra, const float *sim, int64_t rows, double parameter)
{
    (void)extra, (void)parameter;
    for (int64_t j = 0; j < rows; j++)
        sum[j] += (double)sim[j];
}

/* Graph cut and redundancy: state starts at s_jj and gains 2 s_pj with a pick p; extra = total of row j. */
static double cut_own(double state, double total, double alpha)
{
    return alpha * total - state;
}

static double redundancy_own(double state, double extra, double parameter)
{
    (void)extra, (void)parameter;
    return -state;
}

static void twice_take(double *sum, double *extra, const float *sim, int64_t rows, double parameter)
{
    (void)extra, (void)parameter;
    for (int64_t j = 0; j < rows; j++)
        sum[j] += 2 * (double)sim[j];
}

static const struct objective OBJECTIVES[] = {
    { .name = "facility_location",
      .rows = ROWS_ANY,
      .falls = true,
      .exact = true,
      .gain = facility_gain,
      .take = facility_take },
    { .name = "feature_sqrt",
      .word = "feature_based",
      .by_concave = true,
      .concave = CONCAVE_SQRT,
      .rows = ROWS_ENTRIES,
      .needs_positive = true,
      .falls = true,
      .gain = sqrt_gain,
      .take = sqrt_take },
    { .name = "feature_log1p",
      .word = "feature_based",
      .by_concave = true,
      .concave = CONCAVE_LOG1P,
      .rows = ROWS_ENTRIES,
      .needs_positive = true,
      .falls = true,
      .gain = log1p_gain,
      .take = log1p_take },
    { .name = "feature_sigmoid",
      .word = "feature_based",
      .by_concave = true,
      .concave = CONCAVE_SIGMOID,
      .rows = ROWS_ENTRIES,
      .needs_positive = true,
      .falls = true,
      .gain = sigmoid_gain,
      .take = sigmoid_take },
    { .name = "max_coverage",
      .rows = ROWS_ENTRIES,
      .needs_positive = true,
      .takes_parameter = true,
      .parameter = 1,
      .falls = true,
      .gain = max_gain,
      .take = sum_take },
    { .name = "saturated_coverage",
      .rows = ROWS_SQUARE,
      .needs_positive = true,
      .takes_parameter = true,
      .parameter = 0.1,
      .falls = true,
      .extra = EXTRA_SHARE,
      .gain = saturated_gain,
      .take = sum_take },
    { .name = "graph_cut",
      .rows = ROWS_SQUARE,
      .needs_positive = true,
      .takes_parameter = true,
      .parameter = 1,
      .falls = true,
      .extra = EXTRA_TOTAL,
      .own = cut_own,
      .take = twice_take },
    { .name = "sum_redundancy",
      .rows = ROWS_SQUARE,
      .needs_positive = true,
      .falls = true,
      .own = redundancy_own,
      .take = twice_take },
    { .name = "modular",
      .word = "mutual_information",
      .rows = ROWS_NONE,
      .needs_scores = true,
      .falls = true,
      .exact = true },
    { .name = "reconstruction", .rows = ROWS_NONE, .needs_moment = true, .parameter = 0.01 },
};
enum { OBJECTIVES_COUNT = sizeof OBJECTIVES / sizeof *OBJECTIVES };
_Static_assert((int)OBJECTIVES_COUNT <= (int)OBJECTIVE_WORDS, "OBJECTIVE_WORDS has room for all");

const struct objective *objective_find(const char *name)
{
    for (int i = 0; i < OBJECTIVES_COUNT; i++)
        if (strcmp(OBJECTIVES[i].name, name) == 0)
            return &OBJECTIVES[i];
    return NULL;
}

static const char *word_of(const struct objective *o)
{
    return o->word ? o->word : o->name;
}

const struct objective *objective_of(const char *word, enum concave concave)
{
    for (int i = 0; i < OBJECTIVES_COUNT; i++) {
        const struct objective *o = &OBJECTIVES[i];
        if (strcmp(word_of(o), word) == 0 && (!o->by_concave || o->concave == concave))
            return o;
    }
    return NULL;
}

int objective_words(const char *words[OBJECTIVE_WORDS])
{
    int count = 0;
    for (int i = 0; i < OBJECTIVES_COUNT; i++)
        if (i == 0 ||
            strcmp(word_of(&OBJECTIVES[i]), word_of(&OBJECTIVES[i - 1])) != 0) /* rows of a word are together */
            words[count++] = word_of(&OBJECTIVES[i]);
    return count;
}

/* What is wrong with an objective on its similarity, or NULL; the text lives until the next call. */
static const char *misfit(const struct term *t)
{
    static char text[160];
    const struct objective *o = t->spec.objective;
    const char *name = t->spec.similarity->name;
    bool square = t->spec.similarity->is_square;
    *text = '\0';
    if (o->rows == ROWS_SQUARE && !square)
        snprintf(text, sizeof text, "%s needs similarities between vectors, found %s", o->name, name);
    else if (o->rows == ROWS_ENTRIES && square)
        snprintf(text, sizeof text, "%s needs the entries of the vectors (features), found %s", o->name, name);
    else if (o->needs_positive && t->similarities->negative)
        snprintf(text, sizeof text, "%s needs entries >= 0, but some are negative", o->name);
    return *text ? text : NULL;
}

/* State of the empty selection. */
static void start(struct term *t, struct arena *arena)
{
    struct similarities *c = t->similarities;
    t->state = arena_array(arena, double *, c->leaves + 1);
    t->extra = arena_array(arena, double *, c->leaves + 1);
    for (int l = 0; l < c->leaves; l++) {
        t->state[l] = arena_array(arena, double, c->leaf[l].count);
        t->extra[l] = arena_array(arena, double, c->leaf[l].count);
    }
    const struct objective *o = t->spec.objective;
    if (o->extra != EXTRA_ZERO || o->own)
        similarities_totals(c, arena, o->extra == EXTRA_ZERO ? NULL : t->extra, o->own ? t->state : NULL);
    for (int l = 0; l < c->leaves && o->extra == EXTRA_SHARE; l++)
        for (int64_t j = 0; j < c->leaf[l].count; j++)
            t->extra[l][j] *= t->spec.parameter;
}

/* Another member's matrix of the same similarity, or a new one. */
static struct similarities *similarities_of(struct goal *g, struct arena *arena, const struct ground *ground,
                                            const struct similarity *similarity, int before, bool store)
{
    for (int t = 0; t < before; t++)
        if (g->term[t].similarities && g->term[t].spec.similarity == similarity)
            return g->term[t].similarities;
    struct similarities *c = similarities_create(arena, g->world, similarity, ground, store);
    g->bytes += c->bytes;
    return c;
}

struct goal *goal_create(struct arena *arena, struct world *world, const struct ground *ground,
                         const struct term_spec *spec, int terms, bool store, const char **why)
{
    struct goal *g = arena_array(arena, struct goal, 1);
    *g = (struct goal){ .world = world, .n = ground->n, .terms = terms, .falls = true, .exact = true };
    g->term = arena_array(arena, struct term, terms);
    for (int m = 0; m < terms; m++) {
        struct term *t = &g->term[m];
        t->spec = spec[m];
        g->falls = g->falls && spec[m].objective->falls;
        g->exact = g->exact && spec[m].objective->exact && terms == 1;
        if (spec[m].objective->rows != ROWS_NONE)
            t->similarities = similarities_of(g, arena, ground, spec[m].similarity, m, store);
        *why = t->similarities ? misfit(t) : NULL;
        double finite = !t->similarities || t->similarities->finite;
        if (world->size > 1)
            world_min_f64(world, &finite, 1);
        if (!*why && !(finite > 0))
            *why = "the vectors hold NaN, Inf, or entries too large to multiply";
        if (*why)
            return NULL;
        if (t->similarities)
            start(t, arena);
        else if (spec[m].objective->needs_moment)
            t->residual = residual_create(arena, world, ground, spec[m].moment, spec[m].parameter);
    }
    return g;
}

/* Gains of the candidates whose own row is in the leaf; zeros elsewhere add nothing. */
static void own_gains(double *gains, const struct term *t, int leaf, const int64_t *list, int64_t count)
{
    struct span rows = t->similarities->leaf[leaf];
    for (int64_t i = 0; i < count; i++) {
        int64_t here = list[i] - rows.first;
        bool mine = here >= 0 && here < rows.count;
        gains[i] = mine ? t->spec.objective->own(t->state[leaf][here], t->extra[leaf][here], t->spec.parameter) : 0;
    }
}

/* Parts of the gains of one leaf, candidates at..at+count of the block. */
static void leaf_gains(double *gains, const struct term *t, int leaf, const struct block *block, int64_t at,
                       int64_t count)
{
    if (t->spec.objective->own) {
        own_gains(gains, t, leaf, block->list + at, count);
        return;
    }
    int64_t rows = t->similarities->leaf[leaf].count;
    for (int64_t i = 0; i < count; i++)
        gains[i] = t->spec.objective->gain(block->sim + (block->place ? block->place[at + i] : at + i) * block->stride,
                                           t->state[leaf], t->extra[leaf], rows, t->spec.parameter);
}

/* Threads share the candidates of a block in groups; each group goes leaf by leaf, so that a leaf's state stays near.
 * In tiles, where a leaf is formed by all threads together, leaves `first` to `end` are one. */
enum { GROUP = 4, THREAD_FROM = 1 << 18 /* gains below 30 us: waiting for another thread costs more */ };
static void block_gains(double *stack, const struct term *t, const struct block *block, int first, int end)
{
    const struct similarities *c = t->similarities;
    int64_t count = block->count, rows = end > first ? (end - first) * c->leaf[first].count : 0;
#pragma omp parallel for schedule(dynamic, 1) if (count * rows > THREAD_FROM)
    for (int64_t at = 0; at < count; at += GROUP) {
        struct block own = *block;
        int64_t part = count - at < GROUP ? count - at : GROUP;
        for (int l = first; l < end; l++) {
            if (c->sim)
                similarities_leaf(&own, l);
            leaf_gains(stack + tree_slot(c->tree, l) * count + at, t, l, &own, at, part);
            tree_fold_f64(c->tree, l, stack + at, part, count);
        }
    }
}

/* Gains of one member over the fixed tree. */
static void term_gains(double *gains, struct term *t, const int64_t *list, int64_t count, struct arena *scratch)
{
    struct similarities *c = t->similarities;
    bool own = t->spec.objective->own;
    int64_t most = own ? count : similarities_block(c, count);
    double *stack = arena_take_raw(scratch, (size_t)(tree_depth(c->tree) * most), sizeof *stack);
    for (int64_t at = 0; at < count; at += most) {
        int64_t part = count - at < most ? count - at : most;
        struct block block = { .similarities = c, .list = list + at, .count = part };
        if (!own)
            block = similarities_open(c, list + at, part);
        if (own || c->sim)
            block_gains(stack, t, &block, 0, c->leaves);
        for (int l = 0; !own && !c->sim && l < c->leaves; l++) {
            similarities_leaf(&block, l);
            block_gains(stack, t, &block, l, l + 1);
        }
        tree_sum_nodes_f64(c->tree, gains + at, stack, part, part);
    }
}

void goal_gains(double *gains, struct goal *g, const int64_t *list, int64_t count, struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    double *part = g->terms > 1 ? arena_take_raw(scratch, (size_t)count, sizeof *part) : gains;
    for (int m = 0; m < g->terms; m++) {
        struct term *t = &g->term[m];
        if (t->similarities)
            term_gains(part, t, list, count, scratch);
        else if (t->residual)
            residual_gains(part, t->residual, list, count);
        else
            for (int64_t i = 0; i < count; i++)
                part[i] = t->spec.score[list[i]];
        for (int64_t i = 0; i < count; i++) {
            double gain = t->spec.weight == 1 ? part[i] : t->spec.weight * part[i];
            gains[i] = m == 0 ? gain : gains[i] + gain;
            require(!isnan(gains[i]), EXIT_INTERNAL, "select: the gain of candidate %lld is not a number",
                    (long long)list[i]);
        }
    }
    arena_release(scratch, mark);
}

void goal_take(struct goal *g, int64_t cand)
{
    for (int m = 0; m < g->terms; m++) {
        struct term *t = &g->term[m];
        if (t->residual)
            residual_take(t->residual, cand);
        if (!t->similarities)
            continue;
        struct block block = similarities_open(t->similarities, &cand, 1);
        for (int l = 0; l < t->similarities->leaves; l++) {
            int64_t rows = t->similarities->leaf[l].count;
            similarities_leaf(&block, l);
            t->spec.objective->take(t->state[l], t->extra[l], block.sim + (block.place ? cand : 0) * block.stride, rows,
                                    t->spec.parameter);
        }
    }
}
