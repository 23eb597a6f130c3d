/* What a network costs, in numbers and as the table of `cfn model`. */
#include "base/arena.h"
#include "base/text.h"
#include "nn/engine.h"

double network_flops(const struct network *net, bool train)
{
    double flops = 0.0;
    for (int i = 0; i < net->graph->count; i++)
        flops += node_flops(net->graph, i, train);
    return flops;
}

int64_t network_bytes(const struct network *net)
{
    return net->room_bytes + dn_bytes(net->dn) +
           (int64_t)sizeof(float) * (net->spec.train ? net->flat * (3 + net->nodes) : net->graph->weights + net->flat);
}

static double node_seconds(const struct network *net, int node)
{
    const double *seconds = net->ops[node].seconds;
    return seconds[PASS_FORWARD] + seconds[PASS_BACKWARD] + seconds[PASS_INFER];
}

/* Operations a second of the nodes of node `i`'s kind, without itself; 0 where it is the only one. */
static double rate_of_others(const struct network *net, int i)
{
    double flops = 0.0, seconds = 0.0;
    for (int k = 0; k < net->graph->count; k++)
        if (k != i && net->graph->nodes[k].kind == net->graph->nodes[i].kind) {
            flops += node_flops(net->graph, k, net->spec.train);
            seconds += node_seconds(net, k);
        }
    return seconds > 0.0 ? flops / seconds : 0.0;
}

const char *network_slow_node(const struct network *net, struct arena *arena)
{
    const double slow = 10.0, felt = 0.02;
    double all = 0.0, most = 0.0, ratio = 0.0;
    int found = NONE;
    for (int i = 0; i < net->graph->count; i++)
        all += node_seconds(net, i);
    for (int i = 0; i < net->graph->count; i++) {
        const double flops = node_flops(net->graph, i, net->spec.train), seconds = node_seconds(net, i);
        const double times = flops > 0.0 ? rate_of_others(net, i) * seconds / flops : 0.0;
        if (times > slow && seconds > felt * all && seconds > most) {
            found = i;
            most = seconds;
            ratio = times;
        }
    }
    if (found == NONE)
        return NULL;
    return arena_printf(arena,
                        "%s runs %.0f times slower per operation than other nodes of its kind (%s) and takes %.0f %% "
                        "of the time: `cfn bench-model %s --kernels` names kernels",
                        net->graph->nodes[found].name, ratio, net->graph->nodes[found].kind->name, 100.0 * most / all,
                        net->spec.backbone);
}

static int64_t node_parameters(const struct network *net, const struct node *node)
{
    int64_t count = 0;
    if (node->weight != NONE)
        count += net->graph->parameters[node->weight].count;
    if (node->bias != NONE)
        count += net->graph->parameters[node->bias].count;
    return count;
}

static void describe_node(const struct network *net, struct arena *arena, struct text *text, int number)
{
    const struct op *op = &net->ops[number];
    const struct node *n = op->node;
    const char *shape = arena_printf(arena, "%dx%dx%d", n->out.channels, n->out.height, n->out.width);
    const char *what = n->kind->describe ? n->kind->describe(n, arena) : n->kind->name;
    text_add(text, "%-24s %-24s %-14s %12lld %12.1f %12.1f %10.2f\n", n->name, what, shape,
             (long long)node_parameters(net, n), node_flops(net->graph, number, false) / 1e6,
             node_flops(net->graph, number, true) / 1e6, (double)(shape_floats(&n->out) * value_bytes(op->type)) / 1e6);
}

char *network_describe(struct network *net, struct arena *arena)
{
    struct text text = text_new(arena);
    const struct network_spec *s = &net->spec;
    text_add(&text, "%s, %d classes, images 3x%dx%d, batch %d in %d shards (%s, %s)\n\n", s->backbone, s->classes,
             s->image_size, s->image_size, s->batch, s->shards, s->train ? "training" : "inference",
             value_type_name(s->precision));
    text_add(&text, "%-24s %-24s %-14s %12s %12s %12s %10s\n", "node", "what", "output", "parameters", "MFLOP fwd",
             "fwd + bwd", "MB out");
    for (int i = 0; i < net->graph->count; i++)
        describe_node(net, arena, &text, i);
    text_add(&text, "\nparameters      %lld trainable, %lld running statistics\n", (long long)net->graph->weights,
             (long long)net->graph->buffers);
    text_add(&text, "representation  %d\n", network_feature_dim(net));
    text_add(&text, "an image        %.2f GFLOP forward, %.2f GFLOP forward and backward\n",
             network_flops(net, false) / 1e9, network_flops(net, true) / 1e9);
    text_add(&text, "a rank holds    %s, of which %s values placed by lifetime; %d reorders a step\n",
             text_bytes(arena, (double)network_bytes(net)), text_bytes(arena, (double)net->value_bytes),
             dn_reorders(net->dn));
    return text.data;
}
