/* The clock of a stage: always in one phase. Local; what it says over all ranks is job/perf.h. */
#ifndef BASE_PHASE_H
#define BASE_PHASE_H

enum phase {
    PHASE_READ,
    PHASE_DECODE,
    PHASE_FORWARD,
    PHASE_BACKWARD,
    PHASE_OPTIMISER,
    PHASE_COMM,
    PHASE_WRITE,
    PHASE_CHECKPOINT,
    PHASE_EVALUATE,
    PHASE_COMPUTE,
    PHASE_OTHER,
    PHASES
};

/* Starts the clock of a stage on this thread; unaccounted time is PHASE_OTHER. */
void phase_start(void);
/* Switches the clock to `phase`, returns the one it was in; on other threads nothing happens:
 *     enum phase before = phase_enter(PHASE_COMM); ...; phase_enter(before); */
enum phase phase_enter(enum phase phase);
void phase_set_clock(double (*clock_seconds)(void)); /* for tests; NULL restores */
/* A count reported beside the seconds, e.g. ("images", 1600), ("gemm_flops", 1e12); adds up. */
void phase_count(const char *name, double amount);

enum { PHASE_COUNTS = 32, PHASE_COUNT_NAME = 48 };
struct phase_counts {
    struct {
        char name[PHASE_COUNT_NAME];
        double amount;
    } list[PHASE_COUNTS];
    int count;
};
/* Adds to the count of that name; one more name than there is room for is left out. */
void phase_counts_add(struct phase_counts *counts, const char *name, double amount);

/* What the clock said between its start and its stop. */
struct phase_times {
    double seconds[PHASES], wall;
    struct phase_counts counts;
};
/* Stops the clock; the times are its own, until the next start. */
const struct phase_times *phase_stop(void);

#endif
