/* Multinomial and multi-label logistic loss of a row, its derivative and
 * its probabilities. Sums over rows are the caller's. */
#include "concept/head_loss.h"

#include <math.h>

#include "base/arena.h"
#include "concept/head.h"

/* -log softmax(z)[label]; z becomes its derivative. */
static double softmax_loss(double *z, double *probability, double *weights, int classes, int32_t label, double weight)
{
    double top = z[0], sum = 0, own = z[label];
    for (int c = 1; c < classes; c++)
        top = fmax(top, z[c]);
    for (int c = 0; c < classes; c++) {
        z[c] = exp(z[c] - top);
        sum += z[c];
    }
    for (int c = 0; c < classes; c++) {
        double p = z[c] / sum;
        if (probability)
            probability[c] = p, weights[c] = weight;
        z[c] = weight * (p - (c == label));
    }
    return weight * (log(sum) + top - own);
}

/* Sum over known labels of log(1 + exp(-+z)); z becomes its derivative, 0 where the label is not known. */
static double sigmoid_loss(double *z, double *probability, double *weights, const struct head_rows *r,
                           const int8_t *labels)
{
    double loss = 0;
    const double *given = r->class_weight;
    for (int c = 0; c < r->classes; c++) {
        bool known = labels[c] == 0 || labels[c] == 1;
        double weight = !known ? 0 : given ? given[2 * c + labels[c]] : 1;
        double e = exp(-fabs(z[c])), p = z[c] >= 0 ? 1 / (1 + e) : e / (1 + e);
        loss += known ? weight * (fmax(z[c], 0) - z[c] * labels[c] + log1p(e)) : 0;
        if (probability)
            probability[c] = p, weights[c] = weight;
        z[c] = known ? weight * (p - labels[c]) : 0;
    }
    return loss;
}

double head_loss(double *z, double *probability, double *weight, const struct head_rows *r, int64_t i)
{
    if (r->multi_label)
        return sigmoid_loss(z, probability, weight, r, r->labels + i * r->classes);
    int32_t label = r->label[i];
    return softmax_loss(z, probability, weight, r->classes, label, r->class_weight ? r->class_weight[label] : 1);
}

const double *head_balanced_weights(struct arena *arena, const int32_t *label, const int8_t *labels, int64_t rows,
                                    int classes)
{
    int states = labels ? 2 : 1;
    double *weight = arena_array(arena, double, states *classes);
    for (int64_t i = 0; i < rows; i++)
        for (int c = 0; c < classes; c++) {
            int state = labels ? labels[i * classes + c] : label[i] == c;
            if (labels && (state == 0 || state == 1))
                weight[2 * c + state] += 1;
            else if (!labels && state == 1)
                weight[c] += 1;
        }
    for (int c = 0; c < classes; c++) {
        double known = labels ? weight[2 * c] + weight[2 * c + 1] : (double)rows;
        for (int s = 0; s < states; s++) {
            double *w = &weight[states * c + s];
            *w = *w > 0 ? known / ((labels ? 2 : classes) * *w) : 0;
        }
    }
    return weight;
}
