/* All ranks of a job run the same code: on nodes of different kinds a program
 * of variants, BLIS and oneDNN may each choose other kernels, and then results
 * have other bits and the ranks do not stay in step. */
#ifndef DIST_ALIKE_H
#define DIST_ALIKE_H

struct arena;
struct world;

/* What a rank runs, and where. Borrowed texts without tabs and newlines. */
struct alike {
    const char *host, *processor;
    const char *code; /* variant and kernels, in words */
    int level;        /* the highest level of x86-64 that the processor runs (base/cpu.h) */
};

/* Ends the job with EXIT_USAGE and a message that says which hosts run what,
 * unless `code` is the same on every rank. Notes it when the processors are not
 * the same. Collective: one gather of a line a rank. */
void world_alike(struct world *world, const struct alike *mine);

/* The rule of world_alike on `count` ranks: the message, or NULL; arena. Local. */
const char *alike_problem(struct arena *arena, const struct alike *ranks, int count);

#endif
