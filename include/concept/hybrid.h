/* How much of a hybrid's decisions its second head carries (docs/methods/classify.md). Kernels on arrays; local. */
#ifndef CONCEPT_HYBRID_H
#define CONCEPT_HYBRID_H

#include <stdbool.h>
#include <stdint.h>

struct arena;

/* Logits [N x C] of the first head, of the second alone, and of both. */
struct hybrid_logits {
    const float *first, *second, *both;
    int classes;
    bool multi_label;
};
struct hybrid_parts {
    double first, second; /* mean |logit - its mean over the reference|; one label: of what differs between classes */
    double changed;       /* share of rows answered otherwise than by the first alone */
};
/* Over rows list [count] of N, with the means over rows reference [references]; NaN without rows. */
struct hybrid_parts hybrid_parts(const struct hybrid_logits *logits, const int64_t *list, int64_t count,
                                 const int64_t *reference, int64_t references, struct arena *scratch);
/* second / (first + second), 0 when both are 0. */
double hybrid_share(const struct hybrid_parts *parts);

#endif
