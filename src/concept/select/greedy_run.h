/* What the files of greedy selection share; nobody else includes it. */
#ifndef CONCEPT_SELECT_GREEDY_RUN_H
#define CONCEPT_SELECT_GREEDY_RUN_H

#include "base/rng.h"
#include "concept/greedy.h"

struct greedy_run {
    int64_t *picks;
    double *gains;
    const struct greedy_spec *spec;
    struct goal *goal;
    struct arena *scratch;
    struct greedy_cost cost;
    int64_t *open; /* [left] candidates that may still be taken, increasing unless an optimiser shuffles them */
    int64_t left, taken;
    double spent;
    bool shows; /* progress */
};

enum { DRAW_STEP = 0, DRAW_SAMPLE = 1, DRAW_PARTS = 2 }; /* epochs of RNG_SELECT */

/* Gains of a list, counted. */
void run_evaluate(struct greedy_run *run, double *gains, const int64_t *list, int64_t count);
/* What is compared: gain, or gain per cost. */
double run_key(const struct greedy_run *run, int64_t cand, double gain);
bool run_fits(const struct greedy_run *run, int64_t cand); /* the budget */
bool run_ends(const struct greedy_run *run);               /* enough picks */
/* Takes a candidate; the caller takes it off `open`. */
void run_take(struct greedy_run *run, int64_t cand, double gain);

void select_naive(struct greedy_run *run);
void select_lazy(struct greedy_run *run);
void select_approximate(struct greedy_run *run);
void select_two_stage(struct greedy_run *run);

void run_sort(int64_t *x, int64_t n); /* increasing */

/* One selection on a goal whose candidates are `open`. Returns how many. */
int64_t run_on_goal(struct greedy_run *run, const struct optimiser *optimiser);
/* The parts of greedi and greedyml (greedy_parts.c); as greedy_select. */
int64_t select_in_parts(int64_t *picks, double *gains, const struct greedy_problem *problem,
                        const struct greedy_spec *spec, struct greedy_cost *cost, struct arena *scratch,
                        const char **why);

#endif
