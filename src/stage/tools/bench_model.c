/* `cfn bench-model NAME`: images a second in training and embedding, beside what
 * the convolutions of this machine reach alone, and where the time goes. Random
 * images in memory, a head of 1000 classes; what is measured is src/nn/engine/bench.c's.
 * With --kernels it says which implementation computes each node, and runs none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/bench.h"
#include "report/json.h"
#include "stage/stage.h"

enum { PUBLISHED_CLASSES = 1000, SLOWEST = 10, KINDS_MAX = 32 };

struct measured {
    const char *name;
    struct network_spec spec;
    double seconds; /* of each measurement */
    bool kernels;   /* names alone */
    struct bench_rates rates;
    struct bench_result train, embed;
};

/* Time and arithmetic of all nodes of one kind. */
struct family {
    const char *kind;
    double forward, backward, flops;
};

static void read_arguments(struct job *job, struct measured *m)
{
    const char *name = job->config->run.backbone, *seconds = "3";
    for (int a = 0; a < job->argc; a++)
        if (strcmp(job->argv[a], "--seconds") == 0)
            seconds = job->argv[++a];
        else if (strcmp(job->argv[a], "--kernels") == 0)
            m->kernels = true;
        else
            name = job->argv[a];
    char *end;
    m->seconds = strtod(seconds, &end);
    agree(job->world, end != seconds && !*end && m->seconds > 0 && m->seconds <= 3600, EXIT_USAGE,
          "--seconds: expected a number above 0, at most 3600, found %s", seconds);
    m->name = zoo_canonical(name, job->config->run.data);
    m->name = m->name ? m->name : name;
}

static void measure(struct job *job, struct measured *m)
{
    const struct config *c = job->config;
    read_arguments(job, m);
    m->spec = (struct network_spec){ .backbone = m->name,
                                     .classes = PUBLISHED_CLASSES,
                                     .image_size = c->image.size,
                                     .batch = c->train.batch,
                                     .shards = 1,
                                     .precision = network_precision(job->world, c->train.precision == PRECISION_BF16),
                                     .seed = job_seed(job) };
    m->embed = m->kernels ? bench_kernels(job->world, job->run, &m->spec)
                          : bench_network(job->world, job->run, &m->spec, m->seconds);
    m->spec.train = true;
    m->spec.checkpoint = c->train.checkpoint_activations;
    m->spec.shards = c->train.shards;
    m->train = m->kernels ? bench_kernels(job->world, job->run, &m->spec)
                          : bench_network(job->world, job->run, &m->spec, m->seconds);
    if (m->kernels)
        return;
    /* Last: what it leaves in the library's caches would count as the network's memory. */
    m->rates = bench_convolutions(job->run, m->spec.precision, m->spec.batch, m->seconds);
}

/* Images of one step, over all ranks; each rank embeds a batch of its own. */
static double step_images(const struct job *job, const struct measured *m, bool train)
{
    return m->spec.batch * (train ? 1.0 : (double)job->world->size);
}

static double share(const struct job *job, const struct measured *m, bool train)
{
    const struct bench_result *r = train ? &m->train : &m->embed;
    double gflops = r->image_flops * step_images(job, m, train) / r->median / 1e9;
    return gflops / ((train ? m->rates.train : m->rates.forward) * job->world->size);
}

static int families(const struct bench_result *r, struct family list[KINDS_MAX])
{
    int count = 0;
    for (int i = 0; i < r->count; i++) {
        const struct bench_node *n = &r->nodes[i];
        int k = 0;
        while (k < count && strcmp(list[k].kind, n->kind) != 0)
            k++;
        if (k == KINDS_MAX)
            continue;
        if (k == count)
            list[count++] = (struct family){ .kind = n->kind };
        list[k].forward += n->forward;
        list[k].backward += n->backward;
        list[k].flops += n->flops;
    }
    return count;
}

/* ---- text ---- */

static void add_speed(struct text *out, const struct job *job, const struct measured *m, bool train)
{
    const struct bench_result *r = train ? &m->train : &m->embed;
    double images = step_images(job, m, train);
    text_add(out, "%-10s %9.1f %9.1f %9.0f %14.0f %% %12s %10d %12.0f\n", train ? "train" : "embed", images / r->median,
             images / r->best, r->image_flops * images / r->median / 1e9, 100 * share(job, m, train),
             text_bytes(job->run, r->peak_bytes), r->reorders, r->page_faults);
}

static double rate_of(double flops, double seconds)
{
    return flops > 0 && seconds > 0 ? flops / seconds / 1e9 : 0.0;
}

static void add_families(struct text *out, const struct bench_result *r, const char *title)
{
    struct family list[KINDS_MAX];
    int count = families(r, list);
    double total = r->other;
    for (int k = 0; k < count; k++)
        total += list[k].forward + list[k].backward;
    text_add(out, "\n%-26s %10s %10s %8s %9s\n", title, "forward ms", "back ms", "share", "GFLOP/s");
    for (int k = 0; k < count; k++) {
        double seconds = list[k].forward + list[k].backward;
        if (seconds > 0.0)
            text_add(out, "  %-24s %10.2f %10.2f %6.1f %% %9.0f\n", list[k].kind, 1e3 * list[k].forward,
                     1e3 * list[k].backward, 100 * seconds / total, rate_of(list[k].flops, seconds));
    }
    text_add(out, "  %-24s %21.2f %6.1f %%\n", "loss, sums, optimiser", 1e3 * r->other, 100 * r->other / total);
}

static int by_time(const void *a, const void *b)
{
    const struct bench_node *x = a, *y = b;
    double s = x->forward + x->backward, t = y->forward + y->backward;
    return (s < t) - (s > t);
}

/* "jit:avx2, jit:avx2, gemm:blis": forward, data gradient, weight gradient. */
static void add_kernels(struct text *out, const struct bench_node *n)
{
    const char *before = "  ";
    for (int pass = 0; pass < 3; pass++)
        if (n->kernels[pass]) {
            text_add(out, "%s%s", before, n->kernels[pass]);
            before = ", ";
        }
    text_add(out, "\n");
}

static void add_slowest(struct text *out, const struct bench_result *r)
{
    text_add(out, "\n%-26s %10s %10s %8s %9s  %s\n", "slowest nodes, training", "forward ms", "back ms", "", "GFLOP/s",
             "kernels: forward, data gradient, weight gradient");
    for (int i = 0; i < r->count && i < SLOWEST; i++) {
        const struct bench_node *n = &r->nodes[i];
        text_add(out, "  %-24s %10.2f %10.2f %8s %9.0f  %s", n->name, 1e3 * n->forward, 1e3 * n->backward, "",
                 rate_of(n->flops, n->forward + n->backward), n->kind);
        add_kernels(out, n);
    }
}

static void add_references(struct text *out, const struct bench_result *r, const char *what)
{
    text_add(out, "%s: %d primitives of %s, %d of them reference code\n", what, r->primitives, network_library(),
             r->references);
}

static void add_list(struct text *out, const struct bench_result *r, const char *what)
{
    text_add(out, "\n");
    add_references(out, r, what);
    for (int i = 0; i < r->count; i++)
        if (r->nodes[i].kernels[0]) {
            text_add(out, "  %-28s %-12s", r->nodes[i].name, r->nodes[i].kind);
            add_kernels(out, &r->nodes[i]);
        }
}

static void print_kernels(const struct job *job, const struct measured *m)
{
    struct text out = text_new(job->run);
    const struct network_spec *s = &m->spec;
    text_add(&out, "%s, batch %d in %d shards, images 3x%dx%d, %s, %s\n", m->name, s->batch, s->shards, s->image_size,
             s->image_size, value_type_name(s->precision), network_isa());
    add_list(&out, &m->train, "training");
    add_list(&out, &m->embed, "embedding");
    fputs(out.data, stdout);
}

static void print_text(const struct job *job, struct measured *m)
{
    struct text out = text_new(job->run);
    const struct network_spec *s = &m->spec;
    text_add(&out, "%s, batch %d in %d shards, images 3x%dx%d, %s, %s, %d ranks\n", m->name, s->batch, s->shards,
             s->image_size, s->image_size, value_type_name(s->precision), network_isa(), job->world->size);
    text_add(&out, "direct 3x3 convolutions alone: %.0f GFLOP/s forward, %.0f forward and backward\n\n",
             m->rates.forward, m->rates.train);
    text_add(&out, "%-10s %9s %9s %9s %16s %12s %10s %12s\n", "", "img/s", "best", "GFLOP/s", "of convolutions", "peak",
             "reorders", "page faults");
    add_speed(&out, job, m, true);
    add_speed(&out, job, m, false);
    add_families(&out, &m->train, "training, a step");
    add_families(&out, &m->embed, "embedding, a batch");
    qsort(m->train.nodes, (size_t)m->train.count, sizeof *m->train.nodes, by_time);
    add_slowest(&out, &m->train);
    text_add(&out, "\n");
    add_references(&out, &m->train, "training");
    add_references(&out, &m->embed, "embedding");
    fputs(out.data, stdout);
}

/* ---- JSON ---- */

static void json_kernels(struct json_writer *w, const struct bench_node *n)
{
    static const char *const passes[] = { "forward_kernel", "data_kernel", "weights_kernel" };
    for (int pass = 0; pass < 3; pass++)
        if (n->kernels[pass])
            json_text(w, passes[pass], n->kernels[pass]);
}

static void json_result(struct json_writer *w, const struct job *job, const struct measured *m, bool train)
{
    const struct bench_result *r = train ? &m->train : &m->embed;
    double images = step_images(job, m, train);
    struct family list[KINDS_MAX];
    int count = families(r, list);
    json_object(w, train ? "train" : "embed");
    json_number(w, "images_per_second", images / r->median);
    json_number(w, "best_images_per_second", images / r->best);
    json_number(w, "gflops_per_second", r->image_flops * images / r->median / 1e9);
    json_number(w, "share_of_convolution_rate", share(job, m, train));
    json_integer(w, "steps", r->steps);
    json_number(w, "step_seconds", r->median);
    json_number(w, "peak_bytes", r->peak_bytes);
    json_integer(w, "network_bytes", r->network_bytes);
    json_number(w, "page_faults_per_step", r->page_faults);
    json_integer(w, "reorders", r->reorders);
    json_integer(w, "primitives", r->primitives);
    json_integer(w, "reference_primitives", r->references);
    json_number(w, "other_seconds", r->other);
    json_array(w, "families");
    for (int k = 0; k < count; k++) {
        json_object(w, NULL);
        json_text(w, "kind", list[k].kind);
        json_number(w, "forward_seconds", list[k].forward);
        json_number(w, "backward_seconds", list[k].backward);
        json_number(w, "flops", list[k].flops);
        json_end_object(w);
    }
    json_end_array(w);
    json_array(w, "nodes");
    for (int i = 0; i < r->count; i++) {
        json_object(w, NULL);
        json_text(w, "name", r->nodes[i].name);
        json_text(w, "kind", r->nodes[i].kind);
        json_number(w, "forward_seconds", r->nodes[i].forward);
        json_number(w, "backward_seconds", r->nodes[i].backward);
        json_number(w, "flops", r->nodes[i].flops);
        json_kernels(w, &r->nodes[i]);
        json_end_object(w);
    }
    json_end_array(w);
    json_end_object(w);
}

static void print_json(const struct job *job, const struct measured *m)
{
    struct text text = text_new(job->run);
    struct json_writer w = json_start(&text);
    json_object(&w, NULL);
    json_text(&w, "backbone", m->name);
    json_integer(&w, "batch", m->spec.batch);
    json_integer(&w, "shards", m->spec.shards);
    json_integer(&w, "image_size", m->spec.image_size);
    json_text(&w, "precision", value_type_name(m->spec.precision));
    json_integer(&w, "ranks", job->world->size);
    json_number(&w, "convolution_gflops_forward", m->rates.forward);
    json_number(&w, "convolution_gflops_train", m->rates.train);
    json_result(&w, job, m, true);
    json_result(&w, job, m, false);
    json_end_object(&w);
    puts(text.data);
}

int stage_bench_model(struct job *job)
{
    struct measured m = { .name = NULL };
    measure(job, &m);
    if (job->world->rank != 0)
        return EXIT_DONE;
    if (m.kernels)
        print_kernels(job, &m);
    else if (job->json)
        print_json(job, &m);
    else
        print_text(job, &m);
    return EXIT_DONE;
}
