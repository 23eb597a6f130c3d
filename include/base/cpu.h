/* What this processor runs, and what the program was compiled to need.
 *
 * Compiled for the plainest x86-64 whatever ARCH is, and calls nothing of ours:
 * it has to work where the rest of the program would die of an illegal
 * instruction. A set of features is a number with a bit for each row of
 * base/cpu_table.h; a level is 2 to 4 for x86-64-v2 to -v4, 1 for plain x86-64,
 * 0 on other architectures. */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of the program: data of an object that is compiled as the library is. */
extern const uint64_t cpu_needed;
extern const char cpu_built_for[]; /* ARCH, as it was given: "native", "x86-64-v3" */

uint64_t cpu_features(void);           /* of this processor, where the operating system saves their registers */
const char *cpu_name(void);            /* "AMD EPYC 7003"; "unknown processor" */
int cpu_level(uint64_t features);      /* the highest level they make up */
uint64_t cpu_level_needs(int level);   /* all features of a level and the levels below */
const char *cpu_level_name(int level); /* "x86-64-v3" */
int cpu_level_of(const char *name);    /* 2 to 4, or 0: no name of a level */
/* Names of features, with blanks between them. Returns out. */
char *cpu_list(char *out, size_t bytes, uint64_t features);

/* The level that CFN_ISA asks for, 0 when it is not set. Ends the process with
 * EXIT_USAGE when this is no level, or one that the processor does not run. */
int cpu_asked(void);
/* Ends the process with EXIT_USAGE and one line on stderr (one a node, of a job
 * with many ranks) when the processor lacks some of `needed`. Call first in main. */
void cpu_check(uint64_t needed, const char *built_for);
/* The line of cpu_check for a processor that has `have`, and false; or true. */
bool cpu_fits(char *why, size_t bytes, uint64_t needed, uint64_t have, const char *built_for);
/* "for x86-64-v3, the highest level that this processor runs": for --version. Returns out. */
char *cpu_choice(char *out, size_t bytes, const char *built_for);

/* One line on stderr, then EXIT_USAGE or another code: the end where error.h cannot be used yet. */
_Noreturn void cpu_end(int code, const char *message);

#endif
