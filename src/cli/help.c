/* What `--help` and `--version` say. Runs without MPI. */
#include <string.h>

#include "base/cpu.h"
#include "base/version.h"
#include "cli/commands.h"
#include "config/key.h"
#include "image/manifest.h"
#include "math/blas.h"
#include "nn/network.h"
#include "stage/stage.h"

static const char flags[] = "Flags\n"
                            "  --set KEY=VALUE    one value of the configuration (repeatable): --set train.lr=1e-3\n"
                            "  --data NAME        ham, fundus, mimic, or a name of your own            (data)\n"
                            "  --backbone NAME    resnet18, ... or densenet, resnet, convnext, vit     (backbone)\n"
                            "  --trial N          number of the repetition                             (trial)\n"
                            "  --root DIR         folder with the images                               (root)\n"
                            "  --result_dir DIR   results; also --save_dir, --ckpt_dir                 (result_dir)\n"
                            "  --epoch N          epochs of training                                   (train.epochs)\n"
                            "  --num_concept N    concepts chosen                                      (select.count)\n"
                            "  --max-hours H      stop in time, with a checkpoint and exit code 75     (max_hours)\n"
                            "  --force            replace what exists          --resume   go on, keep what is whole\n"
                            "  --dry-run          check everything, say what would be done, write nothing\n"
                            "  --json             helpers: answer in JSON      --help     --version\n";

static void add_table(struct text *out, unsigned mask, bool want)
{
    size_t count;
    const struct command *commands = command_table(&count);
    for (size_t c = 0; c < count; c++)
        if (((commands[c].flags & mask) != 0) == want)
            text_add(out, "  %-12s %s\n", commands[c].name, commands[c].doc);
}

static char *help_all(struct arena *arena)
{
    struct text out = text_new(arena);
    text_add(&out, "cfn - Concepts from Neurons: interpretable image classifiers from opaque ones\n\n"
                   "  cfn COMMAND [CONFIG.yml] [FLAGS]         alone, under mpirun -n P, or under srun --mpi=pmix\n\n"
                   "Stages\n");
    add_table(&out, COMMAND_STAGE | COMMAND_RUN, true);
    text_add(&out, "\nHelpers\n");
    add_table(&out, COMMAND_STAGE | COMMAND_RUN, false);
    text_add(&out, "\n%s\n", flags);
    text_add(&out,
             "Exit codes: 0 done, 64 command line, 65 bad data, 66 input missing, 70 internal, 73 cannot create,\n"
             "74 input/output, 75 stopped early with a checkpoint, 78 configuration.\n"
             "`cfn COMMAND --help` says more about one command, `cfn config` lists all keys.\n");
    return out.data;
}

/* What each word of pack.reader reads. */
static void add_readers(struct text *out)
{
    const char *name, *help;
    for (int k = 0; manifest_reader_help(k, &name, &help); k++)
        text_add(out, "    %-22s %s\n", name, help);
}

/* Keys a command's outputs depend on, with default and meaning. */
static void add_keys(struct text *out, const struct command *command)
{
    size_t count;
    const struct key *keys = config_keys(&count);
    const char *word;
    text_add(out, "\nKeys it depends on (default)\n");
    for (int w = 0; (word = command_word(out->arena, command->keys, w)); w++)
        for (size_t k = 0; k < count; k++)
            if (strcmp(keys[k].path, word) == 0 || (*word && key_in(&keys[k], word))) {
                text_add(out, "  %-24s %-17s %s\n", keys[k].path, *keys[k].fallback ? keys[k].fallback : "-",
                         keys[k].doc);
                if (strcmp(keys[k].path, "pack.reader") == 0)
                    add_readers(out);
            }
}

/* Flags short for a key, with its default and meaning. */
static void add_own_flags(struct text *out, const struct command *command)
{
    size_t count;
    const struct key *keys = config_keys(&count);
    char *word;
    text_add(out, "\nOwn flags%s\n", command->usage ? "" : " (default)");
    if (command->usage)
        text_add(out, "%s", command->usage);
    for (int w = 0; !command->usage && (word = command_word(out->arena, command->own_flags, w)); w++) {
        const char *path = strchr(word, '=') + 1, *fallback = "-", *doc = "seconds of each measurement";
        for (size_t k = 0; k < count; k++)
            if (strcmp(keys[k].path, path) == 0) {
                fallback = keys[k].fallback;
                doc = keys[k].doc;
            }
        text_add(out, "  %-24s %-17s %s\n", arena_printf(out->arena, "%.*s", (int)strcspn(word, "="), word), fallback,
                 doc);
    }
}

char *help_text(struct arena *arena, const struct command *command)
{
    if (!command)
        return help_all(arena);
    struct text out = text_new(arena);
    bool configured = command->flags & (COMMAND_STAGE | COMMAND_RUN);
    text_add(&out, "cfn %s: %s\n\n", command->name, command->doc);
    text_add(&out, "  cfn %s %s [FLAGS]\n", command->name,
             configured           ? "[CONFIG.yml]"
             : command->arguments ? command->arguments
                                  : "");
    if (command->outputs)
        text_add(&out, "\nWrites %s in %s\n", command->outputs,
                 command->flags & COMMAND_DATA ? "<result_dir>/<data>" : "<result_dir>/<data>/<backbone>/<trial>");
    if (command->keys)
        add_keys(&out, command);
    if (command->switches)
        text_add(&out, "\nOwn flags: %s\n", command->switches);
    if (command->own_flags)
        add_own_flags(&out, command);
    if (!(command->flags & COMMAND_LONE))
        text_add(&out, "\n%s", flags);
    return out.data;
}

char *version_text(struct arena *arena)
{
    struct text out = text_new(arena);
    blas_start(1);
    text_add(&out, "cfn %s (%s)\n", version_number(), version_revision());
    text_add(&out, "%s\n", version_compiler());
    char choice[256];
    text_add(&out, "%s (%s)\n", cpu_choice(choice, sizeof choice, cpu_built_for), cpu_name());
    text_add(&out, "%s\n", world_library());
    text_add(&out, "%s\n", store_library());
    text_add(&out, "%s, kernel %s\n", blas_library(), blas_kernel());
    text_add(&out, "%s, %s\n", network_library(), network_isa());
    return out.data;
}
