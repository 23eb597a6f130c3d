/* The directory a stage works in: made, locked, with a log and the
 * configuration in use. */
#ifndef JOB_HOME_H
#define JOB_HOME_H

#include <stdbool.h>

#include "job/command.h"
#include "job/job.h"

/* <result_dir>/<data> and the run directory below it, from the configuration. A backbone that is no network ends all
 * ranks with EXIT_BAD_CONFIG and a suggestion, unless `command` runs none and representations were imported under that
 * name. Texts are owned by the arena. Collective. */
void home_paths(struct job *job, const struct command *command, struct arena *arena);
/* The same whatever the backbone is: a network by its full name, or an encoder of one's own. Local. */
void home_paths_of(struct job *job, struct arena *arena);
/* Are there representations at this path that `cfn import` wrote? *encoder: what computed them. Collective. */
bool home_imported(struct job *job, const char *path, const char **encoder);
/* The same of an open file. Local. */
bool home_is_import(struct job *job, struct store *store, const char **encoder);
/* Makes `command` the job's stage: its home, when it started, no input opened yet. Local. */
void home_set(struct job *job, const struct command *command);
/* Makes job->home and locks it for this job; another job that holds it ends this one with EXIT_CANNOT_CREATE, or is
 * waited for with `wait`. Collective. Nothing happens in a dry run. */
void home_lock(struct job *job, bool wait);
void home_unlock(struct job *job);
/* Opens log.txt and writes used.yml in job->home. Collective. */
void home_describe(struct job *job);
/* Does this file exist? Rank 0 looks. Collective. */
bool home_has(struct job *job, const char *path);

/* In a dry run: ends with EXIT_CANNOT_CREATE when the output exists and neither force nor resume was given. Collective.
 */
void job_check(struct job *job, const struct command *command);

#endif
