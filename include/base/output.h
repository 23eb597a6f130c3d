/* A file written piece by piece, whole or not at all: path.part, fsync, rename. */
#ifndef BASE_OUTPUT_H
#define BASE_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

struct arena;

/* Zero it but for arena and path, then output_open. A failure is kept: later calls do nothing and output_close says
 * what it was. */
struct output {
    struct arena *arena;
    const char *path;
    const char *part;
    const char *why; /* NULL: all is well */
    int fd;
    size_t bytes; /* written so far */
};

void output_open(struct output *output);
void output_add(struct output *output, const void *data, size_t bytes);
/* True when the file is there under its name; otherwise output->why, and nothing is left. */
bool output_close(struct output *output);

#endif
