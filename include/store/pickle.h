/* Python pickles of plain containers, read without running anything.
 *
 * An allow-list of opcodes (protocols 0 to 5) builds dictionaries, lists, tuples, texts, integers, None, True and
 * False, and nothing else. Opcodes that import or call (GLOBAL, STACK_GLOBAL, REDUCE, BUILD, INST, OBJ, NEWOBJ, EXT*,
 * PERSID, ...) are refused by name. */
#ifndef STORE_PICKLE_H
#define STORE_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

enum pickle_type { PICKLE_TEXT, PICKLE_INTEGER, PICKLE_LIST, PICKLE_TUPLE, PICKLE_DICT, PICKLE_NONE, PICKLE_BOOL };

struct pickle {
    enum pickle_type type;
    const char *text;      /* PICKLE_TEXT, NUL-terminated */
    int64_t integer;       /* PICKLE_INTEGER, PICKLE_BOOL */
    struct pickle **items; /* list and tuple: elements; dict: key, value, key, value, ... in insertion order */
    int64_t count;         /* of items: twice the entries of a dict */
    int64_t room;
};

/* The value a pickle holds, owned by the arena; containers may share members and, in a hostile file, contain
 * themselves. NULL with *why ("name: byte 12: ...") when the file is damaged or uses anything not allowed. Local. */
const struct pickle *pickle_read(struct arena *arena, const char *name, const uint8_t *bytes, size_t size,
                                 const char **why);

#endif
