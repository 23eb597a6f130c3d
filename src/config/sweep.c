/* Reads `sae.sweep`: groups of settings with several values each, into one configuration a training. */
#include "config/sweep.h"

#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "config/key.h"

enum { MOST_SETTINGS = 16 };

/* name=value,value,... of a group. */
struct setting_values {
    const struct key *key;
    const char *value[SWEEP_POINTS]; /* canonical */
    int count;
};

/* Keys that are about all trainings at once: the batches they share, and what is done with the chosen one. */
static bool is_shared(const char *name)
{
    static const char *const shared[] = { "batch", "epochs", "parallel", "shards", "stability", "top" };
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
        if (strcmp(name, shared[i]) == 0)
            return true;
    return text_starts(name, "sweep");
}

/* The next piece of *at up to one of `ends`, which is cut out; NULL at the end. Empty pieces are passed over. */
static char *next_piece(char **at, const char *ends)
{
    *at += strspn(*at, ends);
    char *piece = *at;
    *at += strcspn(*at, ends);
    if (**at)
        *(*at)++ = '\0';
    return *piece ? piece : NULL;
}

static const char *read_setting(struct setting_values *s, struct arena *arena, char *word)
{
    char *values = strchr(word, '='), *value;
    if (!values)
        return arena_printf(arena, "expected settings as in \"neurons=512,1024 k=32\", found \"%.40s\"", word);
    *values++ = '\0';
    const char *path = arena_printf(arena, "sae.%s", word);
    const int at = key_find(path);
    size_t keys;
    if (at < 0) {
        const char *near = key_suggest(arena, path);
        return arena_printf(arena, "%.40s is no setting%s%s%s", path, near ? " (did you mean " : "", near ? near : "",
                            near ? "?)" : "");
    }
    if (is_shared(word))
        return arena_printf(arena, "%s is the same for all trainings of a sweep: set it outside", path);
    s->key = &config_keys(&keys)[at];
    while ((value = next_piece(&values, ","))) {
        if (s->count == SWEEP_POINTS)
            return arena_printf(arena, "%s: expected at most %d values", path, SWEEP_POINTS);
        s->value[s->count] = key_parse(arena, s->key, value, NULL);
        if (!s->value[s->count++])
            return arena_printf(arena, "%s: expected %s, found \"%.40s\"", path, key_expected(arena, s->key), value);
    }
    return s->count > 0 ? NULL : arena_printf(arena, "%s: expected a value after =", path);
}

static const char *read_group(struct setting_values *s, int *count, struct arena *arena, char *group)
{
    char *word;
    const char *error = NULL;
    *count = 0;
    while (!error && (word = next_piece(&group, " \t"))) {
        if (*count == MOST_SETTINGS)
            return arena_printf(arena, "expected at most %d settings in a group", MOST_SETTINGS);
        s[*count] = (struct setting_values){ 0 };
        error = read_setting(&s[*count], arena, word);
        for (int i = 0; !error && i < *count; i++)
            if (s[i].key && s[i].key == s[*count].key)
                error = arena_printf(arena, "%s is given twice in a group", s[i].key->path);
        (*count)++;
    }
    return error;
}

/* Combination `which` of a group, the last setting changing fastest. */
static struct sweep_point point_of(const struct setting_values *s, int count, int64_t which, struct arena *arena,
                                   const struct config *config)
{
    struct config one = *config;
    int64_t after = 1;
    struct text text = text_new(arena);
    for (int i = 0; i < count; i++)
        after *= s[i].count;
    for (int i = 0; i < count; i++) {
        after /= s[i].count;
        const char *value = s[i].value[which / after % s[i].count];
        key_parse(arena, s[i].key, value, &one);
        text_add(&text, "%s%s=%s", i > 0 ? " " : "", key_name(s[i].key), value);
    }
    return (struct sweep_point){ text.data, one.sae };
}

static const char *add_group(struct sweep_point *points, int *count, struct arena *arena, const struct config *config,
                             char *group)
{
    struct setting_values s[MOST_SETTINGS];
    int settings;
    int64_t combinations = 1;
    const char *error = read_group(s, &settings, arena, group);
    if (error || settings == 0)
        return error;
    for (int i = 0; i < settings && combinations <= SWEEP_POINTS; i++)
        combinations *= s[i].count;
    if (*count + combinations > SWEEP_POINTS)
        return arena_printf(arena, "expected at most %d trainings", SWEEP_POINTS);
    for (int64_t which = 0; which < combinations; which++) {
        points[*count] = point_of(s, settings, which, arena, config);
        for (int i = 0; i < *count; i++)
            if (strcmp(points[i].text, points[*count].text) == 0)
                return arena_printf(arena, "the training \"%s\" is asked for twice", points[i].text);
        (*count)++;
    }
    return NULL;
}

int sweep_points(struct sweep_point *points, struct arena *arena, const struct config *config, const char **error)
{
    char *rest = arena_strdup(arena, config->sae.sweep), *group;
    int count = 0;
    *error = NULL;
    while (!*error && (group = next_piece(&rest, ";")))
        *error = add_group(points, &count, arena, config, group);
    if (*error)
        return 0;
    if (count == 0)
        points[count++] = (struct sweep_point){ "", config->sae };
    return count;
}
