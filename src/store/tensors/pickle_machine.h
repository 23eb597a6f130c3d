/* Inside the pickle reader: the machine (src/store/tensors/pickle.c) that takes arguments
 * and keeps the stack, and the opcodes it may run: pickle_opcodes.c, and with rules pickle_calls.c. */
#ifndef STORE_TENSORS_PICKLE_MACHINE_H
#define STORE_TENSORS_PICKLE_MACHINE_H

#include "store/pickle.h"

struct arena;

struct machine {
    struct arena *arena;
    const struct pickle_rules *rules; /* NULL: containers only */
    const char *name;
    const uint8_t *bytes;
    size_t size, at, start; /* next byte; first byte of the opcode being done */
    struct pickle **stack;
    size_t depth, room;
    size_t *marks;
    size_t mark_count, mark_room;
    struct pickle **memo;
    size_t memo_room, memo_next;
    struct pickle *persistent; /* the last one */
    size_t copied;             /* members of dictionaries made from lists, which cost no byte of the file */
    const char *why;
    bool done;
};

enum argument { NO_ARGUMENT, U1, U2, U4, U8, LINE, TEXT1, TEXT4, TEXT8, LONG1_ARGUMENT };

struct value { /* an opcode's argument */
    uint64_t number;
    const char *text;
    size_t length;
};
struct opcode {
    const char *name;
    enum argument argument;
    void (*run)(struct machine *m, const struct value *arg);
};

/* By opcode byte; `run` is NULL for what is not allowed. */
extern const struct opcode pickle_opcodes[256];
/* Those that are allowed with rules. */
extern const struct opcode pickle_call_opcodes[256];

/* Notes the first problem with its place. */
void pickle_fail(struct machine *m, const char *reason);
/* The problem of an opcode that is not allowed: its name and, where it imports something, what. */
void pickle_refuse(struct machine *m, uint8_t code);

/* The next line of the file, without its end; false at the end of the file. */
bool pickle_take_line(struct machine *m, struct value *out);
/* `items` with room for one more of `size` bytes, possibly moved. */
void *pickle_grown(struct arena *arena, void *items, size_t count, size_t *room, size_t size);
/* The stack: values above the last mark are an opcode's operands. */
void pickle_push(struct machine *m, struct pickle *value);
struct pickle *pickle_push_new(struct machine *m, enum pickle_type type);
bool pickle_has(struct machine *m, size_t count);
bool pickle_pop_mark(struct machine *m, size_t *first);
size_t pickle_floor(const struct machine *m);
/* Moves stack[first..] into a container. */
void pickle_fill(struct machine *m, struct pickle *container, size_t first);
/* The container of this type (or an opaque value) below stack[first], or NULL and a problem. */
struct pickle *pickle_container(struct machine *m, size_t first, enum pickle_type type);

#endif
