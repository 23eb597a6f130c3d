/* What `cfn sae` says of a trained model: one pass over the rows of all splits
 * counts and ranks, then the scores of its neurons (concept/sae_score.h). */
#include <math.h>

#include "concept/sae_score.h"
#include "image/corpus.h"
#include "stage/dictionary/sae.h"

/* Rows encoded at once, of those of a rank. */
static int64_t chunk_rows(int64_t own)
{
    return own < SAE_ROWS ? own : SAE_ROWS;
}

int64_t sae_encode_chunk(struct sae_stage *s, int64_t at)
{
    int64_t left = s->features->mine.count - at, n = left < SAE_ROWS ? left : SAE_ROWS;
    sae_encode(&s->work, sae_model(s->trainer), s->features->x + at * s->features->dim, n);
    return n;
}

static void take_memory(struct sae_stage *s, struct arena *run)
{
    const struct features *f = s->features;
    const int64_t own = f->mine.count, rows = chunk_rows(own);
    const struct sae *sae = sae_model(s->trainer);
    const struct sae_room room = {
        .rows = rows, .f = rows * sae->neurons, .neurons = sae->neurons, .blocks = sae_blocks(sae)
    };
    s->census = sae_census_create(run, sae->neurons, s->config->top);
    s->is_train = arena_array(run, bool, own + 1);
    s->active = arena_array(run, int64_t, own + 1);
    s->work = sae_work_in(run, f->dim, &room);
    s->monosemanticity = arena_array(run, double, sae->neurons);
    s->nearest = arena_array(run, double, sae->neurons);
}

/* First pass over all rows: counts, most exciting images, and the metrics that follow from them. */
static void take_census(struct sae_stage *s)
{
    struct job *job = s->job;
    const struct features *f = s->features;
    enum phase before = phase_enter(PHASE_EVALUATE);
    for (int64_t i = 0; i < f->mine.count; i++)
        s->is_train[i] = f->split[f->mine.first + i] == SPLIT_TRAIN;
    for (int64_t at = 0; at < f->mine.count; at += SAE_ROWS) {
        int64_t n = sae_encode_chunk(s, at);
        sae_census_add(s->census, s->active + at, s->work.f, s->is_train + at, f->mine.first + at, n);
    }
    sae_census_merge(s->census, job->world, job->scratch, s->train.rows);

    int dead = 0, dense = 0;
    for (int k = 0; k < s->neurons; k++) {
        dead += s->census->fired[k] == 0;
        dense += 10 * s->census->fired[k] > s->train.rows;
    }
    s->dead = (double)dead / s->neurons;
    s->dense = (double)dense / s->neurons;
    sae_evaluate(s->trainer, &s->fvu, &s->l0);
    phase_enter(before);
}

/* Scores of neurons; their means over neurons that fire. */
static void score(struct sae_stage *s)
{
    struct job *job = s->job;
    int scored = 0, alive = 0;
    sae_monosemanticity(s->monosemanticity, s->trainer, job->scratch);
    sae_coherence(s->nearest, job->world, job->scratch, sae_model(s->trainer)->decoder, s->census->fired, s->neurons,
                  s->features->dim);
    for (int k = 0; k < s->neurons; k++) {
        if (isfinite(s->monosemanticity[k])) {
            s->mean_monosemanticity += s->monosemanticity[k];
            scored++;
        }
        s->coherence += s->nearest[k];
        alive += s->census->fired[k] > 0;
        s->mean_stability += s->census->fired[k] > 0 ? s->stability[k] : 0;
    }
    s->mean_monosemanticity = scored > 0 ? s->mean_monosemanticity / scored : 0;
    s->coherence = alive > 0 ? s->coherence / alive : 0;
    s->mean_stability = alive > 0 ? s->mean_stability / alive : 0;
}

void sae_measure_plan(struct sae_stage *s, struct arena *run, struct arena *scratch)
{
    const struct sae *sae = sae_model(s->trainer);
    take_memory(s, run);
    sae_census_merge(s->census, s->job->world, scratch, s->train.rows);
    sae_monosemanticity(s->monosemanticity, s->trainer, scratch);
    sae_coherence(s->nearest, s->job->world, scratch, sae->decoder, s->census->fired, sae->neurons, sae->dim);
}

void sae_measure(struct sae_stage *s)
{
    take_memory(s, s->job->run);
    take_census(s);
    score(s);
}
