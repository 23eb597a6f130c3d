/* The directory a stage works in: made, locked, with a log and the
 * configuration in use; and what is recorded about every output. */
#ifndef STAGE_HOME_H
#define STAGE_HOME_H

#include <stdbool.h>

#include "stage/command.h"
#include "stage/stage.h"

/* <result_dir>/<data> and the run directory below it, from the configuration. A backbone that is no network ends all
 * ranks with EXIT_BAD_CONFIG and a suggestion, unless `command` runs none and representations were imported under that
 * name. Texts are owned by the arena. Collective. */
void home_paths(struct job *job, const struct command *command, struct arena *arena);
/* The same whatever the backbone is: a network by its full name, or an encoder of one's own. Local. */
void home_paths_of(struct job *job, struct arena *arena);
/* Are there representations at this path that `cfn import` wrote? *encoder: what computed them. Collective. */
bool home_imported(struct job *job, const char *path, const char **encoder);
/* Makes `command` the job's stage: job->stage, home, started. Local. */
void home_set(struct job *job, const struct command *command);
/* Makes job->home and locks it for this job; another job that holds it ends this one with EXIT_CANNOT_CREATE, or is
 * waited for with `wait`. Collective. Nothing happens in a dry run. */
void home_lock(struct job *job, bool wait);
void home_unlock(struct job *job);
/* Opens log.txt and writes used.yml in job->home. Collective. */
void home_describe(struct job *job);
/* Does this file exist? Rank 0 looks. Collective. */
bool home_has(struct job *job, const char *path);

/* In a dry run: names the inputs, or ends with EXIT_NO_INPUT when one is missing, and with EXIT_CANNOT_CREATE when the
 * output exists and neither force nor resume was given. Collective. */
void job_check(struct job *job, const struct command *command);

/* How an output was made, as (name, value) pairs in the order of `/run`; values owned by job->run. Collective. */
enum { RECORD_NOTES = 24 };
struct record {
    int count;
    const char *name[RECORD_NOTES], *value[RECORD_NOTES];
};
struct record record_make(struct job *job, const char *stage, const char *const *inputs, int count);
/* The same for an output that is not HDF5: written beside it as <output>.run. Collective. */
void record_write(struct job *job, const char *output, const char *const *inputs, int count);
/* Is `output` there, and made from today's settings and inputs? *why (job->run) says why not. Collective. */
bool record_is_valid(struct job *job, const struct command *command, const char **why);
/* The first input of an HDF5 output that has changed since, or NULL. Collective. */
const char *record_changed_input(struct job *job, const char *output);

/* Was the first output of this stage made by `cfn import`? Such a file is the user's. Collective. */
bool record_is_imported(struct job *job, const struct command *command);

#endif
