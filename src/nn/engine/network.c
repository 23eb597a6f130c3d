/* A network as the stages see it: made from a specification, stepped, asked for
 * its numbers. The work is done by graph, plan, params, exec and the ops. */
#include "nn/network.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "base/phase.h"
#include "base/text.h"
#include "dist/tree.h"
#include "dist/world.h"
#include "math/adam.h"
#include "math/half_product.h"
#include "nn/engine.h"

enum { ALIGN = 64, FLOATS = 16, SMALLEST_IMAGE = 32 }; /* bytes, floats, pixels */
enum { ROWS_MOST = 8, ROWS_LEAST = 4 };                /* images */

/* ---- making one ---- */

static void check_spec(struct world *world, struct arena *arena, const struct network_spec *s)
{
    const struct zoo_row *row = zoo_find(s->backbone);
    const char *names[ZOO_ROWS], *near = row ? NULL : text_suggest(s->backbone, names, (size_t)zoo_names(names));
    agree(world, row, EXIT_BAD_CONFIG, "backbone: \"%s\" is not a backbone%s\nthis version trains %s", s->backbone,
          near ? arena_printf(arena, " (did you mean \"%s\"?)", near) : "", zoo_built(arena));
    agree(world, s->image_size >= SMALLEST_IMAGE, EXIT_BAD_CONFIG, "image.size: expected %d or more, found %d",
          SMALLEST_IMAGE, s->image_size);
    agree(world, s->classes >= 1, EXIT_BAD_DATA, "classes: expected 1 or more, found %d", s->classes);
    agree(world, s->shards >= 1 && s->batch >= 1 && s->batch % s->shards == 0, EXIT_BAD_CONFIG,
          "train.batch: expected a multiple of train.shards = %d, found %d", s->shards, s->batch);
    if (!s->train)
        return;
    agree(world, (s->shards & (s->shards - 1)) == 0, EXIT_BAD_CONFIG, "train.shards: expected a power of two, found %d",
          s->shards);
    agree(world, world->size <= s->shards, EXIT_BAD_CONFIG,
          "train.shards: expected at least one for each of %d ranks, found %d\nuse train.shards=%d or fewer ranks",
          world->size, s->shards, world->size);
}

static void create_ops(struct network *net)
{
    struct graph *graph = net->graph;
    net->ops = arena_array(net->arena, struct op, graph->count);
    for (int i = 0; i < graph->count; i++) {
        net->ops[i].node = &graph->nodes[i];
        net->ops[i].worker = &net->ops[i];
    }
    if (!net->spec.train)
        norms_fold(net);
    for (int i = 0; i < graph->count; i++) {
        struct op *op = &net->ops[i];
        op->node->kind->create(net, op);
        op->view = dn_view(op->layout);
        op->type = dn_type(op->layout);
        int64_t bytes = dn_values(op->layout) * value_bytes(op->type);
        op->stride = op->node->kind->is_borrowed ? bytes : (bytes + ALIGN - 1) / ALIGN * ALIGN;
        if (op->streamed) {
            net->stream_bytes = op->stride > net->stream_bytes ? op->stride : net->stream_bytes;
            op->stride = 0;
        }
    }
}

/* Images that inference takes at a time: few, so that what passes from layer to layer stays in the caches, but enough
 * for all threads. A batch without such a divisor goes in one piece. */
static int rows_at_a_time(int batch)
{
    for (int rows = ROWS_MOST; rows >= ROWS_LEAST; rows--)
        if (batch % rows == 0)
            return rows;
    return batch;
}

struct network *network_create(struct world *world, struct arena *arena, const struct network_spec *spec)
{
    check_spec(world, arena, spec);
    struct network *net = arena_array(arena, struct network, 1);
    net->world = world;
    net->arena = arena;
    net->spec = *spec;
    net->spec.backbone = arena_strdup(arena, spec->backbone);
    net->shard_rows = spec->batch / spec->shards;
    net->shards = 1;
    if (spec->train) {
        net->tree = tree_create(arena, world, spec->shards);
        net->shards = (int)tree_leaves(net->tree).count;
        net->loss_leaves = arena_array(arena, double, 3 * net->shards);
    } else {
        net->shard_rows = rows_at_a_time(spec->batch);
    }
    net->graph = graph_create(arena, net->spec.backbone);
    zoo_find(spec->backbone)->build(net->graph, spec->image_size, spec->classes);
    net->dn = dn_create(arena);
    if (net->graph->rows)
        dn_prefer_rows(net->dn);
    if (net->graph->blocked || spec->precision == VALUE_F32) /* minimal filtering works on groups of channels */
        dn_never_rows(net->dn);
    create_ops(net);
    params_create(net);
    net->logits = arena_array(arena, float, (int64_t)net->shards * net->shard_rows * spec->classes);
    dn_finish(net->dn);
    if (spec->train)
        plan_training(net);
    else
        plan_inference(net);
    if (!spec->plan_only) {
        params_init(net);
        network_changed(net);
    }
    return net;
}

void network_close(struct network *net)
{
    dn_destroy(net->dn);
}

/* ---- state ---- */

static float *counted(float *data, int64_t floats, int64_t *count)
{
    if (count)
        *count = floats;
    return data;
}

int network_parameters(const struct network *net, const struct parameter **list)
{
    *list = net->graph->parameters;
    return net->graph->parameter_count;
}

float *network_weights(struct network *net, int64_t *count)
{
    return counted(net->weights, net->graph->weights, count);
}

float *network_buffers(struct network *net, int64_t *count)
{
    return counted(net->buffers, net->graph->buffers, count);
}

/* The plain twin of an engine buffer, made and filled when first asked for: behind the weights and `before` others in
 * the memory of the activations, or, where these are few, in its own. */
static float *twin(struct network *net, float **plain, int before)
{
    int64_t floats = (net->graph->weights + FLOATS - 1) / FLOATS * FLOATS;
    bool fits = (before + 2) * floats * (int64_t)sizeof(float) <= net->room_bytes;
    if (!*plain) {
        *plain = fits ? net->weights + (before + 1) * floats : arena_array(net->arena, float, net->graph->weights);
        params_to_plain(net);
    }
    return *plain;
}

float *network_moment1(struct network *net)
{
    return twin(net, &net->moment1, 0);
}

float *network_moment2(struct network *net)
{
    return twin(net, &net->moment2, 1);
}

float *network_gradients(struct network *net)
{
    return twin(net, &net->gradients, 2);
}

void network_sync(struct network *net)
{
    if (net->spec.train)
        params_to_plain(net);
}

void network_changed(struct network *net)
{
    if (net->spec.train) {
        params_to_engine(net);
        return;
    }
    for (int i = 0; i < net->graph->count; i++) {
        struct op *op = &net->ops[i];
        if (op->node->kind->ready)
            op->node->kind->ready(net, op);
    }
}

int network_feature_dim(const struct network *net)
{
    return net->graph->nodes[net->graph->features].out.channels;
}

struct tree *network_tree(const struct network *net)
{
    return net->tree;
}

int network_shard_rows(const struct network *net)
{
    return net->shard_rows;
}

/* ---- stepping ---- */

static bool all_finite(const float *x, int64_t n)
{
    int bad = 0;
#pragma omp parallel for simd schedule(static) reduction(| : bad)
    for (int64_t i = 0; i < n; i++)
        bad |= !(fabsf(x[i]) <= 3.402823466e38f);
    return !bad;
}

/* As all_finite; slow and alone, for what has gone wrong already. */
static bool all_finite_of(const void *x, int64_t n, enum value_type type)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(value_load(x, i, type)))
            return false;
    return true;
}

/* The first node whose weights, or output as far as it is kept for the backward pass, are not finite on this rank; the
 * number of nodes if there is none. */
static int first_bad_node(const struct network *net)
{
    for (int i = 0; i < net->graph->count; i++) {
        const struct op *op = &net->ops[i];
        int weight = op->node->weight;
        if (weight != NONE && !all_finite(engine_weight(net, weight), net->slots[weight].floats))
            return i;
        for (int s = 0; s < net->shards && op->kept; s++)
            if (!all_finite_of(op_out(op, s), dn_values(op->layout), op->type))
                return i;
    }
    return net->graph->count;
}

/* The first node whose gradient is not finite, from the end of the network as gradients flow. */
static int first_bad_gradient(const struct network *net)
{
    for (int i = net->graph->count - 1; i >= 0; i--) {
        int weight = net->graph->nodes[i].weight, bias = net->graph->nodes[i].bias;
        if (weight != NONE && !all_finite(net->g + net->slots[weight].offset, net->slots[weight].floats))
            return i;
        if (bias != NONE && !all_finite(net->g + net->slots[bias].offset, net->slots[bias].floats))
            return i;
    }
    return 0;
}

static void end_not_finite(struct network *net, const char *what, double value, int node)
{
    double lowest = node;
    world_min_f64(net->world, &lowest, 1);
    const char *name = (int)lowest < net->graph->count ? net->graph->nodes[(int)lowest].name : "the loss";
    agree(net->world, false, EXIT_INTERNAL,
          "the %s is not finite (%g): the first layer with such a value is %s\nlower train.lr, or check the images",
          what, value, name);
}

/* The scores lie where the plain weights will. */
static void keep_logits(struct network *net)
{
    const struct op *op = &net->ops[net->graph->logits];
    int64_t floats = dn_values(op->layout);
    for (int s = 0; s < net->shards; s++)
        memcpy(net->logits + s * floats, op_out(op, s), (size_t)floats * sizeof(float));
}

double network_gradient(struct network *net, const struct network_batch *batch, int64_t *correct)
{
    enum phase before = phase_enter(PHASE_FORWARD);
    net->batch = batch;
    exec_forward(net, batch->images);
    double loss = loss_forward(net, batch, correct);
    if (!isfinite(loss))
        end_not_finite(net, "loss", loss, first_bad_node(net));
    keep_logits(net);
    phase_enter(PHASE_BACKWARD);
    exec_backward(net);
    gradient_sum(net);
    norm_gradients(net);
    if (!all_finite(net->g, net->flat))
        end_not_finite(net, "gradient", NAN, first_bad_gradient(net));
    phase_enter(before);
    return loss;
}

const float *network_logits(struct network *net)
{
    return net->logits;
}

void network_update(struct network *net, const struct adam *adam, int64_t step)
{
    enum phase before = phase_enter(PHASE_OPTIMISER);
    adam_step(net->w, net->m, net->v, net->g, net->flat, adam, step);
    phase_enter(before);
}

void network_infer(struct network *net, float *features, float *logits, const float *images)
{
    const struct op *f = &net->ops[net->graph->features], *z = &net->ops[net->graph->logits];
    int64_t pixels = net->shard_rows * shape_floats(&net->graph->nodes[0].out);
    int64_t width = dn_values(f->layout), classes = dn_values(z->layout);
    for (int64_t piece = 0; piece < net->spec.batch / net->shard_rows; piece++) {
        exec_infer(net, images + piece * pixels);
        if (features)
            memcpy(features + piece * width, f->out, (size_t)width * sizeof(float));
        if (logits)
            memcpy(logits + piece * classes, z->out, (size_t)classes * sizeof(float));
    }
}

enum value_type network_precision(struct world *world, bool half)
{
    return half_everywhere(world, half) ? VALUE_BF16 : VALUE_F32;
}

const char *value_type_name(enum value_type type)
{
    return type == VALUE_BF16 ? "bf16" : "fp32";
}

const char *network_library(void)
{
    return dn_library();
}

const char *network_isa(void)
{
    return dn_isa();
}
