/* The opcodes of a pickle that name, call and fill objects, for readers with rules: a call is noted, never made. An
 * ordered dictionary becomes a dictionary; whatever a global is meant to do is left to who reads the nodes. */
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "store/tensors/pickle_machine.h"

enum { NAME_LIMIT = 100 };

/* Text for a message: short, without control characters. */
static const char *shown(struct machine *m, const char *name)
{
    return text_printable(arena_printf(m->arena, "%.*s", 2 * NAME_LIMIT, name), "");
}

/* Modules whose functions act on the machine or find others that do: what names them is an attack or was never meant to
 * be weights. `spared` are those of their names that only hold values. */
static const struct {
    const char *module, *spared; /* spared: names between blanks */
} acting[] = {
    { "builtins", " set frozenset bytearray bytes complex slice range list dict tuple int float str bool object " },
    { "__builtin__",
      " set frozenset bytearray bytes complex slice xrange list dict tuple int long float str unicode bool object " },
    { "types", " SimpleNamespace " },
    { "os", "" },
    { "posix", "" },
    { "nt", "" },
    { "subprocess", "" },
    { "sys", "" },
    { "shutil", "" },
    { "socket", "" },
    { "importlib", "" },
    { "imp", "" },
    { "runpy", "" },
    { "pty", "" },
    { "ctypes", "" },
    { "pickle", "" },
    { "_pickle", "" },
    { "cPickle", "" },
    { "marshal", "" },
    { "webbrowser", "" },
    { "operator", "" },
    { "_operator", "" },
    { "asyncio", "" },
    { "pdb", "" },
    { "bdb", "" },
    { "timeit", "" },
    { "cProfile", "" },
    { "urllib", "" },
    { "http", "" },
    { "ftplib", "" },
    { "smtplib", "" },
    { "requests", "" },
    { "pip", "" },
    { "pydoc", "" },
    { "tempfile", "" },
    { "torch.hub", "" },
    { "torch.jit", "" },
    { "numpy.testing", "" },
    { "torch.utils.cpp_extension", "" },
    { "torch.load", "" },
    { "numpy.load", "" },
};

static bool acts(struct machine *m, const char *name)
{
    for (size_t i = 0; i < sizeof acting / sizeof acting[0]; i++) {
        size_t length = strlen(acting[i].module);
        if (strncmp(name, acting[i].module, length) != 0 || (name[length] != '.' && name[length] != '\0'))
            continue;
        return name[length] == '\0' || !strstr(acting[i].spared, arena_printf(m->arena, " %s ", name + length + 1));
    }
    return false;
}

static void push_global(struct machine *m, const char *name)
{
    for (const char *const *known = m->rules->globals; *known; known++)
        if (strcmp(*known, name) == 0) {
            pickle_push_new(m, PICKLE_GLOBAL)->text = *known;
            return;
        }
    if (!acts(m, name))
        pickle_push_new(m, PICKLE_OPAQUE)->text = name;
    else
        pickle_fail(m,
                    arena_printf(m->arena, "it names '%s', which no weight file needs (nothing in a file is executed)",
                                 shown(m, name)));
}

static void run_global(struct machine *m, const struct value *module)
{
    struct value member;
    if (!pickle_take_line(m, &member))
        return;
    if (module->length > NAME_LIMIT || member.length > NAME_LIMIT || memchr(module->text, '\0', module->length) ||
        memchr(member.text, '\0', member.length))
        pickle_fail(m, "a global whose name is not one");
    else
        push_global(
            m, arena_printf(m->arena, "%.*s.%.*s", (int)module->length, module->text, (int)member.length, member.text));
}

static void run_stack_global(struct machine *m, const struct value *arg)
{
    (void)arg;
    if (!pickle_has(m, 2))
        return;
    const struct pickle *module = m->stack[m->depth - 2], *member = m->stack[m->depth - 1];
    m->depth -= 2;
    if (module->type != PICKLE_TEXT || member->type != PICKLE_TEXT || strlen(module->text) > NAME_LIMIT ||
        strlen(member->text) > NAME_LIMIT)
        pickle_fail(m, "a global whose name is not one");
    else
        push_global(m, arena_printf(m->arena, "%s.%s", module->text, member->text));
}

/* OrderedDict() or OrderedDict([[key, value], ...]), the form of Python 2. */
static struct pickle *ordered_dict(struct machine *m, const struct pickle *arguments)
{
    struct pickle *dict = arena_array(m->arena, struct pickle, 1);
    dict->type = PICKLE_DICT;
    const struct pickle *pairs = arguments->count == 1 ? arguments->items[0] : NULL;
    bool fine = arguments->count == 0 || (pairs && pairs->type == PICKLE_LIST);
    int64_t count = pairs && fine ? pairs->count : 0;
    m->copied += (size_t)count; /* a list in the memo may be given to many calls */
    fine = fine && m->copied <= m->size;
    count = fine ? count : 0;
    dict->items = arena_array(m->arena, struct pickle *, 2 * count + 1);
    dict->room = 2 * count + 1;
    for (int64_t i = 0; fine && i < count; i++) {
        const struct pickle *pair = pairs->items[i];
        fine = (pair->type == PICKLE_LIST || pair->type == PICKLE_TUPLE) && pair->count == 2;
        if (fine) {
            dict->items[dict->count++] = pair->items[0];
            dict->items[dict->count++] = pair->items[1];
        }
    }
    if (!fine)
        pickle_fail(m, "an ordered dictionary of something that is not pairs");
    return dict;
}

/* What an unknown function makes: of its class only the name is kept. copyreg's rebuilds an object of the class it is
 * given. */
static void push_opaque_call(struct machine *m, const struct pickle *function, const struct pickle *arguments)
{
    const struct pickle *made = function;
    bool rebuilds = text_ends(function->text, "._reconstructor") || text_ends(function->text, ".__newobj__");
    if (rebuilds && arguments->count > 0 && arguments->items[0]->type == PICKLE_OPAQUE)
        made = arguments->items[0];
    pickle_push_new(m, PICKLE_OPAQUE)->text = made->text;
}

static void push_call(struct machine *m, struct pickle *function, struct pickle *arguments)
{
    struct pickle *call = pickle_push_new(m, PICKLE_CALL);
    call->items = arena_array(m->arena, struct pickle *, 3);
    call->items[0] = function;
    call->items[1] = arguments;
    call->count = 2;
    call->room = 3;
}

static void run_call(struct machine *m, const struct value *arg)
{
    (void)arg;
    if (!pickle_has(m, 2))
        return;
    struct pickle *function = m->stack[m->depth - 2], *arguments = m->stack[m->depth - 1];
    m->depth -= 2;
    bool known = function->type == PICKLE_GLOBAL;
    if ((!known && function->type != PICKLE_OPAQUE) || arguments->type != PICKLE_TUPLE)
        pickle_fail(m, "a call of something that is not a global, or without a tuple of arguments");
    else if (!known)
        push_opaque_call(m, function, arguments);
    else if (strcmp(function->text, "collections.OrderedDict") == 0)
        pickle_push(m, ordered_dict(m, arguments));
    else if (strcmp(function->text, "collections.defaultdict") == 0)
        pickle_push_new(m, PICKLE_DICT); /* its members follow */
    else
        push_call(m, function, arguments);
}

/* cls.__new__(cls, *args, **kwargs) */
static void run_new_with_names(struct machine *m, const struct value *arg)
{
    if (!pickle_has(m, 3))
        return;
    m->depth--;
    run_call(m, arg);
}

/* ---- values that are not read ---- */

static void run_bytes(struct machine *m, const struct value *arg)
{
    (void)arg;
    pickle_push_new(m, PICKLE_OPAQUE)->text = m->bytes[m->start] == 0x8B ? "integer of more than 64 bits" : "bytes";
}

static void run_set(struct machine *m, const struct value *arg)
{
    (void)arg;
    size_t first;
    if (m->bytes[m->start] == 0x91) { /* FROZENSET: what lies above the mark */
        if (!pickle_pop_mark(m, &first))
            return;
        m->depth = first;
    }
    pickle_push_new(m, PICKLE_OPAQUE)->text = "set";
}

static void run_add_items(struct machine *m, const struct value *arg)
{
    (void)arg;
    size_t first;
    if (!pickle_pop_mark(m, &first))
        return;
    if (pickle_container(m, first, PICKLE_OPAQUE))
        m->depth = first;
}

static void run_line_real(struct machine *m, const struct value *arg)
{
    (void)arg;
    pickle_push_new(m, PICKLE_OPAQUE)->text = "real number in text";
}

/* The state of an object. That of a dictionary (torch's _metadata) says nothing about its members. */
static void run_build(struct machine *m, const struct value *arg)
{
    (void)arg;
    if (!pickle_has(m, 2))
        return;
    struct pickle *object = m->stack[m->depth - 2], *state = m->stack[m->depth - 1];
    m->depth--;
    if (object->type == PICKLE_CALL && object->count == 2)
        object->items[object->count++] = state;
    else if (object->type != PICKLE_DICT && object->type != PICKLE_OPAQUE)
        pickle_fail(m, "a state for something that has none");
}

static void run_persistent(struct machine *m, const struct value *arg)
{
    (void)arg;
    if (!pickle_has(m, 1))
        return;
    struct pickle *identity = m->stack[--m->depth];
    struct pickle *value = pickle_push_new(m, PICKLE_PERSISTENT);
    value->items = arena_array(m->arena, struct pickle *, 2);
    value->items[0] = identity;
    value->items[1] = m->persistent;
    value->count = value->room = 2;
    m->persistent = value;
}

/* Eight bytes, the highest first. */
static void run_real(struct machine *m, const struct value *arg)
{
    uint64_t bits = 0;
    for (int byte = 0; byte < 8; byte++)
        bits = bits << 8 | (arg->number >> (8 * byte) & 0xff);
    memcpy(&pickle_push_new(m, PICKLE_REAL)->real, &bits, sizeof bits);
}

const struct opcode pickle_call_opcodes[256] = {
    ['c'] = { "GLOBAL", LINE, run_global },
    [0x93] = { "STACK_GLOBAL", NO_ARGUMENT, run_stack_global },
    ['R'] = { "REDUCE", NO_ARGUMENT, run_call },
    [0x81] = { "NEWOBJ", NO_ARGUMENT, run_call },
    ['b'] = { "BUILD", NO_ARGUMENT, run_build },
    ['Q'] = { "BINPERSID", NO_ARGUMENT, run_persistent },
    ['G'] = { "BINFLOAT", U8, run_real },
    [0x92] = { "NEWOBJ_EX", NO_ARGUMENT, run_new_with_names },
    ['F'] = { "FLOAT", LINE, run_line_real },
    ['B'] = { "BINBYTES", TEXT4, run_bytes },
    ['C'] = { "SHORT_BINBYTES", TEXT1, run_bytes },
    [0x8E] = { "BINBYTES8", TEXT8, run_bytes },
    [0x96] = { "BYTEARRAY8", TEXT8, run_bytes },
    [0x8B] = { "LONG4", TEXT4, run_bytes },
    [0x8F] = { "EMPTY_SET", NO_ARGUMENT, run_set },
    [0x91] = { "FROZENSET", NO_ARGUMENT, run_set },
    [0x90] = { "ADDITEMS", NO_ARGUMENT, run_add_items },
};
