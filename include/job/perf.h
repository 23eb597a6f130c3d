/* Where the time of a stage went, over all ranks: a table, notes a user can act on, and perf.json. */
#ifndef JOB_PERF_H
#define JOB_PERF_H

struct arena;
struct world;

/* Starts the clock (base/phase.h) of a stage; bytes and calls of communication count from here. Local. */
void perf_start(const char *stage);
/* Stops it: prints the table (min/avg/max over ranks, bytes, peaks, notes) and merges an object named after the stage
 * into `path` (may be NULL). Collective. */
void perf_report(struct world *world, struct arena *scratch, const char *path);

#endif
