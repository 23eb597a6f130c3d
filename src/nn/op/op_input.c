/* The images: single precision, in planes, where the caller has them. */
#include "nn/engine.h"

static void input_create(struct network *net, struct op *op)
{
    const struct shape *s = &op->node->out;
    op->layout = dn_plain(net->dn, 4, (int64_t[]){ net->shard_rows, s->channels, s->height, s->width });
}

static const struct op_kind input_kind = {
    .name = "input", .create = input_create, .is_data = true, .is_borrowed = true
};

int graph_input(struct graph *graph, int size)
{
    int number = graph_append(graph, &input_kind, "input", NONE);
    graph->nodes[number].in = graph->nodes[number].out = (struct shape){ 3, size, size };
    return number;
}
