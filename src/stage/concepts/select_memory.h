/* Memory of cfn select, and the plan of a choice that it follows from. */
#ifndef STAGE_CONCEPTS_SELECT_MEMORY_H
#define STAGE_CONCEPTS_SELECT_MEMORY_H

#include "concept/greedy.h"
#include "stage/concepts/select.h"

/* What is maximised, before the data behind it are there. */
struct select_plan {
    const struct similarity *similarity; /* select.similarity */
    const struct optimiser *optimiser;
    struct term_spec term[GOAL_TERMS];
    int terms;
    bool matrix;                    /* similarities come from a file */
    bool scores, moment, shareable; /* needs mutual information, S; rows of vectors may be shared out */
};

/* Bytes a rank takes for the choice itself. `store`: similarities are kept; `share`: a rank holds its own vectors only.
 * Collective: looks at embeddings.h5 when the objective needs images. */
double select_memory(struct job *job, const struct candidates *candidates, const struct select_plan *plan, bool store,
                     bool share);

#endif
