/* backbone.h5: the trained weights under torchvision's names, and the history
 * of the training that made them. */
#include "stage/backbone/backbone.h"

#include <stdio.h>
#include <string.h>

#include "nn/weight_names.h"
#include "stage/backbone/weights.h"
#include "stage/preprocess.h"

static const char *extent_names(struct arena *arena, const struct parameter *p)
{
    static const char *const roles[] = { "out", "in", "kernel_y", "kernel_x" };
    struct text dims = text_new(arena);
    for (int d = 0; d < p->rank; d++)
        text_add(&dims, "%s%s=%lld", d ? "," : "", roles[d], (long long)p->dims[d]);
    return dims.data;
}

static const float *values_of(struct network *net, const struct parameter *p)
{
    return (p->is_buffer ? network_buffers(net, NULL) : network_weights(net, NULL)) + p->offset;
}

void backbone_layout(struct arena *arena, struct layout *layout, const struct parameter *list, int parameters)
{
    for (int i = 0; i < parameters; i++)
        layout[i] = (struct layout){ arena_printf(arena, "/parameters/%s", list[i].name),
                                     STORE_F32,
                                     extent_names(arena, &list[i]),
                                     "1",
                                     list[i].is_buffer ? "running statistic" : "weight",
                                     NULL,
                                     false };
}

static struct layout *layout_of(struct job *job, const struct parameter *list, int parameters, int *datasets)
{
    static const struct layout history[] = {
        { "/history/loss", STORE_F64, "epochs", "nat", "mean training loss of each epoch", NULL, false },
        { "/history/train_accuracy", STORE_F64, "epochs", "1",
          "accuracy on the augmented training images as they were seen", NULL, false },
        { "/history/val_accuracy", STORE_F64, "epochs", "1",
          "validation accuracy after each epoch (multi-label: mean over labels at 0.5)", NULL, false },
    };
    int extra = (int)(sizeof history / sizeof history[0]);
    struct layout *layout = arena_array(job->run, struct layout, parameters + extra);
    backbone_layout(job->run, layout, list, parameters);
    memcpy(layout + parameters, history, sizeof history);
    *datasets = parameters + extra;
    return layout;
}

void backbone_write(struct job *job, struct network *net, const struct preprocess *view, const struct history *history,
                    double best_val, int best_epoch, bool multi_label)
{
    const struct parameter *list;
    int parameters = network_parameters(net, &list), datasets;
    const struct layout *layout = layout_of(job, list, parameters, &datasets);
    struct extent sizes[] = { { "epochs", history->epochs } };
    struct store *store = job_create(job, "backbone.h5", layout, (size_t)datasets, sizes, 1);
    network_sync(net);
    for (int i = 0; i < parameters; i++)
        store_write_all(store, layout[i].name, values_of(net, &list[i]));
    store_write_all(store, "/history/loss", history->loss);
    store_write_all(store, "/history/train_accuracy", history->train_accuracy);
    store_write_all(store, "/history/val_accuracy", history->val_accuracy);

    const struct run_config *run = &job->config->run;
    const struct parameter *head = &list[parameters - 1];
    store_set_text(store, "/", "backbone", zoo_canonical(run->backbone, run->data));
    store_set_i64(store, "/", "classes", head->dims[0]);
    store_set_i64(store, "/", "multi_label", multi_label);
    store_set_i64(store, "/", "image_size", job->config->image.size);
    preprocess_write(job, store, view);
    store_set_f64(store, "/", "best_val", best_val);
    store_set_i64(store, "/", "best_epoch", best_epoch);
    job_publish(job, store);
}

/* True when the file holds this parameter with this shape. */
static bool shape_matches(const struct store *store, const char *name, const struct parameter *p)
{
    int64_t dims[4];
    int rank = store_dims(store, name, dims);
    bool same = rank == p->rank;
    for (int d = 0; same && d < rank; d++)
        same = dims[d] == p->dims[d];
    return same;
}

static bool is_head(const struct parameter *list, int parameters, int i)
{
    return naming_is_head(list[i].name, list[parameters - 1].name);
}

int backbone_import(struct job *job, struct network *net, const char *path, const char *backbone, int image_size)
{
    const struct parameter *list;
    int parameters = network_parameters(net, &list);
    float *weights = network_weights(net, NULL), *buffers = network_buffers(net, NULL);
    struct weights *from = weights_open(job, path, backbone, image_size, NULL);
    bool same_head = from->classes == (int)list[parameters - 1].dims[0];
    for (int i = 0; i < parameters; i++)
        if (same_head || !is_head(list, parameters, i))
            weights_take(job, from, i, (list[i].is_buffer ? buffers : weights) + list[i].offset);
    log_info("%s: %s, names of %s, SHA-256 %.16s...%s%s", path, from->format, from->naming, from->sha256,
             *from->known ? ": " : "", from->known);
    weights_say(from, path);
    int classes = from->classes;
    weights_close(from);
    network_changed(net);
    return classes;
}

void backbone_read(struct network *net, struct store *store, bool new_head)
{
    const struct parameter *list;
    int parameters = network_parameters(net, &list);
    float *weights = network_weights(net, NULL), *buffers = network_buffers(net, NULL);
    for (int i = 0; i < parameters; i++) {
        char name[256];
        snprintf(name, sizeof name, "/parameters/%s", list[i].name);
        if (shape_matches(store, name, &list[i]))
            store_read_all(store, name, (list[i].is_buffer ? buffers : weights) + list[i].offset);
        else
            require(new_head && is_head(list, parameters, i), EXIT_BAD_DATA,
                    "%s: %s: %s\nThe file must come from the same backbone (cfn info shows what it holds).",
                    store_path(store), name, store_has(store, name) ? "another shape" : "missing");
    }
    network_changed(net);
}
