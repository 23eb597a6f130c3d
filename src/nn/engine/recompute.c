/* Outputs that are not kept from forward to backward but recomputed, from the same
 * numbers with the same bits, when the backward pass needs them. Always: the sums
 * of a residual network, which its convolutions' outputs, kept anyway, give in a
 * pass over memory, and the widest and cheapest of these outputs. With checkpointed
 * activations (Chen et al., Training deep nets with sublinear memory cost, 2016):
 * all that only the own block of nodes reads. */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/timer.h"
#include "nn/engine.h"

/* ---- checkpointed activations ---- */

/* Blocks 1 .. last_block - 1 give their inner outputs up. The stem before the first mark and the head do not, and the
 * block before the head neither: its turn comes before anything else has been freed. */
static int last_block(const struct network *net)
{
    const struct graph *graph = net->graph;
    int features = graph->nodes[graph->features].block, logits = graph->nodes[graph->logits].block;
    return (features < logits ? features : logits) - 1;
}

/* inner[i]: node i lies in such a block, and only nodes of it read the output. */
static void find_inner(const struct network *net, bool *inner)
{
    struct read reads[READS_MAX];
    int last = last_block(net);
    for (int i = 0; i < net->graph->count; i++) {
        const struct op *op = &net->ops[i];
        inner[i] = op->node->block > 0 && op->node->block < last && !op->node->kind->is_data && !op->streamed &&
                   !op->node->kind->is_view;
        int count = op_reads(net, i, reads);
        for (int r = 0; r < count; r++)
            if (net->ops[reads[r].value].node->block != op->node->block)
                inner[reads[r].value] = false;
    }
}

/* Before the last node of their block has its turn. */
static void blocks_before(const struct network *net, int *before)
{
    for (int i = net->graph->count - 1, last = i; i > 0; i--) {
        if (net->ops[i].node->block != net->ops[last].node->block)
            last = i;
        before[i] = last;
    }
}

/* ---- sums of a residual network ---- */

enum { SUMS_AT_ONCE = 4, CHEAP = 64, CHEAP_BLOCKS = 2 }; /* CHEAP: multiply-adds a value */

static bool is_sum(const struct network *net, int i)
{
    return net->graph->nodes[i].kind->recompute_all && !net->ops[i].streamed;
}

static bool feeds_a_sum(const struct network *net, int node)
{
    for (int i = node + 1; i < net->graph->count; i++)
        if (net->graph->nodes[i].input == node)
            return is_sum(net, i);
    return false;
}

static bool is_cheap(const struct network *net, int i)
{
    return node_flops(net->graph, i, false) <= 2.0 * CHEAP * (double)shape_floats(&net->graph->nodes[i].out);
}

/* inner[i]: elementwise, from what is kept; and of the first blocks, whose turn comes last, the 1x1 convolutions from
 * few channels to many (three of a bottleneck network: 1.3 % of a step's arithmetic for 154 MB at batch 16). */
static void find_sums(const struct network *net, bool *inner)
{
    for (int i = 0; i < net->graph->count; i++) {
        bool first = net->ops[i].node->block <= CHEAP_BLOCKS;
        inner[i] = is_sum(net, i) || (first && is_cheap(net, i) && feeds_a_sum(net, i));
    }
}

static int last_reader(const struct network *net, int value)
{
    struct read reads[READS_MAX];
    for (int i = net->graph->count - 1; i > value; i--) {
        int count = op_reads(net, i, reads);
        for (int r = 0; r < count; r++)
            if (reads[r].value == value && reads[r].backward)
                return i;
    }
    return value;
}

/* Those of a stage follow from one another, and are made before the first of them is read in the backward pass. All of
 * a deep stage at once would be too many: every so often one is kept, and those before it have their turn later. The
 * last stage keeps them all: its turn comes before anything else has been freed. */
static void stages_before(const struct network *net, bool *inner, int *before)
{
    const struct shape *shape = NULL;
    int stages = 0, turn = NONE, sums = 0;
    for (int i = net->graph->count - 1; i > 0; i--) {
        if (!inner[i])
            continue;
        const struct node *node = net->ops[i].node;
        if (!shape || memcmp(shape, &node->out, sizeof *shape) != 0) {
            shape = &node->out;
            stages++;
            turn = NONE;
        }
        inner[i] = stages > 1;
        if (turn == NONE) {
            turn = last_reader(net, i);
            sums = 0;
        }
        before[i] = turn;
        sums += node->residual != NONE;
        if (sums > SUMS_AT_ONCE) {
            inner[i] = false;
            turn = NONE;
        }
    }
}

/* ---- both ---- */

void recompute_mark(struct network *net)
{
    struct read reads[READS_MAX];
    int n = net->graph->count;
    bool *inner = arena_array(net->arena, bool, n), *needed = arena_array(net->arena, bool, n);
    int *before = arena_array(net->arena, int, n);
    net->turn = arena_take(net->arena, (size_t)n, sizeof *net->turn);
    if (net->spec.checkpoint) {
        find_inner(net, inner);
        blocks_before(net, before);
    } else {
        find_sums(net, inner);
        stages_before(net, inner, before);
    }
    /* Needed: by a backward pass, or to make again what is. */
    for (int i = n - 1; i > 0; i--) {
        struct op *op = &net->ops[i];
        int count = op_reads(net, i, reads);
        for (int r = 0; r < count; r++)
            needed[reads[r].value] |= reads[r].backward;
        op->recompute = inner[i] && needed[i];
        op->recompute_before = before[i];
        for (int r = 0; r < count && op->recompute; r++)
            needed[reads[r].value] |= reads[r].forward;
    }
}

void recompute_run(struct network *net, int before)
{
    int count = 0;
    for (int i = 1; i <= before; i++) {
        struct op *op = &net->ops[i];
        if (!op->recompute || op->recompute_before != before)
            continue;
        op->out = op->lives[1];
        const struct op_kind *kind = op->node->kind;
        if (!net->spec.checkpoint && kind->recompute_all) {
            net->turn[count++] = op;
            assert(net->turn[0]->node->kind == kind);
        } else {
            exec_timed(kind->recompute ? kind->recompute : kind->forward, net, op, PASS_BACKWARD);
        }
    }
    if (count == 0)
        return;
    double begin = timer_seconds();
    net->turn[0]->node->kind->recompute_all(net, net->turn, count);
    net->turn[count - 1]->seconds[PASS_BACKWARD] += timer_seconds() - begin;
}
