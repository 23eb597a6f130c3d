/* The table of commands, and the command line as it was read. Adding a command
 * is adding a row (src/cli/commands.c), its function and a test. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

#include "job/command.h"

/* Commands that concern all others. */
int stage_run(struct job *job);
int stage_config(struct job *job);

/* Borrowed; stages first, in the order of `cfn run`. */
const struct command *command_table(size_t *count);
const struct command *command_find(const char *name);

/* Texts of `cfn --help` (NULL), `cfn STAGE --help`, `cfn --version`; arena. */
char *help_text(struct arena *arena, const struct command *command);
char *version_text(struct arena *arena);

struct options {
    const struct command *command; /* NULL: none given */
    const char *config;            /* path, NULL: none given */
    struct setting *settings;
    int setting_count;
    bool help, version, force, resume, dry_run, json;
    int argc; /* what is left for a helper */
    char **argv;
};
/* Reads the command line. Returns NULL, or what is wrong with it (arena). Local. */
const char *options_read(struct options *options, struct arena *arena, int argc, char **argv);

#endif
