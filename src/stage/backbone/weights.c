/* Weights from elsewhere: reads the file on rank 0, checks who published it, and hands the values of each parameter to
 * all ranks. Formats: store/tensors.h; which tensor is which parameter: stage/backbone/weights_match.h. */
#include "stage/backbone/weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nn/positions.h"
#include "stage/backbone/weights_match.h"

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

/* Fills `w` from the file; returns what is wrong, or NULL. */
static const char *read_weights(struct weights *w, const char *backbone, int image_size, const char *prefix,
                                enum exit_code *code)
{
    size_t size;
    const char *why = NULL;
    char *sha256 = arena_array(w->arena, char, 65);
    const char *bytes = file_read(w->arena, w->path, 0, &size, &why);
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
    w->format = tensors->format;
    return weights_match(w, tensors, backbone, image_size, prefix);
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

struct weights *weights_open(struct job *job, const char *path, const char *backbone, int image_size,
                             const char *prefix)
{
    const struct zoo_row *row = zoo_find(backbone);
    agree(job->world, row, EXIT_BAD_CONFIG, "backbone: \"%s\" cannot be built\nthis version has %s", backbone,
          zoo_built(job->run));
    struct weights *w = arena_array(job->run, struct weights, 1);
    w->arena = arena_create("weights", (size_t)1 << 20);
    w->path = job_input_file(job, path);
    w->list = weights_parameters(w->arena, backbone, image_size, 0, &w->count);
    w->sources = arena_array(w->arena, struct weight_source, w->count);
    enum exit_code code = EXIT_DONE;
    const char *problem = job->world->rank == 0 ? read_weights(w, backbone, image_size, prefix, &code) : NULL;
    agree(job->world, !problem, code, "%s", problem ? problem : "");
    share_text(job, w->arena, &w->format);
    share_text(job, w->arena, &w->naming);
    share_text(job, w->arena, &w->sha256);
    share_text(job, w->arena, &w->known);
    share_text(job, w->arena, &w->notes);
    world_broadcast(job->world, &w->classes, sizeof w->classes, 0);
    if (job->world->rank != 0)
        w->list = weights_parameters(w->arena, backbone, image_size, w->classes, &w->count);
    return w;
}

void weights_say(const struct weights *weights, const char *who)
{
    for (const char *at = weights->notes; *at; at += strcspn(at, "\n") + 1)
        log_info("%s: %.*s", who, (int)strcspn(at, "\n"), at);
}

bool weights_has(const struct weights *weights, int parameter)
{
    const struct parameter *list = weights->list;
    return weights->classes > 0 || !naming_is_head(list[parameter].name, list[weights->count - 1].name);
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
    positions_resize(out, weights_grid_side(p->dims[1]), found, weights_grid_side(t->dims[1]), (int)p->dims[2]);
    log_info("weights: position embeddings interpolated from %lld to %lld tokens", (long long)t->dims[1],
             (long long)p->dims[1]);
}

/* On rank 0: the values of one parameter as this backbone has them. */
static void take(const struct weights *weights, int parameter, float *out)
{
    const struct parameter *p = &weights->list[parameter];
    const struct weight_source *s = &weights->sources[parameter];
    if (s->zero) {
        memset(out, 0, (size_t)p->count * sizeof *out);
    } else if (s->spread) {
        int64_t window = p->dims[2] * p->dims[3];
        float *grey = arena_array(weights->arena, float, p->count / 3);
        join_parts(grey, s);
        for (int64_t i = 0; i < p->count; i++)
            out[i] = grey[i / (3 * window) * window + i % window] / 3.0f;
    } else if (weights_other_grid(p, s->parts[0]->dims, s->parts[0]->rank) && s->parts[0]->count != p->count) {
        take_positions(weights, parameter, out);
    } else {
        join_parts(out, s);
    }
}

void weights_take(struct job *job, const struct weights *weights, int parameter, float *out)
{
    const struct parameter *p = &weights->list[parameter];
    bool fine = true;
    if (job->world->rank == 0) {
        take(weights, parameter, out);
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
