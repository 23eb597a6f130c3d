/* The table of commands: names, one-line docs, what each writes and what its
 * outputs depend on. */
#include "cli/commands.h"

#include <string.h>

#include "stage/stage.h"

/* clang-format off */
#define STAGE(text, doc_, function_) .name = text, .doc = doc_, .function = function_, .flags = COMMAND_STAGE
#define SHARED(text, doc_, function_, more) .name = text, .doc = doc_, .function = function_, \
    .flags = COMMAND_STAGE | COMMAND_DATA | (more)
#define PREPROCESS_KEYS "image.resize image.interpolation image.mean image.std"
#define SHAPE_FLAGS "--batch=train.batch --size=image.size --shards=train.shards --precision=train.precision"
#define NETWORK(text, doc_, function_) .name = text, .doc = doc_, .function = function_, \
    .flags = COMMAND_STAGE | COMMAND_NETWORK
#define HELPER(text, doc_, function_) .name = text, .doc = doc_, .function = function_

static const char import_usage[] =
    "  --out FILE          weights, arrays: where to write; FILE.h5 in this folder\n"
    "  --prefix P          weights: take the parameters below this prefix, where a file holds several sets\n"
    "  --as embeddings     FILE holds a representation a row (.npy, .safetensors, .h5): embeddings.h5 of the run that\n"
    "                      --data, --backbone (any name), --trial say; the stages from sae on go on from there\n"
    "  --labels TABLE.csv  what is known of the rows: id, label, split, group; else corpus.h5 of the data set\n"
    "  --ids FILE          ids of the rows of FILE (.npy, .csv, .txt), by which they are found there; else by order\n"
    "  --dataset NAME      which matrix of FILE, where there are several\n"
    "  --encoder NAME      what computed them, for the page and the records; else the backbone's name\n";

static const struct command commands[] = {
    { SHARED("pack", "decodes, checks, splits and labels an image folder: corpus.h5", stage_pack, 0),
      .outputs = "corpus.h5", .keys = "data root pack image.store image.short_side image.decode image.exif" },
    { SHARED("audit", "copies, leaks, shortcuts: what is wrong with a corpus", stage_audit, COMMAND_ASIDE),
      .outputs = "audit.json audit.html", .keys = "data image.size" },
    { NETWORK("train", "trains the backbone, data-parallel", stage_train),
      .outputs = "backbone.h5", .keys = "data backbone trial seed image.size " PREPROCESS_KEYS " train" },
    { NETWORK("embed", "representations of all images", stage_embed),
      .outputs = "embeddings.h5", .keys = "data backbone image.size " PREPROCESS_KEYS " embed" },
    { STAGE("sae", "trains the sparse autoencoder whose neurons become concepts", stage_sae),
      .outputs = "sae.h5", .keys = "trial seed sae" },
    { STAGE("name", "top images, contact sheets and names of neurons", stage_name),
      .outputs = "names.json sheets", .keys = "image.size " PREPROCESS_KEYS " name" },
    { STAGE("cav", "one concept activation vector per neuron", stage_cav),
      .outputs = "cav.h5", .keys = "trial seed cav" },
    { STAGE("select", "greedy submodular choice of concepts", stage_select),
      .outputs = "selection.h5", .keys = "trial seed select", .switches = "--compare" },
    { STAGE("decompose", "every representation as a sparse sum of concepts", stage_decompose),
      .outputs = "codes.h5", .keys = "decompose" },
    { STAGE("classify", "fits the concept-bottleneck head and measures it beside its controls", stage_classify),
      .outputs = "cbm.h5 metrics.json", .keys = "trial seed classify" },
    { STAGE("explain", "explains every prediction, and writes the report page", stage_explain),
      .outputs = "explanations.h5 report", .keys = "image.size " PREPROCESS_KEYS " explain" },
    { .name = "run", .doc = "all of the above in order; skips what is done and still valid", .function = stage_run,
      .flags = COMMAND_RUN },

    { HELPER("import", "weights of PyTorch, timm or Hugging Face, an array, or representations", stage_import),
      .arguments = "FILE --backbone NAME", .own_flags = "--as= --labels= --ids= --dataset= --encoder= --out= --prefix=",
      .usage = import_usage },
    { HELPER("export", "a dataset as .npy, or weights as .safetensors or .pth", stage_export),
      .arguments = "FILE [DATASET] OUT" },
    { HELPER("info", "what an HDF5 file of this program holds and how it was made", stage_info), .arguments = "FILE" },
    { HELPER("verify", "checks that a file is whole", stage_verify), .arguments = "FILE" },
    { HELPER("config", "a commented configuration file with all keys, or of one section", stage_config),
      .arguments = "[SECTION]", .switches = "--markdown", .flags = COMMAND_LONE },
    { HELPER("model", "layers, parameters, FLOPs and bytes of a backbone", stage_model), .arguments = "NAME",
      .own_flags = SHAPE_FLAGS },
    { HELPER("bench-model", "speed of a backbone on this machine, and where its time goes", stage_bench_model),
      .arguments = "NAME", .switches = "--kernels", .own_flags = SHAPE_FLAGS " --threads=threads --seconds=" },
    { HELPER("demo-corpus", "makes a small real corpus: slices of a brain with its atlas", stage_demo_corpus),
      .arguments = "DIR" },
    { HELPER("selftest", "checks this installation: sums over ranks, files, kernels, binding", stage_selftest),
      .arguments = "" },
};
/* clang-format on */

const struct command *command_table(size_t *count)
{
    *count = sizeof commands / sizeof *commands;
    return commands;
}

const struct command *command_find(const char *name)
{
    for (size_t c = 0; c < sizeof commands / sizeof *commands; c++)
        if (strcmp(commands[c].name, name) == 0)
            return &commands[c];
    return NULL;
}
