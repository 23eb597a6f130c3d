/* What a step of SAE training sends, from the sizes alone; counted as the
 * collectives count it (dist/world.h, world_bytes_sent), which
 * tests/mpi/test_sae.c and test_sae_feature.c compare. */
#include "concept/sae_cost.h"

#include "concept/sae/sae_feature.h"
#include "concept/sae/sae_top.h"
#include "dist/tree.h"

/* Sums of one reconstruction of a batch: of each piece when products are dense, of all rows at once otherwise. */
static double reconstruction_bytes(const struct sae_options *o, int blocks, int64_t batch, int64_t piece, int dim,
                                   int ranks)
{
    const int planes = sae_prefixes(&o->rule);
    double bytes = 0;
    if (sae_by_count(&o->rule))
        return planes * tree_sum_bytes(blocks, ranks, batch * dim, sizeof(float));
    for (int leaf = 0; leaf < o->leaves; leaf++)
        for (int64_t left = shard_rows(batch, o->leaves, leaf).count; left > 0; left -= piece)
            bytes += tree_sum_bytes(blocks, ranks, (left < piece ? left : piece) * dim, sizeof(float));
    return bytes;
}

static double choice_bytes(const struct sae_options *o, int64_t batch, int ranks)
{
    if (sae_by_batch(&o->rule))
        return (double)sae_kth_largest_bytes(ranks);
    return o->way == SAE_BY_NEURONS && o->rule.variant == SAE_TOPK ? sae_choose_rows_bytes(batch, o->rule.k, ranks) : 0;
}

struct sae_traffic sae_traffic(const struct sae_options *o, int dim, int neurons, int64_t train_rows, int ranks)
{
    const int64_t batch = o->batch < train_rows ? o->batch : train_rows;
    const double row = (double)dim * sizeof(float), others = (double)(ranks - 1) / ranks;
    const int blocks = sae_block_count(neurons, o->leaves);
    struct sae_traffic t = { 0 };
    if (ranks == 1)
        return t;
    t.choice = choice_bytes(o, batch, ranks);
    if ((double)train_rows * row > (double)o->resident_bytes) /* and the numbers of the rows wanted */
        t.rows = (double)batch * others * (row + sizeof(int64_t)) / (o->way == SAE_BY_NEURONS ? 1 : ranks);
    if (o->way == SAE_BY_ROWS) {
        t.gradients = tree_sum_bytes(o->leaves, ranks, sae_count(dim, neurons), sizeof(float));
        return t;
    }
    t.sums = reconstruction_bytes(o, blocks, batch, sae_piece_rows(o, train_rows, ranks), dim, ranks) +
             tree_sum_bytes(blocks, ranks, (int64_t)o->leaves * SAE_NEURON_SUMS, sizeof(double)) +
             tree_sum_bytes(blocks, ranks, dim, sizeof(float));
    return t;
}

double sae_traffic_all(const struct sae_traffic *t)
{
    return t->gradients + t->sums + t->rows + t->choice;
}

struct sae_traffic sae_traffic_of(const struct sae_options *options, enum sae_way way, int dim, const int *neurons,
                                  int count, int64_t train_rows, int ranks)
{
    struct sae_traffic sum = { 0 };
    for (int i = 0; i < count; i++) {
        struct sae_options o = options[i];
        o.way = way;
        const struct sae_traffic one = sae_traffic(&o, dim, neurons[i], train_rows, ranks);
        sum.gradients += one.gradients;
        sum.sums += one.sums;
        sum.choice += one.choice;
        sum.rows = one.rows;
    }
    return sum;
}

enum sae_way sae_cheaper_way(const struct sae_options *options, int dim, const int *neurons, int count,
                             int64_t train_rows, int ranks)
{
    const struct sae_traffic rows = sae_traffic_of(options, SAE_BY_ROWS, dim, neurons, count, train_rows, ranks);
    const struct sae_traffic split = sae_traffic_of(options, SAE_BY_NEURONS, dim, neurons, count, train_rows, ranks);
    const int busy = ranks < options->leaves ? ranks : options->leaves;
    bool all = true;
    for (int i = 0; i < count; i++)
        all = all && sae_block_count(neurons[i], options->leaves) >= busy;
    return all && sae_traffic_all(&split) < sae_traffic_all(&rows) ? SAE_BY_NEURONS : SAE_BY_ROWS;
}
