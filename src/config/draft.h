/* A configuration being put together: values arrive from file, environment and
 * flags in rising precedence; the first error is kept. Inside src/config. */
#ifndef CONFIG_DRAFT_H
#define CONFIG_DRAFT_H

#include <stddef.h>

#include "base/error.h"
#include "config/key.h"

struct draft {
    struct arena *arena;
    struct value *values; /* [keys] */
    const char *error;    /* NULL: none so far */
    enum exit_code code;
};

/* All keys at their defaults. */
struct draft draft_start(struct arena *arena);
/* Checks and keeps one value. `place` stands in front of a message ("run.yml:12:5"), `origin` in used.yml. */
bool draft_set(struct draft *draft, const struct key *key, const char *text, const char *place, const char *origin);
/* Keeps the first error. */
void draft_fail(struct draft *draft, enum exit_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void draft_unknown(struct draft *draft, const char *place, const char *path);

/* The values of one YAML text (libyaml). `name` is the file's name in messages. */
void draft_read_yaml(struct draft *draft, const char *name, const char *text, size_t length);

#endif
