/* Progress of a stage on rank 0: a bar on a terminal, otherwise one line per interval. */
#include "dist/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "base/timer.h"
#include "dist/internal.h"

static const double BAR_SECONDS = 0.2;
enum { BAR_CELLS = 24 };

static struct {
    char stage[64];
    double start, first_done; /* of this stage: the rate is taken from here */
    double last;              /* when something was shown */
    double interval;
    bool bar;
} state = { .interval = 10.0 };

void progress_set_interval(double seconds)
{
    state.interval = seconds;
}

/* mpirun gives its ranks a terminal of their own even where its output goes to a file: then its own stdout, which
 * is our parent's, decides. */
static bool launcher_on_terminal(void)
{
    char link[64], target[64];
    snprintf(link, sizeof link, "/proc/%d/fd/1", (int)getppid());
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length < 0)
        return false;
    target[length] = '\0';
    return text_starts(target, "/dev/pts/") || text_starts(target, "/dev/tty");
}

static bool on_terminal(void)
{
    static int terminal = -1;
    if (terminal < 0)
        terminal = isatty(STDOUT_FILENO) && (!getenv("OMPI_COMM_WORLD_SIZE") || launcher_on_terminal());
    return terminal;
}

/* "01:12:40" */
static void clock_text(char *out, size_t size, double seconds)
{
    if (!(seconds >= 0.0 && seconds < 3.6e9)) {
        snprintf(out, size, "--:--:--");
        return;
    }
    long whole = (long)(seconds + 0.5);
    snprintf(out, size, "%02ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
}

static void bar_text(char *out, double share)
{
    int full = (int)(share * BAR_CELLS);
    for (int i = 0; i < BAR_CELLS; i++)
        out[i] = i < full ? '#' : '.';
    out[BAR_CELLS] = '\0';
}

void progress(const char *stage, const char *detail, double done, double total, const char *unit)
{
    if (log_level() == LOG_QUIET || !log_speaks())
        return;
    double now = timer_seconds();
    if (strncmp(stage, state.stage, sizeof state.stage - 1) != 0 || done < state.first_done) {
        snprintf(state.stage, sizeof state.stage, "%s", stage);
        state.start = state.last = now;
        state.first_done = done;
    }
    bool bar = on_terminal();
    if (now - state.last < (bar ? BAR_SECONDS : state.interval))
        return;
    state.last = now;

    char eta[32], cells[BAR_CELLS + 1], line[256];
    double rate = now > state.start ? (done - state.first_done) / (now - state.start) : 0.0;
    double share = total > 0.0 ? done / total : 0.0;
    clock_text(eta, sizeof eta, rate > 0.0 ? (total - done) / rate : -1.0);
    bar_text(cells, share < 1.0 ? share : 1.0);
    const char *gap = detail && *detail ? " " : "";
    if (bar) {
        snprintf(line, sizeof line, "%s%s%.100s [%s] %3.0f %% %.4g %s/s eta %s", stage, gap, detail ? detail : "",
                 cells, 100.0 * share, rate, unit, eta);
        log_bar(line);
        state.bar = true;
    } else {
        log_info("%s%s%s %.4g %s/s eta %s", stage, gap, detail ? detail : "", rate, unit, eta);
    }
}

void progress_end(void)
{
    if (state.bar)
        log_bar(NULL);
    state.bar = false;
    state.stage[0] = '\0';
}
