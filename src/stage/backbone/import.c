/* cfn import FILE --backbone NAME [--out weights.h5] [--prefix P]: weights of another program under torchvision's
 * names, as train reads them; or a .npy array as one dataset. The file is read on rank 0 (stage/backbone/weights.h).
 * Representations (--as embeddings) are in import_embeddings.c. */
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "config/key.h"
#include "job/home.h"
#include "nn/weight_names.h"
#include "stage/backbone/backbone.h"
#include "stage/backbone/import_embeddings.h"
#include "stage/backbone/weights.h"
#include "stage/preprocess.h"
#include "store/tensors.h"

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* FILE, --prefix (NULL: none given) and --out; the default is FILE's name with .h5, in this folder. */
static const char *read_arguments(struct job *job, const char **out, const char **prefix)
{
    const char *file = NULL;
    *out = *prefix = NULL;
    int files = 0;
    for (int a = 0; a < job->argc; a++)
        if (strcmp(job->argv[a], "--out") == 0)
            *out = job->argv[++a];
        else if (strcmp(job->argv[a], "--prefix") == 0)
            *prefix = job->argv[++a];
        else if (files++ == 0)
            file = job->argv[a];
    agree(job->world, files == 1, EXIT_USAGE,
          "import: expected one file, found %d\nusage: cfn import FILE --backbone NAME [--out weights.h5] [--prefix P]",
          files);
    if (!*out) {
        const char *base = base_name(file), *dot = strrchr(base, '.');
        *out = arena_printf(job->run, "%.*s.h5", dot ? (int)(dot - base) : (int)strlen(base), base);
    }
    return file;
}

/* --backbone; of a published file its own. */
static const char *backbone_of(struct job *job, const char *file)
{
    const struct run_config *run = &job->config->run;
    const struct known_weights *known = known_weights_named(base_name(file));
    bool given = strcmp(job->config->values[key_find("backbone")].origin, "default") != 0;
    agree(job->world, given || known, EXIT_USAGE,
          "import: expected --backbone NAME: %s is not the name of a published file\nThere are %s.", base_name(file),
          zoo_built(job->run));
    const char *name = given ? zoo_canonical(run->backbone, run->data) : known->backbone;
    agree(job->world, name, EXIT_BAD_CONFIG, "backbone: \"%s\" is not a backbone\nThere are %s.", run->backbone,
          zoo_built(job->run));
    return name;
}

static struct store *create(struct job *job, const char *out, const struct layout *layout, int count)
{
    agree(job->world, job->force || !home_has(job, out), EXIT_CANNOT_CREATE, "%s: exists already\n--force replaces it.",
          out);
    const char *slash = strrchr(out, '/'), *why = "";
    bool fine = !slash || job->world->rank != 0 ||
                path_make_dirs(job->run, arena_printf(job->run, "%.*s", (int)(slash - out) + 1, out), &why);
    agree(job->world, fine, EXIT_CANNOT_CREATE, "%s: %s", out, why);
    return store_create(job->world, job->run, out, layout, (size_t)count, NULL, 0, job->force);
}

static void publish(struct job *job, struct store *store, const char *file, const char *format, const char *sha256)
{
    store_set_text(store, "/", "source", base_name(file));
    store_set_text(store, "/", "source_format", format);
    store_set_text(store, "/", "source_sha256", sha256);
    job_publish(job, store);
}

/* The parameters that the file has: all, or all but the head. */
static int present(const struct weights *w)
{
    int count = 0;
    while (count < w->count && weights_has(w, count)) /* the head is last */
        count++;
    return count;
}

static void write_weights(struct job *job, const struct weights *w, const char *backbone, const char *out)
{
    int count = present(w);
    struct layout *layout = arena_array(job->run, struct layout, count);
    backbone_layout(job->run, layout, w->list, count);
    struct store *store = create(job, out, layout, count);
    for (int i = 0; i < count; i++) {
        struct arena_mark mark = arena_mark(job->scratch);
        float *values = arena_take_raw(job->scratch, (size_t)w->list[i].count, sizeof(float));
        weights_take(job, w, i, values);
        store_write_all(store, layout[i].name, values);
        arena_release(job->scratch, mark);
    }
    store_set_text(store, "/", "backbone", backbone);
    store_set_i64(store, "/", "classes", w->classes);
    store_set_i64(store, "/", "image_size", job->config->image.size);
    struct preprocess view = preprocess_configured(job);
    preprocess_write(job, store, &view);
    store_set_text(store, "/", "source_names", w->naming);
    store_set_text(store, "/", "source_known", w->known);
    publish(job, store, w->path, w->format, w->sha256);
}

static int import_weights(struct job *job, const char *file, const char *out, const char *prefix)
{
    const char *backbone = backbone_of(job, file);
    struct weights *w = weights_open(job, file, backbone, job->config->image.size, prefix);
    log_info("import: %s: %s, names of %s, %s", file, w->format, w->naming,
             w->classes ? arena_printf(job->run, "%d classes", w->classes) : "no head");
    weights_say(w, "import");
    log_info("import: SHA-256 %s: %s", w->sha256,
             *w->known ? w->known : "not one of the published files this program knows");
    if (job->dry_run) {
        log_info("import: would write %s", out);
    } else {
        write_weights(job, w, backbone, out);
        log_info("import: %d parameters of %s in %s", present(w), backbone, out);
    }
    weights_close(w);
    return EXIT_DONE;
}

/* ---- arrays ---- */

/* As HDF5 keeps it: half precision becomes single, booleans and short integers the next that is kept. */
static enum store_type stored_as(enum tensor_type type)
{
    switch (type) {
    case TENSOR_F64:
        return STORE_F64;
    case TENSOR_I64:
        return STORE_I64;
    case TENSOR_I32:
        return STORE_I32;
    case TENSOR_I8:
        return STORE_I8;
    case TENSOR_U8:
    case TENSOR_BOOL:
        return STORE_U8;
    default:
        return STORE_F32; /* holds every 16-bit number, whole or real */
    }
}

/* A copy of the array without its data, for all ranks; on rank 0 read from the file. */
static const char *read_array(struct job *job, const char *file, struct tensor *array, char sha256[65],
                              enum exit_code *code)
{
    size_t size;
    const char *why = NULL;
    const char *bytes = file_read(job->run, file, 0, &size, &why);
    *code = bytes ? EXIT_BAD_DATA : EXIT_NO_INPUT;
    if (!bytes)
        return why;
    const struct tensors *tensors = tensors_read(job->run, file, (const uint8_t *)bytes, size, &why);
    if (!tensors)
        return why;
    if (strcmp(tensors->format, "NumPy array") != 0)
        return arena_printf(job->run, "%s: expected a .npy array, found a %s file", file, tensors->format);
    if (tensors->list[0].rank > 4 || tensors->list[0].count == 0)
        return arena_printf(job->run, "%s: %d extents and %lld values, expected at most 4 and at least one", file,
                            tensors->list[0].rank, (long long)tensors->list[0].count);
    sha256_hex(sha256, bytes, size);
    *array = tensors->list[0];
    return NULL;
}

static const char *dims_text(struct arena *arena, const struct tensor *array)
{
    struct text text = text_new(arena);
    for (int d = 0; d < array->rank; d++)
        text_add(&text, "%sd%d=%lld", d ? "," : "", d, (long long)array->dims[d]);
    return array->rank ? text.data : "d0=1";
}

static int import_array(struct job *job, const char *file, const char *out)
{
    struct tensor array = { 0 };
    char sha256[65] = "";
    enum exit_code code = EXIT_DONE;
    job_input_file(job, file);
    const char *problem = job->world->rank == 0 ? read_array(job, file, &array, sha256, &code) : NULL;
    agree(job->world, !problem, code, "%s", problem ? problem : "");
    const uint8_t *data = array.data;
    world_broadcast(job->world, &array, sizeof array, 0);
    world_broadcast(job->world, sha256, sizeof sha256, 0);
    array.data = data;
    enum store_type type = stored_as(array.type);
    bool as_is = type != STORE_F32 || array.type == TENSOR_F32;
    struct layout layout = {
        "/array", type, dims_text(job->run, &array), "1", arena_printf(job->run, "values of %s", base_name(file)),
        NULL,     false
    };
    if (job->dry_run) {
        log_info("import: would write %s", out);
        return EXIT_DONE;
    }
    struct store *store = create(job, out, &layout, 1);
    size_t width = as_is ? tensor_bytes(array.type) : sizeof(float);
    void *values = arena_take_raw(job->run, (size_t)array.count, width);
    if (job->world->rank == 0 && as_is)
        tensor_packed(values, &array);
    else if (job->world->rank == 0)
        tensor_floats(values, &array);
    world_broadcast(job->world, values, (size_t)array.count * width, 0);
    store_write_all(store, "/array", values);
    publish(job, store, file, "NumPy array", sha256);
    log_info("import: %lld values of %s in %s", (long long)array.count, file, out);
    return EXIT_DONE;
}

int stage_import(struct job *job)
{
    if (import_is_embeddings(job))
        return import_embeddings(job);
    const char *out, *prefix, *file = read_arguments(job, &out, &prefix);
    return text_ends(file, ".npy") ? import_array(job, file, out) : import_weights(job, file, out, prefix);
}
