/* Normalisation and relu of a concatenation (and means over 2x2 pixels behind it
 * in a transition). Statistics come from the segments. Backward is one pass that
 * reads a segment and adds to its gradient; the part linear in the values goes
 * to the segment's correction, which the concat adds (op_concat.c). */
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "nn/engine.h"
#include "nn/kernels_dense.h"

static void dense_norm_create(struct network *net, struct op *op)
{
    const struct op *concat = &net->ops[op->node->input];
    const struct shape *s = &op->node->out;
    op->layout =
        dn_common_layout(net->dn, concat->type, (int64_t[]){ net->shard_rows, s->channels, s->height, s->width });
    op->norm = norm_new(net, s->channels, concat->view.pixels);
    op->fresh = arena_array(net->arena, bool, concat->node->segment_count);
    op->streamed = norm_streams(net, op);
}

/* ---- places ---- */

/* One group of one image: coefficients, the segment it is read from, where it lies there. */
struct source {
    const struct op *part;
    int segment;
    int64_t values; /* offset in bytes in the segment's [shards x stride] */
    struct norm_place own;
    struct norm_lanes lanes;
};

static struct source source_of(const struct network *net, const struct op *op, int64_t image, int64_t group)
{
    const struct op *concat = &net->ops[op->node->input];
    const struct concat_group *at = &concat->groups[group];
    const struct op *part = &net->ops[concat->node->segments[at->segment]];
    const struct norm *norm = op->norm;
    int64_t value = image % net->shard_rows * part->node->out.channels * part->view.pixels + at->value;
    struct source source = { .part = part,
                             .segment = at->segment,
                             .values = image / net->shard_rows * part->stride + value * value_bytes(part->type),
                             .own = norm_place(net, op, norm, image, group) };
    source.lanes = (struct norm_lanes){ .scale = norm->scale + source.own.set,
                                        .mean = norm->mean + source.own.set,
                                        .bias = plain_parameter(net, op->node->bias) + source.own.channel };
    return source;
}

/* ---- forward ---- */

/* Statistics of each channel from the segment it lies in. */
static void gather_statistics(struct network *net, const struct op *op)
{
    const struct node *concat = net->ops[op->node->input].node;
    struct norm *norm = op->norm;
    int64_t channels = op->node->in.channels, first = 0;
    for (int k = 0; k < concat->segment_count; k++) {
        const struct op *part = &net->ops[concat->segments[k]];
        const struct norm *from = part->segment->norm;
        int64_t count = part->node->out.channels;
        for (int set = 0; set < norm->sets; set++) {
            int64_t to = set * channels + first, at = set * count;
            memcpy(norm->mean + to, from->mean + at, (size_t)count * sizeof *norm->mean);
            memcpy(norm->inverse + to, from->inverse + at, (size_t)count * sizeof *norm->inverse);
            memcpy(norm->total + set * channels + to, from->total + 2 * at, (size_t)count * sizeof *norm->total);
            memcpy(norm->total + (set + 1) * channels + to, from->total + 2 * at + count,
                   (size_t)count * sizeof *norm->total);
        }
        first += count;
    }
}

static void apply_shard(struct network *net, const struct op *op, int shard)
{
    const struct view *in = &net->ops[op->node->input].view;
    const struct shape *s = &op->node->in;
    int64_t first = (int64_t)shard * net->shard_rows;
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t image = first; image < first + net->shard_rows; image++) {
        for (int64_t group = 0; group < in->groups; group++) {
            struct source at = source_of(net, op, image, group);
            const char *x = at.part->out + at.values;
            char *out = op->out + at.own.values;
            if (op->node->halve)
                norm_halve(out, x, at.lanes, s->height, s->width, in->lanes, op->type);
            else
                norm_apply(out, x, NULL, at.lanes, in->pixels, in->lanes, 1, op->type);
        }
    }
}

static void dense_norm_stream(struct network *net, struct op *op, int shard)
{
    apply_shard(net, op, shard);
}

static void dense_norm_forward(struct network *net, struct op *op)
{
    gather_statistics(net, op);
    norm_scales(net, op);
    norm_update_running(net, op);
    for (int s = 0; s < net->shards && !op->streamed; s++)
        apply_shard(net, op, s);
}

static void dense_norm_infer(struct network *net, struct op *op)
{
    apply_shard(net, op, 0);
}

/* ---- backward ---- */

static void dense_norm_stream_back(struct network *net, struct op *op, int shard)
{
    const struct view *in = &net->ops[op->node->input].view;
    const struct shape *s = &op->node->in;
    int64_t first = (int64_t)shard * net->shard_rows, channels = op->node->in.channels;
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t image = first; image < first + net->shard_rows; image++) {
        for (int64_t group = 0; group < in->groups; group++) {
            struct source at = source_of(net, op, image, group);
            const char *x = at.part->out + at.values, *g = op->grad[0] + at.own.values;
            char *diff = at.part->grad[0] + at.values;
            double *sum = at.own.sums, *dot = sum + channels;
            bool fresh = op->fresh[at.segment];
            if (op->node->halve)
                norm_add_gradient_halved(sum, dot, diff, g, x, at.lanes, s->height, s->width, in->lanes, fresh,
                                         op->type);
            else
                norm_add_gradient(sum, dot, diff, g, x, at.lanes, in->pixels, in->lanes, fresh, op->type);
        }
    }
}

/* slope and shift of every channel join those of the other readers of its segment. */
static void add_corrections(struct network *net, const struct op *op)
{
    const struct node *concat = net->ops[op->node->input].node;
    int64_t channels = op->node->in.channels, first = 0;
    for (int k = 0; k < concat->segment_count; k++) {
        const struct op *part = &net->ops[concat->segments[k]];
        int64_t count = part->node->out.channels;
        for (int64_t i = 0; i < op->norm->sets * count; i++) {
            double slope, shift;
            norm_correction(op->norm, i / count * channels + first + i % count, channels, &slope, &shift);
            part->segment->slope[i] += slope;
            part->segment->shift[i] += shift;
        }
        first += count;
    }
}

static void dense_norm_backward(struct network *net, struct op *op)
{
    for (int s = 0; s < net->shards && !op->streamed; s++)
        dense_norm_stream_back(net, op, s);
    norm_sum_images(net, op->norm, op->node->in.channels);
    add_corrections(net, op);
    if (net->spec.local_batchnorm)
        norm_shard_gradients(net, op);
}

static const struct op_kind dense_norm_kind = { .name = "dense batch norm",
                                                .declare = norm_declare,
                                                .flops = norm_flops,
                                                .init = norm_init,
                                                .create = dense_norm_create,
                                                .forward = dense_norm_forward,
                                                .backward = dense_norm_backward,
                                                .infer = dense_norm_infer,
                                                .ready = norm_ready,
                                                .stream = dense_norm_stream,
                                                .stream_back = dense_norm_stream_back,
                                                .reads_input = true,
                                                .adds_to_segments = true };

int graph_dense_norm(struct graph *graph, const char *name, int concat, bool halve)
{
    int number = graph_append(graph, &dense_norm_kind, name, concat);
    struct node *node = &graph->nodes[number];
    node->relu = true;
    node->halve = halve;
    require(graph->nodes[concat].kind->is_view, EXIT_INTERNAL, "%s: %s reads no concat", graph->family, name);
    if (halve)
        graph_slide(graph, node, 2, 2, 0);
    return number;
}
