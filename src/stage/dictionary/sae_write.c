/* sae.h5: the model and the codes of every image. The rows are encoded once more
 * here, after the census, so that memory does not grow with the number of
 * nonzeros. */
#include <math.h>

#include "stage/dictionary/sae.h"

enum { BLOCK_CHUNKS = 2 }; /* of SAE_ROWS rows: those of one write */

static struct store *create(struct sae_stage *s, int64_t entries)
{
    static const struct layout layout[] = {
        { "/encoder", STORE_F32, "K,D", "1", "encoder weights, one row per neuron", NULL, false },
        { "/encoder_bias", STORE_F32, "K", "1", "encoder bias", NULL, false },
        { "/decoder", STORE_F32, "K,D", "1", "decoder directions, unit rows", NULL, false },
        { "/bias", STORE_F32, "D", "1", "bias taken off before encoding and added after decoding", NULL, false },
        { "/threshold", STORE_F32, "K", "1", "a neuron is active above it; topk: the k largest of an image above 0",
          NULL, false },
        { "/monosemanticity", STORE_F64, "K", "1",
          "mean cosine of pairs of training images weighted by activation; NaN where there is no pair", NULL, false },
        { "/nearest_cosine", STORE_F64, "K", "1", "largest |cosine| to the direction of another neuron that fires",
          NULL, false },
        { "/stability", STORE_F64, "K", "1",
          "mean cosine to the neuron matched one to one in trainings with other seeds; "
          "NaN without them",
          NULL, false },
        { "/history/loss", STORE_F64, "epochs", "1", "mean loss of the epoch", NULL, false },
        { "/history/fvu", STORE_F64, "epochs", "1", "fraction of variance unexplained, validation", NULL, false },
        { "/history/l0", STORE_F64, "epochs", "1", "active neurons per validation image", NULL, false },
        { "/history/dead", STORE_F64, "epochs", "1", "share of neurons that never fired in the epoch", NULL, false },
        { "/history/dense", STORE_F64, "epochs", "1", "share that fired on more than 10 % of its images", NULL, false },
        { "/fire_rate", STORE_F32, "K", "1", "share of training images in which the neuron is active", NULL, false },
        { "/mean_activation", STORE_F32, "K", "1", "mean activation over all training images, zeros included", NULL,
          false },
        { "/codes/indptr", STORE_I64, "N+1", "1", "entries of image i are indptr[i] .. indptr[i+1]-1", NULL, false },
        { "/codes/index", STORE_I32, "entries", "1", "neuron of each entry, rising within an image", NULL, false },
        { "/codes/value", STORE_F32, "entries", "1", "activation of each entry, > 0", NULL, false },
        { "/top/index", STORE_I64, "K,T", "1",
          "images of any split that excite the neuron most, strongest first; -1 = no more", NULL, false },
        { "/top/value", STORE_F32, "K,T", "1", "their activations; 0 where index is -1", NULL, false },
        /* Of all trainings, when there were several. */
        { "/sweep/settings", STORE_TEXT, "P", "1", "settings of each training", "settings_bytes", true },
        { "/sweep/neurons", STORE_I64, "P", "1", "its neurons", NULL, true },
        { "/sweep/within", STORE_U8, "P", "1", "1: within the limits of the choice", NULL, true },
        { "/sweep/loss", STORE_F64, "P", "1", "mean loss of the last epoch", NULL, true },
        { "/sweep/fvu", STORE_F64, "P", "1", "fraction of variance unexplained, validation", NULL, true },
        { "/sweep/l0", STORE_F64, "P", "1", "active neurons per validation image", NULL, true },
        { "/sweep/dead", STORE_F64, "P", "1", "share of neurons that never fired in the last epoch", NULL, true },
        { "/sweep/dense", STORE_F64, "P", "1", "share that fired on more than 10 % of its images", NULL, true },
        { "/sweep/history/loss", STORE_F64, "P,epochs", "1", "mean loss of each epoch", NULL, true },
        { "/sweep/history/fvu", STORE_F64, "P,epochs", "1", "as /sweep/fvu, after each epoch", NULL, true },
        { "/sweep/history/l0", STORE_F64, "P,epochs", "1", "as /sweep/l0, after each epoch", NULL, true },
        { "/sweep/history/dead", STORE_F64, "P,epochs", "1", "as /sweep/dead, in each epoch", NULL, true },
        { "/sweep/history/dense", STORE_F64, "P,epochs", "1", "as /sweep/dense, in each epoch", NULL, true },
    };
    const struct extent sizes[] = {
        { "K", s->neurons },
        { "D", s->features->dim },
        { "N+1", s->features->rows + 1 },
        { "entries", entries },
        { "T", s->config->top },
        { "epochs", s->config->epochs },
        { "P", s->points },
        { "settings_bytes", sae_sweep_width(s) },
    };
    const size_t count = sizeof sizes / sizeof sizes[0];
    return job_create(s->job, "sae.h5", layout, sizeof layout / sizeof layout[0], sizes,
                      s->points > 1 ? count : count - 2);
}

/* Entries of all rows before this rank's block, and of all rows. */
static int64_t entries_before(struct sae_stage *s, int64_t *all)
{
    int64_t mine = 0, before = 0;
    for (int64_t i = 0; i < s->features->mine.count; i++)
        mine += s->active[i];
    int64_t *counts = arena_array(s->job->run, int64_t, s->job->world->size);
    world_allgather_rows(s->job->world, counts, &mine, 1, sizeof mine);
    *all = 0;
    for (int r = 0; r < s->job->world->size; r++) {
        before += r < s->job->world->rank ? counts[r] : 0;
        *all += counts[r];
    }
    return before;
}

/* Row pointers of this rank's rows; the rank of the last row adds the end. */
static void write_indptr(struct sae_stage *s, struct store *store, int64_t before)
{
    struct span mine = s->features->mine;
    int64_t *indptr = arena_array(s->job->run, int64_t, mine.count + 1), n = mine.count;
    indptr[0] = before;
    for (int64_t i = 0; i < mine.count; i++)
        indptr[i + 1] = indptr[i] + s->active[i];
    if (mine.count > 0 && mine.first + mine.count == s->features->rows)
        n++;
    store_write_rows(store, "/codes/indptr", mine.first, n, indptr);
}

static int64_t block_entries(const struct sae_stage *s, int64_t at, int64_t rows)
{
    int64_t sum = 0;
    for (int64_t i = at; i < at + rows && i < s->features->mine.count; i++)
        sum += s->active[i];
    return sum;
}

/* Second pass: encodes again and writes, a block of chunks at a time; the same number of writes on every rank. */
static void write_codes(struct sae_stage *s, struct store *store, int64_t before)
{
    struct job *job = s->job;
    int64_t step = BLOCK_CHUNKS * SAE_ROWS, rows = s->features->mine.count, most = 0;
    const int64_t own = (rows + step - 1) / step;
    double blocks = (double)own;
    for (int64_t at = 0; at < rows; at += step)
        most = block_entries(s, at, step) > most ? block_entries(s, at, step) : most;
    int32_t *index = arena_take_raw(job->run, (size_t)most + 1, sizeof(int32_t));
    float *value = arena_take_raw(job->run, (size_t)most + 1, sizeof(float));
    world_max_f64(job->world, &blocks, 1);
    for (int64_t b = 0; b < (int64_t)blocks; b++) {
        int64_t entries = 0, expected = block_entries(s, b * step, step);
        for (int64_t at = b * step; at < rows && at < (b + 1) * step; at += SAE_ROWS) {
            int64_t n = sae_encode_chunk(s, at);
            sae_census_total(s->census, s->work.f, s->is_train + at, n);
            if (entries + block_entries(s, at, n) <= expected)
                entries += sae_compress(index + entries, value + entries, s->work.f, n, s->neurons);
        }
        require(entries == expected, EXIT_INTERNAL, "sae: codes of one row differ between two passes");
        enum phase phase = phase_enter(PHASE_WRITE);
        store_write_rows(store, "/codes/index", before, entries, index);
        store_write_rows(store, "/codes/value", before, entries, value);
        phase_enter(phase);
        before += entries;
    }
}

static void write_model(struct sae_stage *s, struct store *store)
{
    const struct sae *sae = sae_model(s->trainer);
    struct sae_census *c = s->census;
    float *rate = arena_array(s->job->run, float, s->neurons), *mean = arena_array(s->job->run, float, s->neurons);
    world_sum_i64(s->job->world, c->total, s->neurons);
    for (int k = 0; k < s->neurons; k++) {
        rate[k] = (float)((double)c->fired[k] / (double)s->train.rows);
        mean[k] = (float)((double)c->total[k] / c->scale / (double)s->train.rows);
    }
    store_write_all(store, "/encoder", sae->encoder);
    store_write_all(store, "/encoder_bias", sae->encoder_bias);
    store_write_all(store, "/decoder", sae->decoder);
    store_write_all(store, "/bias", sae->bias);
    store_write_all(store, "/fire_rate", rate);
    store_write_all(store, "/mean_activation", mean);
    store_write_all(store, "/top/index", c->top_index);
    store_write_all(store, "/top/value", c->top_value);
}

static void write_scores(struct sae_stage *s, struct store *store)
{
    static const char *const names[SAE_HISTORY] = { "/history/loss", "/history/fvu", "/history/l0", "/history/dead",
                                                    "/history/dense" };
    const struct sae *sae = sae_model(s->trainer);
    double *column = arena_array(s->job->run, double, s->config->epochs);
    float *threshold = arena_array(s->job->run, float, s->neurons);
    for (int c = 0; c < SAE_HISTORY; c++) {
        for (int e = 0; e < s->config->epochs; e++)
            column[e] = sae_history(s->trainer)[e * SAE_HISTORY + c];
        store_write_all(store, names[c], column);
    }
    for (int k = 0; k < s->neurons; k++)
        threshold[k] = sae_by_batch(&sae->rule)            ? (float)sae->rule.threshold
                       : sae->rule.variant == SAE_JUMPRELU ? expf(sae->log_threshold[k])
                                                           : 0;
    store_write_all(store, "/threshold", threshold);
    store_write_all(store, "/monosemanticity", s->monosemanticity);
    store_write_all(store, "/nearest_cosine", s->nearest);
    store_write_all(store, "/stability", s->stability);
    store_set_i64(store, "/", "k", s->config->k);
    store_set_f64(store, "/", "monosemanticity", s->mean_monosemanticity);
    store_set_f64(store, "/", "coherence", s->coherence);
    if (s->config->stability > 0)
        store_set_f64(store, "/", "stability", s->mean_stability);
}

void sae_write(struct sae_stage *s)
{
    struct job *job = s->job;
    int64_t entries, before = entries_before(s, &entries);
    enum phase phase = phase_enter(PHASE_WRITE);
    struct store *store = create(s, entries);
    write_indptr(s, store, before);
    phase_enter(PHASE_EVALUATE);
    write_codes(s, store, before);
    phase_enter(PHASE_WRITE);
    write_model(s, store);
    write_scores(s, store);
    sae_sweep_write(s, store);
    store_set_text(store, "/", "variant", config_choice("sae.variant", (int)s->config->variant));
    store_set_text(store, "/", "evaluated_on", s->eval.x == s->train.x ? "train" : "val");
    store_set_f64(store, "/", "fvu_val", s->fvu);
    store_set_f64(store, "/", "l0_val", s->l0);
    store_set_f64(store, "/", "dead", s->dead);
    store_set_f64(store, "/", "dense", s->dense);
    job_publish(job, store);
    checkpoint_clear(job->world, job_path(job, "checkpoints"), "sae");
    phase_enter(phase);
}
