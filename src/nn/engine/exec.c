/* Runs the nodes: forward in order, backward in reverse, all shards of this rank
 * at each node before the next. No allocation. */
#include "base/timer.h"
#include "nn/engine.h"
#include "nn/kernels.h"

static void nothing(struct network *net, struct op *op)
{
    (void)net;
    (void)op;
}

const struct op_kind op_kinds[NODE_KINDS] = {
    [NODE_INPUT] = { "input", input_create, nothing, nothing, nothing, .is_data = true },
    [NODE_CONV] = { "convolution", conv_create, conv_forward, conv_backward, conv_infer, .reads_input = true },
    [NODE_NORM] = { "batch norm", norm_create, norm_forward, norm_backward, norm_infer, norm_stream, norm_stream_back,
                    norm_recompute, .reads_input = true, .gradient_in_place = true },
    [NODE_MAXPOOL] = { "max pool", maxpool_create, maxpool_forward, maxpool_backward, maxpool_forward,
                       .reads_input = false },
    [NODE_AVGPOOL] = { "average pool", avgpool_create, avgpool_forward, avgpool_backward, avgpool_forward,
                       .reads_input = false },
    [NODE_LINEAR] = { "linear", linear_create, linear_forward, linear_backward, linear_infer, .reads_input = true },
    [NODE_CONCAT] = { "concatenation", concat_create, concat_forward, concat_backward, nothing, .reads_input = false },
    [NODE_DENSE_NORM] = { "dense batch norm", dense_norm_create, dense_norm_forward, dense_norm_backward,
                          dense_norm_infer, dense_norm_stream, dense_norm_stream_back, .reads_input = true },
    [NODE_PATCHES] = { "patches", patches_create, patches_forward, nothing, patches_forward, .is_data = true },
    [NODE_TOKENS] = { "tokens", tokens_create, tokens_run, tokens_run_back, tokens_run, .reads_input = false },
    [NODE_ATTENTION] = { "attention", attend_create, attend_forward, attend_backward, attend_forward,
                         .reads_input = true },
    [NODE_PICK] = { "pick", pick_create, pick_forward, pick_backward, pick_forward, .reads_input = false },
    [NODE_LAYERNORM] = { "layer norm", layernorm_create, layernorm_run, layernorm_run_back, layernorm_run,
                         .reads_input = true, .gradient_in_place = true },
    [NODE_GELU] = { "gelu", gelu_create, gelu_run, gelu_run_back, gelu_run, .reads_input = true,
                    .gradient_in_place = true },
    [NODE_ADD] = { "add", add_create, add_run, add_run_back, add_run, .gradient_in_place = true },
    [NODE_DEPTHWISE] = { "depthwise", depthwise_create, depthwise_run, depthwise_run_back, depthwise_run,
                         .reads_input = true },
    [NODE_WINDOWS] = { "windows", windows_create, windows_run, windows_run_back, windows_run, .reads_input = false },
    [NODE_SCALED_ADD] = { "scale, depth, add", add_create, add_run, add_run_back, add_run, .reads_input = true },
};

void input_create(struct network *net, struct op *op)
{
    const struct shape *s = &op->node->out;
    op->layout = dn_plain(net->dn, 4, (int64_t[]){ net->shard_rows, s->channels, s->height, s->width });
}

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
        exec_timed(net->ops[i].kind->forward, net, &net->ops[i], PASS_FORWARD);
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
    add_gradients(net, op, op->node->kind == NODE_NORM ? 1 : 0); /* a normalisation adds two by itself */
    op->kind->backward(net, op);
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
        exec_timed(net->ops[i].kind->infer, net, &net->ops[i], PASS_INFER);
}
