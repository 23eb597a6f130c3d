/* cfn: finds the command, loads its configuration, runs it, returns its exit
 * code. Help and version answer without MPI. Compiled for the plainest processor,
 * so that one without the program's instructions gets as far as being told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/version.h"
#include "cli/commands.h"
#include "dist/alike.h"
#include "dist/deadline.h"
#include "job/home.h"
#include "math/blas.h"
#include "nn/network.h"
#include "stage/stage.h"

/* Rank and size as the launcher says, before MPI is started; alone: rank 0 of 1. */
static int from_launcher(const char *const *variables, int fallback)
{
    for (; *variables; variables++) {
        const char *text = getenv(*variables);
        if (text && *text)
            return (int)strtol(text, NULL, 10);
    }
    return fallback;
}

static int launcher_rank(void)
{
    static const char *const variables[] = { "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", NULL };
    return from_launcher(variables, 0);
}

static int launcher_size(void)
{
    static const char *const variables[] = { "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS", NULL };
    return from_launcher(variables, 1);
}

/* Says what is wrong with the command line, once, and ends every rank alike. */
static int end_usage(int argc, char **argv, const char *problem)
{
    if (launcher_size() <= 1) {
        error_print(0, "", problem);
        return EXIT_USAGE;
    }
    struct world *world = world_start(&argc, &argv);
    agree(world, false, EXIT_USAGE, "%s", problem);
    return world_end(world, EXIT_USAGE);
}

static int print_once(const char *text)
{
    if (launcher_rank() == 0)
        fputs(text, stdout);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_IO;
}

/* The command line as it can be typed again. */
static char *join_arguments(struct arena *arena, int argc, char **argv)
{
    struct text out = text_new(arena);
    for (int a = 0; a < argc; a++) {
        bool bare = *argv[a] && !strpbrk(argv[a], " \t\n\"'\\$`*?[]{}()<>|&;#~!");
        text_add(&out, "%s%s", a ? " " : "", bare ? "" : "'");
        for (const char *c = argv[a]; *c; c++)
            if (*c == '\'')
                text_add(&out, "'\\''");
            else
                text_add(&out, "%c", *c);
        text_add(&out, "%s", bare ? "" : "'");
    }
    return out.data;
}

/* oneDNN's kernels of the level that CFN_ISA names: the same on every processor that runs it. Before its first call;
 * those of BLIS are chosen in blas_start. */
static void hold_kernels(void)
{
    static const char *const isa[] = { [2] = "SSE41", [3] = "AVX2", [4] = "AVX512_CORE" };
    int level = cpu_asked();
    if (level > 0)
        setenv("ONEDNN_MAX_CPU_ISA", isa[level], 0);
}

/* Ends the job unless every rank runs the same variant and kernels. */
static void check_alike(struct job *job)
{
    char choice[128];
    snprintf(choice, sizeof choice, "%s, BLIS %s, oneDNN %s", cpu_built_for, blas_kernel(), network_isa());
    world_alike(job->world, &(struct alike){ .host = job->world->host,
                                             .processor = cpu_name(),
                                             .code = choice,
                                             .level = cpu_level(cpu_features()) });
}

/* Threads, kernels and the clock; the banner of jobs. */
static void start_engines(struct job *job, bool banner)
{
    const struct run_config *run = &job->config->run;
    int threads = world_threads(job->world, run->threads);
    blas_start(threads);
    check_alike(job);
    deadline_start(run->max_hours, *run->stop_file ? run->stop_file : NULL);
    if (!banner)
        return;
    log_info("cfn %s %s (%s)", job->command->name, version_number(), version_revision());
    world_banner(job->world);
    log_info("%s, kernel %s; %s, %s", blas_library(), blas_kernel(), network_library(), network_isa());
    if (strcmp(blas_kernel(), "generic") == 0)
        log_warn("BLIS runs its generic kernel, which is several times slower: this processor is unknown to it");
}

static int run_command(struct job *job, const struct command *command)
{
    bool configured = command->flags & (COMMAND_STAGE | COMMAND_RUN) && job->argc == 0; /* with words: looks only */
    if (configured) {
        home_lock(job, false);
        home_describe(job);
    }
    start_engines(job, configured);
    if (job->dry_run && command->flags & COMMAND_STAGE)
        job_check(job, command);
    int code = command->function(job);
    log_file(NULL);
    return code;
}

static int run_in_world(const struct options *o, struct arena *arena, int argc, char **argv)
{
    deadline_listen();
    char *line = join_arguments(arena, argc, argv);
    struct world *world = world_start(&argc, &argv);
    log_setup(world->rank, LOG_NORMAL);
    struct job job = { .world = world,
                       .run = arena_create("run", (size_t)1 << 20),
                       .scratch = arena_create("scratch", (size_t)1 << 20),
                       .config = config_load(world, arena, o->config, o->settings, o->setting_count),
                       .command_line = line,
                       .force = o->force,
                       .resume = o->resume,
                       .dry_run = o->dry_run,
                       .json = o->json,
                       .argc = o->argc,
                       .argv = o->argv };
    bool configured = o->command->flags & (COMMAND_STAGE | COMMAND_RUN);
    log_setup(world->rank, job.config->run.log_level);
    if (configured)
        home_paths(&job, o->command, arena);
    home_set(&job, o->command);
    int code = run_command(&job, o->command);
    arena_destroy(job.scratch);
    arena_destroy(job.run);
    return world_end(world, code);
}

static int run_alone(const struct options *o, struct arena *arena)
{
    if (launcher_rank() != 0)
        return EXIT_DONE;
    struct job job = { .run = arena, .scratch = arena, .json = o->json, .argc = o->argc, .argv = o->argv };
    return o->command->function(&job);
}

int main(int argc, char **argv)
{
    cpu_check(cpu_needed, cpu_built_for);
    hold_kernels();
    struct arena *arena = arena_create("command line", 65536);
    struct options options;
    const char *problem = options_read(&options, arena, argc, argv);
    int code;
    if (options.help)
        code = print_once(help_text(arena, options.command));
    else if (options.version)
        code = print_once(version_text(arena));
    else if (problem)
        code = end_usage(argc, argv, problem);
    else if (options.command->flags & COMMAND_LONE)
        code = run_alone(&options, arena);
    else
        code = run_in_world(&options, arena, argc, argv);
    arena_destroy(arena);
    return code;
}
