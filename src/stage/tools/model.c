/* `cfn model NAME`: nodes, shapes, parameters, FLOPs and bytes of a backbone at
 * the configured image size, batch and shards, with a head of 1000 classes as
 * published. */
#include <stdio.h>

#include "nn/network.h"
#include "report/json.h"
#include "stage/stage.h"

enum { PUBLISHED_CLASSES = 1000 };

static const char *backbone(struct job *job)
{
    const char *name = job->argc > 0 ? job->argv[0] : job->config->run.backbone;
    const char *canonical = zoo_canonical(name, job->config->run.data);
    return canonical ? canonical : name;
}

static void print_json(struct job *job, struct network *net, const char *name)
{
    const struct parameter *list;
    int count = network_parameters(net, &list);
    struct text text = text_new(job->run);
    struct json_writer w = json_start(&text);
    json_object(&w, NULL);
    json_text(&w, "backbone", name);
    json_integer(&w, "image_size", job->config->image.size);
    json_integer(&w, "representation", network_feature_dim(net));
    json_number(&w, "flops_forward", network_flops(net, false));
    json_number(&w, "flops_train", network_flops(net, true));
    json_integer(&w, "bytes", network_bytes(net));
    json_array(&w, "parameters");
    for (int i = 0; i < count; i++) {
        json_object(&w, NULL);
        json_text(&w, "name", list[i].name);
        json_bool(&w, "trainable", !list[i].is_buffer);
        json_integer(&w, "count", list[i].count);
        json_array(&w, "shape");
        for (int d = 0; d < list[i].rank; d++)
            json_integer(&w, NULL, list[i].dims[d]);
        json_end_array(&w);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
    if (job->world->rank == 0)
        puts(text.data);
}

int stage_model(struct job *job)
{
    const struct config *c = job->config;
    const char *name = backbone(job);
    struct network_spec spec = { .backbone = name,
                                 .classes = PUBLISHED_CLASSES,
                                 .image_size = c->image.size,
                                 .batch = c->train.batch,
                                 .shards = c->train.shards,
                                 .train = true,
                                 .checkpoint = c->train.checkpoint_activations,
                                 .precision = network_precision(job->world, c->train.precision == PRECISION_BF16),
                                 .seed = job_seed(job) };
    struct network *net = network_create(job->world, job->run, &spec);
    if (job->json) {
        print_json(job, net, name);
    } else {
        char *text = network_describe(net, job->run);
        if (job->world->rank == 0)
            fputs(text, stdout);
    }
    network_close(net);
    return EXIT_DONE;
}
