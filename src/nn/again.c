/* Checkpointed activations (Chen et al., Training deep nets with sublinear
 * memory cost, 2016): of a block of nodes only what others read is kept; the rest
 * is made again, from the same numbers with the same bits, when the backward pass
 * comes to the block. */
#include "base/arena.h"
#include "nn/engine.h"

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

void again_mark(struct network *net)
{
    if (!net->spec.checkpoint)
        return;
    struct read reads[READS_MAX];
    int n = net->graph->count;
    bool *inner = arena_array(net->arena, bool, n), *needed = arena_array(net->arena, bool, n);
    find_inner(net, inner);
    /* Needed: by a backward pass, or to make again what is. */
    for (int i = n - 1, last = n - 1; i > 0; i--) {
        struct op *op = &net->ops[i];
        if (op->node->block != net->ops[last].node->block)
            last = i;
        int count = op_reads(net, i, reads);
        for (int r = 0; r < count; r++)
            needed[reads[r].value] |= reads[r].backward;
        op->again = inner[i] && needed[i];
        if (!op->again)
            continue;
        for (int r = 0; r < count; r++)
            needed[reads[r].value] |= reads[r].forward;
        net->ops[last].rerun = i;
    }
}

void again_run(struct network *net, int first, int last)
{
    for (int i = first; i <= last; i++) {
        struct op *op = &net->ops[i];
        if (!op->again)
            continue;
        op->out = op->lives[1];
        exec_timed(op->kind->again ? op->kind->again : op->kind->forward, net, op, PASS_BACKWARD);
    }
}
