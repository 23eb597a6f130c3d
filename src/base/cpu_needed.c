/* What the library objects were compiled to need: data alone, so that asking is
 * safe on any processor. The compiler's macros say it: one that is defined is 1. */
#include "base/cpu.h"
#include "base/cpu_table.h"

#ifndef ARCH
#define ARCH "unknown"
#endif

#define TEXT(macro)              #macro
#define IS_ONE(macro)            (sizeof TEXT(macro) == sizeof "1")
#define BIT(name, ...)           BIT_(name, __VA_ARGS__)
#define BIT_(name, ...)          BIT_OF(name, __VA_ARGS__, )
#define BIT_OF(name, macro, ...) | (uint64_t)IS_ONE(macro) << CPU_##name

const uint64_t cpu_needed = 0 CPU_TABLE(BIT);
const char cpu_built_for[] = ARCH;

_Static_assert(CPU_FEATURES <= 64, "a set of features is a number of 64 bits");
