/* When to stop: a wall limit, SIGUSR1 or SIGTERM to any rank, a stop file.
 * Ranks tell each other what they know, so all of them stop at the same step. */
#include "dist/deadline.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/timer.h"
#include "dist/internal.h"

enum { BY_TIME = 1, BY_SIGNAL = 2, BY_FILE = 4 };

static const double LOOK_SECONDS = 1.0; /* between looks for the stop file: steps can be much shorter */

static volatile sig_atomic_t signalled;

static struct {
    double (*clock)(void);
    double start, limit; /* seconds; limit 0 = none */
    double looked;       /* when rank 0 last looked for the stop file */
    char stop_file[4096];
    int reached; /* why, the same on every rank */
} state;

static double now(void)
{
    return state.clock ? state.clock() : timer_seconds();
}

static void on_signal(int number)
{
    (void)number;
    signalled = 1;
}

void deadline_listen(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, NULL);
    action.sa_flags = (int)(SA_RESTART | SA_RESETHAND); /* a second SIGTERM ends this rank at once */
    sigaction(SIGTERM, &action, NULL);
    signalled = 0;
}

void deadline_start(double max_hours, const char *stop_file)
{
    state.reached = 0;
    state.start = now();
    state.looked = -1e300;
    state.limit = max_hours > 0.0 ? max_hours * 3600.0 : 0.0;
    snprintf(state.stop_file, sizeof state.stop_file, "%s", stop_file ? stop_file : "");
}

void deadline_set_clock(double (*clock_seconds)(void))
{
    state.clock = clock_seconds;
}

/* What this rank knows. Clock and file are rank 0's business: clocks differ a little between ranks, and
 * thousands of ranks would trouble the file system. */
static int reasons_here(const struct world *world, double ahead_seconds)
{
    struct stat st;
    int why = signalled ? BY_SIGNAL : 0;
    if (world->rank != 0)
        return why;
    double time = now();
    if (state.limit > 0.0 && time - state.start + ahead_seconds > state.limit)
        why |= BY_TIME;
    if (state.stop_file[0] && time - state.looked >= LOOK_SECONDS) {
        state.looked = time;
        why |= stat(state.stop_file, &st) == 0 ? BY_FILE : 0;
    }
    return why;
}

bool deadline_reached(struct world *world, double step_seconds, double write_seconds)
{
    if (state.reached)
        return true;
    int why = reasons_here(world, step_seconds + write_seconds);
    enum phase before = comm_begin();
    dist_check(MPI_Allreduce(MPI_IN_PLACE, &why, 1, MPI_INT, MPI_BOR, world_handle(world)), "MPI_Allreduce");
    comm_end(before, (int64_t)sizeof why);
    state.reached = why;
    return why != 0;
}

const char *deadline_reason(void)
{
    if (state.reached & BY_SIGNAL)
        return "signal";
    if (state.reached & BY_FILE)
        return "stop file";
    return state.reached & BY_TIME ? "time limit" : "";
}
