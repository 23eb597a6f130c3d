/* Mean loss over the global batch and its gradient. Losses of a shard are added
 * in double, then over the shards along the fixed tree. */
#include "base/arena.h"
#include "dist/tree.h"
#include "nn/engine.h"
#include "nn/kernels.h"

enum { LOSS_SUM, LOSS_USED, LOSS_RIGHT, LOSS_SUMS };

/* Lowest class on ties. */
static int best_class(const float *logits, int classes)
{
    int best = 0;
    for (int c = 1; c < classes; c++)
        if (logits[c] > logits[best])
            best = c;
    return best;
}

static void shard_loss(double sums[LOSS_SUMS], float *diff, const float *logits, const struct network_batch *in,
                       int64_t first, int rows, int classes)
{
    for (int row = 0; row < rows; row++) {
        const float *z = logits + (int64_t)row * classes;
        float *d = diff + (int64_t)row * classes;
        int64_t at = (first + row) * classes;
        int used = 0, right = 0;
        if (in->labels) {
            int label = in->labels[first + row];
            sums[LOSS_SUM] += cross_entropy_row(d, z, label, classes);
            used = 1;
            right = best_class(z, classes) == label;
        } else {
            sums[LOSS_SUM] += bce_row(d, z, in->targets + at, in->mask ? in->mask + at : NULL, classes, &used, &right);
        }
        sums[LOSS_USED] += used;
        sums[LOSS_RIGHT] += right;
    }
}

double loss_forward(struct network *net, const struct network_batch *batch, int64_t *correct)
{
    struct op *logits = &net->ops[net->graph->logits];
    int classes = logits->node->out.channels, rows = net->shard_rows;
    double *leaves = net->loss_leaves, total[LOSS_SUMS];
    for (int s = 0; s < net->shards; s++) {
        double *sums = leaves + s * LOSS_SUMS;
        for (int i = 0; i < LOSS_SUMS; i++)
            sums[i] = 0.0;
        shard_loss(sums, op_grad(logits, s), op_out(logits, s), batch, (int64_t)s * rows, rows, classes);
    }
    tree_sum_f64(net->tree, total, leaves, LOSS_SUMS);
    double share = total[LOSS_USED] > 0.0 ? 1.0 / total[LOSS_USED] : 0.0;
    for (int s = 0; s < net->shards; s++) {
        float *diff = op_grad(logits, s);
        for (int64_t i = 0; i < (int64_t)rows * classes; i++)
            diff[i] *= (float)share;
    }
    if (correct)
        *correct = (int64_t)total[LOSS_RIGHT];
    return total[LOSS_SUM] * share;
}
