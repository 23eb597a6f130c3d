/* Logistic regression on a few standardised features, on resamples of groups and on permuted labels. Which features and
 * rows they are is the caller's. */
#include "concept/probe.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "concept/head.h"
#include "concept/score.h"
#include "dist/shard.h"
#include "dist/world.h"

enum { MAX_ITER = 200, POSITIVE = 1, NEGATIVE = 0, NOT_KNOWN = -2, PERMUTATION = 3 /* of the draws of RNG_AUDIT */ };
const double PROBE_C = 1;
static const double TOLERANCE = 1e-4;

/* Every feature to mean 0 and deviation 1 on train; one that does not vary there becomes 0. */
static void standardise(struct probe *probe)
{
    const struct probe_rows *train = &probe->part[0];
    for (int f = 0; f < probe->dim; f++) {
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < train->rows; i++)
            mean += (double)train->x[i * probe->dim + f] / (double)train->rows;
        for (int64_t i = 0; i < train->rows; i++)
            variance += pow((double)train->x[i * probe->dim + f] - mean, 2) / (double)train->rows;
        double scale = variance > 1e-12 * (1 + mean * mean) ? 1 / sqrt(variance) : 0;
        for (int s = 0; s < probe->parts; s++) {
            const struct probe_rows *rows = &probe->part[s];
            for (int64_t i = 0; i < rows->rows; i++)
                rows->x[i * probe->dim + f] = (float)(((double)rows->x[i * probe->dim + f] - mean) * scale);
        }
    }
}

/* Of several labels those that cannot be learnt are taken as not known. */
static int find_learnable(struct probe *probe)
{
    struct probe_rows *train = &probe->part[0];
    int learnt = 0;
    for (int c = 0; c < probe->classes; c++) {
        int64_t states[2] = { 0 };
        for (int64_t i = 0; i < train->rows; i++) {
            int state = probe->multi_label ? train->labels[i * probe->classes + c] : train->label[i] == c;
            if (state == POSITIVE || state == NEGATIVE)
                states[state]++;
        }
        const bool both = states[0] > 0 && states[1] > 0;
        learnt += both;
        for (int64_t i = 0; probe->multi_label && !both && i < train->rows; i++)
            train->labels[i * probe->classes + c] = NOT_KNOWN;
    }
    return learnt;
}

int probe_prepare(struct probe *probe)
{
    int learnable = find_learnable(probe);
    if (learnable > 0)
        standardise(probe);
    return learnable;
}

/* Fits features first..first+dim-1 to the labels of train, row i to those of order[i] (NULL: its own). Collective. */
static struct head fit(const struct probe *probe, int first, int dim, const int64_t *order, struct arena *scratch)
{
    const struct probe_rows *train = &probe->part[0];
    const int C = probe->classes;
    struct head_rows *rows = head_rows_create(scratch, probe->world, train->rows, C, dim, probe->multi_label);
    float *x = arena_array(scratch, float, rows->mine.count *dim + 1);
    int32_t *label = arena_array(scratch, int32_t, rows->mine.count + 1);
    int8_t *labels = arena_array(scratch, int8_t, rows->mine.count * C + 1);
    for (int64_t i = 0; i < rows->mine.count; i++) {
        int64_t at = rows->mine.first + i, from = order ? order[at] : at;
        memcpy(x + i * dim, train->x + at * probe->dim + first, (size_t)dim * sizeof *x);
        if (probe->multi_label)
            memcpy(labels + i * C, train->labels + from * C, (size_t)C);
        else
            label[i] = train->label[from];
    }
    rows->x = x;
    rows->label = probe->multi_label ? NULL : label;
    rows->labels = probe->multi_label ? labels : NULL;
    head_rows_prepare(rows, scratch);
    struct head head = head_create(scratch, C, dim);
    head_fit(&head, rows, PROBE_C, TOLERANCE, MAX_ITER, scratch);
    return head;
}

static struct score_plan *plan_of(const struct probe *probe, const struct probe_rows *part, const struct head *head,
                                  int first, struct arena *scratch)
{
    const int C = probe->classes, dim = head->dim;
    int64_t n = part->rows;
    float *x = arena_array(scratch, float, n *dim + 1), *logits = arena_array(scratch, float, n *C + 1);
    for (int64_t i = 0; i < n; i++)
        memcpy(x + i * dim, part->x + i * probe->dim + first, (size_t)dim * sizeof *x);
    head_logits(logits, head, x, n, scratch);
    double *probability = arena_array(scratch, double, n *C + 1);
    int32_t *predicted = arena_array(scratch, int32_t, n * C + 1);
    score_probability(probability, logits, n, C, probe->multi_label);
    score_predict(predicted, logits, n, C, probe->multi_label);
    struct score_rows rows = { .rows = n,
                               .classes = C,
                               .multi_label = probe->multi_label,
                               .probability = probability,
                               .predicted = predicted,
                               .label = part->label,
                               .labels = part->labels };
    return score_plan_create(scratch, &rows);
}

/* Metrics of resamples of whole groups: rows of one patient are not independent. Ranks share the replicates. */
static void resample(double *out, const struct probe *probe, const struct probe_rows *part,
                     const struct score_plan *plan, struct arena *scratch)
{
    struct world *world = probe->world;
    const int metrics = score_count(probe->classes);
    struct span mine = shard_rows(PROBE_REPLICATES, world->size, world->rank);
    double *local = arena_array(scratch, double, mine.count *metrics + 1);
    int32_t *drawn = arena_array(scratch, int32_t, part->groups + 1);
    int32_t *weight = arena_array(scratch, int32_t, part->rows + 1);
    struct rng rng = { .purpose = RNG_BOOTSTRAP };
    for (int64_t r = 0; r < mine.count; r++) {
        memset(drawn, 0, (size_t)part->groups * sizeof *drawn);
        for (int64_t g = 0; g < part->groups; g++)
            drawn[rng_below(&rng, (uint64_t)(mine.first + r), (uint64_t)g, (uint64_t)part->groups)]++;
        for (int64_t i = 0; i < part->rows; i++)
            weight[i] = drawn[part->member[i]];
        score_compute(local + r * metrics, plan, weight);
    }
    world_allgather_rows(world, out, local, mine.count, (size_t)metrics * sizeof *out);
}

void probe_measure(struct probe_measured *out, const struct probe *probe, int first, int dim)
{
    struct arena *scratch = probe->scratch;
    const int metrics = score_count(probe->classes);
    struct arena_mark mark = arena_mark(scratch);
    struct head head = fit(probe, first, dim, NULL, scratch);
    for (int s = 1; s < probe->parts; s++) {
        const struct probe_rows *part = &probe->part[s];
        out[s] = (struct probe_measured){ .value = arena_array(probe->arena, double, metrics),
                                          .replicates = arena_array(probe->arena, double, PROBE_REPLICATES *metrics) };
        if (part->rows == 0)
            continue;
        struct score_plan *plan = plan_of(probe, part, &head, first, scratch);
        score_compute(out[s].value, plan, NULL);
        resample(out[s].replicates, probe, part, plan, scratch);
    }
    arena_release(scratch, mark);
}

void probe_permute(struct probe_measured *out, const struct probe *probe, int k)
{
    struct arena *scratch = probe->scratch;
    const int metrics = score_count(probe->classes);
    for (int s = 1; s < probe->parts && k == 0; s++) {
        out[s].permuted = arena_array(probe->arena, double, metrics);
        for (int m = 0; m < metrics; m++)
            out[s].permuted[m] = NAN;
    }
    struct arena_mark mark = arena_mark(scratch);
    struct rng rng = { .purpose = RNG_AUDIT, .epoch = PERMUTATION };
    int64_t *order = arena_array(scratch, int64_t, probe->part[0].rows + 1);
    double *value = arena_array(scratch, double, metrics);
    rng_permutation(&rng, (uint64_t)k, order, probe->part[0].rows);
    struct head head = fit(probe, 0, probe->dim, order, scratch);
    for (int s = 1; s < probe->parts; s++) {
        if (probe->part[s].rows == 0)
            continue;
        score_compute(value, plan_of(probe, &probe->part[s], &head, 0, scratch), NULL);
        for (int m = 0; m < metrics; m++)
            out[s].permuted[m] = fmax(out[s].permuted[m], value[m]); /* fmax takes the number before NaN */
    }
    arena_release(scratch, mark);
}

void probe_interval(double *low, double *high, const struct probe *probe, const struct probe_measured *m, int metric)
{
    score_interval(low, high, probe->scratch, m->replicates + metric, PROBE_REPLICATES, score_count(probe->classes));
}

bool probe_found(const struct probe *probe, const struct probe_measured *m, int metric)
{
    double low, high;
    probe_interval(&low, &high, probe, m, metric);
    return low > m->permuted[metric];
}
