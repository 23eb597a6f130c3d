/* Which of several autoencoders is kept: a stated criterion on FVU, L0 and dead neurons. Local, on scalars. */
#ifndef CONCEPT_SAE_CHOOSE_H
#define CONCEPT_SAE_CHOOSE_H

#include <stdbool.h>

struct sae_score {
    double fvu, l0, dead; /* NaN: no model */
};
enum sae_goal {
    SAE_GOAL_KNEE, /* knee of the front of FVU against L0 */
    SAE_GOAL_FVU,  /* smallest FVU, then smallest L0 */
    SAE_GOAL_L0    /* smallest L0, then smallest FVU */
};
struct sae_criterion {
    enum sae_goal goal;
    double max_dead, max_l0, max_fvu; /* max_l0 0: any */
};

struct sae_choice {
    int kept;  /* number of the model, -1: there is none */
    bool knee; /* lies below the line between the ends; false for other goals */
};

/* The model that is kept. admitted [count] says which are within the limits; when no
 * model is, the choice is among all.
 *
 * The knee: L0 and FVU are scaled so that the candidate of smallest L0 lies at (0, 1) and that of smallest FVU at
 * (1, 0); the one with the smallest sum of both lies farthest below the line between these two. When none lies below
 * it, the candidate of smallest FVU. Ties to the lowest number. */
struct sae_choice sae_choose(bool *admitted, const struct sae_score *score, int count,
                             const struct sae_criterion *criterion);

#endif
