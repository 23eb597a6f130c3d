/* The key table and a configuration as text: template, reference, used.yml,
 * single values. */
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "config/key.h"

static const char *quoted(struct arena *arena, const struct key *key, const char *text)
{
    bool words = key->type == KEY_TEXT || key->type == KEY_NAME || key->type == KEY_WORD || key->type == KEY_CHOICE;
    return words ? key_quote(arena, text) : text;
}

char *config_used(struct arena *arena, const struct config *config)
{
    size_t keys_count, sections_count;
    const struct key *keys = config_keys(&keys_count);
    const struct section *sections = config_sections(&sections_count);
    struct text out = text_new(arena);
    text_add(&out, "# Every value of this run and where it came from. Given to cfn as its configuration,\n"
                   "# this file repeats the run.\n");
    for (size_t s = 0; s < sections_count; s++) {
        if (*sections[s].name)
            text_add(&out, "%s:\n", sections[s].name);
        for (size_t k = 0; k < keys_count; k++)
            if (key_in(&keys[k], sections[s].name))
                text_add(&out, "%s%s: %s  # %s\n", *sections[s].name ? "  " : "", key_name(&keys[k]),
                         quoted(arena, &keys[k], config->values[k].text), config->values[k].origin);
    }
    return out.data;
}

/* "an integer from 1 to 100000, in epochs; flag --epoch" */
static char *about(struct arena *arena, const struct key *key)
{
    struct text out = text_new(arena);
    text_add(&out, "%s", key_expected(arena, key));
    if (key->unit)
        text_add(&out, ", in %s", key->unit);
    if (key->flag)
        text_add(&out, "; flag %s", key->flag);
    if (key->flags)
        text_add(&out, " %s", key->flags);
    return out.data;
}

char *config_template(struct arena *arena, const char *section)
{
    size_t keys_count, sections_count;
    const struct key *keys = config_keys(&keys_count);
    const struct section *sections = config_sections(&sections_count);
    struct text out = text_new(arena);
    for (size_t s = 0; s < sections_count; s++) {
        const char *name = sections[s].name;
        if (section && strcmp(section, name) != 0)
            continue;
        const char *indent = *name ? "  " : "";
        text_add(&out, "%s# %s\n", out.length ? "\n" : "", sections[s].doc);
        if (*name)
            text_add(&out, "%s:\n", name);
        for (size_t k = 0; k < keys_count; k++) {
            if (!key_in(&keys[k], name))
                continue;
            text_add(&out, "%s# %s\n%s# %s\n", indent, keys[k].doc, indent, about(arena, &keys[k]));
            text_add(&out, "%s%s: %s\n", indent, key_name(&keys[k]), quoted(arena, &keys[k], keys[k].fallback));
        }
    }
    return out.data;
}

static void add_cell(struct text *out, const char *text)
{
    for (const char *c = text; *c; c++)
        text_add(out, "%s%c", *c == '|' || *c == '<' ? "\\" : "", *c);
}

static void reference_section(struct text *out, const struct section *section)
{
    size_t keys_count;
    const struct key *keys = config_keys(&keys_count);
    struct arena *arena = out->arena;
    text_add(out, "\n## %s\n\n%s\n\n", *section->name ? section->name : "Top level", section->doc);
    text_add(out, "| key | default | takes | meaning |\n| --- | --- | --- | --- |\n");
    for (size_t k = 0; k < keys_count; k++) {
        if (!key_in(&keys[k], section->name))
            continue;
        const char *fallback = keys[k].fallback;
        text_add(out, "| `%s` | %s%s%s | ", keys[k].path, *fallback ? "`" : "", *fallback ? fallback : "empty",
                 *fallback ? "`" : "");
        add_cell(out, about(arena, &keys[k]));
        text_add(out, " | ");
        add_cell(out, keys[k].doc);
        text_add(out, " |\n");
    }
}

char *config_reference(struct arena *arena, const char *section)
{
    size_t count;
    const struct section *sections = config_sections(&count);
    struct text out = text_new(arena);
    text_add(&out, "# Configuration\n\n"
                   "One YAML file holds the values of a run: top-level keys, and one section per stage. Every key has\n"
                   "a default. A flag wins over the environment, the environment over the file, the file over the\n"
                   "default: `train.lr` is `train:` / `lr:` in the file, `CFN_TRAIN_LR` in the environment and\n"
                   "`--set train.lr=1e-3` on the command line. An unknown key is an error. `cfn config` prints a\n"
                   "commented file to start from.\n");
    for (size_t s = 0; s < count; s++)
        if (!section || strcmp(section, sections[s].name) == 0)
            reference_section(&out, &sections[s]);
    return out.data;
}

const char *config_flag_key(const char *flag)
{
    size_t count;
    const struct key *keys = config_keys(&count);
    for (size_t k = 0; k < count; k++)
        if (key_has_flag(&keys[k], flag))
            return keys[k].path;
    return NULL;
}

char *config_value(struct arena *arena, const struct config *config, const char *key)
{
    int k = key_find(key);
    return k < 0 ? NULL : arena_strdup(arena, config->values[k].text);
}

bool config_is_default(struct arena *arena, const struct config *config, const char *key)
{
    size_t count;
    int k = key_find(key);
    const struct key *keys = config_keys(&count);
    return k >= 0 && strcmp(config->values[k].text, key_parse(arena, &keys[k], keys[k].fallback, NULL)) == 0;
}

char *config_section_text(struct arena *arena, const struct config *config, const char *section)
{
    size_t count;
    const struct key *keys = config_keys(&count);
    struct text out = text_new(arena);
    for (size_t k = 0; k < count; k++)
        if (key_in(&keys[k], section) && !keys[k].neutral)
            text_add(&out, "%s=%s\n", keys[k].path, config->values[k].text);
    return out.data;
}
