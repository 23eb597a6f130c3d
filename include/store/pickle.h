/* Python pickles of plain containers, read without running anything.
 *
 * An allow-list of opcodes (protocols 0 to 5) builds dictionaries, lists, tuples, texts, integers, None, True and
 * False, and nothing else. Opcodes that import or call (GLOBAL, STACK_GLOBAL, REDUCE, BUILD, INST, OBJ, NEWOBJ, EXT*,
 * PERSID, ...) are refused by name. A reader of files that cannot do without some of them (weights of PyTorch) gives
 * the names it knows: what would be a call becomes a node that says so, and still nothing is imported or run. What is
 * made by other names there is opaque: kept as one value that tells its class and nothing else. Names that run
 * commands, reach files or the network, or look up other names are refused wherever they stand. */
#ifndef STORE_PICKLE_H
#define STORE_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

enum pickle_type {
    PICKLE_TEXT,
    PICKLE_INTEGER,
    PICKLE_LIST,
    PICKLE_TUPLE,
    PICKLE_DICT,
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_REAL,       /* from here on: only with rules */
    PICKLE_GLOBAL,     /* text: "module.name" */
    PICKLE_CALL,       /* items: global, tuple of arguments, and the state it was given, if any */
    PICKLE_PERSISTENT, /* items: its identity, the persistent before it in the file or NULL */
    PICKLE_OPAQUE      /* text: the class or kind of a value that is not read, "argparse.Namespace", "bytes" */
};

struct pickle {
    enum pickle_type type;
    const char *text;      /* PICKLE_TEXT, NUL-terminated */
    int64_t integer;       /* PICKLE_INTEGER, PICKLE_BOOL */
    double real;           /* PICKLE_REAL */
    struct pickle **items; /* list and tuple: elements; dict: key, value, key, value, ... in insertion order */
    int64_t count;         /* of items: twice the entries of a dict */
    int64_t room;
};

/* The value a pickle holds, owned by the arena; containers may share members and, in a hostile file, contain
 * themselves. NULL with *why ("name: byte 12: ...") when the file is damaged or uses anything not allowed. Local. */
const struct pickle *pickle_read(struct arena *arena, const char *name, const uint8_t *bytes, size_t size,
                                 const char **why);

/* What a reader accepts beyond containers: these globals (collections.OrderedDict and defaultdict become dictionaries),
 * calls of them as nodes, states given to them, persistent identities and real numbers; all else as opaque values. */
struct pickle_rules {
    const char *const *globals; /* "torch.FloatStorage", ...; NULL at the end */
};
struct pickle_end {
    size_t used;                     /* bytes of the pickle: more may lie behind it */
    const struct pickle *persistent; /* the last one, the head of a chain; NULL: none */
};
/* The same with rules (NULL: none), also of a pickle with more behind it. */
const struct pickle *pickle_read_rules(struct arena *arena, const char *name, const uint8_t *bytes, size_t size,
                                       const struct pickle_rules *rules, struct pickle_end *end, const char **why);
/* Value of a text key in a dictionary, the last one given; NULL when it is not a dictionary or has no such key. */
const struct pickle *pickle_member(const struct pickle *dict, const char *key);

#endif
