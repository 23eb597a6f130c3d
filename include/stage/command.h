/* The table of commands, and the command line as it was read. Adding a command
 * is adding a row (src/stage/command.c), its function and a test. */
#ifndef STAGE_COMMAND_H
#define STAGE_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

struct arena;
struct job;

enum command_flag {
    COMMAND_STAGE = 1,   /* a stage of `cfn run`: takes a configuration, locks and logs in its directory */
    COMMAND_DATA = 2,    /* its directory is the one of the data set: the corpus is shared by all runs on it */
    COMMAND_RUN = 4,     /* all stages: takes a configuration */
    COMMAND_LONE = 8,    /* needs neither MPI nor a configuration */
    COMMAND_NETWORK = 16 /* trains or runs the backbone: nothing to do where representations were imported */
};

struct command {
    const char *name;
    const char *doc; /* one line */
    int (*function)(struct job *job);
    const char *arguments; /* of helpers: "FILE" */
    const char *switches;  /* own flags of a helper, passed on in argv: "--markdown"; NULL: none */
    const char *own_flags; /* with a value: "--batch=train.batch --seconds=": short for a key, or passed on in argv */
    const char *usage;     /* of helpers: lines of help on their own flags, where none is short for a key; NULL: none */
    const char *outputs;   /* of stages, below its directory, separated by blanks; the first one is written last */
    const char *inputs;    /* of stages: files of the run it reads, separated by blanks */
    const char *keys;      /* of stages: sections and single keys its outputs depend on, separated by blanks */
    unsigned flags;
};

/* Borrowed; stages first, in the order of `cfn run`. */
const struct command *command_table(size_t *count);
const struct command *command_find(const char *name);
/* Word `index` of a list separated by blanks, or NULL; arena. */
char *command_word(struct arena *arena, const char *list, int index);
/* "key=value" lines of everything the outputs of a stage depend on; arena. */
char *command_settings(struct arena *arena, const struct command *command, const struct config *config);

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
