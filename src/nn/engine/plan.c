/* Where values lie: outputs, gradients and indices share one buffer, placed by
 * lifetime. Time runs over the nodes forward, then the loss, then the nodes
 * backward. Two values may share memory when their lifetimes do not touch.
 * Largest first, each at the lowest place that is free for its whole life. */
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "nn/engine.h"

enum { ALIGN = 64 };

struct storage {
    int64_t bytes, place;
    int first, last; /* times of life, both included */
    bool placed;
};

struct plan {
    struct storage *storage;
    int count;
    int *out, *recompute, *indices; /* [nodes] storage of outputs, of outputs recomputed, of indices */
    int (*grad)[GRADS_MAX], *diff;  /* [nodes] storage of gradients */
    int stream;                     /* storage of streamed values and their gradients */
};

static struct plan plan_new(struct network *net)
{
    int n = net->graph->count;
    struct plan plan = { .storage = arena_array(net->arena, struct storage, 5 * n),
                         .out = arena_array(net->arena, int, n),
                         .recompute = arena_array(net->arena, int, n),
                         .indices = arena_array(net->arena, int, n),
                         .grad = arena_take(net->arena, (size_t)n, sizeof *plan.grad),
                         .diff = arena_array(net->arena, int, n),
                         .stream = NONE };
    for (int i = 0; i < n; i++)
        plan.out[i] = plan.recompute[i] = plan.indices[i] = plan.diff[i] = NONE;
    return plan;
}

static int add(struct plan *plan, int64_t bytes, int first)
{
    plan->storage[plan->count] =
        (struct storage){ .bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN, .first = first, .last = first };
    return plan->count++;
}

static void use(struct plan *plan, int storage, int time)
{
    if (storage != NONE && time > plan->storage[storage].last)
        plan->storage[storage].last = time;
}

/* The output of `node` is read, or what it lists. */
static void use_output(const struct network *net, struct plan *plan, int node, int time)
{
    const struct node *n = net->ops[node].node;
    use(plan, plan->out[node], time);
    for (int k = 0; k < n->segment_count; k++)
        use(plan, plan->out[n->segments[k]], time);
}

static bool overlap(const struct storage *a, const struct storage *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Lowest place where `s` meets no placed storage alive at the same time. */
static int64_t free_place(const struct plan *plan, const struct storage *s)
{
    int64_t place = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < plan->count; i++) {
            const struct storage *o = &plan->storage[i];
            if (o->placed && overlap(s, o) && place < o->place + o->bytes && o->place < place + s->bytes) {
                place = o->place + o->bytes;
                moved = true;
            }
        }
    }
    return place;
}

static int64_t place_all(struct plan *plan)
{
    int64_t total = 0;
    for (int done = 0; done < plan->count; done++) {
        struct storage *next = NULL;
        for (int i = 0; i < plan->count; i++)
            if (!plan->storage[i].placed && (!next || plan->storage[i].bytes > next->bytes))
                next = &plan->storage[i];
        next->place = free_place(plan, next);
        next->placed = true;
        if (next->place + next->bytes > total)
            total = next->place + next->bytes;
    }
    return total;
}

static int64_t output_bytes(const struct network *net, int node)
{
    return net->shards * net->ops[node].stride;
}

static char *place_of(const struct network *net, const struct plan *plan, int storage)
{
    return storage == NONE ? NULL : net->values + plan->storage[storage].place;
}

static void hand_out(struct network *net, struct plan *plan)
{
    int64_t weights = net->spec.train ? net->graph->weights * (int64_t)sizeof(float) : 0;
    net->value_bytes = place_all(plan);
    net->room_bytes = net->value_bytes > weights ? net->value_bytes : weights;
    net->values = arena_take_raw(net->arena, (size_t)net->room_bytes + ALIGN, 1);
    for (int i = 0; i < net->graph->count; i++) {
        struct op *op = &net->ops[i];
        op->out = op->lives[0] = place_of(net, plan, plan->out[i]);
        op->lives[1] = place_of(net, plan, plan->recompute[i]);
        op->kept = op->node->kind->is_borrowed ||
                   (plan->out[i] != NONE && !op->streamed && plan->storage[plan->out[i]].last >= net->graph->count);
        op->indices = place_of(net, plan, plan->indices[i]);
        op->diff = place_of(net, plan, plan->diff[i]);
        for (int k = 0; k < op->grads; k++)
            op->grad[k] = place_of(net, plan, plan->grad[i][k]);
    }
    if (net->spec.train) /* between steps */
        net->weights = (float *)(void *)net->values;
}

/* Adds what lies in memory for `value`: what a view lists; for a streamed output also what it is made from. */
static int add_reads(const struct network *net, struct read list[READS_MAX], int count, struct read read)
{
    const struct op *op = &net->ops[read.value];
    if (!op->node->kind->is_view) {
        require(count < READS_MAX, EXIT_INTERNAL, "%s: more than %d values are read", op->node->name, READS_MAX);
        list[count++] = read;
    }
    for (int k = 0; k < op->node->segment_count; k++)
        count = add_reads(net, list, count, (struct read){ op->node->segments[k], read.forward, read.backward });
    if (op->streamed)
        count = add_reads(net, list, count, (struct read){ op->node->input, read.forward, read.backward });
    return count;
}

int op_reads(const struct network *net, int i, struct read list[READS_MAX])
{
    const struct op *op = &net->ops[i];
    const struct node *node = op->node;
    int count = 0;
    if (node->kind->is_view)
        return add_reads(net, list, 0, (struct read){ i, true, true });
    if (node->input != NONE)
        count = add_reads(net, list, count, (struct read){ node->input, true, node->kind->reads_input });
    if (node->residual != NONE)
        count = add_reads(net, list, count, (struct read){ node->residual, true, false });
    /* Where the relu after an addition was open is read off the output. */
    if (node->residual != NONE && node->relu)
        count = add_reads(net, list, count, (struct read){ i, false, true });
    return count;
}

static int recompute_time(const struct network *net, int i)
{
    return 2 * net->graph->count - net->ops[i].recompute_before;
}

static void use_later(const struct network *net, struct plan *plan, int value, int time)
{
    use(plan, net->ops[value].recompute ? plan->recompute[value] : plan->out[value], time);
}

/* Recomputed, a sum may take the place of what it adds when that, made at the same time, serves it alone. */
static bool adds_in_place(const struct network *net, int i)
{
    const struct graph *graph = net->graph;
    const struct node *node = &graph->nodes[i];
    int readers = 0;
    for (int k = 0; k < graph->count; k++)
        readers += (graph->nodes[k].input == node->residual) + (graph->nodes[k].residual == node->residual);
    return node->kind->adds_in_place && node->residual != NONE && readers == 1 && net->ops[node->residual].recompute &&
           net->ops[node->residual].recompute_before == net->ops[i].recompute_before;
}

/* Outputs live until the last reader, forward or backward, has run; those recomputed live twice. */
static void live_outputs(struct network *net, struct plan *plan)
{
    int n = net->graph->count;
    struct read reads[READS_MAX];
    if (net->stream_bytes) {
        plan->stream = add(plan, net->stream_bytes, 0);
        use(plan, plan->stream, 2 * n);
    }
    for (int i = 0; i < n; i++) {
        const struct op *op = &net->ops[i];
        if (op->node->kind->is_borrowed)
            continue;
        if (op->streamed)
            plan->out[i] = plan->stream;
        else if (!op->node->kind->is_view)
            plan->out[i] = add(plan, output_bytes(net, i), i);
        if (op->recompute)
            plan->recompute[i] = adds_in_place(net, i) ? plan->recompute[op->node->residual]
                                                       : add(plan, output_bytes(net, i), recompute_time(net, i));
        int count = op_reads(net, i, reads);
        for (int r = 0; r < count; r++) {
            if (reads[r].forward)
                use(plan, plan->out[reads[r].value], i);
            if (reads[r].forward && op->recompute)
                use_later(net, plan, reads[r].value, recompute_time(net, i));
            if (reads[r].backward)
                use_later(net, plan, reads[r].value, 2 * n - i);
        }
        if (op->index_stride) {
            plan->indices[i] = add(plan, net->shards * op->index_stride, i);
            use(plan, plan->indices[i], 2 * n - i);
        }
    }
    use(plan, plan->out[net->graph->logits], 2 * n); /* shown after the step: network_logits */
}

static void give(struct network *net, struct plan *plan, int node, int storage)
{
    struct op *op = &net->ops[node];
    require(op->grads < GRADS_MAX, EXIT_INTERNAL, "%s: more than %d readers", op->node->name, GRADS_MAX);
    plan->grad[node][op->grads++] = storage;
}

/* Node `reader` adds to the gradients of the segments that it reads: one storage each, made for the first. */
static void give_segments(struct network *net, struct plan *plan, int reader, int time)
{
    const struct op *op = &net->ops[reader];
    const struct node *concat = net->ops[op->node->input].node;
    for (int k = 0; k < concat->segment_count; k++) {
        int part = concat->segments[k];
        op->fresh[k] = net->ops[part].grads == 0;
        if (op->fresh[k])
            give(net, plan, part, add(plan, output_bytes(net, part), time));
        use(plan, plan->grad[part][0], time);
    }
    give(net, plan, op->node->input, NONE); /* the concat has its turn */
}

/* What a streamed op hands back while its convolution runs. */
static void give_through(struct network *net, struct plan *plan, int streamed, int time)
{
    int input = net->ops[streamed].node->input;
    if (net->ops[streamed].node->kind->adds_to_segments)
        give_segments(net, plan, streamed, time);
    else
        give(net, plan, input, add(plan, output_bytes(net, input), time));
}

/* Whether the gradient of the input may be the memory of the output's. Where something is added, that memory goes on
 * to what was added; a plain sum shares it with the input if that is a product, which reads its gradient and leaves it
 * as it is. */
static bool works_in_place(const struct network *net, int i)
{
    const struct node *node = net->ops[i].node;
    if (!node->kind->gradient_in_place || node->residual == NONE)
        return node->kind->gradient_in_place;
    return node->kind->passes_gradient && net->graph->nodes[node->input].kind->keeps_gradient;
}

/* Each reader of a value hands back a gradient. An op in place works on its own and passes the same memory on: to what
 * it added, or, if it added nothing, to its input. */
static void live_gradients(struct network *net, struct plan *plan)
{
    int n = net->graph->count;
    give(net, plan, net->graph->logits, add(plan, output_bytes(net, net->graph->logits), n));
    for (int i = n - 1; i > 0; i--) {
        const struct node *node = net->ops[i].node;
        int time = 2 * n - i;
        for (int k = 0; k < net->ops[i].grads; k++)
            use(plan, plan->grad[i][k], time);
        if (net->ops[i].grads == 0 || node->kind->is_data || node->kind->is_view)
            continue;
        if (node->kind->adds_to_segments) {
            if (!net->ops[i].streamed)
                give_segments(net, plan, i, time);
            continue;
        }
        if (net->ops[i].streamed) {
            plan->diff[i] = plan->grad[node->input][0]; /* since its convolution ran */
            use(plan, plan->diff[i], time);
            continue;
        }
        bool in_place = works_in_place(net, i);
        bool wanted = !net->ops[node->input].node->kind->is_data;
        if (wanted && in_place)
            plan->diff[i] = plan->grad[i][0];
        else if (wanted && net->ops[node->input].streamed)
            plan->diff[i] = plan->stream; /* and is taken from there at once */
        else if (wanted)
            plan->diff[i] = add(plan, output_bytes(net, node->input), time);
        if (wanted)
            give(net, plan, node->input, plan->diff[i]);
        if (net->ops[node->input].streamed)
            give_through(net, plan, node->input, time);
        if (node->residual != NONE)
            give(net, plan, node->residual, plan->grad[i][0]);
    }
}

void plan_training(struct network *net)
{
    recompute_mark(net);
    struct plan plan = plan_new(net);
    live_outputs(net, &plan);
    live_gradients(net, &plan);
    hand_out(net, &plan);
}

/* The node whose output `i` really reads: a folded convolution reads for its normalisation. */
static int reads(const struct network *net, int i)
{
    return net->ops[i].worker->node->input;
}

static void read_by(const struct network *net, int *last, int node, int reader)
{
    const struct node *n = net->ops[node].node;
    last[node] = reader;
    for (int k = 0; k < n->segment_count; k++)
        last[n->segments[k]] = reader;
}

/* A folded convolution writes for its normalisation, a view lists what others wrote. */
static bool nothing_of_its_own(const struct network *net, int i)
{
    return net->ops[i].node->kind->is_view || net->ops[i].folded;
}

void plan_inference(struct network *net)
{
    struct plan plan = plan_new(net);
    int n = net->graph->count;
    int *last = arena_array(net->arena, int, n); /* reader */
    for (int i = 1; i < n; i++) {
        if (nothing_of_its_own(net, i))
            continue;
        read_by(net, last, reads(net, i), i);
        if (net->ops[i].node->residual != NONE)
            last[net->ops[i].node->residual] = i;
    }
    for (int i = 1; i < n; i++) {
        const struct op *op = &net->ops[i];
        if (nothing_of_its_own(net, i))
            continue;
        int around = op->node->residual;
        bool in_place = around != NONE && op->worker != op && last[around] == i && reads(net, i) != around &&
                        plan.out[around] != NONE && around != net->graph->features;
        plan.out[i] = in_place ? plan.out[around] : add(&plan, output_bytes(net, i), i);
        use(&plan, plan.out[i], last[i]);
        use_output(net, &plan, reads(net, i), i);
        if (around != NONE)
            use(&plan, plan.out[around], i);
    }
    use(&plan, plan.out[net->graph->features], n);
    use(&plan, plan.out[net->graph->logits], n);
    hand_out(net, &plan);
}
