/* What the network sees of an image (image/augment.h), from the configuration or from the file of a model. */
#ifndef STAGE_PREPROCESS_H
#define STAGE_PREPROCESS_H

#include "image/augment.h"
#include "stage/stage.h"

/* As the configuration says. Local. */
struct preprocess preprocess_configured(const struct job *job);
/* As `model` (backbone.h5, embeddings.h5) was made with. A key that was given and says otherwise ends all ranks with
 * EXIT_BAD_CONFIG; one that was not gives way, and `say` logs it. Files without these attributes: as configured.
 * Collective. */
struct preprocess preprocess_of_model(struct job *job, struct store *model, bool say);
/* Warns when a model to be trained further with `view` was made with another. Collective. */
void preprocess_compare(struct job *job, struct store *model, const struct preprocess *view);
/* The same of embeddings.h5 of this run. Collective. */
struct preprocess preprocess_of_run(struct job *job);
/* Keeps it as attributes of a file that is being written. Collective. */
void preprocess_write(struct job *job, struct store *store, const struct preprocess *view);

#endif
