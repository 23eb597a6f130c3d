/* The table of commands: which keys the outputs of each stage depend on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "cli/commands.h"
#include "config/draft.h"

static struct arena *arena;

/* Does the output of `stage` become invalid when this key changes? */
static bool depends_on(const struct command *stage, size_t key)
{
    size_t count;
    config_keys(&count);
    const struct draft draft = draft_start(arena);
    struct config then = { .values = draft.values }, now = then;
    struct value *values = arena_array(arena, struct value, count);
    memcpy(values, then.values, count * sizeof *values);
    values[key].text = "another value";
    now.values = values;
    return strcmp(command_settings(arena, stage, &then), command_settings(arena, stage, &now)) != 0;
}

/* All keys of a stage's own section but those that say how a job runs. */
static void each_key_of_its_section_makes_a_stage_run_again(void **state)
{
    (void)state;
    size_t stages, keys;
    const struct command *table = command_table(&stages);
    const struct key *key = config_keys(&keys);
    int walked = 0;
    for (size_t s = 0; s < stages; s++)
        for (size_t k = 0; k < keys && table[s].flags & COMMAND_STAGE; k++) {
            if (!key_in(&key[k], table[s].name))
                continue;
            walked++;
            if (depends_on(&table[s], k) == key[k].neutral)
                fail_msg("%s: %s is %s", table[s].name, key[k].path,
                         key[k].neutral ? "neutral" : "not in its settings");
        }
    assert_true(walked > 100);
}

/* A key that no stage depends on is neutral, or a mistake. */
static void each_key_is_somebodys(void **state)
{
    (void)state;
    size_t stages, keys;
    const struct command *table = command_table(&stages);
    const struct key *key = config_keys(&keys);
    for (size_t k = 0; k < keys; k++) {
        bool used = false;
        for (size_t s = 0; s < stages && !used; s++)
            used = table[s].flags & COMMAND_STAGE && depends_on(&table[s], k);
        if (used == key[k].neutral)
            fail_msg("%s: %s", key[k].path, used ? "neutral, but outputs depend on it" : "no stage depends on it");
    }
}

/* What crosses sections: how an image is seen reaches all that look at images. */
static void keys_of_images_reach_who_shows_them(void **state)
{
    (void)state;
    static const char *const stages[] = { "train", "embed", "name", "explain" };
    static const char *const keys[] = { "image.size", "image.resize", "image.interpolation", "image.mean",
                                        "image.std" };
    for (size_t s = 0; s < sizeof stages / sizeof *stages; s++)
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            if (!depends_on(command_find(stages[s]), (size_t)key_find(keys[k])))
                fail_msg("%s does not depend on %s", stages[s], keys[k]);
    assert_false(depends_on(command_find("pack"), (size_t)key_find("image.size")));
    assert_false(depends_on(command_find("sae"), (size_t)key_find("image.size")));
}

int main(void)
{
    arena = arena_create("test", 1 << 20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_of_its_section_makes_a_stage_run_again),
        cmocka_unit_test(each_key_is_somebodys),
        cmocka_unit_test(keys_of_images_reach_who_shows_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
