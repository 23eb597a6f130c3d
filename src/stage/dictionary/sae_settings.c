/* Settings of `cfn sae`: from the configuration, and from the data where it
 * leaves them open (docs/methods/sae.md, "Settings"). */
#include <string.h>

#include "stage/dictionary/sae.h"

enum { RESIDENT_BYTES = 1 << 30 };

static struct sae_options options_of(const struct sae_config *c, uint64_t seed)
{
    static const enum sae_variant variants[] = { [VARIANT_RELU] = SAE_RELU,
                                                 [VARIANT_TOPK] = SAE_TOPK,
                                                 [VARIANT_BATCHTOPK] = SAE_BATCHTOPK,
                                                 [VARIANT_JUMPRELU] = SAE_JUMPRELU,
                                                 [VARIANT_MATRYOSHKA] = SAE_MATRYOSHKA };
    static const enum sae_start starts[] = {
        [INIT_PUBLISHED] = SAE_START_PUBLISHED, [INIT_TIED] = SAE_START_TIED, [INIT_DATA] = SAE_START_DATA
    };
    const bool relu = c->variant == VARIANT_RELU;
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
    o.rule = (struct sae_rule){
        .variant = variants[c->variant], .k = c->k, .prefixes = c->prefixes, .bandwidth = c->bandwidth
    };
    o.penalty = c->variant == VARIANT_JUMPRELU ? c->l0 : c->l1;
    o.start = c->init != INIT_AUTO ? starts[c->init] : relu ? SAE_START_PUBLISHED : SAE_START_TIED;
    o.median = c->bias == BIAS_MEDIAN || (c->bias == BIAS_AUTO && !relu);
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
