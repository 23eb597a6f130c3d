/* A pickle interpreter with an allow-list: the loop, arguments of opcodes, and
 * the stack. What each opcode does: pickle_opcodes.c. */
#include <string.h>

#include "base/arena.h"
#include "store/tensors/pickle_machine.h"

enum { TEXT_LIMIT = 1 << 20 };

static bool read_argument(struct machine *m, enum argument kind, struct value *out);

void pickle_fail(struct machine *m, const char *reason)
{
    if (!m->why)
        m->why = arena_printf(m->arena, "%s: byte %zu: %s", m->name, m->start, reason);
}

const struct pickle *pickle_read(struct arena *arena, const char *name, const uint8_t *bytes, size_t size,
                                 const char **why)
{
    struct pickle_end end;
    return pickle_read_rules(arena, name, bytes, size, NULL, &end, why);
}

static const struct opcode *allowed(const struct machine *m, uint8_t code)
{
    if (!pickle_opcodes[code].run && m->rules)
        return &pickle_call_opcodes[code];
    return &pickle_opcodes[code];
}

const struct pickle *pickle_read_rules(struct arena *arena, const char *name, const uint8_t *bytes, size_t size,
                                       const struct pickle_rules *rules, struct pickle_end *end, const char **why)
{
    struct machine m = { .arena = arena, .rules = rules, .name = name, .bytes = bytes, .size = size };
    while (!m.why && !m.done) {
        m.start = m.at;
        if (m.at == m.size) {
            pickle_fail(&m, size ? "the pickle is cut off" : "the file is empty");
            break;
        }
        uint8_t code = bytes[m.at++];
        struct value argument = { 0 };
        const struct opcode *opcode = allowed(&m, code);
        if (!opcode->run)
            pickle_refuse(&m, code);
        else if (read_argument(&m, opcode->argument, &argument))
            opcode->run(&m, &argument);
    }
    if (!m.why && m.depth != 1)
        pickle_fail(&m, "the pickle does not end with one value");
    *why = m.why;
    *end = (struct pickle_end){ m.at, m.persistent };
    return m.why ? NULL : m.stack[0];
}

const struct pickle *pickle_member(const struct pickle *dict, const char *key)
{
    for (int64_t i = dict->type == PICKLE_DICT ? dict->count - 2 : -1; i >= 0; i -= 2)
        if (dict->items[i]->type == PICKLE_TEXT && strcmp(dict->items[i]->text, key) == 0)
            return dict->items[i + 1];
    return NULL;
}

/* Arguments. */

static bool take(struct machine *m, size_t count, const uint8_t **bytes)
{
    if (count > m->size - m->at) {
        pickle_fail(m, "the pickle is cut off");
        return false;
    }
    *bytes = m->bytes + m->at;
    m->at += count;
    return true;
}

static bool take_number(struct machine *m, size_t width, uint64_t *number)
{
    const uint8_t *bytes;
    if (!take(m, width, &bytes))
        return false;
    *number = 0;
    for (size_t i = width; i-- > 0;)
        *number = *number << 8 | bytes[i];
    return true;
}

bool pickle_take_line(struct machine *m, struct value *out)
{
    const uint8_t *end = memchr(m->bytes + m->at, '\n', m->size - m->at);
    if (!end) {
        pickle_fail(m, "the pickle is cut off");
        return false;
    }
    out->text = (const char *)m->bytes + m->at;
    out->length = (size_t)(end - (m->bytes + m->at));
    m->at += out->length + 1;
    return true;
}

static bool take_text(struct machine *m, size_t width, struct value *out)
{
    const uint8_t *bytes;
    if (!take_number(m, width, &out->number))
        return false;
    if (out->number > TEXT_LIMIT && !m->rules) { /* arrays of NumPy are long texts in a file of weights */
        pickle_fail(m, "a text of more than a million characters");
        return false;
    }
    out->length = (size_t)out->number;
    if (!take(m, out->length, &bytes))
        return false;
    out->text = (const char *)bytes;
    return true;
}

static bool read_argument(struct machine *m, enum argument kind, struct value *out)
{
    switch (kind) {
    case NO_ARGUMENT:
        return true;
    case U1:
        return take_number(m, 1, &out->number);
    case U2:
        return take_number(m, 2, &out->number);
    case U4:
        return take_number(m, 4, &out->number);
    case U8:
        return take_number(m, 8, &out->number);
    case LINE:
        return pickle_take_line(m, out);
    case TEXT1:
    case LONG1_ARGUMENT:
        return take_text(m, 1, out);
    case TEXT4:
        return take_text(m, 4, out);
    case TEXT8:
        return take_text(m, 8, out);
    }
    return false;
}

/* The stack. */

void *pickle_grown(struct arena *arena, void *items, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return items;
    size_t more = *room ? 2 * *room : 64;
    void *bigger = arena_take(arena, more, size);
    if (count)
        memcpy(bigger, items, count * size);
    *room = more;
    return bigger;
}

void pickle_push(struct machine *m, struct pickle *value)
{
    m->stack = pickle_grown(m->arena, m->stack, m->depth, &m->room, sizeof(struct pickle *));
    m->stack[m->depth++] = value;
}

struct pickle *pickle_push_new(struct machine *m, enum pickle_type type)
{
    struct pickle *value = arena_array(m->arena, struct pickle, 1);
    value->type = type;
    pickle_push(m, value);
    return value;
}

size_t pickle_floor(const struct machine *m)
{
    return m->mark_count ? m->marks[m->mark_count - 1] : 0;
}

/* True when `count` values lie above the last mark. */
bool pickle_has(struct machine *m, size_t count)
{
    if (m->depth - pickle_floor(m) >= count)
        return true;
    pickle_fail(m, "the stack is too short for this opcode");
    return false;
}

/* Index of the first value above the last mark, which is taken away. */
bool pickle_pop_mark(struct machine *m, size_t *first)
{
    if (m->mark_count == 0) {
        pickle_fail(m, "an opcode that needs a mark without one");
        return false;
    }
    *first = m->marks[--m->mark_count];
    return true;
}

static void add_item(struct machine *m, struct pickle *container, struct pickle *item)
{
    size_t room = (size_t)container->room;
    container->items =
        pickle_grown(m->arena, container->items, (size_t)container->count, &room, sizeof(struct pickle *));
    container->room = (int64_t)room;
    container->items[container->count++] = item;
}

/* Moves stack[first..] into a new or existing container. */
void pickle_fill(struct machine *m, struct pickle *container, size_t first)
{
    if (container->type == PICKLE_DICT && (m->depth - first) % 2 != 0) {
        pickle_fail(m, "a dictionary with a key and no value");
        return;
    }
    for (size_t i = first; i < m->depth; i++)
        add_item(m, container, m->stack[i]);
    m->depth = first;
}

struct pickle *pickle_container(struct machine *m, size_t first, enum pickle_type type)
{
    bool below = first > pickle_floor(m);
    if (below && (m->stack[first - 1]->type == type || m->stack[first - 1]->type == PICKLE_OPAQUE))
        return m->stack[first - 1];
    pickle_fail(m, type == PICKLE_DICT ? "members for something that is not a dictionary"
                                       : "elements for something that is not a list");
    return NULL;
}
