/* What the stages share: paths, opening inputs, making and publishing outputs. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/timer.h"
#include "base/usage.h"
#include "job/home.h"
#include "job/perf.h"
#include "job/record.h"

uint64_t job_seed(const struct job *job)
{
    return (uint64_t)job->config->run.seed + ((uint64_t)job->config->run.trial << 40);
}

bool job_checkpoint_due(const struct job *job, double last)
{
    bool due = timer_seconds() - last > 60.0 * job->config->run.checkpoint_minutes;
    world_broadcast(job->world, &due, sizeof due, 0);
    return due;
}

const char *job_path(struct job *job, const char *name)
{
    bool shared = strcmp(name, "corpus.h5") == 0 || strcmp(name, "audit.json") == 0 || strcmp(name, "rejects.csv") == 0;
    return path_join(job->run, shared ? job->data_dir : job->home ? job->home : job->dir, name);
}

/* Adds a name unless it is there. Returns whether it is new. */
static bool note(struct job_files *files, const char *name)
{
    for (int i = 0; i < files->count; i++)
        if (strcmp(files->name[i], name) == 0)
            return false;
    require(files->count < JOB_FILES, EXIT_INTERNAL, "%s: more than %d inputs", name, JOB_FILES);
    files->name[files->count++] = name;
    return true;
}

/* A dry run names what it reads. */
static const char *note_input(struct job *job, const char *name, const char *path)
{
    struct stat st;
    if (note(&job->inputs, name) && job->dry_run && job->world->rank == 0 && stat(path, &st) == 0)
        log_info("%s: reads %s (%s)", job->command->name, path, text_bytes(job->run, (double)st.st_size));
    return path;
}

const char *job_input(struct job *job, const char *name, const char *made_by)
{
    const char *path = job_path(job, name);
    agree(job->world, home_has(job, path), EXIT_NO_INPUT, "%s: no such file\n`cfn %s` makes it", path, made_by);
    return note_input(job, name, path);
}

const char *job_input_file(struct job *job, const char *path)
{
    return note_input(job, strchr(path, '/') ? path : arena_printf(job->run, "./%s", path), path);
}

bool job_has_input(struct job *job, const char *name)
{
    bool there = home_has(job, job_path(job, name));
    if (!there)
        note(&job->absent, name);
    return there;
}

struct store *job_open(struct job *job, const char *name, const char *made_by)
{
    return store_open(job->world, job->run, job_input(job, name, made_by));
}

/* Ends with EXIT_CANNOT_CREATE when an output exists and nobody said what to do about it. Returns whether it exists. */
static bool check_free(struct job *job, const char *path)
{
    bool there = home_has(job, path);
    agree(job->world, !there || job->force || job->resume || job->replace, EXIT_CANNOT_CREATE,
          "%s: exists already\n--force makes it again, --resume keeps it.", path);
    return there;
}

bool job_may_write(struct job *job, const char *name)
{
    const char *path = job_path(job, name);
    if (check_free(job, path) && job->resume) {
        log_info("%s: %s is there, nothing to do", job->command->name, path);
        return false;
    }
    if (job->dry_run) {
        log_info("%s: would write %s", job->command->name, path);
        return false;
    }
    const char *why = "";
    bool ok = job->world->rank != 0 || path_make_dirs(job->run, job->home, &why);
    agree(job->world, ok, EXIT_CANNOT_CREATE, "%s: %s", job->home, why);
    ok = job->world->rank != 0 || access(job->home, W_OK | X_OK) == 0;
    agree(job->world, ok, EXIT_CANNOT_CREATE, "%s: cannot write here: %s", job->home, strerror(errno));
    return true;
}

struct store *job_create(struct job *job, const char *name, const struct layout *layout, size_t datasets,
                         const struct extent *sizes, size_t extents)
{
    return store_create(job->world, job->run, job_path(job, name), layout, datasets, sizes, extents,
                        job->force || job->replace);
}

void job_publish(struct job *job, struct store *store)
{
    struct record r = record_make(job);
    for (int n = 0; n < r.count; n++)
        store_note(store, r.name[n], r.value[n]);
    store_publish(store);
}

void job_check(struct job *job, const struct command *command)
{
    const char *output = command_word(job->run, command->outputs, 0);
    if (output)
        check_free(job, job_path(job, output));
}

double job_memory(struct job *job, double more)
{
    double bytes = usage_bytes() + (double)arena_absent_bytes(job->run) + more;
    world_max_f64(job->world, &bytes, 1);
    return bytes;
}

/* Outputs that are not HDF5 carry their record beside them. */
static void record_plain_output(struct job *job)
{
    const struct command *command = job->command;
    const char *output = command ? command_word(job->run, command->outputs, 0) : NULL;
    if (!output || text_ends(output, ".h5") || !home_has(job, job_path(job, output)))
        return;
    record_write(job, output);
}

void job_start(const struct job *job)
{
    perf_start(job->command->name);
}

int job_done(struct job *job)
{
    if (!job->dry_run)
        record_plain_output(job);
    world_warnings(job->world);
    if (job->dry_run)
        return EXIT_DONE;
    perf_report(job->world, job->scratch, job_path(job, "perf.json"));
    return EXIT_DONE;
}
