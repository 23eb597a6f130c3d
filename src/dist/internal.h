/* What the files of src/dist share; nobody else includes it. */
#ifndef DIST_INTERNAL_H
#define DIST_INTERNAL_H

#include <stdint.h>

#include "base/phase.h"
#include "dist/handle.h"
#include "dist/world.h"

/* Ends the job with MPI's own words when `status` is an error of `call`. */
void dist_check(int status, const char *call);

/* Around every blocking call of MPI: the clock of the phase table, bytes and calls.
 *     enum phase before = comm_begin(); ...; comm_end(before, bytes this rank sends); */
enum phase comm_begin(void);
void comm_end(enum phase before, int64_t bytes);

/* Scratch of this module: mark, take, release within one call; pages are kept. */
struct arena *dist_scratch(void);

#endif
