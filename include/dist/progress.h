/* Progress, and where the time went. Rank 0 speaks: a live bar on a terminal,
 * otherwise one line per interval. */
#ifndef DIST_PROGRESS_H
#define DIST_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct world;

enum phase {
    PHASE_READ,
    PHASE_DECODE,
    PHASE_FORWARD,
    PHASE_BACKWARD,
    PHASE_OPTIMISER,
    PHASE_COMM,
    PHASE_COMM_HIDDEN,
    PHASE_WRITE,
    PHASE_CHECKPOINT,
    PHASE_EVALUATE,
    PHASE_WAIT,
    PHASE_COMPUTE,
    PHASE_OTHER,
    PHASES
};

/* Starts the clock of a stage; unaccounted time is PHASE_OTHER. Local. */
void phase_start(const char *stage);
/* Switches this rank's clock to `phase`, returns the one it was in:
 *     enum phase before = phase_enter(PHASE_COMM); ...; phase_enter(before); */
enum phase phase_enter(enum phase phase);
void phase_set_clock(double (*clock_seconds)(void)); /* for tests; NULL restores */
/* A count reported beside the table and in perf.json, e.g. ("images", 1600), ("gemm_flops", 1e12); adds up. */
void phase_count(const char *name, double amount);
/* Ends the stage: prints the table (min/avg/max over ranks, bytes, peaks, notes)
 * and merges an object named after the stage into `perf_path` (may be NULL). Collective. */
void phase_report(struct world *world, struct arena *scratch, const char *perf_path);

/* "train epoch 3/90 step 1200/5004 loss 2.314 1840 img/s eta 01:12:40".
 * `done` and `total` in `unit`s ("img", "row", "pick") for rate and ETA; `detail` is free text. Cheap; any rank may
 * call, rank 0 prints. */
void progress(const char *stage, const char *detail, double done, double total, const char *unit);
void progress_end(void);                    /* clears the bar */
void progress_set_interval(double seconds); /* of log lines; default 10 */

#endif
