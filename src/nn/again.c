/* Outputs that are not kept from forward to backward but made again, from the same
 * numbers with the same bits, when the backward pass needs them. Always: the sums
 * of a residual network, which its convolutions' outputs, kept anyway, give in a
 * pass over memory. With checkpointed activations (Chen et al., Training deep nets
 * with sublinear memory cost, 2016): all that only the own block of nodes reads. */
#include <string.h>

#include "base/arena.h"
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
        inner[i] = op->node->block > 0 && op->node->block < last && !op->kind->is_data && !op->streamed &&
                   op->node->kind != NODE_CONCAT;
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

/* inner[i]: elementwise, from what is kept. */
static void find_sums(const struct network *net, bool *inner)
{
    for (int i = 0; i < net->graph->count; i++)
        inner[i] = net->ops[i].node->kind == NODE_NORM && !net->ops[i].streamed;
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

/* Those of a stage, which follow from one another, before the first of them is read on the way back. The last stage's
 * turn comes before anything else has been freed: it keeps them. */
static void stages_before(const struct network *net, bool *inner, int *before)
{
    int next = NONE, last = NONE;
    for (int i = net->graph->count - 1; i > 0; i--) {
        if (!inner[i])
            continue;
        const struct shape *shape = &net->ops[i].node->out;
        bool same = next != NONE && memcmp(shape, &net->ops[next].node->out, sizeof *shape) == 0;
        if (last == NONE)
            last = i;
        before[i] = same ? before[next] : last_reader(net, i);
        next = i;
        if (memcmp(shape, &net->ops[last].node->out, sizeof *shape) == 0)
            inner[i] = false;
    }
}

/* ---- both ---- */

void again_mark(struct network *net)
{
    struct read reads[READS_MAX];
    int n = net->graph->count;
    bool *inner = arena_array(net->arena, bool, n), *needed = arena_array(net->arena, bool, n);
    int *before = arena_array(net->arena, int, n);
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
        op->again = inner[i] && needed[i];
        op->again_before = before[i];
        for (int r = 0; r < count && op->again; r++)
            needed[reads[r].value] |= reads[r].forward;
    }
}

void again_run(struct network *net, int before)
{
    for (int i = 1; i <= before; i++) {
        struct op *op = &net->ops[i];
        if (!op->again || op->again_before != before)
            continue;
        op->out = op->lives[1];
        exec_timed(op->kind->again ? op->kind->again : op->kind->forward, net, op, PASS_BACKWARD);
    }
}
