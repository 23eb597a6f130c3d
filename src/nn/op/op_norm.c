/* Batch normalisation (Ioffe & Szegedy, 2015) with the addition and the relu
 * that follow it. Statistics are over the global batch: sums of an image, added
 * over the images of a shard, then over the shards along the fixed tree. */
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "nn/engine.h"
#include "nn/kernels.h"

#define MOMENTUM 0.1

static void norm_create(struct network *net, struct op *op)
{
    const struct op *input = &net->ops[op->node->input];
    op->layout = input->layout;
    op->view = input->view;
    op->type = input->type;
    if (op->node->residual != NONE)
        require(dn_same(op->layout, net->ops[op->node->residual].layout), EXIT_INTERNAL,
                "%s: the layouts of %s and %s differ", op->node->name, input->node->name,
                net->ops[op->node->residual].node->name);
    op->norm = norm_new(net, op->node->out.channels, op->view.pixels);
    op->streamed = op->node->residual == NONE && norm_streams(net, op);
}

bool norm_streams(const struct network *net, const struct op *op)
{
    const struct graph *graph = net->graph;
    int readers = 0, streaming = 0;
    for (int i = 0; i < graph->count; i++) {
        const struct node *node = &graph->nodes[i];
        bool reads = node->input != NONE && &graph->nodes[node->input] == op->node;
        readers += reads + (node->residual != NONE && &graph->nodes[node->residual] == op->node);
        streaming += reads && node->kind->streams_input;
    }
    return net->spec.train && readers == 1 && streaming == 1;
}

struct norm *norm_new(struct network *net, int64_t c, int64_t pixels)
{
    struct norm *norm = arena_array(net->arena, struct norm, 1);
    int64_t sets = net->spec.local_batchnorm ? net->shards : 1;
    norm->sets = (int)sets;
    norm->scale = arena_array(net->arena, float, sets *c);
    norm->mean = arena_array(net->arena, float, sets *c);
    norm->slope = arena_array(net->arena, float, sets *c);
    norm->shift = arena_array(net->arena, float, sets *c);
    norm->inverse = arena_array(net->arena, double, sets *c);
    norm->partial = arena_array(net->arena, double, 2 * c * net->shards * net->shard_rows);
    norm->leaves = arena_array(net->arena, double, 2 * c * net->shards);
    norm->total = arena_array(net->arena, double, 2 * c * net->shards);
    int64_t rows = net->spec.local_batchnorm ? net->shard_rows : net->spec.batch;
    norm->count = (double)(rows * pixels);
    return norm;
}

struct norm_place norm_place(const struct network *net, const struct op *op, const struct norm *norm, int64_t image,
                             int64_t group)
{
    int64_t shard = image / net->shard_rows, channels = (int64_t)op->view.groups * op->view.lanes;
    int64_t value = (image % net->shard_rows * channels + group * op->view.lanes) * op->view.pixels;
    int64_t channel = group * op->view.lanes;
    return (struct norm_place){ .values = shard * op->stride + value * value_bytes(op->type),
                                .channel = channel,
                                .set = (norm->sets > 1 ? shard * channels : 0) + channel,
                                .sums = norm->partial + image * 2 * channels + channel };
}

/* Task `task`: a group of one image. A streamed output lies elsewhere than its input: ask for the place in both. */
static struct norm_place place_in(const struct network *net, const struct op *value, const struct op *op, int64_t task)
{
    return norm_place(net, value, op->norm, task / op->view.groups, task % op->view.groups);
}

static const struct op *input_of(const struct network *net, const struct op *op)
{
    return &net->ops[op->node->input];
}

/* Tasks [first, first + count) of one shard, or of all. */
struct tasks {
    int64_t first, count;
};

static struct tasks tasks_of(const struct network *net, const struct op *op, int shard)
{
    int64_t each = (int64_t)net->shard_rows * op->view.groups;
    return (struct tasks){ shard * each, each };
}

static struct tasks all_tasks(const struct network *net, const struct op *op)
{
    return (struct tasks){ 0, net->shards * tasks_of(net, op, 0).count };
}

static struct norm_lanes lanes_of(const struct network *net, const struct op *op, const struct norm_place *at)
{
    const struct norm *norm = op->norm;
    return (struct norm_lanes){ norm->scale + at->set, norm->mean + at->set,
                                plain_parameter(net, op->node->bias) + at->channel, norm->slope + at->set,
                                norm->shift + at->set };
}

void norm_sum_images(struct network *net, struct norm *norm, int64_t channels)
{
    int64_t width = 2 * channels;
    for (int s = 0; s < net->shards; s++) {
        double *leaf = norm->leaves + s * width;
        memcpy(leaf, norm->partial + s * net->shard_rows * width, (size_t)width * sizeof(double));
        for (int64_t image = 1; image < net->shard_rows; image++) {
            const double *one = norm->partial + (s * net->shard_rows + image) * width;
            for (int64_t i = 0; i < width; i++)
                leaf[i] += one[i];
        }
    }
    if (net->spec.local_batchnorm)
        memcpy(norm->total, norm->leaves, (size_t)(width * net->shards) * sizeof(double));
    else
        statistics_sum(net, norm->total, norm->leaves, width);
}

void norm_moments(struct norm *norm, int64_t channels)
{
    double unbiased = norm->count > 1.0 ? norm->count / (norm->count - 1.0) : 1.0;
    for (int set = 0; set < norm->sets; set++) {
        double *sum = norm->total + set * 2 * channels, *square = sum + channels;
        for (int64_t c = 0; c < channels; c++) {
            int64_t i = set * channels + c;
            double mean = sum[c] / norm->count, variance = fmax(square[c] / norm->count - mean * mean, 0.0);
            if (square[c] != square[c])
                variance = square[c]; /* fmax would hide a NaN */
            norm->inverse[i] = 1.0 / sqrt(variance + NORM_EPSILON);
            norm->mean[i] = (float)mean;
            sum[c] = mean;
            square[c] = variance * unbiased;
        }
    }
}

void norm_scales(struct network *net, const struct op *op)
{
    const float *gamma = plain_parameter(net, op->node->weight);
    int64_t channels = op->node->in.channels;
    for (int64_t i = 0; i < op->norm->sets * channels; i++)
        op->norm->scale[i] = (float)((double)gamma[i % channels] * op->norm->inverse[i]);
}

/* Running statistics take the unbiased variance. */
void norm_update_running(struct network *net, const struct op *op)
{
    struct norm *norm = op->norm;
    int64_t channels = op->node->in.channels;
    double share = 1.0;
    if (net->spec.local_batchnorm) { /* the mean over all shards */
        memcpy(norm->leaves, norm->total, (size_t)(2 * channels * net->shards) * sizeof(double));
        statistics_sum(net, norm->total, norm->leaves, 2 * channels);
        share = 1.0 / net->spec.shards;
    }
    const struct parameter *list = net->graph->parameters;
    float *mean = net->buffers + list[op->node->mean].offset, *var = net->buffers + list[op->node->variance].offset;
    for (int64_t c = 0; c < channels; c++) {
        mean[c] = (float)((1.0 - MOMENTUM) * (double)mean[c] + MOMENTUM * share * norm->total[c]);
        var[c] = (float)((1.0 - MOMENTUM) * (double)var[c] + MOMENTUM * share * norm->total[channels + c]);
    }
}

static void apply_task(const struct network *net, const struct op *op, int64_t task)
{
    const struct op *input = input_of(net, op);
    const char *residual = op->node->residual == NONE ? NULL : net->ops[op->node->residual].out;
    struct norm_place at = place_in(net, op, op, task), from = place_in(net, input, op, task);
    norm_apply(op->out + at.values, input->out + from.values, residual ? residual + at.values : NULL,
               lanes_of(net, op, &at), op->view.pixels, op->view.lanes, op->node->relu, op->type);
}

static void apply(struct network *net, struct op *op, struct tasks tasks)
{
#pragma omp parallel for schedule(static)
    for (int64_t t = tasks.first; t < tasks.first + tasks.count; t++)
        apply_task(net, op, t);
}

static void norm_forward(struct network *net, struct op *op)
{
    const struct op *input = input_of(net, op);
    struct tasks tasks = all_tasks(net, op);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tasks.count; t++) {
        struct norm_place at = place_in(net, input, op, t);
        norm_sums(at.sums, at.sums + op->node->out.channels, input->out + at.values, op->view.pixels, op->view.lanes,
                  op->type);
    }
    norm_sum_images(net, op->norm, op->node->out.channels);
    norm_moments(op->norm, op->node->out.channels);
    norm_scales(net, op);
    norm_update_running(net, op);
    if (!op->streamed)
        apply(net, op, all_tasks(net, op));
}

/* With the coefficients of norm_forward. */
static void norm_recompute(struct network *net, struct op *op)
{
    apply(net, op, all_tasks(net, op));
}

/* Of a piece of an image all, then of the next: a sum finds the one before it in the caches. */
static void norm_recompute_all(struct network *net, struct op **list, int count)
{
    struct tasks tasks = all_tasks(net, list[0]);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tasks.count; t++)
        for (int k = 0; k < count; k++)
            apply_task(net, list[k], t);
}

static void norm_stream(struct network *net, struct op *op, int shard)
{
    apply(net, op, tasks_of(net, op, shard));
}

/* Shard by shard, gradients of weight and bias join the others in their tree. */
void norm_shard_gradients(struct network *net, const struct op *op)
{
    const struct norm *norm = op->norm;
    int64_t channels = op->node->in.channels;
    for (int s = 0; s < net->shards; s++) {
        const double *sum = norm->total + s * 2 * channels, *dot = sum + channels;
        float *weight = gradient_row(net, op->node->weight, s), *bias = gradient_row(net, op->node->bias, s);
        for (int64_t c = 0; c < channels; c++) {
            weight[c] = (float)(dot[c] * norm->inverse[s * channels + c]);
            bias[c] = (float)sum[c];
        }
        gradient_fold(net, op->node->weight, s);
        gradient_fold(net, op->node->bias, s);
    }
}

/* slope and shift (nn/kernels.h) of coefficient `i`, from the sums in `total`. */
void norm_correction(const struct norm *norm, int64_t i, int64_t channels, double *slope, double *shift)
{
    const double *sum = norm->total + i / channels * 2 * channels + i % channels, *dot = sum + channels;
    *slope = (double)norm->scale[i] * norm->inverse[i] * norm->inverse[i] * *dot / norm->count;
    *shift = (double)norm->scale[i] * *sum / norm->count;
}

/* First pass over the gradient. Where it streams by, it moves on to the gradient of the input. */
static void backward_sums(struct network *net, struct op *op, struct tasks tasks)
{
    const struct op *input = input_of(net, op);
    int64_t channels = op->node->out.channels;
    const char *out = op->node->residual == NONE ? NULL : op->out;
    const char *g = op->grad[0], *g2 = op->grads > 1 ? op->grad[1] : NULL;
    char *to = op->streamed ? op->diff : op->grad[0];
#pragma omp parallel for schedule(static)
    for (int64_t t = tasks.first; t < tasks.first + tasks.count; t++) {
        struct norm_place at = place_in(net, op, op, t), from = place_in(net, input, op, t);
        norm_backward_sums(at.sums, at.sums + channels, to + (op->streamed ? from : at).values, g + at.values,
                           g2 ? g2 + at.values : NULL, input->out + from.values, out ? out + at.values : NULL,
                           lanes_of(net, op, &at), op->view.pixels, op->view.lanes, op->node->relu, op->type);
    }
}

static void norm_stream_back(struct network *net, struct op *op, int shard)
{
    backward_sums(net, op, tasks_of(net, op, shard));
}

/* Second pass: the gradient of the input, which a streamed op forms in place. */
static void backward_apply(struct network *net, struct op *op)
{
    const struct op *input = input_of(net, op);
    const char *g = op->streamed ? op->diff : op->grad[0];
    struct tasks tasks = all_tasks(net, op);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tasks.count; t++) {
        struct norm_place at = place_in(net, input, op, t);
        norm_backward_apply(op->diff + at.values, g + at.values, input->out + at.values, lanes_of(net, op, &at),
                            op->view.pixels, op->view.lanes, op->type);
    }
}

static void norm_backward(struct network *net, struct op *op)
{
    struct norm *norm = op->norm;
    int64_t channels = op->node->out.channels;
    if (!op->streamed)
        backward_sums(net, op, all_tasks(net, op));
    norm_sum_images(net, norm, channels);
    for (int64_t i = 0; i < norm->sets * channels; i++) {
        double slope, shift;
        norm_correction(norm, i, channels, &slope, &shift);
        norm->slope[i] = (float)slope;
        norm->shift[i] = (float)shift;
    }
    if (net->spec.local_batchnorm)
        norm_shard_gradients(net, op);
    if (op->diff)
        backward_apply(net, op);
}

void norm_gradients(struct network *net)
{
    for (int i = 0; i < net->graph->count && !net->spec.local_batchnorm; i++) {
        const struct op *op = &net->ops[i];
        if (!op->norm)
            continue;
        int64_t channels = op->node->in.channels;
        float *weight = net->g + net->slots[op->node->weight].offset,
              *bias = net->g + net->slots[op->node->bias].offset;
        for (int64_t c = 0; c < channels; c++) {
            weight[c] = (float)(op->norm->total[channels + c] * op->norm->inverse[c]);
            bias[c] = (float)op->norm->total[c];
        }
    }
}

/* ---- inference ---- */

void norm_ready(struct network *net, struct op *op)
{
    if (op->worker != op) /* the convolution's weights hold them */
        return;
    const struct parameter *list = net->graph->parameters;
    const float *gamma = plain_parameter(net, op->node->weight);
    const float *mean = net->buffers + list[op->node->mean].offset,
                *var = net->buffers + list[op->node->variance].offset;
    for (int64_t c = 0; c < op->node->in.channels; c++) {
        op->norm->scale[c] = (float)((double)gamma[c] / sqrt((double)var[c] + NORM_EPSILON));
        op->norm->mean[c] = mean[c];
    }
}

static void norm_infer(struct network *net, struct op *op)
{
    struct op *conv = op->worker;
    if (conv == op) {
        apply(net, op, all_tasks(net, op));
        return;
    }
    const char *residual = op->node->residual == NONE ? NULL : net->ops[op->node->residual].out;
    if (residual && residual != op->out) /* the primitive adds to what is there */
        memcpy(op->out, residual, (size_t)(dn_values(op->layout) * value_bytes(op->type)));
    dn_conv_forward(conv->conv, op->out, op_input(net, conv, 0), conv->ready[0], conv->ready[1]);
}

/* ---- the row ---- */

void norm_declare(struct graph *graph, struct node *n)
{
    const int64_t channels = n->out.channels;
    n->weight = graph_declare(graph, n, "weight", 1, &channels);
    n->bias = graph_declare(graph, n, "bias", 1, &channels);
    n->mean = graph_declare_buffer(graph, n, "running_mean", channels);
    n->variance = graph_declare_buffer(graph, n, "running_var", channels);
}

void norm_init(const struct network *net, const struct node *n)
{
    init_constant(net, n->weight, 1.0f);
    init_constant(net, n->bias, 0.0f);
    init_constant(net, n->mean, 0.0f);
    init_constant(net, n->variance, 1.0f);
}

double norm_flops(const struct graph *graph, const struct node *n, bool train)
{
    (void)graph;
    return (double)shape_floats(&n->in) * (train ? 14.0 : 2.0);
}

static const char *norm_describe(const struct node *n, struct arena *arena)
{
    return arena_printf(arena, "%s%s%s", n->kind->name, n->residual == NONE ? "" : " + add", n->relu ? " + relu" : "");
}

static const struct op_kind norm_kind = { .name = "batch norm",
                                          .declare = norm_declare,
                                          .flops = norm_flops,
                                          .describe = norm_describe,
                                          .init = norm_init,
                                          .create = norm_create,
                                          .forward = norm_forward,
                                          .backward = norm_backward,
                                          .infer = norm_infer,
                                          .ready = norm_ready,
                                          .stream = norm_stream,
                                          .stream_back = norm_stream_back,
                                          .recompute = norm_recompute,
                                          .recompute_all = norm_recompute_all,
                                          .adds_in_place = true,
                                          .reads_input = true,
                                          .gradient_in_place = true,
                                          .adds_gradients = true };

int graph_norm(struct graph *graph, const char *name, int input, int residual, bool relu)
{
    int number = graph_append(graph, &norm_kind, name, input);
    struct node *node = &graph->nodes[number];
    node->relu = relu;
    if (residual != NONE)
        graph_residual(graph, node, residual);
    return number;
}

/* ---- folding into convolutions (engine.h) ---- */

/* Has the output of `node` a single reader? */
static bool read_once(const struct graph *graph, int node)
{
    int readers = 0;
    for (int i = 0; i < graph->count; i++)
        readers += (graph->nodes[i].input == node) + (graph->nodes[i].residual == node);
    return readers == 1;
}

void norms_fold(struct network *net)
{
    const struct graph *graph = net->graph;
    for (int i = 1; i < graph->count; i++) {
        struct op *norm = &net->ops[i], *conv = &net->ops[norm->node->input];
        if (norm->node->kind == &norm_kind && conv->node->kind == &conv_kind && read_once(graph, norm->node->input)) {
            norm->worker = conv;
            conv->folded = norm;
        }
    }
}
