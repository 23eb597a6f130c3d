/* Peak memory and page faults, as the kernel counts them. */
#include "base/usage.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* A row of the kernel's account, in bytes: "VmHWM: %lf kB". */
static double status(const char *row)
{
    char line[256];
    double kilobytes = 0.0;
    FILE *file = fopen("/proc/self/status", "re");
    if (!file)
        return 0.0;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, row, strlen(row)) == 0 && sscanf(line + strlen(row), ": %lf kB", &kilobytes) == 1)
            break;
    fclose(file);
    return kilobytes * 1024.0;
}

double usage_bytes(void)
{
    return status("VmRSS");
}

double usage_peak_bytes(void)
{
    return status("VmHWM");
}

void usage_peak_reset(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "we");
    if (!file)
        return;
    fputs("5", file);
    fclose(file);
}

int64_t usage_page_faults(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_minflt : 0;
}
