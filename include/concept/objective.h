/* What a selection maximises: a weighted sum of set functions, each with its
 * own state (docs/methods/select.md). Definitions: apricot 0.6.1; Yang et al.,
 * LaBo (CVPR 2023); reconstruction gain: the drop of the squared error of
 * projections on the selected vectors. */
#ifndef CONCEPT_OBJECTIVE_H
#define CONCEPT_OBJECTIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "concept/similarity.h"
#include "config/choices.h"

/* A row of a table, with what selection asks of it:
 *   facility_location  sum_j max_{i in S} s_ij
 *   feature_sqrt, feature_log1p, feature_sigmoid  sum_d phi(sum_{i in S} x_id)
 *   max_coverage       sum_d min(sum_{i in S} x_id, parameter)
 *   saturated_coverage sum_j min(sum_{i in S} s_ij, parameter * sum_v s_vj)
 *   graph_cut          parameter * sum_j s_ij - s_ii - 2 sum_{p in S} s_ip gained by i
 *   sum_redundancy     -s_ii - 2 sum_{p in S} s_ip gained by i: the least redundant first
 *   modular            score_i gained by i (mutual information)
 *   reconstruction     r'Sr / r'r gained by i, r = what the picks leave of vector i */
struct objective {
    const char *name;
    const char *word;     /* of select.objective; NULL: its name */
    bool by_concave;      /* one of the rows of its word, of which select.concave chooses */
    enum concave concave; /* then: its function */

    /* What it is formed from: similarities of any kind, between vectors, or entries of the vectors; or none of them. */
    enum objective_rows { ROWS_NONE, ROWS_ANY, ROWS_SQUARE, ROWS_ENTRIES } rows;
    bool needs_scores, needs_moment; /* term_spec.score, term_spec.moment */
    bool needs_positive;             /* similarities must not be negative */
    bool takes_parameter;            /* select.parameter, where that is not 0 */
    double parameter;                /* its default */
    bool falls, exact;               /* as in struct goal */

    /* Leaf by leaf of the rows; state starts at 0, with `own` at s_jj of each row. Extra starts at 0, at the total of
     * row j over all candidates, or at `parameter` times that. */
    enum objective_extra { EXTRA_ZERO, EXTRA_TOTAL, EXTRA_SHARE } extra;
    /* Part of one leaf of a candidate's gain: sim, state and extra [rows]. NULL: the owner of the row knows it. */
    double (*gain)(const float *sim, const double *state, const double *extra, int64_t rows, double parameter);
    double (*own)(double state, double extra, double parameter); /* from state and extra of the candidate's own row */
    void (*take)(double *state, double *extra, const float *sim, int64_t rows, double parameter);
};
const struct objective *objective_find(const char *name); /* NULL when there is none of this name */
/* Of a word of select.objective; NULL when there is none. */
const struct objective *objective_of(const char *word, enum concave concave);
enum { OBJECTIVE_WORDS = 12 };
int objective_words(const char *words[OBJECTIVE_WORDS]); /* all of these words; returns their number */

/* One member of the sum. */
struct term_spec {
    const struct objective *objective;
    const struct similarity *similarity; /* NULL where the objective has no rows */
    double weight;                       /* > 0 */
    double parameter;
    const double *score;  /* [n] where the objective needs scores; borrowed */
    const double *moment; /* [D x D] S where it needs the moment: sum of e e'; borrowed */
};

enum { GOAL_TERMS = 4 };
struct goal {
    struct world *world;
    int64_t n;
    int terms;
    struct term *term;
    bool falls;   /* gains never grow as the selection grows: a lazy optimiser is right */
    bool exact;   /* nor do they in floating point */
    double bytes; /* of stored similarities, this rank */
};

/* Objectives over the ground set at the empty selection. `store` as in similarities_create; members with one similarity
 * share its matrix. Owned by the arena. Collective unless the world has one rank. Returns NULL and *why (text that
 * lives in the arena) when the objectives do not fit the vectors; the same on every rank. */
struct goal *goal_create(struct arena *arena, struct world *world, const struct ground *ground,
                         const struct term_spec *spec, int terms, bool store, const char **why);
/* gains [count] out of candidates list[i], the same on every rank; -INFINITY where a candidate may not be taken
 * (reconstruction: it depends on the picks). Collective: one sum of `count` doubles per term and block. */
void goal_gains(double *gains, struct goal *goal, const int64_t *list, int64_t count, struct arena *scratch);
/* Adds a pick. Collective when similarities are not stored, and for reconstruction. */
void goal_take(struct goal *goal, int64_t cand);

#endif
