/* Greedy maximisation of a sum of set functions (Nemhauser et al. 1978), at
 * least 1 - 1/e of the optimum when they are monotone and submodular. Ties go
 * to the lowest candidate, none is taken twice, and draws are keyed by step and
 * part: the same picks and gains, to the bit, at any rank count. */
#ifndef CONCEPT_GREEDY_H
#define CONCEPT_GREEDY_H

#include <stdbool.h>
#include <stdint.h>

#include "concept/objective.h"

struct arena;

/* A row of a table:
 *   naive       all gains at every step
 *   lazy        a queue of gains of earlier steps, upper bounds that are refreshed from the top in batches until a
 *               fresh one leads (Minoux 1978); the picks of naive. Where gains can grow, naive runs instead
 *   approximate the first whose refreshed gain is at least `beta` of the one before
 *   two_stage   10 naive picks, then lazy
 *   stochastic  at each step a fresh sample of max(floor(-ln(epsilon) n / count), 1) (Mirzasoleiman et al. 2015)
 *   sample      lazy on a random share `fraction` of the candidates
 *   modular     in the order of the gains on the empty set
 *   greedi      lazy in `parts` random parts, each for count / 4 picks, then on their union with all rows
 *               (Mirzasoleiman et al. 2013)
 *   greedyml    a tree: lazy in `parts` random parts, then on unions of `arity` results, each with its members as
 *               rows (Gopal et al. 2024, arXiv 2403.10332) */
struct greedy_run;
struct optimiser {
    const char *name;
    void (*select)(struct greedy_run *run); /* on one goal */
    bool lazy;                              /* rests on gains that never grow; naive runs instead where they can */
    bool parts;                             /* first in random parts of the candidates, a rank each */
    bool tree; /* then on unions up a tree, each with its members as rows; without: on one union with all rows */
};
const struct optimiser *optimiser_find(const char *name); /* NULL when there is none of this name */

/* What is chosen from: borrowed. */
struct greedy_problem {
    struct world *world;
    const struct ground *ground;
    const struct term_spec *term; /* [terms] */
    int terms;
    bool store; /* similarities in memory, or in tiles */
};

struct greedy_spec {
    const struct optimiser *optimiser;
    int64_t count; /* <= candidates */
    uint64_t seed;
    double beta, epsilon, fraction;
    int parts, arity;       /* parts 0: 8, and for greedyml as many as give a part arity x count members or fewer */
    const double *cost;     /* [n] > 0: gains per cost are compared; NULL: 1 each */
    double budget;          /* of the costs of all picks; 0: none */
    const int64_t *initial; /* [initial_count] taken before the first pick, not counted; not for a tree */
    int64_t initial_count;
    const bool *barred; /* [n] rows that may not be taken; NULL: none */
};
void greedy_defaults(struct greedy_spec *spec); /* beta .9, epsilon .9, fraction .9, parts 0, arity 2, no costs */

/* What a run cost. */
struct greedy_cost {
    int64_t evaluations; /* gains formed, by all ranks together */
    int64_t rounds;      /* sums over the ranks */
    struct greedy_traffic {
        int64_t calls, bytes; /* collectives, and what this rank sent in them */
    } start, picks;           /* for gains before the first pick, and from then on */
    double bytes;             /* of stored similarities, this rank */
    bool naive_instead;       /* gains can grow, so that lazy was not run */
};

/* picks [count], gains [count] out, in the order taken, the same on every rank. Returns how many: fewer than count
 * when nothing more may be taken (barred, over budget, dependent); -1 and *why when the objectives do not fit the
 * vectors. Collective. Scratch is marked and released. Shows its progress. */
int64_t greedy_select(int64_t *picks, double *gains, const struct greedy_problem *problem,
                      const struct greedy_spec *spec, struct greedy_cost *cost, struct arena *scratch,
                      const char **why);

#endif
