/* bin/cfn of an installation for a cluster of several kinds of processors: runs
 * the best variant that this one can, in its own place (same process, same
 * arguments). Variants lie in ../libexec/cfn/LEVEL/cfn. Compiled for the
 * plainest x86-64; CFN_ISA=LEVEL chooses one of them. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/error.h"

enum { HOME_BYTES = PATH_MAX + 32, LINE_BYTES = HOME_BYTES + 512 };

/* <prefix>/libexec/cfn, from where this program lies: the installation may be moved. */
static void variants_home(char *out, size_t bytes)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        cpu_end(EXIT_NO_INPUT, "/proc/self/exe cannot be read: is /proc mounted?");
    self[n] = '\0';
    for (int up = 0; up < 2; up++) { /* the name, then bin */
        char *slash = strrchr(self, '/');
        if (slash)
            *slash = '\0';
    }
    snprintf(out, bytes, "%s/libexec/cfn", self);
}

static bool variant_path(char *out, size_t bytes, const char *home, int level)
{
    int n = snprintf(out, bytes, "%s/%s/cfn", home, cpu_level_name(level));
    return n > 0 && (size_t)n < bytes && access(out, X_OK) == 0;
}

/* Names of the variants that are there, each after a blank. */
static void variants_there(char *out, size_t bytes, const char *home)
{
    char path[LINE_BYTES];
    size_t at = 0;
    *out = '\0';
    for (int level = 2; level <= 4 && at < bytes; level++)
        if (variant_path(path, sizeof path, home, level))
            at += (size_t)snprintf(out + at, bytes - at, " %s", cpu_level_name(level));
    if (at == 0)
        snprintf(out, bytes, " none");
}

/* Says why there is no variant to run. */
static _Noreturn void end_without(const char *home, int asked, int most)
{
    char there[128], line[LINE_BYTES];
    variants_there(there, sizeof there, home);
    if (asked)
        snprintf(line, sizeof line, "CFN_ISA=%s: no such variant in %s; there:%s", cpu_level_name(asked), home, there);
    else
        snprintf(line, sizeof line, "no variant in %s for this processor (%s, runs %s); there:%s", home, cpu_name(),
                 cpu_level_name(most), there);
    cpu_end(EXIT_USAGE, line);
}

int main(int argc, char **argv)
{
    (void)argc;
    char home[HOME_BYTES], path[LINE_BYTES], line[LINE_BYTES + 128];
    int asked = cpu_asked(), most = cpu_level(cpu_features());
    int level = asked ? asked : most;
    variants_home(home, sizeof home);
    while (!variant_path(path, sizeof path, home, level))
        if (asked || --level < 2)
            end_without(home, asked, most);
    execv(path, argv);
    snprintf(line, sizeof line, "%s: %s", path, strerror(errno));
    cpu_end(EXIT_NO_INPUT, line);
}
