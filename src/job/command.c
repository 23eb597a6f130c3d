/* Lists of a command's row, and the settings its outputs depend on. */
#include "job/command.h"

#include <string.h>

#include "base/arena.h"
#include "base/text.h"

char *command_word(struct arena *arena, const char *list, int index)
{
    while (list && index-- > 0) {
        list = strchr(list, ' ');
        list += list != NULL;
    }
    return list ? arena_printf(arena, "%.*s", (int)strcspn(list, " "), list) : NULL;
}

char *command_settings(struct arena *arena, const struct command *command, const struct config *config)
{
    struct text out = text_new(arena);
    const char *word;
    for (int w = 0; (word = command_word(arena, command->keys, w)); w++) {
        const char *value = config_value(arena, config, word);
        if (value)
            text_add(&out, "%s=%s\n", word, value);
        else
            text_add(&out, "%s", config_section_text(arena, config, word));
    }
    return out.data;
}
