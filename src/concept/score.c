/* Metrics of classifiers from probabilities, weighted by counts so that a
 * bootstrap replicate costs one pass over rows sorted once. */
#include "concept/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "dist/shard.h"
#include "dist/world.h"

enum { ECE_BINS = 15 };

struct score_plan {
    struct score_rows rows;
    int32_t *order; /* [C x rows] rows by falling probability of each class, unknown ones left out */
    int64_t *known; /* [C] entries of each */
    double *work;   /* [6 C] */
};

static const char *const NAMES[SCORE_SCALARS] = { "accuracy", "balanced_accuracy", "auroc", "auprc", "f1", "ece" };

const char *score_name(int scalar)
{
    return NAMES[scalar];
}

int score_count(int classes)
{
    return SCORE_SCALARS + 2 * classes;
}

/* 1, 0, or -1 when row i is not known to have or lack class c. */
static int truth(const struct score_rows *r, int64_t i, int c)
{
    if (!r->multi_label)
        return r->label[i] == c;
    int8_t state = r->labels[i * r->classes + c];
    return state == 1 || state == 0 ? state : -1;
}

struct ranked {
    double probability;
    int32_t row;
};

static int by_falling_probability(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->probability != y->probability)
        return x->probability < y->probability ? 1 : -1;
    return x->row < y->row ? -1 : x->row > y->row;
}

struct score_plan *score_plan_create(struct arena *arena, const struct score_rows *rows)
{
    struct score_plan *plan = arena_array(arena, struct score_plan, 1);
    int64_t n = rows->rows;
    int C = rows->classes;
    plan->rows = *rows;
    plan->order = arena_array(arena, int32_t, C * n);
    plan->known = arena_array(arena, int64_t, C);
    plan->work = arena_array(arena, double, 6 * C);
    struct ranked *ranked = arena_array(arena, struct ranked, n);
    for (int c = 0; c < C; c++) {
        int64_t count = 0;
        for (int64_t i = 0; i < n; i++)
            if (truth(rows, i, c) >= 0)
                ranked[count++] = (struct ranked){ rows->probability[i * C + c], (int32_t)i };
        qsort(ranked, (size_t)count, sizeof *ranked, by_falling_probability);
        plan->known[c] = count;
        for (int64_t i = 0; i < count; i++)
            plan->order[c * n + i] = ranked[i].row;
    }
    return plan;
}

static double weight_of(const int32_t *weight, int64_t i)
{
    return weight ? weight[i] : 1;
}

/* Area under the ROC curve (ties count half) and average precision of one class, in one walk down the order. */
static void rank_metrics(double *auroc, double *auprc, const struct score_plan *plan, const int32_t *weight, int c)
{
    const struct score_rows *r = &plan->rows;
    const int32_t *order = plan->order + c * r->rows;
    double positives = 0, negatives = 0, pairs = 0, precision = 0;
    for (int64_t i = 0; i < plan->known[c];) {
        double p = r->probability[(int64_t)order[i] * r->classes + c], plus = 0, minus = 0;
        for (; i < plan->known[c] && r->probability[(int64_t)order[i] * r->classes + c] == p; i++) {
            double w = weight_of(weight, order[i]);
            if (truth(r, order[i], c))
                plus += w;
            else
                minus += w;
        }
        pairs += minus * (positives + 0.5 * plus); /* positives above count once, ties half */
        positives += plus;
        negatives += minus;
        if (plus > 0)
            precision += plus * positives / (positives + negatives);
    }
    *auroc = positives > 0 && negatives > 0 ? pairs / (positives * negatives) : NAN;
    *auprc = positives > 0 ? precision / positives : NAN;
}

static double mean_defined(const double *values, int n)
{
    double sum = 0;
    int count = 0;
    for (int i = 0; i < n; i++)
        if (!isnan(values[i])) {
            sum += values[i];
            count++;
        }
    return count ? sum / count : NAN;
}

/* Expected calibration error over equal bins (low, high] of the confidence in what was predicted. */
struct calibration {
    double weight[ECE_BINS], confidence[ECE_BINS], right[ECE_BINS];
};

static void calibration_add(struct calibration *c, double confidence, bool right, double w)
{
    int bin = (int)ceil(confidence * ECE_BINS) - 1;
    bin = bin < 0 ? 0 : bin > ECE_BINS - 1 ? ECE_BINS - 1 : bin;
    c->weight[bin] += w;
    c->confidence[bin] += w * confidence;
    c->right[bin] += right ? w : 0;
}

static double calibration_error(const struct calibration *c)
{
    double total = 0, gap = 0;
    for (int b = 0; b < ECE_BINS; b++) {
        total += c->weight[b];
        gap += fabs(c->right[b] - c->confidence[b]);
    }
    return total > 0 ? gap / total : NAN;
}

/* Counts of one class against the rest. */
struct confusion {
    double tp, fp, fn, tn;
};

static void count_single(const struct score_rows *r, const int32_t *weight, struct confusion *of,
                         struct calibration *calibration, double *right, double *total)
{
    for (int64_t i = 0; i < r->rows; i++) {
        double w = weight_of(weight, i);
        int32_t said = r->predicted[i], is = r->label[i];
        if (said == is) {
            of[is].tp += w;
            *right += w;
        } else {
            of[said].fp += w;
            of[is].fn += w;
        }
        *total += w;
        calibration_add(calibration, r->probability[i * r->classes + said], said == is, w);
    }
}

static void count_multi(const struct score_rows *r, const int32_t *weight, struct confusion *of,
                        struct calibration *calibration, double *right, double *total)
{
    for (int64_t i = 0; i < r->rows; i++)
        for (int c = 0; c < r->classes; c++) {
            double w = weight_of(weight, i), p = r->probability[i * r->classes + c];
            int is = truth(r, i, c), said = r->predicted[i * r->classes + c];
            if (is < 0)
                continue;
            *(is ? said ? &of[c].tp : &of[c].fn : said ? &of[c].fp : &of[c].tn) += w;
            *right += said == is ? w : 0;
            *total += w;
            calibration_add(calibration, said ? p : 1 - p, said == is, w);
        }
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : NAN;
}

void score_compute(double *out, const struct score_plan *plan, const int32_t *weight)
{
    const struct score_rows *r = &plan->rows;
    int C = r->classes;
    double right = 0, total = 0, *recall = plan->work, *f1 = plan->work + C;
    struct confusion *of = (struct confusion *)(void *)(plan->work + 2 * C);
    struct calibration calibration = { 0 };
    memset(of, 0, (size_t)C * sizeof *of);
    (r->multi_label ? count_multi : count_single)(r, weight, of, &calibration, &right, &total);
    for (int c = 0; c < C; c++) {
        recall[c] = ratio(of[c].tp, of[c].tp + of[c].fn);
        if (r->multi_label)
            recall[c] = 0.5 * (recall[c] + ratio(of[c].tn, of[c].tn + of[c].fp));
        f1[c] = ratio(2 * of[c].tp, 2 * of[c].tp + of[c].fp + of[c].fn);
        rank_metrics(&out[SCORE_SCALARS + c], &out[SCORE_SCALARS + C + c], plan, weight, c);
    }
    out[SCORE_ACCURACY] = ratio(right, total);
    out[SCORE_BALANCED] = mean_defined(recall, C);
    out[SCORE_AUROC] = mean_defined(out + SCORE_SCALARS, C);
    out[SCORE_AUPRC] = mean_defined(out + SCORE_SCALARS + C, C);
    out[SCORE_F1] = mean_defined(f1, C);
    out[SCORE_ECE] = calibration_error(&calibration);
}

void score_bootstrap(double *out, struct world *world, struct arena *scratch, struct score_plan *const *plans,
                     int plan_count, int replicates, uint64_t seed)
{
    struct arena_mark mark = arena_mark(scratch);
    int64_t n = plans[0]->rows.rows;
    int metrics = score_count(plans[0]->rows.classes);
    struct span mine = shard_rows(replicates, world->size, world->rank);
    double *local = arena_array(scratch, double, mine.count *metrics), *one = arena_array(scratch, double, metrics);
    int32_t *weight = arena_array(scratch, int32_t, n);
    struct rng rng = { .seed = seed, .purpose = RNG_BOOTSTRAP };
    for (int64_t r = 0; r < mine.count; r++) {
        memset(weight, 0, (size_t)n * sizeof *weight);
        for (int64_t i = 0; i < n; i++)
            weight[rng_below(&rng, (uint64_t)(mine.first + r), (uint64_t)i, (uint64_t)n)]++;
        for (int p = 0; p < plan_count; p++) {
            score_compute(one, plans[p], weight);
            for (int m = 0; m < metrics; m++)
                local[r * metrics + m] += one[m] / plan_count;
        }
    }
    world_allgather_rows(world, out, local, mine.count, (size_t)metrics * sizeof(double));
    arena_release(scratch, mark);
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Linear interpolation between order statistics, as numpy's percentile. */
static double quantile(const double *sorted, int n, double q)
{
    double at = q * (n - 1);
    int low = (int)floor(at);
    return low + 1 < n ? sorted[low] + (at - low) * (sorted[low + 1] - sorted[low]) : sorted[n - 1];
}

void score_interval(double *low, double *high, struct arena *scratch, const double *values, int n, int stride)
{
    struct arena_mark mark = arena_mark(scratch);
    double *sorted = arena_array(scratch, double, n > 0 ? n : 1);
    int count = 0;
    for (int i = 0; i < n; i++)
        if (!isnan(values[(int64_t)i * stride]))
            sorted[count++] = values[(int64_t)i * stride];
    qsort(sorted, (size_t)count, sizeof *sorted, rising);
    *low = count ? quantile(sorted, count, 0.025) : NAN;
    *high = count ? quantile(sorted, count, 0.975) : NAN;
    arena_release(scratch, mark);
}

void score_probability(double *probability, const float *logits, int64_t rows, int classes, bool multi_label)
{
    for (int64_t i = 0; i < rows; i++) {
        const float *z = logits + i * classes;
        double *p = probability + i * classes, top = (double)z[0], sum = 0;
        for (int c = 0; c < classes; c++)
            top = fmax(top, (double)z[c]);
        for (int c = 0; c < classes; c++) {
            p[c] = multi_label ? 1 / (1 + exp(-(double)z[c])) : exp((double)z[c] - top);
            sum += p[c];
        }
        for (int c = 0; c < classes && !multi_label; c++)
            p[c] /= sum;
    }
}

void score_predict(int32_t *predicted, const float *logits, int64_t rows, int classes, bool multi_label)
{
    for (int64_t i = 0; i < rows; i++) {
        const float *z = logits + i * classes;
        int best = 0;
        for (int c = 0; c < classes; c++) {
            best = z[c] > z[best] ? c : best;
            if (multi_label)
                predicted[i * classes + c] = z[c] > 0;
        }
        if (!multi_label)
            predicted[i] = best;
    }
}
