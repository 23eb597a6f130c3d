/* The backbones: a row each. The published scripts say "resnet"; what that
 * means depends on the data (mimic uses the larger ones). */
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "nn/graph.h"

static const struct zoo_row rows[] = {
    { "resnet18", build_resnet18 },           { "resnet50", build_resnet50 },
    { "densenet121", build_densenet121 },     { "convnext_tiny", build_convnext_tiny },
    { "convnext_base", build_convnext_base }, { "vit_b_16", build_vit_b_16 },
};
_Static_assert(sizeof rows / sizeof rows[0] == ZOO_ROWS, "ZOO_ROWS counts the table");

static const struct {
    const char *name, *usual, *mimic;
} published[] = {
    { "resnet", "resnet18", "resnet50" },
    { "densenet", "densenet121", "densenet121" },
    { "convnext", "convnext_tiny", "convnext_base" },
    { "vit", "vit_b_16", "vit_b_16" },
};

const char *zoo_canonical(const char *name, const char *data)
{
    for (size_t i = 0; i < sizeof published / sizeof published[0]; i++)
        if (strcmp(published[i].name, name) == 0)
            return data && strcmp(data, "mimic") == 0 ? published[i].mimic : published[i].usual;
    const struct zoo_row *row = zoo_find(name);
    return row ? row->name : NULL;
}

const struct zoo_row *zoo_find(const char *name)
{
    for (int i = 0; i < ZOO_ROWS; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

int zoo_names(const char *names[ZOO_ROWS])
{
    for (int i = 0; i < ZOO_ROWS; i++)
        names[i] = rows[i].name;
    return ZOO_ROWS;
}

const char *zoo_built(struct arena *arena)
{
    struct text text = text_new(arena);
    for (int i = 0; i < ZOO_ROWS; i++)
        text_add(&text, "%s%s", i > 0 ? ", " : "", rows[i].name);
    return text.data;
}
