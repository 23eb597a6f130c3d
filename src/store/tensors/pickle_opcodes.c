/* The opcodes a pickle may use (described by Python's pickletools), one table row
 * each, and the names of those that are refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "store/tensors/pickle_machine.h"

static void run_nothing(struct machine *m, const struct value *arg)
{
    (void)m;
    (void)arg;
}
static void run_proto(struct machine *m, const struct value *arg)
{
    if (arg->number > 5)
        pickle_fail(m, "a pickle protocol above 5");
}
static void run_stop(struct machine *m, const struct value *arg)
{
    (void)arg;
    m->done = true;
}
static void run_mark(struct machine *m, const struct value *arg)
{
    (void)arg;
    m->marks = pickle_grown(m->arena, m->marks, m->mark_count, &m->mark_room, sizeof *m->marks);
    m->marks[m->mark_count++] = m->depth;
}
static void run_pop(struct machine *m, const struct value *arg)
{
    (void)arg;
    if (m->mark_count && pickle_floor(m) == m->depth)
        m->mark_count--;
    else if (pickle_has(m, 1))
        m->depth--;
}
static void run_pop_mark(struct machine *m, const struct value *arg)
{
    (void)arg;
    size_t first;
    if (pickle_pop_mark(m, &first))
        m->depth = first;
}
static void run_text(struct machine *m, const struct value *arg)
{
    if (memchr(arg->text, '\0', arg->length)) {
        if (m->rules)
            pickle_push_new(m, PICKLE_OPAQUE)->text = "text with NUL bytes";
        else
            pickle_fail(m, "a text with a NUL byte");
        return;
    }
    char *copy = arena_take_raw(m->arena, arg->length + 1, 1);
    memcpy(copy, arg->text, arg->length);
    copy[arg->length] = '\0';
    pickle_push_new(m, PICKLE_TEXT)->text = copy;
}
/* Protocol 0 texts: 'quoted' for STRING. Escapes do not occur in file and class names and are refused. */
static void run_line_text(struct machine *m, const struct value *arg)
{
    struct value inner = *arg;
    if (m->bytes[m->start] == 'S') {
        if (arg->length < 2 || (arg->text[0] != '\'' && arg->text[0] != '"') ||
            arg->text[arg->length - 1] != arg->text[0]) {
            pickle_fail(m, "a text without quotes");
            return;
        }
        inner.text++;
        inner.length -= 2;
    }
    if (memchr(inner.text, '\\', inner.length))
        pickle_fail(m, "a text with escapes");
    else
        run_text(m, &inner);
}
static void run_integer(struct machine *m, const struct value *arg)
{
    bool is_signed = m->bytes[m->start] == 'J';
    pickle_push_new(m, PICKLE_INTEGER)->integer =
        is_signed ? (int64_t)(int32_t)(uint32_t)arg->number : (int64_t)arg->number;
}
static void run_line_integer(struct machine *m, const struct value *arg)
{
    char digits[32];
    size_t length = arg->length;
    if (length && m->bytes[m->start] == 'L' && arg->text[length - 1] == 'L')
        length--;
    if (length == 0 || length >= 20 || strspn(arg->text, "-0123456789") < length) {
        pickle_fail(m, "not an integer");
        return;
    }
    memcpy(digits, arg->text, length);
    digits[length] = '\0';
    pickle_push_new(m, PICKLE_INTEGER)->integer = strtoll(digits, NULL, 10);
}
static void run_long1(struct machine *m, const struct value *arg)
{
    if (arg->length > 8) {
        if (m->rules)
            pickle_push_new(m, PICKLE_OPAQUE)->text = "integer of more than 64 bits";
        else
            pickle_fail(m, "an integer of more than 64 bits");
        return;
    }
    uint64_t bits = arg->length && ((uint8_t)arg->text[arg->length - 1] & 0x80) ? UINT64_MAX : 0;
    for (size_t i = arg->length; i-- > 0;)
        bits = bits << 8 | (uint8_t)arg->text[i];
    pickle_push_new(m, PICKLE_INTEGER)->integer = (int64_t)bits;
}
static void run_none(struct machine *m, const struct value *arg)
{
    (void)arg;
    pickle_push_new(m, PICKLE_NONE);
}
static void run_bool(struct machine *m, const struct value *arg)
{
    (void)arg;
    pickle_push_new(m, PICKLE_BOOL)->integer = m->bytes[m->start] == 0x88;
}
static void run_empty(struct machine *m, const struct value *arg)
{
    (void)arg;
    uint8_t code = m->bytes[m->start];
    pickle_push_new(m, code == '}' ? PICKLE_DICT : code == ']' ? PICKLE_LIST : PICKLE_TUPLE);
}
static void run_gather(struct machine *m, const struct value *arg)
{
    (void)arg;
    uint8_t code = m->bytes[m->start];
    size_t first;
    if (!pickle_pop_mark(m, &first))
        return;
    struct pickle *container = arena_array(m->arena, struct pickle, 1);
    container->type = code == 'd' ? PICKLE_DICT : code == 'l' ? PICKLE_LIST : PICKLE_TUPLE;
    pickle_fill(m, container, first);
    pickle_push(m, container);
}
static void run_small_tuple(struct machine *m, const struct value *arg)
{
    (void)arg;
    size_t count = (size_t)(m->bytes[m->start] - 0x84);
    if (!pickle_has(m, count))
        return;
    struct pickle *tuple = arena_array(m->arena, struct pickle, 1);
    tuple->type = PICKLE_TUPLE;
    pickle_fill(m, tuple, m->depth - count);
    pickle_push(m, tuple);
}
static void run_append(struct machine *m, const struct value *arg)
{
    (void)arg;
    if (!pickle_has(m, 2))
        return;
    struct pickle *list = pickle_container(m, m->depth - 1, PICKLE_LIST);
    if (list)
        pickle_fill(m, list, m->depth - 1);
}
static void run_set_item(struct machine *m, const struct value *arg)
{
    (void)arg;
    if (!pickle_has(m, 3))
        return;
    struct pickle *dict = pickle_container(m, m->depth - 2, PICKLE_DICT);
    if (dict)
        pickle_fill(m, dict, m->depth - 2);
}
static void run_extend(struct machine *m, const struct value *arg)
{
    (void)arg;
    size_t first;
    if (!pickle_pop_mark(m, &first))
        return;
    struct pickle *container = pickle_container(m, first, m->bytes[m->start] == 'u' ? PICKLE_DICT : PICKLE_LIST);
    if (container)
        pickle_fill(m, container, first);
}

/* The memo. Indices are dense: each entry costs a byte of the file at least. MEMOIZE appends. */
static void memo_put(struct machine *m, uint64_t index)
{
    if (!pickle_has(m, 1))
        return;
    if (index >= m->size) {
        pickle_fail(m, "a memo index beyond the size of the file");
        return;
    }
    if (index >= m->memo_room) {
        size_t room = m->memo_room ? m->memo_room : 64;
        while (room <= index)
            room *= 2;
        struct pickle **memo = arena_array(m->arena, struct pickle *, room);
        if (m->memo_room)
            memcpy(memo, m->memo, m->memo_room * sizeof(struct pickle *));
        m->memo = memo;
        m->memo_room = room;
    }
    m->memo_next += !m->memo[index];
    m->memo[index] = m->stack[m->depth - 1];
}
static void memo_get(struct machine *m, uint64_t index)
{
    if (index >= m->memo_room || !m->memo[index])
        pickle_fail(m, "a memo entry that was never put");
    else
        pickle_push(m, m->memo[index]);
}
static void run_memoize(struct machine *m, const struct value *arg)
{
    (void)arg;
    memo_put(m, m->memo_next);
}
static void run_put(struct machine *m, const struct value *arg)
{
    memo_put(m, arg->number);
}
static void run_get(struct machine *m, const struct value *arg)
{
    memo_get(m, arg->number);
}
static void run_line_memo(struct machine *m, const struct value *arg)
{
    uint64_t index = 0;
    if (arg->length == 0 || arg->length > 12 || strspn(arg->text, "0123456789") < arg->length) {
        pickle_fail(m, "a memo index that is not a number");
        return;
    }
    for (size_t i = 0; i < arg->length; i++)
        index = 10 * index + (uint64_t)(arg->text[i] - '0');
    if (m->bytes[m->start] == 'p')
        memo_put(m, index);
    else
        memo_get(m, index);
}

const struct opcode pickle_opcodes[256] = {
    [0x80] = { "PROTO", U1, run_proto },
    [0x95] = { "FRAME", U8, run_nothing },
    ['.'] = { "STOP", NO_ARGUMENT, run_stop },
    ['('] = { "MARK", NO_ARGUMENT, run_mark },
    ['0'] = { "POP", NO_ARGUMENT, run_pop },
    ['1'] = { "POP_MARK", NO_ARGUMENT, run_pop_mark },
    ['N'] = { "NO_ARGUMENT", NO_ARGUMENT, run_none },
    [0x88] = { "NEWTRUE", NO_ARGUMENT, run_bool },
    [0x89] = { "NEWFALSE", NO_ARGUMENT, run_bool },
    ['J'] = { "BININT", U4, run_integer },
    ['K'] = { "BININT1", U1, run_integer },
    ['M'] = { "BININT2", U2, run_integer },
    ['I'] = { "INT", LINE, run_line_integer },
    ['L'] = { "LONG", LINE, run_line_integer },
    [0x8A] = { "LONG1", LONG1_ARGUMENT, run_long1 },
    [0x8C] = { "SHORT_BINUNICODE", TEXT1, run_text },
    ['X'] = { "BINUNICODE", TEXT4, run_text },
    [0x8D] = { "BINUNICODE8", TEXT8, run_text },
    ['U'] = { "SHORT_BINSTRING", TEXT1, run_text },
    ['T'] = { "BINSTRING", TEXT4, run_text },
    ['V'] = { "UNICODE", LINE, run_line_text },
    ['S'] = { "STRING", LINE, run_line_text },
    ['}'] = { "EMPTY_DICT", NO_ARGUMENT, run_empty },
    [']'] = { "EMPTY_LIST", NO_ARGUMENT, run_empty },
    [')'] = { "EMPTY_TUPLE", NO_ARGUMENT, run_empty },
    ['d'] = { "DICT", NO_ARGUMENT, run_gather },
    ['l'] = { "LIST", NO_ARGUMENT, run_gather },
    ['t'] = { "TUPLE", NO_ARGUMENT, run_gather },
    [0x85] = { "TUPLE1", NO_ARGUMENT, run_small_tuple },
    [0x86] = { "TUPLE2", NO_ARGUMENT, run_small_tuple },
    [0x87] = { "TUPLE3", NO_ARGUMENT, run_small_tuple },
    ['a'] = { "APPEND", NO_ARGUMENT, run_append },
    ['e'] = { "APPENDS", NO_ARGUMENT, run_extend },
    ['s'] = { "SETITEM", NO_ARGUMENT, run_set_item },
    ['u'] = { "SETITEMS", NO_ARGUMENT, run_extend },
    [0x94] = { "MEMOIZE", NO_ARGUMENT, run_memoize },
    ['q'] = { "BINPUT", U1, run_put },
    ['r'] = { "LONG_BINPUT", U4, run_put },
    ['p'] = { "PUT", LINE, run_line_memo },
    ['h'] = { "BINGET", U1, run_get },
    ['j'] = { "LONG_BINGET", U4, run_get },
    ['g'] = { "GET", LINE, run_line_memo },
};

/* Opcodes that exist and are not allowed. */
static const char *refused_name(uint8_t code)
{
    static const struct {
        uint8_t code;
        const char *name;
    } names[] = {
        { 'c', "GLOBAL" },       { 0x93, "STACK_GLOBAL" },
        { 'R', "REDUCE" },       { 'b', "BUILD" },
        { 'i', "INST" },         { 'o', "OBJ" },
        { 0x81, "NEWOBJ" },      { 0x92, "NEWOBJ_EX" },
        { 0x82, "EXT1" },        { 0x83, "EXT2" },
        { 0x84, "EXT4" },        { 'P', "PERSID" },
        { 'Q', "BINPERSID" },    { 'F', "FLOAT" },
        { 'G', "BINFLOAT" },     { '2', "DUP" },
        { 'B', "BINBYTES" },     { 'C', "SHORT_BINBYTES" },
        { 0x8E, "BINBYTES8" },   { 0x8F, "EMPTY_SET" },
        { 0x90, "ADDITEMS" },    { 0x91, "FROZENSET" },
        { 0x8B, "LONG4" },       { 0x96, "BYTEARRAY8" },
        { 0x97, "NEXT_BUFFER" }, { 0x98, "READONLY_BUFFER" },
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].code == code)
            return names[i].name;
    return NULL;
}

/* Names the opcode and, where it imports something, what. */
void pickle_refuse(struct machine *m, uint8_t code)
{
    const char *name = refused_name(code);
    struct value module = { 0 }, member = { 0 };
    char what[300] = "";
    if ((code == 'c' || code == 'i') && pickle_take_line(m, &module) && pickle_take_line(m, &member)) {
        snprintf(what, sizeof what, " '%.*s.%.*s'", (int)(module.length < 100 ? module.length : 100), module.text,
                 (int)(member.length < 100 ? member.length : 100), member.text);
    } else if (code == 0x93 && m->depth >= 2 && m->stack[m->depth - 2]->type == PICKLE_TEXT &&
               m->stack[m->depth - 1]->type == PICKLE_TEXT) {
        snprintf(what, sizeof what, " '%.100s.%.100s'", m->stack[m->depth - 2]->text, m->stack[m->depth - 1]->text);
    }
    text_printable(what, "");
    m->why = name
                 ? arena_printf(m->arena,
                                "%s: byte %zu: opcode %s%s is not allowed (only dictionaries, lists, tuples, texts and "
                                "integers are read; nothing in a file is executed)",
                                m->name, m->start, name, what)
                 : arena_printf(m->arena, "%s: byte %zu: 0x%02x is not a pickle opcode", m->name, m->start, code);
}
