/* The table of keys: what the configuration knows about each of its values.
 * Parsing, messages, `cfn config`, docs/reference, used.yml and the copy in
 * every output come from it. A new key is a field in config/config.h and a row
 * in src/config/keys.c. */
#ifndef CONFIG_KEY_H
#define CONFIG_KEY_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

enum key_type {
    KEY_INT,   /* int */
    KEY_LONG,  /* int64_t */
    KEY_REAL,  /* double */
    KEY_BOOL,  /* bool */
    KEY_TEXT,  /* const char *, any text */
    KEY_NAME,  /* const char *, part of a path: letters, digits, . _ - */
    KEY_WORD,  /* const char *, one of `choices`: names in a table of the module that takes them */
    KEY_CHOICE /* an enum (config/choices.h), the place of the word in `choices` */
};
enum key_bound { KEY_AT_LEAST = 1, KEY_ABOVE = 2, KEY_AT_MOST = 4, KEY_BELOW = 8, KEY_POWER_OF_TWO = 16 };
enum { KEY_CHOICES = 12 };

struct key {
    const char *path; /* "train.lr"; top-level keys have no dot: "data" */
    enum key_type type;
    size_t offset;        /* in struct config */
    const char *fallback; /* default, as text */
    double low, high;
    unsigned bounds;                  /* enum key_bound */
    const char *choices[KEY_CHOICES]; /* NULL where a value of the enum has no word */
    const char *unit;                 /* NULL: none */
    const char *doc;                  /* one line */
    const char *flag;                 /* flag of the published scripts, "--epoch"; NULL: none */
    const char *flags;                /* more flags with the same meaning, separated by blanks; NULL: none */
    bool neutral; /* how a job runs, not what it computes: outputs made under another value stay valid */
};
struct section {
    const char *name; /* "" = top level */
    const char *doc;
};
/* Text and origin of one value; in table order in struct config. */
struct value {
    const char *text, *origin;
};

/* The tables; borrowed, never change. */
const struct key *config_keys(size_t *count);
const struct section *config_sections(size_t *count);

/* Row of `path`, or -1. */
int key_find(const char *path);
/* Is `key` in `section` ("" = top level)? */
bool key_in(const struct key *key, const char *section);
/* Last part of the path: "lr". */
const char *key_name(const struct key *key);
/* Is `flag` one of the key's flags? */
bool key_has_flag(const struct key *key, const char *flag);
/* Environment variable: "CFN_TRAIN_LR"; arena. */
char *key_variable(struct arena *arena, const struct key *key);
/* The nearest key path to `path` (another section's key of the same name, a flag of the published scripts, or the
 * nearest spelling), or NULL. */
const char *key_suggest(struct arena *arena, const char *path);

/* "a number > 0", "one of fp32, bf16": what a value must be; arena. */
char *key_expected(struct arena *arena, const struct key *key);
/* Checks `text` and stores its value in `config` (NULL: check only). Returns the canonical text (arena), or NULL. */
const char *key_parse(struct arena *arena, const struct key *key, const char *text, struct config *config);
/* The nearest choice to a wrong one, or NULL. */
const char *key_suggest_choice(const struct key *key, const char *text);
/* `text` as a YAML scalar, quoted where it must be; arena. */
char *key_quote(struct arena *arena, const char *text);

#endif
