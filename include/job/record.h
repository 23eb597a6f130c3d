/* What is recorded about every output: how it was made, and whether that is still true. */
#ifndef JOB_RECORD_H
#define JOB_RECORD_H

#include <stdbool.h>

#include "job/command.h"
#include "job/job.h"

/* How an output was made, as (name, value) pairs in the order of `/run`; values owned by job->run. Collective. */
enum { RECORD_NOTES = 24 };
struct record {
    int count;
    const char *name[RECORD_NOTES], *value[RECORD_NOTES];
};
struct record record_make(struct job *job);
/* The same for an output that is not HDF5: written beside it as <output>.run. Collective. */
void record_write(struct job *job, const char *output);
/* Is `output` there, and made from today's settings and inputs? *why (job->run) says why not. Collective. */
bool record_is_valid(struct job *job, const struct command *command, const char **why);
/* Names, a line each, of the inputs that the command's output was made from and of those it looked for in vain; NULL:
 * no record. Collective. */
const char *record_files(struct job *job, const struct command *command);
/* The first input of an HDF5 output that has changed since, or NULL; with `only` that one alone is looked at.
 * Collective. */
const char *record_changed_input(struct job *job, const char *output, const char *only);

/* Was the first output of this stage made by `cfn import`? Such a file is the user's. Collective. */
bool record_is_imported(struct job *job, const struct command *command);

#endif
