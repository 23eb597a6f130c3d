/* Measures networks and bare convolutions. A time is the best or the median of
 * repetitions; the first two steps are left out. */
#include "nn/bench.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/timer.h"
#include "base/usage.h"
#include "dist/tree.h"
#include "dist/world.h"
#include "math/adam.h"
#include "math/values.h"
#include "nn/engine.h"

enum { WARM_UP = 2, MOST_STEPS = 4096 };

static void noise(void *x, int64_t n, enum value_type type)
{
    uint32_t state = 12345;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        value_store(x, i, (float)(state >> 8) / 8388608.0f - 1.0f, type);
    }
}

static void *random_values(struct arena *arena, int64_t n, enum value_type type)
{
    void *x = arena_take_raw(arena, (size_t)n, (size_t)value_bytes(type));
    noise(x, n, type);
    return x;
}

/* ---- convolutions alone ---- */

static void keep_best(double best[3], const double t[3])
{
    for (int i = 0; i < 3; i++)
        best[i] = t[i] < best[i] ? t[i] : best[i];
}

/* Best GFLOP/s of one shape: forward, both gradients. */
static struct bench_shape conv_rate(struct arena *arena, const char *name, enum value_type type,
                                    struct conv_shape shape, double seconds)
{
    struct arena_mark mark = arena_mark(arena);
    struct dn *dn = dn_create(arena);
    const struct dn_layout *plain = dn_plain(dn, 4, (int64_t[]){ shape.images, shape.in, shape.h, shape.w });
    /* The input as a convolution before would leave it. */
    struct conv_shape before = { shape.images, shape.in, shape.in, shape.h, shape.w, shape.h, shape.w, 1, 1, 0 };
    struct dn_conv_spec spec_before = { .name = "before", .shape = before, .type = type, .train = true };
    struct dn_conv *first = dn_conv_create(dn, &spec_before, plain);
    struct dn_conv_spec spec = {
        .name = name, .shape = shape, .type = type, .train = true, .data_gradient = true, .direct = true
    };
    struct dn_conv *conv = dn_conv_create(dn, &spec, dn_conv_dst(first));
    dn_finish(dn);
    const struct dn_layout *in = dn_conv_dst(first), *out = dn_conv_dst(conv);
    void *src = random_values(arena, dn_values(in), dn_type(in));
    void *dst = random_values(arena, dn_values(out), dn_type(out));
    int64_t count = dn_values(dn_conv_weights(conv));
    float *weights = random_values(arena, count, VALUE_F32);
    double best[3] = { 1e9, 1e9, 1e9 };
    for (double start = timer_seconds(); best[0] > 1e8 || timer_seconds() - start < seconds;) {
        const void *prepared = dn_conv_prepare_forward(conv, weights);
        double t0 = timer_seconds();
        dn_conv_forward(conv, dst, src, prepared, NULL);
        double t1 = timer_seconds();
        prepared = dn_conv_prepare_backward(conv, weights);
        double t2 = timer_seconds();
        dn_conv_backward_data(conv, src, dst, prepared);
        double t3 = timer_seconds();
        dn_conv_backward_weights(conv, weights, src, dst);
        keep_best(best, (double[3]){ t1 - t0, t3 - t2, timer_seconds() - t3 });
        noise(weights, count, VALUE_F32); /* no growth from repeated application */
        noise(src, dn_values(in), dn_type(in));
    }
    dn_destroy(dn);
    arena_release(arena, mark);
    double gflops = 2e-9 * shape.images * shape.out * shape.oh * shape.ow * shape.in * shape.kernel * shape.kernel;
    return (struct bench_shape){ name, gflops / best[0], gflops / best[1], gflops / best[2] };
}

struct bench_rates bench_convolutions(struct arena *arena, enum value_type type, int batch, double seconds)
{
    const struct {
        const char *name;
        struct conv_shape shape;
    } shapes[BENCH_SHAPES] = {
        { "64 -> 64, 56x56", { batch, 64, 64, 56, 56, 56, 56, 3, 1, 1 } },
        { "128 -> 128, 28x28", { batch, 128, 128, 28, 28, 28, 28, 3, 1, 1 } },
        { "256 -> 256, 14x14", { batch, 256, 256, 14, 14, 14, 14, 3, 1, 1 } },
        { "512 -> 512, 7x7", { batch, 512, 512, 7, 7, 7, 7, 3, 1, 1 } },
    };
    struct bench_rates rates = { .forward = 0.0 };
    double slow = 0.0, slow_forward = 0.0;
    for (int i = 0; i < BENCH_SHAPES; i++) {
        struct bench_shape s = conv_rate(arena, shapes[i].name, type, shapes[i].shape, seconds / BENCH_SHAPES);
        rates.shapes[i] = s;
        slow_forward += 1.0 / s.forward;
        slow += (1.0 / s.forward + 1.0 / s.data + 1.0 / s.weights) / 3.0;
    }
    rates.forward = BENCH_SHAPES / slow_forward;
    rates.train = BENCH_SHAPES / slow;
    return rates;
}

/* ---- networks ---- */

struct bench {
    struct network *net;
    struct network_batch batch;
    struct adam adam;
    float *images, *features, *logits;
    int64_t step;
};

static struct bench bench_new(struct world *world, struct arena *arena, const struct network_spec *spec)
{
    struct bench b = { .net = network_create(world, arena, spec),
                       .adam = { .lr = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 1e-2 } };
    int64_t rows = spec->train ? (int64_t)b.net->shards * b.net->shard_rows : spec->batch;
    b.images = random_values(arena, rows * 3 * spec->image_size * spec->image_size, VALUE_F32);
    if (!spec->train) {
        b.features = arena_array(arena, float, rows *network_feature_dim(b.net));
        b.logits = arena_array(arena, float, rows * spec->classes);
        return b;
    }
    int32_t *labels = arena_array(arena, int32_t, rows);
    int64_t *numbers = arena_array(arena, int64_t, rows);
    int64_t first = tree_leaves(b.net->tree).first * b.net->shard_rows;
    for (int64_t i = 0; i < rows; i++) {
        labels[i] = (int32_t)((first + i) % spec->classes);
        numbers[i] = first + i;
    }
    b.batch = (struct network_batch){ .images = b.images, .labels = labels, .rows = numbers };
    return b;
}

/* Seconds of one step. */
static double run_step(struct bench *b)
{
    double begin = timer_seconds();
    if (b->net->spec.train) {
        network_gradient(b->net, &b->batch, NULL);
        network_update(b->net, &b->adam, ++b->step);
    } else {
        network_infer(b->net, b->features, b->logits, b->images);
    }
    return timer_seconds() - begin;
}

static void clear_times(struct network *net)
{
    for (int i = 0; i < net->graph->count; i++)
        memset(net->ops[i].seconds, 0, sizeof net->ops[i].seconds);
}

static const char *kernel_of(const struct op *op, int pass)
{
    return op->node->kind->kernel ? op->node->kind->kernel(op, pass) : NULL;
}

static void collect_kernels(struct bench_result *r, const struct network *net, struct arena *arena)
{
    r->network_bytes = network_bytes(net);
    r->reorders = dn_reorders(net->dn);
    r->primitives = dn_primitives(net->dn, &r->references);
    r->count = net->graph->count;
    r->nodes = arena_array(arena, struct bench_node, r->count);
    for (int i = 0; i < r->count; i++) {
        r->nodes[i].name = arena_strdup(arena, net->graph->nodes[i].name);
        r->nodes[i].kind = net->graph->nodes[i].kind->name;
        for (int pass = 0; pass < DN_PASSES; pass++) {
            const char *kernel = kernel_of(&net->ops[i], pass);
            r->nodes[i].kernels[pass] = kernel ? arena_strdup(arena, kernel) : NULL;
        }
    }
}

static void collect_times(struct bench_result *r, const struct network *net)
{
    double steps = r->steps;
    bool train = net->spec.train;
    for (int i = 0; i < r->count; i++) {
        const struct op *op = &net->ops[i];
        struct bench_node *at = &r->nodes[op->worker - net->ops]; /* whom its time belongs to */
        r->nodes[i].flops = net->spec.batch * node_flops(net->graph, i, train);
        at->forward += op->seconds[train ? PASS_FORWARD : PASS_INFER] / steps;
        at->backward += op->seconds[PASS_BACKWARD] / steps;
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* As many steps as fit, the same on every rank. */
static int steps_that_fit(struct world *world, double one, double seconds)
{
    double steps = seconds / one;
    world_broadcast(world, &steps, sizeof steps, 0);
    return steps < 1.0 ? 1 : steps > MOST_STEPS ? MOST_STEPS : (int)steps;
}

struct bench_result bench_network(struct world *world, struct arena *arena, const struct network_spec *spec,
                                  double seconds)
{
    usage_peak_reset();
    struct arena *own = arena_create("bench", (size_t)1 << 20);
    struct bench b = bench_new(world, own, spec);
    double one = 0.0, total = 0.0;
    for (int i = 0; i < WARM_UP; i++)
        one = run_step(&b);
    struct bench_result r = { .steps = steps_that_fit(world, one, seconds) };
    double *times = arena_array(own, double, r.steps);
    clear_times(b.net);
    int64_t faults = usage_page_faults();
    for (int i = 0; i < r.steps; i++)
        total += times[i] = run_step(&b);
    r.page_faults = (double)(usage_page_faults() - faults) / r.steps;
    r.peak_bytes = usage_peak_bytes();
    qsort(times, (size_t)r.steps, sizeof *times, by_value);
    r.best = times[0];
    r.median = 0.5 * (times[r.steps / 2] + times[(r.steps - 1) / 2]);
    r.image_flops = network_flops(b.net, spec->train);
    collect_kernels(&r, b.net, arena);
    collect_times(&r, b.net);
    r.other = total / r.steps;
    for (int i = 0; i < r.count; i++)
        r.other -= r.nodes[i].forward + r.nodes[i].backward;
    network_close(b.net);
    arena_destroy(own);
    return r;
}

struct bench_result bench_kernels(struct world *world, struct arena *arena, const struct network_spec *spec)
{
    struct network_spec planned = *spec;
    struct bench_result r = { .steps = 0 };
    struct arena *own = arena_create("bench", (size_t)1 << 20);
    planned.plan_only = true;
    struct network *net = network_create(world, own, &planned);
    collect_kernels(&r, net, arena);
    network_close(net);
    arena_destroy(own);
    return r;
}
