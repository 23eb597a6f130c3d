/* Rows of a batch for the leaves of this rank: copied when every rank keeps the
 * set, otherwise fetched from their owners, one exchange a batch. */
#include "concept/sae/sae_rows.h"

#include <string.h>

#include "base/arena.h"
#include "base/phase.h"
#include "dist/world.h"

/* The batch whose rows are there. */
struct sae_opened {
    const int64_t *order;
    int64_t start, rows; /* rows 0: none */
};

struct span sae_own_positions(const struct tree *tree, int64_t rows)
{
    struct span leaves = tree_leaves(tree);
    if (leaves.count == 0)
        return (struct span){ 0, 0 };
    int total = tree_leaf_count(tree);
    struct span first = shard_rows(rows, total, (int)leaves.first);
    struct span last = shard_rows(rows, total, (int)(leaves.first + leaves.count - 1));
    return (struct span){ first.first, last.first + last.count - first.first };
}

struct sae_source sae_source(struct arena *arena, const struct world *world, const struct tree *tree,
                             struct sae_set set, int dim, int64_t batch, int64_t resident_bytes)
{
    struct sae_source source = { .world = world, .tree = tree, .set = set, .dim = dim };
    size_t row_bytes = (size_t)dim * sizeof(float);
    int64_t most = sae_own_positions(tree, batch < set.rows ? batch : set.rows).count + 1;
    source.opened = arena_array(arena, struct sae_opened, 1);
    source.wanted = arena_array(arena, int64_t, most);
    if (set.rows * (int64_t)row_bytes <= resident_bytes) {
        float *all = arena_take_raw(arena, (size_t)set.rows, row_bytes);
        if (!arena_is_plan(arena))
            world_allgather_rows(world, all, set.x, set.mine, row_bytes);
        source.all = all;
    } else {
        source.fetched = arena_take_raw(arena, (size_t)most, row_bytes);
    }
    return source;
}

struct sae_source sae_source_whole(struct arena *arena, const struct sae_source *of, const struct tree *tree,
                                   int64_t batch)
{
    struct sae_source source = *of;
    source.tree = tree;
    source.opened = arena_array(arena, struct sae_opened, 1);
    source.wanted = arena_array(arena, int64_t, batch + 1);
    if (!of->all)
        source.fetched = arena_take_raw(arena, (size_t)batch + 1, (size_t)of->dim * sizeof(float));
    return source;
}

void sae_open_batch(struct sae_source *source, const int64_t *order, int64_t start, int64_t rows)
{
    struct span own = sae_own_positions(source->tree, rows);
    struct sae_opened *opened = source->opened;
    source->batch_rows = rows;
    source->first = own.first;
    if (opened->rows == rows && opened->start == start && opened->order == order)
        return;
    *opened = (struct sae_opened){ order, start, rows };
    for (int64_t i = 0; i < own.count; i++)
        source->wanted[i] = order ? order[start + own.first + i] : start + own.first + i;
    if (!source->all) {
        enum phase before = phase_enter(PHASE_COMM);
        world_fetch_rows(source->world, source->fetched, source->wanted, own.count, source->set.x, source->set.first,
                         source->set.mine, (size_t)source->dim * sizeof(float));
        phase_enter(before);
    }
}

void sae_close_batch(struct sae_source *source)
{
    source->opened->rows = 0;
}

struct span sae_leaf(const struct sae_source *source, int leaf)
{
    return shard_rows(source->batch_rows, tree_leaf_count(source->tree), (int)tree_leaves(source->tree).first + leaf);
}

void sae_copy_rows(float *out, const struct sae_source *source, int64_t first, int64_t count)
{
    int64_t at = first - source->first;
    size_t row = (size_t)source->dim;
    if (!source->all) {
        memcpy(out, source->fetched + (size_t)at * row, (size_t)count * row * sizeof(float));
        return;
    }
    for (int64_t i = 0; i < count; i++)
        memcpy(out + (size_t)i * row, source->all + (size_t)source->wanted[at + i] * row, row * sizeof(float));
}

void sae_fetch(float *out, const struct sae_source *source, const int64_t *rows, int64_t count)
{
    size_t row = (size_t)source->dim;
    if (!source->all) {
        world_fetch_rows(source->world, out, rows, count, source->set.x, source->set.first, source->set.mine,
                         row * sizeof(float));
        return;
    }
    for (int64_t i = 0; i < count; i++)
        memcpy(out + (size_t)i * row, source->all + (size_t)rows[i] * row, row * sizeof(float));
}
