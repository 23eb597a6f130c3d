/* The command line: command, configuration, flags. Knows nothing of values:
 * those are checked with the configuration. */
#include <string.h>

#include "cli/commands.h"
#include "config/key.h"
#include "stage/stage.h"

enum { OWN_FLAGS_MAX = 16 }; /* of one command */

struct reader {
    struct options *options;
    struct arena *arena;
    int argc, at;
    char **argv;
};

static bool *switch_of(struct options *o, const char *flag)
{
    if (strcmp(flag, "--help") == 0 || strcmp(flag, "-h") == 0)
        return &o->help;
    if (strcmp(flag, "--version") == 0)
        return &o->version;
    if (strcmp(flag, "--force") == 0)
        return &o->force;
    if (strcmp(flag, "--resume") == 0)
        return &o->resume;
    if (strcmp(flag, "--dry-run") == 0)
        return &o->dry_run;
    return strcmp(flag, "--json") == 0 ? &o->json : NULL;
}

static const char *unknown_flag(struct reader *r, const char *flag)
{
    static const char *const own[] = { "--set", "--help", "--version", "--force", "--resume", "--dry-run", "--json" };
    size_t keys_count, count = sizeof own / sizeof *own;
    const struct key *keys = config_keys(&keys_count);
    const char **words = arena_array(r->arena, const char *, count + keys_count + OWN_FLAGS_MAX);
    memcpy(words, own, sizeof own);
    for (size_t k = 0; k < keys_count; k++)
        if (keys[k].flag)
            words[count++] = keys[k].flag;
    char *word;
    for (int w = 0;
         w < OWN_FLAGS_MAX && r->options->command && (word = command_word(r->arena, r->options->command->own_flags, w));
         w++)
        words[count++] = arena_printf(r->arena, "%.*s", (int)strcspn(word, "="), word);
    const char *near = text_suggest(flag, words, count);
    return arena_printf(r->arena, "%s: unknown flag%s%s%s\n`cfn --help` lists the flags; any key is set by --set %s",
                        flag, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "",
                        key_suggest(r->arena, flag + 2) ? key_suggest(r->arena, flag + 2) : "section.key=value");
}

/* Two names of one directory in the published scripts must not differ here. */
static const char *add_setting(struct reader *r, const char *key, const char *value, const char *origin)
{
    struct options *o = r->options;
    for (int s = 0; s < o->setting_count && strcmp(key, "result_dir") == 0; s++) {
        const struct setting *other = &o->settings[s];
        if (strcmp(other->key, key) == 0 && strcmp(other->value, value) != 0 && strcmp(other->origin, origin) != 0)
            return arena_printf(r->arena,
                                "%s %s: differs from %s %s\nThey mean one directory here, result_dir: results, "
                                "representations and checkpoints of a run live together.",
                                origin, value, other->origin, other->value);
    }
    o->settings[o->setting_count++] = (struct setting){ key, value, origin };
    return NULL;
}

static const char *add_set(struct reader *r, const char *value)
{
    const char *equals = strchr(value, '=');
    if (!equals || equals == value)
        return arena_printf(r->arena, "--set %s: expected KEY=VALUE, as in --set train.lr=1e-3", value);
    return add_setting(r, arena_printf(r->arena, "%.*s", (int)(equals - value), value), equals + 1, "--set");
}

static bool is_own(const struct command *command, const char *flag)
{
    return command && command->switches && strcmp(command->switches, flag) == 0;
}

/* What a flag of this command alone stands for: a key, "" for an argument of the command, NULL when it has none such.
 */
static const char *own_key(const struct reader *r, const char *flag)
{
    const struct command *command = r->options->command;
    size_t length = strlen(flag);
    char *word;
    for (int w = 0; command && (word = command_word(r->arena, command->own_flags, w)); w++)
        if (strncmp(word, flag, length) == 0 && word[length] == '=')
            return word + length + 1;
    return NULL;
}

/* One flag at argv[at]: "--epoch 5" or "--epoch=5". */
static const char *read_flag(struct reader *r)
{
    struct options *o = r->options;
    char *flag = arena_strdup(r->arena, r->argv[r->at]);
    bool *is_on = switch_of(o, flag);
    if (is_on) {
        *is_on = true;
        return NULL;
    }
    if (is_own(o->command, flag)) {
        o->argv[o->argc++] = flag;
        return NULL;
    }
    const char *value = strchr(flag, '=') ? r->argv[r->at] + (strchr(flag, '=') - flag) + 1 : NULL;
    flag[strcspn(flag, "=")] = '\0';
    const char *own = own_key(r, flag), *key = own ? own : config_flag_key(flag);
    bool set = strcmp(flag, "--set") == 0;
    if (!key && !set)
        return unknown_flag(r, flag);
    if (!value && r->at + 1 < r->argc)
        value = r->argv[++r->at];
    if (!value)
        return arena_printf(r->arena, "%s: expected a value after it", flag);
    if (own && !*own) {
        o->argv[o->argc++] = flag;
        o->argv[o->argc++] = arena_strdup(r->arena, value);
        return NULL;
    }
    return set ? add_set(r, value) : add_setting(r, key, value, flag);
}

static const char *read_command(struct reader *r, const char *word)
{
    r->options->command = command_find(word);
    if (r->options->command)
        return NULL;
    size_t count;
    const struct command *commands = command_table(&count);
    const char **words = arena_array(r->arena, const char *, count);
    for (size_t c = 0; c < count; c++)
        words[c] = commands[c].name;
    const char *near = text_suggest(word, words, count);
    return arena_printf(r->arena, "%.80s: unknown command%s%s%s\n`cfn --help` lists the commands", word,
                        near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static const char *read_word(struct reader *r)
{
    struct options *o = r->options;
    char *word = r->argv[r->at];
    if (!o->command)
        return read_command(r, word);
    if (!(o->command->flags & (COMMAND_STAGE | COMMAND_RUN)) || o->argc > 0)
        o->argv[o->argc++] = word;
    else if (o->config)
        return arena_printf(r->arena, "%s: expected one configuration, found a second one after %s", word, o->config);
    else
        o->config = word;
    return NULL;
}

const char *options_read(struct options *options, struct arena *arena, int argc, char **argv)
{
    *options = (struct options){ 0 };
    options->settings = arena_array(arena, struct setting, argc + 1);
    options->argv = arena_array(arena, char *, 2 * argc + 1);
    struct reader r = { options, arena, argc, 1, argv };
    for (; r.at < argc; r.at++) {
        bool is_flag = argv[r.at][0] == '-' && argv[r.at][1] != '\0';
        const char *problem = is_flag ? read_flag(&r) : read_word(&r);
        if (problem)
            return problem;
    }
    if (!options->command && !options->help && !options->version)
        return "expected a command\n`cfn --help` lists the commands";
    if (options->force && options->resume)
        return "--force replaces what exists and --resume keeps it: give one of them";
    return NULL;
}
