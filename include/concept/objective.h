/* What a selection maximises: a weighted sum of set functions, each with its
 * own state (docs/methods/select.md). Definitions: apricot 0.6.1; Yang et al.,
 * LaBo (CVPR 2023); reconstruction gain: the drop of the squared error of
 * projections on the selected vectors. */
#ifndef CONCEPT_OBJECTIVE_H
#define CONCEPT_OBJECTIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "concept/similarity.h"

/* A row of a table:
 *   facility_location  sum_j max_{i in S} s_ij
 *   feature_sqrt, feature_log1p, feature_sigmoid  sum_d phi(sum_{i in S} x_id)
 *   max_coverage       sum_d min(sum_{i in S} x_id, parameter)
 *   saturated_coverage sum_j min(sum_{i in S} s_ij, parameter * sum_v s_vj)
 *   graph_cut          parameter * sum_j s_ij - s_ii - 2 sum_{p in S} s_ip gained by i
 *   sum_redundancy     -s_ii - 2 sum_{p in S} s_ip gained by i: the least redundant first
 *   modular            score_i gained by i (mutual information)
 *   reconstruction     r'Sr / r'r gained by i, r = what the picks leave of vector i */
struct objective;
const struct objective *objective_find(const char *name);      /* NULL when there is none of this name */
double objective_parameter(const struct objective *objective); /* its default */

/* One member of the sum. */
struct term_spec {
    const struct objective *objective;
    const struct similarity *similarity; /* unused by modular and reconstruction */
    double weight;                       /* > 0 */
    double parameter;
    const double *score;  /* [n] of modular; borrowed */
    const double *moment; /* [D x D] S of reconstruction: sum of e e'; borrowed */
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
