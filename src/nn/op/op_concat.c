/* Concatenation without a copy: a list of outputs, read group by group where they
 * lie. It keeps what all normalisations of a segment share: the batch statistics
 * of its channels on the way forward, the linear part of its gradient on the way
 * back. */
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "nn/engine.h"
#include "nn/kernels.h"

enum { LANES_MAX = 16 };

static struct op *part_of(const struct network *net, const struct op *op, int segment)
{
    return &net->ops[op->node->segments[segment]];
}

/* The concat that lists a value first keeps its statistics. */
static void segment_create(struct network *net, const struct op *concat, struct op *part)
{
    int64_t channels = part->node->out.channels;
    struct segment *segment = part->segment = arena_array(net->arena, struct segment, 1);
    segment->owner = concat;
    segment->norm = norm_new(net, channels, part->view.pixels);
    segment->slope = arena_array(net->arena, double, segment->norm->sets *channels);
    segment->shift = arena_array(net->arena, double, segment->norm->sets *channels);
    for (int64_t i = 0; i < segment->norm->sets * channels; i++)
        segment->norm->scale[i] = 1.0f;
}

static void concat_create(struct network *net, struct op *op)
{
    const struct shape *s = &op->node->out;
    op->type = part_of(net, op, 0)->type;
    op->layout = dn_common_layout(net->dn, op->type, (int64_t[]){ net->shard_rows, s->channels, s->height, s->width });
    struct view view = dn_view(op->layout);
    require(view.lanes <= LANES_MAX, EXIT_INTERNAL, "%s: needs a blocked layout, found %d lanes", op->node->name,
            view.lanes);
    op->groups = arena_array(net->arena, struct concat_group, view.groups);
    int group = 0;
    for (int k = 0; k < op->node->segment_count; k++) {
        struct op *part = part_of(net, op, k);
        require(part->view.lanes == view.lanes && part->type == op->type, EXIT_INTERNAL,
                "%s: %s lies in groups of %d channels, not %d", op->node->name, part->node->name, part->view.lanes,
                view.lanes);
        for (int g = 0; g < part->view.groups; g++)
            op->groups[group++] = (struct concat_group){ k, g * view.pixels * view.lanes };
        if (net->spec.train && !part->segment)
            segment_create(net, op, part);
    }
}

/* ---- forward: statistics of what is new ---- */

static void segment_statistics(struct network *net, struct op *part)
{
    struct norm *norm = part->segment->norm;
    int64_t channels = part->node->out.channels, images = (int64_t)net->shards * net->shard_rows;
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t image = 0; image < images; image++) {
        for (int64_t group = 0; group < part->view.groups; group++) {
            struct norm_place at = norm_place(net, part, norm, image, group);
            norm_sums(at.sums, at.sums + channels, part->out + at.values, part->view.pixels, part->view.lanes,
                      part->type);
        }
    }
    norm_sum_images(net, norm, channels);
    norm_moments(norm, channels);
}

static void concat_forward(struct network *net, struct op *op)
{
    for (int k = 0; k < op->node->segment_count; k++) {
        struct op *part = part_of(net, op, k);
        struct segment *segment = part->segment;
        if (segment->owner != op)
            continue;
        size_t bytes = (size_t)(segment->norm->sets * part->node->out.channels) * sizeof(double);
        memset(segment->slope, 0, bytes);
        memset(segment->shift, 0, bytes);
        segment_statistics(net, part);
    }
}

/* ---- backward: the corrections of all readers, once ---- */

static void add_correction(struct network *net, struct op *part)
{
    struct norm *norm = part->segment->norm;
    int64_t channels = part->node->out.channels, images = (int64_t)net->shards * net->shard_rows;
    for (int64_t i = 0; i < norm->sets * channels; i++) {
        norm->slope[i] = (float)part->segment->slope[i];
        norm->shift[i] = (float)part->segment->shift[i];
    }
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t image = 0; image < images; image++) {
        for (int64_t group = 0; group < part->view.groups; group++) {
            struct norm_place at = norm_place(net, part, norm, image, group);
            struct norm_lanes lanes = { .scale = norm->scale + at.set,
                                        .mean = norm->mean + at.set,
                                        .slope = norm->slope + at.set,
                                        .shift = norm->shift + at.set };
            char *g = part->grad[0] + at.values;
            norm_backward_apply(g, g, part->out + at.values, lanes, part->view.pixels, part->view.lanes, part->type);
        }
    }
}

static void concat_backward(struct network *net, struct op *op)
{
    for (int k = 0; k < op->node->segment_count; k++) {
        struct op *part = part_of(net, op, k);
        if (part->segment->owner == op)
            add_correction(net, part);
    }
}

static const struct op_kind concat_kind = { .name = "concatenation",
                                            .create = concat_create,
                                            .forward = concat_forward,
                                            .backward = concat_backward,
                                            .is_view = true };

int graph_concat(struct graph *graph, const char *name, const int *parts, int count)
{
    int number = graph_append(graph, &concat_kind, name, parts[count - 1]);
    struct node *node = &graph->nodes[number];
    int *segments = arena_array(graph->arena, int, count);
    node->segments = segments;
    node->segment_count = count;
    node->out.channels = 0;
    for (int k = 0; k < count; k++) {
        const struct shape *part = &graph->nodes[parts[k]].out;
        require(part->height == node->out.height && part->width == node->out.width, EXIT_INTERNAL,
                "%s: %s joins %s, whose pixels differ", graph->family, name, graph->nodes[parts[k]].name);
        segments[k] = parts[k];
        node->out.channels += part->channels;
    }
    node->in = node->out;
    return number;
}
