/* The codes of sae.h5, passed once by every rank's neurons. */
#include "stage/concepts/cav_codes.h"

#include "concept/cav_examples.h"

enum { CODES_PER_READ = 1 << 20 };

struct cav_codes *cav_codes_open(struct job *job, const struct features *features, const int64_t *position)
{
    struct cav_codes *t = arena_array(job->run, struct cav_codes, 1);
    t->rows = features->rows;
    t->position = position;
    t->store = job_open(job, "sae.h5", "sae");
    t->neurons = store_rows(t->store, "/decoder");
    store_expect(t->store, "/decoder", STORE_F32, 2, (int64_t[]){ -1, features->dim });
    store_expect(t->store, "/fire_rate", STORE_F32, 1, &t->neurons);
    store_expect(t->store, "/codes/indptr", STORE_I64, 1, (int64_t[]){ t->rows + 1 });
    t->indptr = arena_array(job->run, int64_t, t->rows + 1);
    store_read_all(t->store, "/codes/indptr", t->indptr);
    int64_t entries = t->indptr[t->rows];
    store_expect(t->store, "/codes/index", STORE_I32, 1, &entries);
    store_expect(t->store, "/codes/value", STORE_F32, 1, &entries);
    bool ordered = t->indptr[0] == 0;
    for (int64_t row = 0; row < t->rows; row++)
        ordered = ordered && t->indptr[row] <= t->indptr[row + 1];
    agree(job->world, ordered, EXIT_BAD_DATA,
          "%s: /codes/indptr does not ascend from 0\nthe file is damaged: cfn sae --force", store_path(t->store));
    return t;
}

/* A block of whole rows of the codes. */
struct code_block {
    int64_t row, rows; /* first row and count */
    int32_t *index;
    float *value;
};

/* The rows after `row` that fit in one read; the same on every rank. */
static struct code_block block_at(const struct cav_codes *t, int64_t row)
{
    struct code_block block = { .row = row };
    while (row + block.rows < t->rows &&
           (block.rows == 0 || t->indptr[row + block.rows + 1] - t->indptr[row] <= CODES_PER_READ))
        block.rows++;
    return block;
}

static int64_t entries_of(const struct cav_codes *t, const struct code_block *block)
{
    return t->indptr[block->row + block->rows] - t->indptr[block->row];
}

static void read_block(struct cav_codes *t, const struct code_block *block)
{
    int64_t entries = entries_of(t, block);
    store_read_range(t->store, "/codes/index", t->indptr[block->row], entries, block->index);
    store_read_range(t->store, "/codes/value", t->indptr[block->row], entries, block->value);
    for (int64_t i = 0; i < entries; i++)
        require(block->index[i] >= 0 && block->index[i] < t->neurons, EXIT_BAD_DATA,
                "%s: /codes/index holds neuron %d, expected 0 to %lld\nthe file is damaged: cfn sae --force",
                store_path(t->store), block->index[i], (long long)t->neurons - 1);
}

static void collect_block(const struct cav_codes *t, const struct code_block *block, struct cav_collector *collector)
{
    int64_t base = t->indptr[block->row];
    for (int64_t row = block->row; row < block->row + block->rows; row++) {
        int64_t at = t->indptr[row] - base;
        if (t->position[row] >= 0)
            cav_collect(collector, t->position[row], block->index + at, block->value + at,
                        t->indptr[row + 1] - t->indptr[row]);
    }
}

double cav_codes_bytes(const struct cav_codes *t, int ranks)
{
    const int64_t room = CODES_PER_READ > t->neurons ? CODES_PER_READ : t->neurons, entries = t->indptr[t->rows];
    return (ranks > 1 ? 16.0 : 8.0) * (double)(entries < room ? entries : room);
}

/* Each rank reads one block a round, then the blocks of the round go round. */
void cav_codes_collect(struct job *job, struct cav_codes *t, struct cav_collector *collector)
{
    struct world *world = job->world;
    struct arena *scratch = job->scratch;
    struct arena_mark mark = arena_mark(scratch);
    int64_t room = CODES_PER_READ > t->neurons ? CODES_PER_READ : t->neurons;
    struct code_block own = { .index = arena_take_raw(scratch, (size_t)room, 4),
                              .value = arena_take_raw(scratch, (size_t)room, 4) };
    struct code_block other = { .index = arena_take_raw(scratch, (size_t)room, 4),
                                .value = arena_take_raw(scratch, (size_t)room, 4) };
    struct code_block *round = arena_array(scratch, struct code_block, world->size);
    for (int64_t row = 0; row < t->rows;) {
        int blocks = 0;
        for (; blocks < world->size && row < t->rows; row += round[blocks++].rows) {
            round[blocks] = block_at(t, row);
            round[blocks].index = blocks == world->rank ? own.index : other.index;
            round[blocks].value = blocks == world->rank ? own.value : other.value;
        }
        enum phase before = phase_enter(PHASE_READ);
        if (world->rank < blocks)
            read_block(t, &round[world->rank]);
        for (int b = 0; b < blocks; b++) {
            phase_enter(PHASE_COMM);
            size_t entries = (size_t)entries_of(t, &round[b]);
            world_broadcast(world, round[b].index, entries * sizeof(int32_t), b);
            world_broadcast(world, round[b].value, entries * sizeof(float), b);
            phase_enter(PHASE_COMPUTE);
            collect_block(t, &round[b], collector);
        }
        phase_enter(before);
    }
    arena_release(scratch, mark);
}
