/* A job: one run of one command, with its directory, its inputs and its outputs. */
#ifndef JOB_JOB_H
#define JOB_JOB_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "base/phase.h"
#include "base/text.h"
#include "config/config.h"
#include "dist/progress.h"
#include "dist/shard.h"
#include "dist/world.h"
#include "job/command.h"
#include "store/store.h"

/* Files a stage asked for. */
enum { JOB_FILES = 64 };
struct job_files {
    const char *name[JOB_FILES]; /* of this run ("sae.h5"), or with a slash a path outside it; borrowed */
    int count;
};

struct job {
    struct world *world;
    struct arena *run;     /* until the stage ends */
    struct arena *scratch; /* mark and release */
    const struct config *config;
    const char *command_line;
    const char *dir;               /* run directory: <result_dir>/<data>/<backbone>/<trial> */
    const char *data_dir;          /* <result_dir>/<data>: corpus.h5 and audit.json live here */
    const struct command *command; /* that runs now */
    const char *home;              /* its directory: data_dir for pack and audit, dir for the others */
    const char *started;           /* UTC */
    struct job_files inputs;       /* what it has opened so far: recorded with its output */
    struct job_files absent;       /* optional inputs that were not there: likewise */
    bool force, resume, dry_run, json;
    bool replace; /* set by `cfn run`: outputs that are no longer valid are replaced, checkpoints are used */
    int argc;     /* arguments of helper commands: what is left after flags */
    char **argv;
};

/* Key of every random draw: the seed and the trial. */
uint64_t job_seed(const struct job *job);
/* Lines for the identity of a checkpoint: the settings that the command's outputs depend on, and compiler, libraries
 * and kernels, on which bits depend (job->run). Keys that are `neutral` (config/key.h) may change on the way. */
const char *job_identity(struct job *job);
/* Is the next checkpoint due, with the last one written at `last` (timer_seconds)? Rank 0's clock decides. Collective.
 */
bool job_checkpoint_due(const struct job *job, double last);
/* Path of a file of this run ("sae.h5"); corpus.h5, audit.json and rejects.csv resolve to data_dir, other names to
 * the stage's directory. Arena run. */
const char *job_path(struct job *job, const char *name);
/* Opens an input of this run, or ends with EXIT_NO_INPUT naming the command that makes it. It is recorded. Collective.
 */
struct store *job_open(struct job *job, const char *name, const char *made_by);
/* Path of an input of this run, to open it by other means; the same. */
const char *job_input(struct job *job, const char *name, const char *made_by);
/* Path of an input outside the run, recorded too; `path` must live as long as the stage. Collective. */
const char *job_input_file(struct job *job, const char *path);
/* Is this optional input of the run there? If not, that is recorded: once it is there, the output is no longer valid.
 * Collective. */
bool job_has_input(struct job *job, const char *name);
/* Makes the run directory and checks that `name` may be written: it exists and neither force nor resume was
 * given -> EXIT_CANNOT_CREATE. Returns false when `resume` is set and the file is whole: nothing to do. With dry_run
 * it only says that the file would be written, and returns false. Collective. */
bool job_may_write(struct job *job, const char *name);
/* For --dry-run: the most memory a rank will have resident once all that the run arena gave out has been used, and
 * `more` bytes besides; of the largest rank. Collective. */
double job_memory(struct job *job, double more);
/* store_create; replaces with force, or in `cfn run`. */
struct store *job_create(struct job *job, const char *name, const struct layout *layout, size_t datasets,
                         const struct extent *sizes, size_t extents);
/* Provenance (/run) with the checksum of each input that was opened, then publish. Collective. */
void job_publish(struct job *job, struct store *store);
/* Starts the clock of the stage. Local. */
void job_start(const struct job *job);
/* Ends a stage: phase table, perf.json, gathered warnings. Returns EXIT_DONE. */
int job_done(struct job *job);

#endif
