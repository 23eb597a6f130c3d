/* Parts of logits: sizes about the mean of each class, and answers that differ. */
#include "concept/hybrid.h"

#include <math.h>

#include "base/arena.h"

/* mean [C] <- over the rows of the list. */
static void mean_of(double *mean, const float *logits, int C, const int64_t *list, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        for (int c = 0; c < C; c++)
            mean[c] += (double)logits[list[i] * C + c] / (double)count;
}

/* Sum of |logit - mean| of one row; one label: of what differs between classes. */
static double size_of(const float *logits, const double *mean, int C, bool multi_label)
{
    double middle = 0, sum = 0;
    for (int c = 0; c < C && !multi_label; c++)
        middle += ((double)logits[c] - mean[c]) / C;
    for (int c = 0; c < C; c++)
        sum += fabs((double)logits[c] - mean[c] - middle);
    return sum;
}

/* The answer of a row differs: class, or any finding. */
static bool differs(const float *a, const float *b, int C, bool multi_label)
{
    int best_a = 0, best_b = 0;
    bool other = false;
    for (int c = 0; c < C; c++) {
        best_a = a[c] > a[best_a] ? c : best_a;
        best_b = b[c] > b[best_b] ? c : best_b;
        other |= (a[c] > 0) != (b[c] > 0);
    }
    return multi_label ? other : best_a != best_b;
}

struct hybrid_parts hybrid_parts(const struct hybrid_logits *l, const int64_t *list, int64_t count,
                                 const int64_t *reference, int64_t references, struct arena *scratch)
{
    const int C = l->classes;
    const double n = (double)count;
    struct arena_mark mark = arena_mark(scratch);
    double *first = arena_array(scratch, double, C), *second = arena_array(scratch, double, C);
    struct hybrid_parts sum = { 0 };
    mean_of(first, l->first, C, reference, references);
    mean_of(second, l->second, C, reference, references);
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = list[i] * C;
        sum.first += size_of(l->first + at, first, C, l->multi_label);
        sum.second += size_of(l->second + at, second, C, l->multi_label);
        sum.changed += differs(l->first + at, l->both + at, C, l->multi_label);
    }
    arena_release(scratch, mark);
    return (struct hybrid_parts){ sum.first / n / C, sum.second / n / C, sum.changed / n };
}

double hybrid_share(const struct hybrid_parts *p)
{
    double sum = p->first + p->second;
    return sum > 0 ? p->second / sum : 0;
}
