/* A job's configuration: file, environment and flags are read and checked on
 * rank 0; the values travel as text and every rank fills its structs alike. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "config/draft.h"
#include "config/statistics.h"
#include "config/sweep.h"
#include "dist/world.h"

enum { FILE_LIMIT = 4 << 20 };

/* The name of a file in messages: control characters are not printed. */
static char *printable(struct arena *arena, const char *path)
{
    return text_printable(arena_strdup(arena, path), "");
}

static void read_file(struct draft *draft, const char *path)
{
    struct stat st;
    char *name = printable(draft->arena, path);
    if (stat(path, &st) != 0)
        draft_fail(draft, EXIT_NO_INPUT, "%s: %s\nexpected a configuration file; `cfn config > %s` writes one to edit",
                   name, strerror(errno), name);
    else if (S_ISDIR(st.st_mode))
        draft_fail(draft, EXIT_NO_INPUT, "%s: is a directory, expected a configuration file", name);
    else if (!S_ISREG(st.st_mode))
        draft_fail(draft, EXIT_NO_INPUT, "%s: is not a regular file, expected a configuration file", name);
    else if (st.st_size > FILE_LIMIT)
        draft_fail(draft, EXIT_BAD_CONFIG, "%s: %lld bytes, a configuration has at most %d", name,
                   (long long)st.st_size, FILE_LIMIT);
    if (draft->error)
        return;
    size_t length;
    const char *why = "unreadable";
    const char *text = file_read(draft->arena, path, FILE_LIMIT, &length, &why);
    if (text)
        draft_read_yaml(draft, name, text, length);
    else
        draft_fail(draft, EXIT_NO_INPUT, "%s: %s", name, why);
}

static void read_environment(struct draft *draft)
{
    size_t count;
    const struct key *keys = config_keys(&count);
    const char **names = arena_array(draft->arena, const char *, count);
    for (size_t k = 0; k < count; k++) {
        names[k] = key_variable(draft->arena, &keys[k]);
        const char *text = getenv(names[k]);
        char *place = arena_printf(draft->arena, "environment %s", names[k]);
        if (text && !draft_set(draft, &keys[k], text, place, place))
            return;
    }
    /* A misspelt variable is likely a mistake, but the environment belongs to others too. */
    for (char **e = environ; *e; e++) {
        char *name = arena_strdup(draft->arena, *e);
        *strchrnul(name, '=') = '\0';
        bool known = !text_starts(name, "CFN_") || text_starts(name, "CFN_TEST_") || strcmp(name, "CFN_ISA") == 0;
        for (size_t k = 0; k < count && !known; k++)
            known = strcmp(names[k], name) == 0;
        const char *near = known ? NULL : text_suggest(name, names, count);
        if (near)
            log_warn("environment %s is not a setting (did you mean %s?)", name, near);
    }
}

static void read_settings(struct draft *draft, const struct setting *settings, int count)
{
    size_t keys_count;
    const struct key *keys = config_keys(&keys_count);
    for (int s = 0; s < count && !draft->error; s++) {
        const struct setting *set = &settings[s];
        char *place = printable(draft->arena, set->origin);
        int k = key_find(set->key);
        if (k < 0)
            draft_unknown(draft, place, printable(draft->arena, set->key));
        else
            draft_set(draft, &keys[k], set->value, place, arena_printf(draft->arena, "flag %s", place));
    }
}

static void check_statistics(struct draft *draft, const char *key, const char *text, bool is_deviation)
{
    float values[3];
    if (!statistics_read(values, text, is_deviation))
        draft_fail(draft, EXIT_BAD_CONFIG,
                   "%s: expected clip, imagenet, grey, or one or three numbers %s, found \"%s\" (%s)", key,
                   is_deviation ? "above 0" : "from 0 to 1", text, draft->values[key_find(key)].origin);
}

/* Conditions between keys. */
static void check_together(struct draft *draft)
{
    struct config c = { 0 };
    size_t count;
    const struct key *keys = config_keys(&count);
    for (size_t k = 0; k < count; k++)
        key_parse(draft->arena, &keys[k], draft->values[k].text, &c);
    assert(c.train.shards > 0); /* by its row */
    if (c.train.batch % c.train.shards != 0)
        draft_fail(draft, EXIT_BAD_CONFIG, "train.batch: expected a multiple of train.shards (%d), found %d (%s)",
                   c.train.shards, c.train.batch, draft->values[key_find("train.batch")].origin);
    if (c.pack.val_fraction + c.pack.test_fraction >= 1)
        draft_fail(draft, EXIT_BAD_CONFIG,
                   "pack.test_fraction: expected less than 1 together with pack.val_fraction, found %g + %g",
                   c.pack.test_fraction, c.pack.val_fraction);
    if (c.image.resize > 0 && c.image.resize < c.image.size)
        draft_fail(draft, EXIT_BAD_CONFIG, "image.resize: expected 0 or at least image.size (%d), found %d (%s)",
                   c.image.size, c.image.resize, draft->values[key_find("image.resize")].origin);
    check_statistics(draft, "image.mean", c.image.mean, false);
    check_statistics(draft, "image.std", c.image.std, true);
    struct sweep_point *points = arena_array(draft->arena, struct sweep_point, SWEEP_POINTS);
    const char *error;
    if (sweep_points(points, draft->arena, &c, &error) == 0)
        draft_fail(draft, EXIT_BAD_CONFIG, "sae.sweep: %s (%s)", error, draft->values[key_find("sae.sweep")].origin);
}

static struct draft read_all(struct arena *arena, const char *path, const struct setting *settings, int count)
{
    struct draft draft = draft_start(arena);
    if (path)
        read_file(&draft, path);
    if (!draft.error)
        read_environment(&draft);
    if (!draft.error)
        read_settings(&draft, settings, count);
    if (!draft.error)
        check_together(&draft);
    return draft;
}

/* "text \t origin \n" per key: values hold no control characters. */
static char *pack_values(struct arena *arena, const struct value *values, size_t count)
{
    struct text out = text_new(arena);
    for (size_t k = 0; k < count; k++)
        text_add(&out, "%s\t%s\n", values[k].text, values[k].origin);
    return out.data;
}

static struct config *unpack_values(struct arena *arena, char *packed)
{
    size_t count;
    const struct key *keys = config_keys(&count);
    struct value *values = arena_array(arena, struct value, count);
    struct config *config = arena_array(arena, struct config, 1);
    for (size_t k = 0; k < count; k++) {
        char *tab = strchr(packed, '\t'), *end = tab ? strchr(tab, '\n') : NULL;
        require(end, EXIT_INTERNAL, "configuration: cut off at %s", keys[k].path);
        *tab = *end = '\0';
        values[k].text = key_parse(arena, &keys[k], packed, config);
        values[k].origin = tab + 1;
        require(values[k].text, EXIT_INTERNAL, "configuration: %s does not read back", keys[k].path);
        packed = end + 1;
    }
    config->values = values;
    return config;
}

const struct config *config_load(struct world *world, struct arena *arena, const char *path,
                                 const struct setting *settings, int count)
{
    size_t keys;
    config_keys(&keys);
    struct draft draft = { 0 };
    char *packed = NULL;
    if (world->rank == 0) {
        draft = read_all(arena, path, settings, count);
        packed = draft.error ? NULL : pack_values(arena, draft.values, keys);
    }
    agree(world, !draft.error, draft.code, "%s", draft.error ? draft.error : "");
    return unpack_values(arena, world_broadcast_text(world, arena, packed, 0));
}
