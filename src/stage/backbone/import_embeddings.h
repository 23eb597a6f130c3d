/* `cfn import FILE --as embeddings`: representations of another encoder enter the pipeline (docs/encoders.md). */
#ifndef STAGE_BACKBONE_IMPORT_EMBEDDINGS_H
#define STAGE_BACKBONE_IMPORT_EMBEDDINGS_H

#include "stage/stage.h"

/* Do the arguments ask for it? What else --as says ends all ranks with EXIT_USAGE. Collective. */
bool import_is_embeddings(struct job *job);
/* Writes embeddings.h5 in the run directory of data, backbone and trial. Collective; returns an exit code. */
int import_embeddings(struct job *job);

#endif
