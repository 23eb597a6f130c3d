/* `sae.sweep`: the settings of several trainings that share one pass over the data.
 *
 *     neurons=512,1024 k=16,32; neurons=2048 k=32
 *
 * A group, between semicolons, stands for every combination of its values, the last setting changing fastest. Any key
 * of the section that leaves the batches alone can be a setting. */
#ifndef CONFIG_SWEEP_H
#define CONFIG_SWEEP_H

#include "config/config.h"

enum { SWEEP_POINTS = 64 }; /* at most */

struct sweep_point {
    const char *text; /* "neurons=512 k=16" */
    struct sae_config sae;
};

/* points [SWEEP_POINTS] <- the trainings that config->sae.sweep asks for; returns how many: one, with text "", when it
 * is empty; 0 and *error, one line, when it is wrong. Texts are owned by the arena. Local. */
int sweep_points(struct sweep_point *points, struct arena *arena, const struct config *config, const char **error);

#endif
