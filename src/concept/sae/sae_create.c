/* The memory of sparse autoencoder training: what a trainer owns, and what
 * trainers of one pass share. Here rows and neurons are dealt to the ranks
 * (sae_options.way). In a plan nothing is filled. */
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "concept/sae/sae_feature.h"
#include "concept/sae/sae_state.h"
#include "dist/world.h"
#include "math/vec.h"

/* Sums that need no other rank go along trees made for this one. */
static struct world alone = { .size = 1 };

static bool by_neurons(const struct sae_options *options, int ranks)
{
    return options->way == SAE_BY_NEURONS && ranks > 1;
}

static int64_t leaf_rows(const struct sae_options *options, int64_t train_rows)
{
    int64_t batch = options->batch < train_rows ? options->batch : train_rows;
    return (batch + options->leaves - 1) / options->leaves;
}

/* Rows of a product when a rank has so many leaves. */
static int64_t rows_of_leaves(const struct sae_options *options, int64_t train_rows, int leaves)
{
    const int64_t own = leaf_rows(options, train_rows) * leaves;
    return own < SAE_ROWS ? own : SAE_ROWS;
}

/* Those that evaluation takes through all neurons at once. */
static int64_t whole_rows(const struct sae_options *options, int64_t train_rows, int ranks)
{
    return rows_of_leaves(options, train_rows, (options->leaves + ranks - 1) / ranks);
}

int64_t sae_piece_rows(const struct sae_options *options, int64_t train_rows, int ranks)
{
    return by_neurons(options, ranks) ? rows_of_leaves(options, train_rows, options->leaves)
                                      : whole_rows(options, train_rows, ranks);
}

/* Rows of a product in bfloat16, whose bits depend on its shape: it ends with a leaf. */
static int64_t half_rows(const struct sae_options *options, int64_t train_rows)
{
    return rows_of_leaves(options, train_rows, 1);
}

/* Neurons of a rank in a step. */
static int sae_here(int neurons, const struct sae_options *o, int ranks, int rank)
{
    const int blocks = sae_block_count(neurons, o->leaves);
    const struct span own = shard_rows(blocks, ranks, rank);
    int64_t here = 0;
    for (int64_t b = own.first; b < own.first + own.count; b++)
        here += shard_rows(neurons, blocks, (int)b).count;
    return by_neurons(o, ranks) ? (int)here : neurons;
}

/* Activations of a row that a rank offers to the choice among all ranks' neurons. */
static int most_offered(const struct sae_options *options, int count)
{
    int most = 0;
    for (int i = 0; i < count; i++) {
        const int k = options[i].rule.variant == SAE_TOPK ? options[i].rule.k : 0, aux = sae_aux_k(&options[i]);
        most = k > most ? k : most;
        most = aux > most ? aux : most;
    }
    return most;
}

/* Sum of squared deviations of the evaluation set from its mean, two passes. Rows that differ by rounding alone, a
 * millionth of their length, do not vary: NaN, and so is every share of it. */
static double total_variance(struct sae_workspace *space)
{
    struct sae_source *s = &space->eval;
    struct span leaves = tree_leaves(space->tree);
    double *mean = space->row_sums, *sum = mean + s->dim, *part = sum + s->dim, total = 0;
    memset(mean, 0, (size_t)s->dim * sizeof *mean);
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t start = 0; start < s->set.rows; start += space->eval_batch) {
            sae_open_batch(s, NULL, start,
                           s->set.rows - start < space->eval_batch ? s->set.rows - start : space->eval_batch);
            memset(part, 0, (size_t)(leaves.count * s->dim) * sizeof(double));
            for (int l = 0; l < leaves.count; l++) {
                struct span rows = sae_leaf(s, l);
                for (int64_t i = 0; i < rows.count; i++) {
                    sae_copy_rows(space->x, s, rows.first + i, 1);
                    for (int d = 0; d < s->dim; d++)
                        part[l * s->dim + d] += pass == 0 ? (double)space->x[d] : pow((double)space->x[d] - mean[d], 2);
                }
            }
            tree_sum_f64(space->tree, sum, part, s->dim);
            for (int d = 0; d < s->dim; d++) {
                mean[d] += pass == 0 ? sum[d] / (double)s->set.rows : 0;
                total += pass == 1 ? sum[d] : 0;
            }
        }
    }
    double whole = total + (double)s->set.rows * vec_ddot(mean, mean, s->dim);
    return total > 1e-12 * whole ? total : NAN;
}

static int most_neurons(const int *neurons, int count)
{
    int most = neurons[0];
    for (int i = 1; i < count; i++)
        most = neurons[i] > most ? neurons[i] : most;
    return most;
}

/* What the trainings that make one workspace have in common. */
struct shape {
    struct arena *arena;
    struct world *world;
    const struct sae_options *options; /* [count] */
    const int *neurons;                /* [count] */
    int count, dim, most;              /* most: neurons of the largest */
    int64_t whole, piece;              /* rows of a product with all neurons, and of one of a step */
};

/* Floats of the folding stack: over all neurons, as evaluation needs it, and over those of a step. */
static int64_t stack_floats(const struct shape *shape, const struct tree *tree, const struct tree *step_tree)
{
    const struct world *world = shape->world;
    const int64_t here = sae_here(shape->most, shape->options, world->size, world->rank);
    const int64_t whole = tree_depth(tree) * sae_stride(sae_count(shape->dim, shape->most));
    const int64_t step = tree_depth(step_tree) * sae_stride(sae_count(shape->dim, (int)here));
    return whole > step ? whole : step;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Is there a training whose steps may have dense products? */
static bool may_be_dense(const struct shape *shape)
{
    for (int i = 0; i < shape->count; i++)
        if (!sae_by_count(&shape->options[i].rule))
            return true;
    return false;
}

static bool has_dead_list(const struct shape *shape)
{
    for (int i = 0; i < shape->count; i++)
        if (sae_aux_k(&shape->options[i]) > 0)
            return true;
    return false;
}

/* Rows through all neurons at once: of evaluation, and of a round of planting (sae_resample.c), which are as many at
 * any number of ranks. */
static int64_t most_whole(const struct sae_options *options, int count, int most, int64_t train_rows, int ranks)
{
    const int64_t few = (most + SAE_ROUNDS - 1) / SAE_ROUNDS, piece = sae_piece_rows(options, train_rows, 1);
    bool plants = false;
    for (int i = 0; i < count; i++)
        plants = plants || (sae_by_count(&options[i].rule) && options[i].resample_every > 0);
    return larger(whole_rows(options, train_rows, ranks), !plants ? 0 : few < piece ? few : piece);
}

/* Room for all neurons at evaluation, and for those here in a step. Sums of a reconstruction need a folding stack over
 * blocks; steps over active neurons only have theirs elsewhere. */
static struct sae_room work_room(const struct shape *shape)
{
    struct world *world = shape->world;
    const int blocks = sae_block_count(shape->most, shape->options->leaves);
    const int64_t here = sae_here(shape->most, shape->options, world->size, world->rank), D = shape->dim;
    const struct tree *whole = tree_create(shape->arena, &alone, blocks);
    const struct tree *step =
        by_neurons(shape->options, world->size) ? tree_create(shape->arena, world, blocks) : whole;
    const bool dense = may_be_dense(shape);
    return (struct sae_room){ .rows = larger(shape->whole, shape->piece),
                              .f = larger(shape->whole * shape->most, shape->piece * here),
                              .df = (dense                  ? shape->piece
                                     : has_dead_list(shape) ? SAE_BAND
                                                            : 0) *
                                    here,
                              .error = D * larger(tree_depth(whole) * shape->whole,
                                                  dense ? tree_depth(step) * shape->piece : 0),
                              .neurons = shape->most,
                              .blocks = blocks };
}

static void take_scratch(struct sae_workspace *s, const struct shape *shape, const struct tree *step_tree)
{
    struct arena *arena = shape->arena;
    const int64_t train_rows = s->train.set.rows, leaves = tree_leaves(s->tree).count;
    const int64_t stride = sae_stride(sae_count(shape->dim, shape->most));
    const struct sae_room room = work_room(shape);
    s->stack = arena_take_raw(arena, (size_t)stack_floats(shape, s->tree, step_tree), sizeof(float));
    if (!arena_is_plan(arena)) /* a rank without leaves never writes it */
        memset(s->stack, 0, (size_t)stride * sizeof(float));
    s->work = sae_work_in(arena, shape->dim, &room);
    s->work.rows = shape->whole;
    s->x = arena_array(arena, float, room.rows * shape->dim);
    s->picked = arena_array(arena, int64_t, room.rows);
    s->leaf_sums = arena_array(arena, double, SAE_LEAF_SUMS *(leaves + 1));
    s->row_sums = arena_array(arena, double, (leaves + 4) * (shape->dim + 1));
    s->row_loss = arena_array(arena, double, s->batch);
    s->cumulative = arena_array(arena, double, train_rows);
    s->drawn = arena_array(arena, struct drawn, train_rows);
    s->dead = arena_array(arena, int64_t, shape->most);
}

/* The tree over leaves of rows in a step. */
static struct tree *step_tree(const struct shape *shape, struct sae_workspace *s)
{
    return by_neurons(shape->options, shape->world->size) ? tree_create(shape->arena, &alone, shape->options->leaves)
                                                          : s->tree;
}

static struct sae_workspace *workspace(const struct shape *shape, struct sae_set train, struct sae_set eval)
{
    struct arena *arena = shape->arena;
    const struct sae_options *o = shape->options;
    struct sae_workspace *s = arena_array(arena, struct sae_workspace, 1);
    s->world = shape->world;
    s->tree = tree_create(arena, shape->world, o->leaves);
    s->batch = o->batch < train.rows ? o->batch : train.rows;
    s->eval_batch = s->batch < eval.rows ? s->batch : eval.rows;
    s->train = sae_source(arena, s->world, s->tree, train, shape->dim, s->batch, o->resident_bytes);
    s->eval = sae_source(arena, s->world, s->tree, eval, shape->dim, s->eval_batch, o->resident_bytes);
    s->order = arena_array(arena, int64_t, train.rows);
    s->median = arena_array(arena, float, shape->dim);
    s->median[0] = NAN;
    return s;
}

/* What all steps share, as large as the largest training needs. */
static struct sae_step step_parts(const struct shape *shape, const struct sae_workspace *s, struct tree *tree)
{
    struct arena *arena = shape->arena;
    const int blocks = sae_block_count(shape->most, shape->options->leaves);
    const int64_t leaves = tree_leaves(tree).count;
    struct sae_step step = { .tree = tree, .rows = s->train, .piece = shape->piece };
    if (tree != s->tree) {
        step.rows = sae_source_whole(arena, &s->train, tree, s->batch);
        step.offers = sae_offers(arena, s->world, s->batch, most_offered(shape->options, shape->count));
    }
    step.leaf = arena_array(arena, struct span, leaves + 1);
    step.leaf_sums = arena_array(arena, double, SAE_LEAF_SUMS *(leaves + 1));
    step.neuron_sums = arena_array(arena, double, blocks *(leaves + 1) * SAE_NEURON_SUMS);
    step.bias_part = arena_array(arena, float, blocks * shape->dim);
    step.norm_part = arena_array(arena, double, blocks);
    step.counts = arena_array(arena, int64_t, s->world->size);
    return step;
}

static bool same_rule(const struct sae_options *a, const struct sae_options *b)
{
    return a->rule.variant == b->rule.variant && sae_prefixes(&a->rule) == sae_prefixes(&b->rule) && a->half == b->half;
}

/* Rows of a batch and of a rank; which rank of how many. */
struct dealt {
    int64_t batch, own;
    int ranks, rank;
};

/* The largest of the trainings from `first` on that choose neurons in its way. */
static struct sae_sizes largest_of(const struct shape *shape, int first, struct dealt dealt)
{
    const struct sae_options *options = shape->options;
    struct sae_sizes z = { .dim = shape->dim, .rows = dealt.own, .half = options[first].half };
    for (int i = first; i < shape->count; i++) {
        if (!same_rule(&options[first], &options[i]))
            continue;
        const int here = sae_here(shape->neurons[i], &options[i], dealt.ranks, dealt.rank),
                  aux = sae_aux_k(&options[i]);
        int64_t kept, entries = sae_code_room(&options[i], shape->neurons[i], here, dealt.batch, dealt.own, &kept);
        z.neurons = here > z.neurons ? here : z.neurons;
        z.aux_k = aux > z.aux_k ? aux : z.aux_k;
        z.entries = larger(entries, z.entries);
        z.kept = larger(kept, z.kept);
    }
    return z;
}

/* The first training that chooses neurons as training i does. */
static int first_alike(const struct sae_options *options, int i)
{
    int first = 0;
    while (!same_rule(&options[first], &options[i]))
        first++;
    return first;
}

static void deepen(struct sae_depths *depths, const struct tree *blocks)
{
    depths->blocks = tree_depth(blocks) > depths->blocks ? tree_depth(blocks) : depths->blocks;
    depths->nodes = tree_nodes(blocks) > depths->nodes ? tree_nodes(blocks) : depths->nodes;
}

/* Can trainings i and j share their products in bf16? */
static bool half_alike(const struct sae_options *options, const int *neurons, int i, int j)
{
    return options[i].half && options[j].half && neurons[i] == neurons[j] &&
           sae_by_count(&options[i].rule) == sae_by_count(&options[j].rule);
}
/* The first training that shares those of training i, which has such. */
static int first_half(const struct sae_options *options, const int *neurons, int i)
{
    int first = 0;
    while (!half_alike(options, neurons, first, i))
        first++;
    return first;
}

/* Weights, moments, counts. */
static struct sae_model model_parts(struct arena *arena, const struct sae_options *options, int dim, int neurons)
{
    const int64_t count = sae_count(dim, neurons);
    struct sae_model m = { .sae = sae_view(arena_array(arena, float, count), dim, neurons),
                           .moment1 = sae_view(arena_array(arena, float, count), dim, neurons),
                           .moment2 = sae_view(arena_array(arena, float, count), dim, neurons),
                           .history = arena_array(arena, double, (int64_t)options->epochs *SAE_HISTORY),
                           .fired = arena_array(arena, int64_t, neurons),
                           .fired_epoch = arena_array(arena, int64_t, neurons),
                           .fired_before = arena_array(arena, int64_t, neurons),
                           .silent = arena_array(arena, int64_t, neurons) };
    m.sae.rule = options->rule;
    m.sae.blocks = tree_create(arena, &alone, options->half ? 1 : sae_block_count(neurons, options->leaves));
    return m;
}

/* The neurons of a step. */
static void own_step(struct sae_trainer *t, struct arena *arena)
{
    const struct sae *sae = &t->model.sae;
    struct world *world = t->space->world;
    const struct tree *blocks = by_neurons(&t->options, world->size)
                                    ? tree_create(arena, world, sae_block_count(sae->neurons, t->options.leaves))
                                    : sae->blocks;
    t->step.part = sae_part(sae, blocks);
    t->step.stride = sae_stride(t->step.part.count);
    t->step.dead_list = arena_array(arena, int32_t, sae->neurons);
}

/* Codes of a step, and its products in bf16: trainings that choose neurons in the same way have them together. */
static void share_products(struct sae_trainer **out, const struct shape *shape)
{
    const struct sae_options *options = shape->options;
    const struct sae_workspace *s = out[0]->space;
    const struct tree *tree = out[0]->step.tree;
    const struct dealt dealt = { s->batch, sae_own_positions(tree, s->batch).count, s->world->size, s->world->rank };
    struct sae_depths depths = { tree_depth(tree), 1, 1 };
    for (int i = 0; i < shape->count; i++)
        deepen(&depths, out[i]->step.part.blocks);
    for (int i = 0; i < shape->count; i++) {
        const int first = first_alike(options, i), alike = options[i].half ? first_half(options, shape->neurons, i) : i;
        const struct sae_sizes sizes = largest_of(shape, i, dealt);
        out[i]->step.sparse =
            first < i ? out[first]->step.sparse : sae_sparse(shape->arena, &options[i].rule, &depths, &sizes);
        if (options[i].half)
            out[i]->step.half =
                alike < i ? out[alike]->step.half
                          : sae_half(shape->arena, shape->dim, shape->neurons[i],
                                     half_rows(&options[i], s->train.set.rows), !sae_by_count(&options[i].rule));
    }
    for (int i = 0; i < shape->count; i++)
        sae_sparse_fit(&out[i]->step.sparse, out[i]->step.part.neurons, sae_aux_k(&options[i]));
}

void sae_trainers_create(struct sae_trainer **out, struct arena *arena, struct world *world,
                         const struct sae_options *options, int dim, const int *neurons, int count,
                         struct sae_set train, struct sae_set eval)
{
    const struct shape shape = { .arena = arena,
                                 .world = world,
                                 .options = options,
                                 .neurons = neurons,
                                 .count = count,
                                 .dim = dim,
                                 .most = most_neurons(neurons, count),
                                 .whole =
                                     most_whole(options, count, most_neurons(neurons, count), train.rows, world->size),
                                 .piece = sae_piece_rows(options, train.rows, world->size) };
    struct sae_workspace *space = workspace(&shape, train, eval);
    struct tree *tree = step_tree(&shape, space);
    take_scratch(space, &shape, tree);
    const struct sae_step step = step_parts(&shape, space, tree);
    for (int i = 0; i < count; i++) {
        out[i] = arena_array(arena, struct sae_trainer, 1);
        *out[i] = (struct sae_trainer){ options[i], space, model_parts(arena, &options[i], dim, neurons[i]), step };
        own_step(out[i], arena);
    }
    share_products(out, &shape);
    if (arena_is_plan(arena))
        return;
    space->variance = total_variance(space);
    for (int i = 0; i < count; i++) {
        sae_first_weights(out[i]);
        sae_loaded(out[i]);
    }
}

void sae_trainers_end(struct sae_trainer *const *trainers, int count)
{
    for (int i = 0; i < count; i++) {
        bool first = true;
        for (int j = 0; j < i; j++)
            first = first && trainers[j]->step.half != trainers[i]->step.half;
        if (first)
            sae_half_end(trainers[i]->step.half);
    }
}

struct sae_trainer *sae_trainer_create(struct arena *arena, struct world *world, const struct sae_options *options,
                                       int dim, int neurons, struct sae_set train, struct sae_set eval)
{
    struct sae_trainer *t;
    sae_trainers_create(&t, arena, world, options, dim, &neurons, 1, train, eval);
    return t;
}
