/* What this binary is: number, git revision, compiler. The Makefile passes the
 * number (of the file VERSION), the revision and the flags to this file alone. */
#include "base/version.h"

#ifndef VERSION
#error "VERSION: expected the number of the file VERSION"
#endif
#ifndef REVISION
#define REVISION "unknown"
#endif
#ifndef FLAGS
#define FLAGS ""
#endif
#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

const char *version_number(void)
{
    return VERSION;
}

const char *version_revision(void)
{
    return REVISION;
}

const char *version_compiler(void)
{
    return COMPILER " " FLAGS;
}
