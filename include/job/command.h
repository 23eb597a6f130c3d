/* What a command is: its name, what it writes, and what that depends on. The table of all commands is in cli/. */
#ifndef JOB_COMMAND_H
#define JOB_COMMAND_H

#include "config/config.h"

struct arena;
struct job;

enum command_flag {
    COMMAND_STAGE = 1,    /* a stage of `cfn run`: takes a configuration, locks and logs in its directory */
    COMMAND_DATA = 2,     /* its directory is the one of the data set: the corpus is shared by all runs on it */
    COMMAND_RUN = 4,      /* all stages: takes a configuration */
    COMMAND_LONE = 8,     /* needs neither MPI nor a configuration */
    COMMAND_NETWORK = 16, /* trains or runs the backbone: nothing to do where representations were imported */
    COMMAND_ASIDE = 32    /* no other stage waits for what it writes */
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
    const char *keys;      /* of stages: sections and single keys its outputs depend on, separated by blanks */
    unsigned flags;
};

/* Word `index` of a list separated by blanks, or NULL; arena. */
char *command_word(struct arena *arena, const char *list, int index);
/* "key=value" lines of everything the outputs of a stage depend on; arena. */
char *command_settings(struct arena *arena, const struct command *command, const struct config *config);

#endif
