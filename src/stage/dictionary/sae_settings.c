/* Settings of `cfn sae`: from the configuration, and from the data where it
 * leaves them open (docs/methods/sae.md, "Settings"). */
#include <string.h>

#include "stage/dictionary/sae.h"

enum { RESIDENT_BYTES = 1 << 30 };

static struct sae_options options_of(const struct sae_config *c, uint64_t seed)
{
    static const char *const names[] = { "relu", "topk", "batchtopk", "jumprelu", "matryoshka" };
    static const char *const starts[] = { "published", "tied", "data" };
    struct sae_options o = { .lr = c->lr,
                             .warmup = c->warmup,
                             .penalty_warmup = c->l1_warmup,
                             .clip = c->clip,
                             .aux_k = c->aux_k,
                             .dead_after = c->dead_after,
                             .aux_weight = c->aux_weight,
                             .threshold_decay = c->threshold_decay,
                             .first_threshold = c->threshold,
                             .epochs = c->epochs,
                             .resample_every = c->resample_every,
                             .resample_scale = c->resample_scale,
                             .leaves = c->shards,
                             .seed = seed,
                             .resident_bytes = RESIDENT_BYTES };
    o.rule = (struct sae_rule){ .k = c->k, .prefixes = c->prefixes, .bandwidth = c->bandwidth };
    for (int v = 0; v < (int)(sizeof names / sizeof *names); v++)
        if (strcmp(c->variant, names[v]) == 0)
            o.rule.variant = (enum sae_variant)v;
    const bool relu = o.rule.variant == SAE_RELU;
    o.penalty = o.rule.variant == SAE_JUMPRELU ? c->l0 : c->l1;
    o.start = relu ? SAE_START_PUBLISHED : SAE_START_TIED;
    for (int i = 0; i < (int)(sizeof starts / sizeof *starts); i++)
        if (strcmp(c->init, starts[i]) == 0)
            o.start = (enum sae_start)i;
    o.median = strcmp(c->bias, "median") == 0 || (strcmp(c->bias, "auto") == 0 && !relu);
    return o;
}
/* Settings that follow the data where the configuration leaves them open (docs/methods/sae.md, "Settings"): as
 * published for relu and jumprelu. The topk family gets neurons that can fire on FIRES training images each on average,
 * and batches small enough for BATCHES steps an epoch. */
enum { PUBLISHED_BATCH = 4096, LEAST_BATCH = 128, BATCHES = 8, FIRES = 128 };
static const double FAMILY_DECAY = 0.2;

static int neurons_for(const struct sae_config *c, const struct sae_rule *rule, int dim, int64_t rows)
{
    int64_t most = (int64_t)c->expansion * dim;
    if (c->neurons > 0)
        return c->neurons;
    if (sae_by_count(rule) && rows * rule->k / FIRES < most)
        most = rows * rule->k / FIRES > rule->k ? rows * rule->k / FIRES : rule->k;
    return (int)most;
}

/* A power of two. */
static int batch_for(const struct sae_config *c, const struct sae_rule *rule, int64_t rows)
{
    int batch = LEAST_BATCH;
    if (c->batch > 0)
        return c->batch;
    while (batch < PUBLISHED_BATCH && (!sae_by_count(rule) || 2 * batch * (int64_t)BATCHES <= rows))
        batch *= 2;
    return batch;
}

struct sae_point sae_point(const struct sae_config *c, const char *name, int dim, int64_t rows, uint64_t seed)
{
    struct sae_point p = { name, c, options_of(c, seed), 0 };
    p.neurons = neurons_for(c, &p.options.rule, dim, rows);
    p.options.batch = batch_for(c, &p.options.rule, rows);
    p.options.decay = c->decay >= 0 ? c->decay : sae_by_count(&p.options.rule) ? FAMILY_DECAY : 0;
    return p;
}
