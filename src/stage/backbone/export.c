/* cfn export FILE DATASET OUT.npy: a dataset for other programs, in blocks of rows.
 * cfn export WEIGHTS.h5 OUT.safetensors|OUT.pth: the parameters of a backbone as a state_dict. Rank 0 writes. */
#include <string.h>

#include "job/home.h"
#include "nn/graph.h"
#include "stage/stage.h"
#include "store/tensors_write.h"

enum { BLOCK_BYTES = 16 << 20 };

static void check_free(struct job *job, const char *out)
{
    agree(job->world, job->force || !home_has(job, out), EXIT_CANNOT_CREATE, "%s: exists already\n--force replaces it.",
          out);
}

static void finish(struct job *job, struct output *output)
{
    bool fine = job->world->rank != 0 || output_close(output);
    agree(job->world, fine, EXIT_IO, "%s", fine ? "" : output->why);
}

/* ---- a dataset ---- */

static const char *descr_of(struct arena *arena, enum store_type type, size_t width)
{
    static const char *const known[] = { [STORE_U8] = "|u1",  [STORE_I8] = "|i1",  [STORE_I32] = "<i4",
                                         [STORE_I64] = "<i8", [STORE_F32] = "<f4", [STORE_F64] = "<f8" };
    return type == STORE_TEXT ? arena_printf(arena, "|S%zu", width) : known[type];
}

static void export_dataset(struct job *job, struct store *store, const char *name, const char *out)
{
    int64_t dims[4] = { 0 };
    int rank = store_dims(store, name, dims);
    agree(job->world, rank > 0, EXIT_NO_INPUT, "%s: no dataset \"%s\"\n`cfn info %s` lists what it holds.",
          store_path(store), name, store_path(store));
    size_t width = store_width(store, name), row = width;
    for (int d = 1; d < rank; d++)
        row *= (size_t)dims[d];
    int64_t step = row > 0 && row < BLOCK_BYTES ? (int64_t)(BLOCK_BYTES / row) : 1;
    char *block = arena_take_raw(job->run, (size_t)step, row > 0 ? row : 1);
    bool writes = job->world->rank == 0;
    struct output output = { .arena = job->run, .path = out };
    if (writes) {
        output_open(&output);
        numpy_header(&output, descr_of(job->run, store_typeof(store, name), width), rank, dims);
    }
    for (int64_t first = 0; first < dims[0]; first += step) {
        int64_t count = dims[0] - first < step ? dims[0] - first : step;
        store_read_rows(store, name, first, writes ? count : 0, block);
        if (writes)
            output_add(&output, block, (size_t)count * row);
    }
    finish(job, &output);
    log_info("export: %s of %s in %s", name, store_path(store), out);
}

/* ---- weights ---- */

/* The parameters of the backbone the file is of; ends the job when it is not a file of weights. */
static const struct parameter *parameters_of(struct job *job, struct store *store, int *count)
{
    const char *backbone = "";
    int64_t classes = 0, size = 0;
    bool known = store_get_text(store, "/", "backbone", &backbone) && store_get_i64(store, "/", "classes", &classes) &&
                 store_get_i64(store, "/", "image_size", &size);
    const struct zoo_row *row = zoo_find(backbone);
    bool fine = known && row && classes >= 1 && classes <= 1 << 20 && size >= 32 && size <= 1 << 16;
    agree(job->world, fine, EXIT_BAD_DATA,
          "%s: expected weights of a backbone, found none\nThey come from cfn train or cfn import; for one dataset: "
          "cfn export FILE DATASET OUT.npy",
          store_path(store));
    struct graph *graph = graph_create(job->run, backbone);
    row->build(graph, (int)size, (int)classes);
    *count = graph->parameter_count;
    return graph->parameters;
}

static void set_shape(struct tensor *t, const char *name, enum tensor_type type, int rank, const int64_t *dims,
                      const void *data)
{
    *t = (struct tensor){ .name = name, .type = type, .rank = rank, .count = 1, .data = data };
    memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    for (int d = rank - 1; d >= 0; d--) {
        t->strides[d] = t->count;
        t->count *= dims[d];
    }
}

/* torch's state_dict: the parameters, and behind each running variance the steps it has seen. The file does not count
 * them, and torch uses them only without a momentum: 0. */
static int fill(struct job *job, struct store *store, struct tensor *list)
{
    static const int64_t none = 0;
    static const char variance[] = "running_var";
    int count, tensors = 0;
    const struct parameter *p = parameters_of(job, store, &count);
    for (int i = 0; i < count; i++) {
        const char *name = arena_printf(job->run, "/parameters/%s", p[i].name);
        store_expect(store, name, STORE_F32, p[i].rank, p[i].dims);
        float *values = arena_take_raw(job->run, (size_t)p[i].count, sizeof(float));
        store_read_all(store, name, values);
        set_shape(&list[tensors++], p[i].name, TENSOR_F32, p[i].rank, p[i].dims, values);
        if (text_ends(p[i].name, variance)) {
            int stem = (int)(strlen(p[i].name) - strlen(variance));
            const char *steps = arena_printf(job->run, "%.*snum_batches_tracked", stem, p[i].name);
            set_shape(&list[tensors++], steps, TENSOR_I64, 0, &none, &none);
        }
    }
    return tensors;
}

static void export_weights(struct job *job, struct store *store, const char *out)
{
    int parameters;
    parameters_of(job, store, &parameters);
    struct tensor *list = arena_array(job->run, struct tensor, 2 * parameters);
    int count = fill(job, store, list);
    struct output output = { .arena = job->run, .path = out };
    if (job->world->rank == 0) {
        output_open(&output);
        if (text_ends(out, ".pth"))
            torch_write(&output, list, count, "archive");
        else
            safetensors_write(&output, list, count, store_path(store));
    }
    finish(job, &output);
    log_info("export: %d parameters in %s", parameters, out);
}

int stage_export(struct job *job)
{
    const char *out = job->argc > 0 ? job->argv[job->argc - 1] : "";
    bool array = job->argc == 3 && text_ends(out, ".npy");
    bool weights = job->argc == 2 && (text_ends(out, ".safetensors") || text_ends(out, ".pth"));
    agree(job->world, array || weights, EXIT_USAGE,
          "export: expected a file, what to take of it, and where to put it\n"
          "usage: cfn export FILE DATASET OUT.npy\n       cfn export WEIGHTS.h5 OUT.safetensors|OUT.pth");
    struct store *store = store_open(job->world, job->run, job->argv[0]);
    check_free(job, out);
    if (job->dry_run)
        log_info("export: would write %s", out);
    else if (array)
        export_dataset(job, store, job->argv[1], out);
    else
        export_weights(job, store, out);
    store_close(store);
    return EXIT_DONE;
}
