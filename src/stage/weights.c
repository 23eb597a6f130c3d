/* Weights from elsewhere: reads the file on rank 0, checks who published it, finds each parameter of the backbone under
 * the names of one of its namings, and hands the values to all ranks. Formats: store/tensors.h; names:
 * nn/weight_names.h. */
#include "stage/weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/positions.h"
#include "nn/weight_names.h"
#include "store/tensors.h"

enum { PARTS = 3, NAMED = 3, PUBLISHED_CLASSES = 1000, LARGEST = 1 << 20 };

struct weight_source { /* tensors joined along their first extent */
    const struct tensor *parts[PARTS];
    int count;
};

/* The file's tensors by name, and which are taken. */
struct holding {
    struct arena *arena;
    const struct tensors *tensors;
    const struct tensor **by_name;
    const char *prefix; /* in front of every name: "module." of parallel training, or "" */
};

static int compare(const void *a, const void *b)
{
    return strcmp((*(const struct tensor *const *)a)->name, (*(const struct tensor *const *)b)->name);
}

static struct holding hold(struct arena *arena, const struct tensors *tensors)
{
    struct holding h = { arena, tensors, arena_array(arena, const struct tensor *, tensors->count + 1), "module." };
    for (int i = 0; i < tensors->count; i++) {
        h.by_name[i] = &tensors->list[i];
        if (!text_starts(tensors->list[i].name, h.prefix))
            h.prefix = "";
    }
    qsort(h.by_name, (size_t)tensors->count, sizeof *h.by_name, compare);
    return h;
}

static const struct tensor *find(const struct holding *h, const char *name)
{
    struct tensor wanted = { .name = arena_printf(h->arena, "%s%s", h->prefix, name) }, *key = &wanted;
    const struct tensor **found = bsearch(&key, h->by_name, (size_t)h->tensors->count, sizeof *h->by_name, compare);
    return found ? *found : NULL;
}

/* The tensors behind a name: one, or those of "a.{q,k,v}.b". Returns false when any is missing. */
static bool find_all(const struct holding *h, const char *name, struct weight_source *source)
{
    const char *open = strchr(name, '{');
    *source = (struct weight_source){ 0 };
    if (!open) {
        source->parts[source->count++] = find(h, name);
        return source->parts[0] != NULL;
    }
    const char *rest = strchr(open, '}') + 1;
    for (const char *at = open; *at != '}' && source->count < PARTS; at += 1 + strcspn(at + 1, ",}")) {
        int length = (int)strcspn(at + 1, ",}");
        const char *one = arena_printf(h->arena, "%.*s%.*s%s", (int)(open - name), name, length, at + 1, rest);
        source->parts[source->count] = find(h, one);
        if (!source->parts[source->count++])
            return false;
    }
    return true;
}

/* ---- naming ---- */

/* How many parameters the file has under this naming. */
static int fill(const struct holding *h, const struct naming *naming, const struct parameter *list, int count,
                struct weight_source *sources)
{
    int found = 0;
    for (int i = 0; i < count; i++)
        if (find_all(h, naming_apply(h->arena, naming, list[i].name), &sources[i]))
            found++;
        else
            sources[i].count = 0;
    return found;
}

/* The naming under which most is found, the first of equals. */
static const struct naming *best_naming(const struct holding *h, const char *backbone, const struct parameter *list,
                                        int count, struct weight_source *sources)
{
    const struct naming *best = NULL, *naming;
    int most = -1;
    for (int i = 0; (naming = naming_of(backbone, i)); i++) {
        int found = fill(h, naming, list, count, sources);
        if (found > most) {
            most = found;
            best = naming;
        }
    }
    fill(h, best, list, count, sources);
    return best;
}

/* Adds `name` to a list in a message that shows the first few. */
static void add_name(struct text *text, int *count, const char *name)
{
    if (*count < NAMED) {
        text_add(text, "%s", *count ? ", " : "");
        for (const char *at = name; *at && at < name + 120; at++)
            text_add(text, "%c", (unsigned char)*at < ' ' || *at == 0x7f ? '?' : *at);
    }
    *count += 1;
}

static bool is_taken(const struct weight_source *sources, int count, const struct tensor *tensor)
{
    for (int i = 0; i < count; i++)
        for (int p = 0; p < sources[i].count; p++)
            if (sources[i].parts[p] == tensor)
                return true;
    return false;
}

/* What is missing in the file and what is too much, or NULL. */
static const char *difference(const struct holding *h, const struct weights *w, const struct naming *naming,
                              const char *backbone)
{
    struct text missing = text_new(h->arena), surplus = text_new(h->arena);
    int lacks = 0, more = 0;
    for (int i = 0; i < w->count; i++)
        if (w->sources[i].count == 0)
            add_name(&missing, &lacks, naming_apply(h->arena, naming, w->list[i].name));
    for (int i = 0; i < h->tensors->count; i++) {
        const struct tensor *t = &h->tensors->list[i];
        if (!naming_ignores(naming, t->name + strlen(h->prefix)) && !is_taken(w->sources, w->count, t))
            add_name(&surplus, &more, t->name);
    }
    if (lacks == 0 && more == 0)
        return NULL;
    return arena_printf(
        h->arena,
        "%s: not the weights of %s: %d of %d parameters are missing%s%s%s, %d tensors are too many%s%s%s"
        "\nCompared by the names of %s. `cfn model %s --json` lists the parameters.",
        w->path, backbone, lacks, w->count, lacks ? " (" : "", missing.data, lacks ? ")" : "", more, more ? " (" : "",
        surplus.data, more ? ")" : "", naming->name, backbone);
}

/* ---- shapes ---- */

static const char *shape_text(struct arena *arena, const int64_t *dims, int rank)
{
    struct text text = text_new(arena);
    for (int d = 0; d < rank; d++)
        text_add(&text, "%s%lld", d ? " x " : "[", (long long)dims[d]);
    text_add(&text, "%s", rank ? "]" : "[]");
    return text.data;
}

/* The same extents, apart from those of 1: a scale is (C) in one library and (C,1,1) in another. */
static bool same_shape(const int64_t *a, int a_rank, const int64_t *b, int b_rank)
{
    int i = 0, j = 0;
    for (;; i++, j++) {
        while (i < a_rank && a[i] == 1)
            i++;
        while (j < b_rank && b[j] == 1)
            j++;
        if (i == a_rank || j == b_rank)
            return i == a_rank && j == b_rank;
        if (a[i] != b[j])
            return false;
    }
}

/* Shape and type of each parameter, or what is wrong. */
/* Patches along a side of an image with so many tokens (one is the class token); 0 if they make no square. */
static int grid_side(int64_t tokens)
{
    int side = (int)lround(sqrt((double)(tokens > 1 ? tokens - 1 : 0)));
    return (int64_t)side * side + 1 == tokens ? side : 0;
}

/* Position embeddings (1, tokens, width) of another image size: they will be interpolated. */
static bool is_other_grid(const struct parameter *p, const int64_t *dims, int rank)
{
    return rank == 3 && p->rank == 3 && strcmp(p->name, "encoder.pos_embedding") == 0 && dims[0] == 1 &&
           dims[2] == p->dims[2] && grid_side(dims[1]) > 0;
}

static const char *check_shapes(struct arena *arena, const struct weights *w)
{
    for (int i = 0; i < w->count; i++) {
        const struct weight_source *s = &w->sources[i];
        int64_t dims[TENSOR_RANKS], joined = 0;
        int rank = s->parts[0]->rank;
        memcpy(dims, s->parts[0]->dims, sizeof dims);
        for (int p = 0; p < s->count; p++) {
            const struct tensor *t = s->parts[p];
            if (!tensor_is_real(t->type))
                return arena_printf(arena, "%s: %s: type %s, expected floating point", w->path, w->list[i].name,
                                    tensor_type_name(t->type));
            bool fits =
                t->rank == rank && (rank == 0 || !memcmp(t->dims + 1, dims + 1, sizeof *dims * (size_t)(rank - 1)));
            if (!fits || (rank > 0 && __builtin_add_overflow(joined, t->dims[0], &joined)))
                return arena_printf(arena, "%s: %s: its parts do not fit together", w->path, w->list[i].name);
        }
        if (rank > 0)
            dims[0] = joined;
        if (!same_shape(dims, rank, w->list[i].dims, w->list[i].rank) && !is_other_grid(&w->list[i], dims, rank))
            return arena_printf(arena, "%s: %s: shape %s, expected %s", w->path, w->list[i].name,
                                shape_text(arena, dims, rank), shape_text(arena, w->list[i].dims, w->list[i].rank));
    }
    return NULL;
}

/* ---- who made it ---- */

/* torchvision's files carry the start of their checksum in their name: one that lies is damaged or not theirs. */
static const char *check_origin(struct arena *arena, struct weights *w)
{
    const char *slash = strrchr(w->path, '/');
    const struct known_weights *named = known_weights_named(slash ? slash + 1 : w->path);
    const struct known_weights *meant = known_weights_digest(w->sha256);
    if (named && named != meant)
        return arena_printf(arena,
                            "%s: SHA-256 %s, expected one that begins with %.8s: not torchvision's file of this name\n"
                            "Fetch it again: it may have been cut off.",
                            w->path, w->sha256, known_weights_prefix(named));
    w->known = meant ? arena_printf(arena, "torchvision's %s, %s", meant->backbone, meant->what) : "";
    return NULL;
}

/* ---- rank 0 ---- */

static const struct parameter *parameters_of(struct arena *arena, const char *backbone, int image_size, int classes,
                                             int *count)
{
    struct graph *graph = graph_create(arena, backbone);
    zoo_find(backbone)->build(graph, image_size, classes);
    *count = graph->parameter_count;
    return graph->parameters;
}

/* Classes of the file's head: as many as its last bias has values. */
static int head_classes(const struct holding *h, const struct weights *w, const char *backbone)
{
    const struct naming *naming = best_naming(h, backbone, w->list, w->count, w->sources);
    const struct tensor *bias = find(h, naming_apply(h->arena, naming, w->list[w->count - 1].name));
    return bias && bias->rank == 1 && bias->dims[0] >= 1 && bias->dims[0] <= LARGEST ? (int)bias->dims[0]
                                                                                     : PUBLISHED_CLASSES;
}

/* Fills `w` from the file; returns what is wrong, or NULL. */
static const char *read_weights(struct weights *w, const char *backbone, int image_size, enum exit_code *code)
{
    size_t size;
    const char *why = NULL;
    char *sha256 = arena_array(w->arena, char, 65);
    const char *bytes = text_read_file(w->arena, w->path, 0, &size, &why);
    *code = EXIT_NO_INPUT;
    if (!bytes)
        return why;
    *code = EXIT_BAD_DATA;
    sha256_hex(sha256, bytes, size);
    w->sha256 = sha256;
    if ((why = check_origin(w->arena, w)))
        return why;
    const struct tensors *tensors = tensors_read(w->arena, w->path, (const uint8_t *)bytes, size, &why);
    if (!tensors)
        return why;
    struct holding h = hold(w->arena, tensors);
    w->format = tensors->format;
    w->classes = head_classes(&h, w, backbone);
    w->list = parameters_of(w->arena, backbone, image_size, w->classes, &w->count);
    const struct naming *naming = best_naming(&h, backbone, w->list, w->count, w->sources);
    w->naming = naming->name;
    why = difference(&h, w, naming, backbone);
    return why ? why : check_shapes(w->arena, w);
}

/* ---- for all ranks ---- */

bool weights_is_foreign(const char *path)
{
    return !text_ends(path, ".h5") && !text_ends(path, ".hdf5");
}

static void share_text(struct job *job, struct arena *arena, const char **text)
{
    *text = world_broadcast_text(job->world, arena, *text ? *text : "", 0);
}

struct weights *weights_open(struct job *job, const char *path, const char *backbone, int image_size)
{
    const struct zoo_row *row = zoo_find(backbone);
    agree(job->world, row && row->build, EXIT_BAD_CONFIG, "backbone: \"%s\" cannot be built\nthis version has %s",
          backbone, zoo_built(job->run));
    struct weights *w = arena_array(job->run, struct weights, 1);
    w->arena = arena_create("weights", (size_t)1 << 20);
    w->path = path;
    w->list = parameters_of(w->arena, backbone, image_size, PUBLISHED_CLASSES, &w->count);
    w->sources = arena_array(w->arena, struct weight_source, w->count);
    enum exit_code code = EXIT_DONE;
    const char *problem = job->world->rank == 0 ? read_weights(w, backbone, image_size, &code) : NULL;
    agree(job->world, !problem, code, "%s", problem ? problem : "");
    share_text(job, w->arena, &w->format);
    share_text(job, w->arena, &w->naming);
    share_text(job, w->arena, &w->sha256);
    share_text(job, w->arena, &w->known);
    world_broadcast(job->world, &w->classes, sizeof w->classes, 0);
    if (job->world->rank != 0)
        w->list = parameters_of(w->arena, backbone, image_size, w->classes, &w->count);
    return w;
}

/* The parts of a parameter, one behind the other. */
static void join_parts(float *out, const struct weight_source *source)
{
    for (int part = 0; part < source->count; part++) {
        tensor_floats(out, source->parts[part]);
        out += source->parts[part]->count;
    }
}

/* Position embeddings at the image size of this run. */
static void take_positions(const struct weights *weights, int parameter, float *out)
{
    const struct parameter *p = &weights->list[parameter];
    const struct tensor *t = weights->sources[parameter].parts[0];
    float *found = arena_array(weights->arena, float, t->count);
    join_parts(found, &weights->sources[parameter]);
    positions_resize(out, grid_side(p->dims[1]), found, grid_side(t->dims[1]), (int)p->dims[2]);
    log_info("weights: position embeddings interpolated from %lld to %lld tokens", (long long)t->dims[1],
             (long long)p->dims[1]);
}

void weights_take(struct job *job, const struct weights *weights, int parameter, float *out)
{
    const struct parameter *p = &weights->list[parameter];
    bool fine = true;
    if (job->world->rank == 0) {
        const struct tensor *first = weights->sources[parameter].parts[0];
        if (is_other_grid(p, first->dims, first->rank) && first->count != p->count)
            take_positions(weights, parameter, out);
        else
            join_parts(out, &weights->sources[parameter]);
        for (int64_t i = 0; i < p->count; i++)
            fine = fine && isfinite(out[i]);
    }
    agree(job->world, fine, EXIT_BAD_DATA, "%s: %s: a value that is not finite", weights->path, p->name);
    world_broadcast(job->world, out, (size_t)p->count * sizeof(float), 0);
}

void weights_close(struct weights *weights)
{
    arena_destroy(weights->arena);
}
