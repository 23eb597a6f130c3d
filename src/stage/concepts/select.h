/* What cfn select chooses from: candidates of cav.h5 that pass the filters, and scores of them. */
#ifndef STAGE_CONCEPTS_SELECT_H
#define STAGE_CONCEPTS_SELECT_H

#include "concept/objective.h"
#include "stage/stage.h"

struct candidates {
    int64_t total, count; /* rows of /cav; those that may be chosen */
    int dim;
    int64_t *row;         /* [count] of /cav, increasing */
    struct ground ground; /* their vectors or matrix, whichever was read last */
};

/* Reads what the filters ask for and applies them. Ends the job when nobody passes. Owned by job->run. Collective. */
struct candidates *select_candidates(struct job *job);
/* Vectors of the candidates: all on every rank, or with `share` each rank's own rows. Collective. */
void select_vectors(struct job *job, struct candidates *candidates, bool share);
/* The matrix of similarity: precomputed instead: its rows of the candidates, all on every rank. Collective. */
void select_matrix(struct job *job, struct candidates *candidates);

/* From the training images of embeddings.h5, either may be NULL:
 *   response [count x C] mean over the images of a class of <vector, x>; *classes is C
 *   moment   [D x D]     sum of x x'
 * Every rank must hold all vectors, as select_vectors leaves them. Owned by job->run, the same on every rank and at any
 * rank count. Collective. */
void select_statistics(struct job *job, struct candidates *candidates, const double **response, int *classes,
                       const double **moment);
/* Mutual information of concept and class from the responses (LaBo), responses below 0 counting as 0. [count] */
const double *select_information(struct job *job, const double *response, int64_t count, int classes);

/* Numbers of a text file, one a line; ends the job when it cannot be read. Collective. */
const double *select_numbers(struct job *job, const char *key, const char *path, int64_t *count);

/* `cfn select --compare A B`: two selections, files or run directories. */
int select_compare(struct job *job, const char *a, const char *b);

#endif
