/* Puts values together and words the messages about wrong ones. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "config/draft.h"

struct draft draft_start(struct arena *arena)
{
    size_t count;
    const struct key *keys = config_keys(&count);
    struct draft draft = { .arena = arena, .values = arena_array(arena, struct value, count), .code = EXIT_BAD_CONFIG };
    for (size_t k = 0; k < count; k++)
        draft.values[k] = (struct value){ key_parse(arena, &keys[k], keys[k].fallback, NULL), "default" };
    return draft;
}

void draft_fail(struct draft *draft, enum exit_code code, const char *fmt, ...)
{
    if (draft->error)
        return;
    char message[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    draft->error = text_printable(arena_strdup(draft->arena, message), "\n");
    draft->code = code;
}

/* What was found, short enough for one line and without control characters. */
static char *shown(struct arena *arena, const char *text)
{
    if (*text == '\0')
        return arena_strdup(arena, "nothing");
    return text_printable(arena_printf(arena, "\"%.60s%s\"", text, strlen(text) > 60 ? "..." : ""), "");
}

bool draft_set(struct draft *draft, const struct key *key, const char *text, const char *place, const char *origin)
{
    const char *value = key_parse(draft->arena, key, text, NULL);
    if (value) {
        size_t count;
        draft->values[key - config_keys(&count)] = (struct value){ value, arena_strdup(draft->arena, origin) };
        return true;
    }
    const char *near = key_suggest_choice(key, text);
    draft_fail(draft, EXIT_BAD_CONFIG, "%s: %s: expected %s, found %s%s%s%s", place, key->path,
               key_expected(draft->arena, key), shown(draft->arena, text), near ? " (did you mean " : "",
               near ? near : "", near ? "?)" : "");
    return false;
}

void draft_unknown(struct draft *draft, const char *place, const char *path)
{
    const char *near = key_suggest(draft->arena, path);
    draft_fail(draft, EXIT_BAD_CONFIG, "%s: %.80s: unknown key%s%s%s\n`cfn config` lists all keys", place, path,
               near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}
