/* Runs the nodes: forward in order, backward in reverse, all shards of this rank
 * at each node before the next. No allocation. */
#include "base/timer.h"
#include "nn/engine.h"
#include "nn/kernels.h"

/* Images are borrowed and only read. */
static void set_images(struct network *net, const float *images)
{
    net->ops[0].out = (char *)(uintptr_t)images;
}

void exec_timed(void (*run)(struct network *, struct op *), struct network *net, struct op *op, enum op_pass pass)
{
    double begin = timer_seconds();
    run(net, op);
    op->seconds[pass] += timer_seconds() - begin;
}

void exec_forward(struct network *net, const float *images)
{
    set_images(net, images);
    for (int i = 1; i < net->graph->count; i++)
        if (net->ops[i].recompute)
            net->ops[i].out = net->ops[i].lives[0];
    for (int i = 1; i < net->graph->count; i++)
        exec_timed(net->ops[i].node->kind->forward, net, &net->ops[i], PASS_FORWARD);
}

/* grad[into] <- grad[into] + the later ones. */
static void add_gradients(const struct network *net, struct op *op, int into)
{
    int64_t values = net->shards * op->stride / value_bytes(op->type);
    for (int k = into + 1; k < op->grads; k++)
        add_values(op->grad[into], op->grad[k], values, op->type);
}

static void backward(struct network *net, struct op *op)
{
    const struct op_kind *kind = op->node->kind;
    add_gradients(net, op, kind->adds_gradients ? 1 : 0);
    kind->backward(net, op);
}

void exec_backward(struct network *net)
{
    for (int i = net->graph->count - 1; i > 0; i--) {
        recompute_run(net, i);
        if (net->ops[i].grads > 0)
            exec_timed(backward, net, &net->ops[i], PASS_BACKWARD);
    }
}

void exec_infer(struct network *net, const float *images)
{
    set_images(net, images);
    for (int i = 1; i < net->graph->count; i++)
        if (net->ops[i].node->kind->infer)
            exec_timed(net->ops[i].node->kind->infer, net, &net->ops[i], PASS_INFER);
}
