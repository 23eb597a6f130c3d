/* Where the time of a stage goes: a clock that is always in one phase, and counts by name. */
#include "base/phase.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/timer.h"

static struct {
    double (*clock)(void);
    double start, since;
    struct phase_times times;
} state;

static _Thread_local enum phase current = PHASE_OTHER;
static _Thread_local bool is_clocked; /* other threads have no part in the table */

static double now(void)
{
    return state.clock ? state.clock() : timer_seconds();
}

void phase_set_clock(double (*clock_seconds)(void))
{
    state.clock = clock_seconds;
}

void phase_start(void)
{
    state.times = (struct phase_times){ .wall = 0 };
    state.start = state.since = now();
    current = PHASE_OTHER;
    is_clocked = true;
}

enum phase phase_enter(enum phase phase)
{
    enum phase before = current;
    if (!is_clocked || phase == before)
        return before;
    double time = now();
    state.times.seconds[before] += time - state.since;
    state.since = time;
    current = phase;
    return before;
}

void phase_count(const char *name, double amount)
{
    phase_counts_add(&state.times.counts, name, amount);
}

void phase_counts_add(struct phase_counts *counts, const char *name, double amount)
{
    int i = 0;
    while (i < counts->count && strncmp(counts->list[i].name, name, PHASE_COUNT_NAME - 1) != 0)
        i++;
    if (i == PHASE_COUNTS)
        return;
    if (i == counts->count) {
        counts->count++;
        counts->list[i].amount = 0;
        snprintf(counts->list[i].name, PHASE_COUNT_NAME, "%s", name);
    }
    counts->list[i].amount += amount;
}

const struct phase_times *phase_stop(void)
{
    double end = now();
    state.times.seconds[current] += end - state.since;
    state.since = end;
    state.times.wall = end - state.start;
    is_clocked = false;
    return &state.times;
}
