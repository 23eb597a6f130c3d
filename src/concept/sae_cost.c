/* What a step of SAE training sends, from the sizes alone; counted as the
 * collectives count it (dist/world.h, world_bytes_sent), which
 * tests/mpi/test_sae.c compares. */
#include "concept/sae_cost.h"

#include "concept/sae_top.h"
#include "dist/tree.h"

struct sae_traffic sae_traffic(const struct sae_options *o, int dim, int neurons, int64_t train_rows, int ranks)
{
    const double row = (double)dim * sizeof(float), batch = (double)(o->batch < train_rows ? o->batch : train_rows);
    struct sae_traffic t = { 0 };
    if (ranks == 1)
        return t;
    t.gradients = tree_sum_bytes(o->leaves, ranks, (double)sizeof(float) * (double)sae_count(dim, neurons));
    if ((double)train_rows * row > (double)o->resident_bytes)
        t.rows = batch / ranks * (row + sizeof(int64_t)); /* and the numbers of the rows wanted */
    if (sae_by_batch(&o->rule))
        t.choice = (double)sae_kth_largest_bytes(ranks);
    return t;
}

double sae_traffic_all(const struct sae_traffic *t)
{
    return t->gradients + t->rows + t->choice;
}
