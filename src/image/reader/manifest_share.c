/* The way of a manifest from rank 0 to the others. */
#include <string.h>

#include "base/arena.h"
#include "dist/world.h"
#include "image/manifest.h"

static void *share_bytes(struct world *world, struct arena *arena, void *data, size_t bytes)
{
    if (world->rank != 0)
        data = arena_take_raw(arena, bytes ? bytes : 1, 1);
    if (bytes)
        world_broadcast(world, data, bytes, 0);
    return data;
}

/* Texts travel as one block, each with its NUL. */
static const char **share_texts(struct world *world, struct arena *arena, const char **texts, int64_t count)
{
    int64_t bytes = 0;
    if (world->rank == 0)
        for (int64_t i = 0; i < count; i++)
            bytes += (int64_t)strlen(texts[i]) + 1;
    world_broadcast(world, &bytes, sizeof bytes, 0);
    char *block = arena_take_raw(arena, (size_t)bytes + 1, 1), *at = block;
    if (world->rank == 0)
        for (int64_t i = 0; i < count; i++)
            at = stpcpy(at, texts[i]) + 1;
    if (bytes)
        world_broadcast(world, block, (size_t)bytes, 0);
    if (world->rank == 0)
        return texts;
    texts = arena_take_raw(arena, (size_t)count + 1, sizeof *texts);
    for (int64_t i = 0; i < count; i++) {
        texts[i] = block;
        block += strlen(block) + 1;
    }
    return texts;
}

/* Texts of which some are NULL: only the others travel, with a byte for each that says which. */
static const char **share_some(struct world *world, struct arena *arena, const char **texts, int64_t count)
{
    uint8_t *known = arena_array(arena, uint8_t, count + 1);
    const char **some = arena_array(arena, const char *, count + 1);
    int64_t many = 0;
    for (int64_t i = 0; world->rank == 0 && i < count; i++)
        if (texts[i]) {
            known[i] = 1;
            some[many++] = texts[i];
        }
    world_broadcast(world, &many, sizeof many, 0);
    known = share_bytes(world, arena, known, (size_t)count);
    some = share_texts(world, arena, some, many);
    if (world->rank == 0)
        return texts;
    texts = arena_array(arena, const char *, count + 1);
    for (int64_t i = 0, next = 0; i < count; i++)
        texts[i] = known[i] ? some[next++] : NULL;
    return texts;
}

static void share_attributes(struct world *world, struct arena *arena, struct manifest *m)
{
    if (world->rank != 0)
        m->attribute = arena_array(arena, struct manifest_attribute, m->attributes + 1);
    for (int a = 0; a < m->attributes; a++) {
        struct manifest_attribute *one = &m->attribute[a];
        one->name = world_broadcast_text(world, arena, one->name, 0);
        one->value = share_bytes(world, arena, one->value, (size_t)m->rows * sizeof *one->value);
        world_broadcast(world, &one->values, sizeof one->values, 0);
        if (one->values)
            one->value_names = share_texts(world, arena, one->value_names, one->values);
    }
}

void manifest_share(struct world *world, struct arena *arena, struct manifest *m)
{
    if (world->size == 1)
        return;
    struct {
        int64_t rows;
        int classes, attributes, inputs;
        bool multi_label, own_ids, members, reports, sections, lines, groups;
    } head = { m->rows,   m->classes, m->attributes, m->inputs, m->multi_label, m->id != m->path,
               m->member, m->report,  m->section[0], m->line,   m->group };
    world_broadcast(world, &head, sizeof head, 0);
    m->rows = head.rows;
    m->classes = head.classes;
    m->attributes = head.attributes;
    m->inputs = head.inputs;
    m->multi_label = head.multi_label;
    size_t rows = (size_t)m->rows;

    m->source = world_broadcast_text(world, arena, m->source, 0);
    m->reader = world_broadcast_text(world, arena, m->reader, 0);
    m->seen = world_broadcast_text(world, arena, m->seen, 0);
    m->notes = world_broadcast_text(world, arena, m->notes, 0);
    m->input = share_texts(world, arena, m->input, m->inputs);
    m->path = share_texts(world, arena, m->path, m->rows);
    m->id = head.own_ids ? share_texts(world, arena, m->id, m->rows) : m->path;
    if (head.members) {
        m->member = share_some(world, arena, m->member, m->rows);
        m->index = share_bytes(world, arena, m->index, rows * sizeof *m->index);
    }
    if (head.reports)
        m->report = share_texts(world, arena, m->report, m->rows);
    for (int k = 0; head.sections && k < SECTIONS; k++)
        m->section[k] = share_texts(world, arena, m->section[k], m->rows);
    m->class_names = share_texts(world, arena, m->class_names, m->classes);
    m->split = share_bytes(world, arena, m->split, rows);
    if (head.multi_label)
        m->labels = share_bytes(world, arena, m->labels, rows * (size_t)m->classes);
    else
        m->label = share_bytes(world, arena, m->label, rows * sizeof *m->label);
    if (head.lines)
        m->line = share_bytes(world, arena, m->line, rows * sizeof *m->line);
    if (head.groups)
        m->group = share_bytes(world, arena, m->group, rows * sizeof *m->group);
    share_attributes(world, arena, m);
}
