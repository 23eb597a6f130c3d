/* Is a dictionary a property of the data or of its seed? Training again with other seeds, and the best one-to-one
 * matching of the neurons. Trainings are the same bits at any rank count, and so are cosines and matching: formed on
 * rank 0 in one shape. */
#include <string.h>

#include "base/arena.h"
#include "base/phase.h"
#include "concept/sae/sae_state.h"
#include "concept/sae_score.h"
#include "dist/world.h"
#include "math/assign.h"
#include "math/blas.h"

/* One whole training; false when told to stop. */
static bool train_again(struct sae_trainer *t, const struct sae_repeats *repeats)
{
    while (sae_epoch(t) < t->options.epochs) {
        while (!sae_epoch_done(t)) {
            sae_step(t);
            if (repeats->stop && repeats->stop(repeats->data))
                return false;
        }
        sae_end_epoch(t);
    }
    return true;
}

/* matched [K] <- cosine of each decoder row to the row of `other` matched with it. In a plan memory is all it takes. */
static void match(double *matched, const struct sae *sae, const struct sae *other, struct arena *scratch)
{
    const int K = sae->neurons, D = sae->dim;
    float *cosine = arena_take_raw(scratch, (size_t)K * (size_t)K, sizeof *cosine);
    int32_t *partner = arena_array(scratch, int32_t, K);
    const bool plan = arena_is_plan(scratch);
    if (!plan)
        blas_sgemm('N', 'T', K, K, D, 1, sae->decoder, D, other->decoder, D, 0, cosine, K);
    assign_rows(partner, scratch, cosine, K);
    for (int k = 0; !plan && k < K; k++)
        matched[k] = (double)cosine[(int64_t)k * K + partner[k]];
}

/* total [K] += what rank 0 matched. Collective. */
static void add_matched(double *total, struct world *world, const struct sae *sae, const struct sae *other,
                        struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    const int K = sae->neurons;
    double *matched = arena_array(scratch, double, K);
    if (world->rank == 0)
        match(matched, sae, other, scratch);
    if (!arena_is_plan(scratch))
        world_broadcast(world, matched, (size_t)K * sizeof *matched, 0);
    for (int k = 0; k < K; k++)
        total[k] += matched[k];
    arena_release(scratch, mark);
}

bool sae_stability(double *stability, const struct sae_trainer *t, struct arena *scratch,
                   const struct sae_repeats *repeats)
{
    const int K = t->model.sae.neurons;
    bool whole = true;
    memset(stability, 0, (size_t)K * sizeof *stability);
    for (int r = 0; whole && r < repeats->count; r++) {
        struct arena_mark mark = arena_mark(scratch);
        struct sae_options options = t->options;
        options.seed += (uint64_t)r + 1;
        options.may_be_lost = false;
        struct sae_trainer *other = sae_trainer_create(scratch, t->space->world, &options, t->model.sae.dim, K,
                                                       t->space->train.set, t->space->eval.set);
        whole = arena_is_plan(scratch) || train_again(other, repeats);
        enum phase before = phase_enter(PHASE_EVALUATE);
        if (whole)
            add_matched(stability, t->space->world, &t->model.sae, &other->model.sae, scratch);
        phase_enter(before);
        sae_trainers_end(&other, 1);
        arena_release(scratch, mark);
    }
    for (int k = 0; k < K; k++)
        stability[k] /= repeats->count;
    return whole;
}
