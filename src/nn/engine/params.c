/* Parameters: torchvision's flat layout for the world outside, the primitives'
 * layouts for the steps, initial values, and gradients on their way through the
 * folding tree. */
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "dist/shard.h"
#include "dist/tree.h"
#include "dist/world.h"
#include "math/vec.h"
#include "nn/engine.h"

enum { ALIGN = 16, PIECE = 1 << 24 }; /* floats */

static int64_t aligned(int64_t floats)
{
    return (floats + ALIGN - 1) / ALIGN * ALIGN;
}

/* ---- layouts ---- */

static void slot_create(struct network *net, int parameter, const struct dn_layout *layout)
{
    const struct parameter *p = &net->graph->parameters[parameter];
    struct slot *slot = &net->slots[parameter];
    slot->floats = aligned(layout ? dn_values(layout) : p->count);
    slot->offset = net->flat;
    net->flat += slot->floats;
    if (!layout)
        return;
    const struct dn_layout *plain = dn_plain(net->dn, p->rank, p->dims);
    slot->in = dn_reorder_create(net->dn, layout, plain);
    if (net->spec.train) /* for inference the primitive may keep weights in a form that has no way back */
        slot->out = dn_reorder_create(net->dn, plain, layout);
}

static void node_slots(struct network *net, const struct op *op)
{
    const struct node *node = op->node;
    if (node->weight == NONE)
        return;
    slot_create(net, node->weight, op->weight_layout);
    int64_t width = net->slots[node->weight].floats;
    if (node->bias != NONE) {
        slot_create(net, node->bias, NULL);
        net->slots[node->bias].fold_offset = width;
        width += net->slots[node->bias].floats;
    }
    if (width > net->stack_stride)
        net->stack_stride = width;
}

static void training_buffers(struct network *net)
{
    int depth = tree_depth(net->tree);
    net->nodes = tree_nodes(net->tree);
    net->w = arena_array(net->arena, float, net->flat);
    net->m = arena_array(net->arena, float, net->flat);
    net->v = arena_array(net->arena, float, net->flat);
    net->g = arena_array(net->arena, float, net->flat *(net->nodes > 0 ? net->nodes : 1));
    net->stack = arena_array(net->arena, float, depth > 1 ? depth * net->stack_stride : 1);
}

void params_create(struct network *net)
{
    struct graph *graph = net->graph;
    net->slots = arena_array(net->arena, struct slot, graph->parameter_count);
    if (!net->spec.train)
        net->weights = arena_array(net->arena, float, graph->weights);
    net->buffers = arena_array(net->arena, float, graph->buffers);
    for (int i = 0; i < graph->count; i++)
        node_slots(net, &net->ops[i]);
    if (net->spec.train) {
        training_buffers(net);
        return;
    }
    net->stack = arena_array(net->arena, float, net->stack_stride); /* weights being folded */
}

static void copy_in(struct network *net, float *engine, const float *plain)
{
    for (int i = 0; i < net->graph->parameter_count; i++) {
        const struct parameter *p = &net->graph->parameters[i];
        const struct slot *slot = &net->slots[i];
        if (p->is_buffer)
            continue;
        if (slot->in)
            dn_reorder(slot->in, engine + slot->offset, plain + p->offset);
        else
            memcpy(engine + slot->offset, plain + p->offset, (size_t)p->count * sizeof(float));
    }
}

static void copy_out(struct network *net, float *plain, const float *engine)
{
    for (int i = 0; i < net->graph->parameter_count; i++) {
        const struct parameter *p = &net->graph->parameters[i];
        const struct slot *slot = &net->slots[i];
        if (p->is_buffer)
            continue;
        if (slot->out)
            dn_reorder(slot->out, plain + p->offset, engine + slot->offset);
        else
            memcpy(plain + p->offset, engine + slot->offset, (size_t)p->count * sizeof(float));
    }
}

void params_to_engine(struct network *net)
{
    copy_in(net, net->w, net->weights);
    if (net->moment1)
        copy_in(net, net->m, net->moment1);
    if (net->moment2)
        copy_in(net, net->v, net->moment2);
}

void params_to_plain(struct network *net)
{
    copy_out(net, net->weights, net->w);
    if (net->moment1)
        copy_out(net, net->moment1, net->m);
    if (net->moment2)
        copy_out(net, net->moment2, net->v);
    if (net->gradients)
        copy_out(net, net->gradients, net->g);
}

/* ---- initial values ----
 * Each draw is keyed by its parameter and element, so ranks share the work: each draws its part of the flat weights. */

static struct span own_weights(const struct network *net)
{
    return shard_rows(net->graph->weights, net->world->size, net->world->rank);
}

/* The elements of a parameter in this rank's part. */
static struct span own_elements(const struct network *net, const struct parameter *p)
{
    struct span own = own_weights(net);
    int64_t first = own.first - p->offset, end = first + own.count;
    first = first < 0 ? 0 : first;
    end = end > p->count ? p->count : end;
    return (struct span){ .first = first, .count = end > first ? end - first : 0 };
}

static void exchange_weights(const struct network *net)
{
    struct span own = own_weights(net);
    world_allgather_rows(net->world, net->weights, net->weights + own.first, own.count, sizeof(float));
}

void init_constant(const struct network *net, int number, float value)
{
    const struct parameter *p = &net->graph->parameters[number];
    float *out = (p->is_buffer ? net->buffers : net->weights) + p->offset;
    for (int64_t i = 0; i < p->count; i++)
        out[i] = value;
}

void init_uniform(const struct network *net, int number, double bound)
{
    const struct parameter *p = &net->graph->parameters[number];
    struct rng rng = { net->spec.seed, RNG_INIT, 0 };
    struct span own = own_elements(net, p);
#pragma omp parallel for schedule(static)
    for (int64_t i = own.first; i < own.first + own.count; i++)
        net->weights[p->offset + i] = (float)rng_range(&rng, (uint64_t)number, (uint64_t)i, -bound, bound);
}

/* What is drawn again is the same element of other rows. */
void init_normal(const struct network *net, int number, double deviation, double cut)
{
    enum { ROWS = 1 << 20 }; /* above the number of parameters */
    const struct parameter *p = &net->graph->parameters[number];
    struct rng rng = { net->spec.seed, RNG_INIT, 0 };
    struct span own = own_elements(net, p);
#pragma omp parallel for schedule(static)
    for (int64_t i = own.first; i < own.first + own.count; i++) {
        double value = cut;
        for (uint64_t row = (uint64_t)number; fabs(value) >= cut; row += ROWS)
            value = deviation * rng_normal(&rng, row, (uint64_t)i);
        net->weights[p->offset + i] = (float)value;
    }
}

void params_init(struct network *net)
{
    for (int i = 0; i < net->graph->count; i++) {
        const struct node *node = &net->graph->nodes[i];
        if (node->kind->init)
            node->kind->init(net, node);
    }
    exchange_weights(net);
}

/* ---- gradients ---- */

/* With a single shard there is nothing to fold: it writes where the sum belongs. */
static bool folds(const struct network *net)
{
    return tree_depth(net->tree) > 1;
}

float *gradient_row(struct network *net, int parameter, int shard)
{
    const struct slot *slot = &net->slots[parameter];
    if (!folds(net))
        return net->g + slot->offset;
    return net->stack + tree_slot(net->tree, shard) * net->stack_stride + slot->fold_offset;
}

void gradient_fold(struct network *net, int parameter, int shard)
{
    const struct slot *slot = &net->slots[parameter];
    if (!folds(net))
        return;
    float *stack = net->stack + slot->fold_offset;
    tree_fold_f32(net->tree, shard, stack, slot->floats, net->stack_stride);
    if (shard + 1 < net->shards)
        return;
    for (int node = 0; node < net->nodes; node++)
        vec_copy(net->g + node * net->flat + slot->offset, stack + node * net->stack_stride, slot->floats);
}

void gradient_sum(struct network *net)
{
    if (!net->spec.fast_reduction) {
        tree_sum_nodes_f32(net->tree, net->g, net->g, net->flat, net->flat);
        return;
    }
    for (int node = 1; node < net->nodes; node++)
        vec_add(net->g, net->g + node * net->flat, net->flat);
    for (int64_t first = 0; first < net->flat; first += PIECE) {
        int64_t count = net->flat - first < PIECE ? net->flat - first : PIECE;
        world_sum_f32_any_order(net->world, net->g + first, (int)count);
    }
}

void statistics_sum(struct network *net, double *total, double *leaves, int64_t n)
{
    if (!net->spec.fast_reduction) {
        tree_sum_f64(net->tree, total, leaves, n);
        return;
    }
    memcpy(total, leaves, (size_t)n * sizeof *total);
    for (int s = 1; s < net->shards; s++)
        for (int64_t i = 0; i < n; i++)
            total[i] += leaves[s * n + i];
    world_sum_f64_any_order(net->world, total, (int)n);
}
