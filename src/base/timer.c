/* Clocks: one that never goes back, and the calendar. */
#include "base/timer.h"

#include <time.h>

double timer_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void timer_utc(char *out, size_t out_size)
{
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    if (strftime(out, out_size, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0 && out_size > 0)
        out[0] = '\0';
}
