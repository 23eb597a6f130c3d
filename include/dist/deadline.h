/* When to stop: a wall limit, SIGUSR1/SIGTERM, a stop file. The clock can be
 * replaced, so that tests need not wait. */
#ifndef DIST_DEADLINE_H
#define DIST_DEADLINE_H

#include <stdbool.h>

struct world;

/* From here on SIGUSR1 and SIGTERM ask to stop instead of ending the rank; a second SIGTERM ends it at once. Called
 * before MPI is started: a signal meanwhile is not lost. Called again, it forgets what has come. Local. */
void deadline_listen(void);
/* max_hours <= 0: no limit. stop_file may be NULL. Call it again to start anew. Local. */
void deadline_start(double max_hours, const char *stop_file);
void deadline_set_clock(double (*clock_seconds)(void)); /* for tests; NULL restores */
/* True on all ranks alike when any rank has been told to stop, or when the next
 * `step_seconds` plus `write_seconds` would pass the limit. Collective: one small allreduce. */
bool deadline_reached(struct world *world, double step_seconds, double write_seconds);
const char *deadline_reason(void); /* "time limit", "signal", "stop file" after it was reached */

#endif
