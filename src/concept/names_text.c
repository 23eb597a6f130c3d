/* Words for a neuron from its statistics. */
#include <math.h>

#include "base/arena.h"
#include "base/text.h"
#include "concept/names.h"

/* "frac_deep_grey" -> "deep grey region", "patient_age" -> "patient age". */
static char *attribute_words(struct arena *arena, const char *name)
{
    bool share = text_starts(name, "frac_");
    char *words = arena_printf(arena, "%s%s", share ? name + 5 : name, share ? " region" : "");
    for (char *p = words; *p; p++)
        if (*p == '_')
            *p = ' ';
    return words;
}

static void add_match(struct text *out, const struct names_facts *facts)
{
    struct arena *arena = out->arena;
    double a = facts->attribute ? fabs(facts->attribute_r) : 0, c = facts->class_match ? fabs(facts->class_r) : 0;
    if (a >= NAMES_CLEAR)
        text_add(out, "%s%s (r %.2f)", facts->attribute_r < 0 ? "absence of " : "",
                 attribute_words(arena, facts->attribute), facts->attribute_r);
    else if (c >= NAMES_CLEAR)
        text_add(out, "%s%s (r %.2f)", facts->class_r < 0 ? "not " : "", facts->class_match, facts->class_r);
    else if (a > 0 || c > 0)
        text_add(out, "no clear match (nearest: %s, r %.2f)",
                 a >= c ? attribute_words(arena, facts->attribute) : facts->class_match,
                 a >= c ? facts->attribute_r : facts->class_r);
    else
        text_add(out, "no clear match");
}

char *names_text(struct arena *arena, const struct names_facts *facts)
{
    struct text out = text_new(arena);
    add_match(&out, facts);
    double percent = 100 * facts->fire_rate;
    text_add(&out, "; fires on %.*f %% of images", percent < 1 ? 1 : 0, percent);
    if (facts->top_class && facts->top_share >= 0.5)
        text_add(&out, ", strongest on %s", facts->top_class);
    else if (facts->top_class)
        text_add(&out, ", strongest on mixed classes");
    return out.data;
}
