/* `train.epochs: 0`: a model that was trained elsewhere is kept as it is (src/stage/backbone/keep.c). */
#ifndef STAGE_BACKBONE_KEEP_H
#define STAGE_BACKBONE_KEEP_H

#include "stage/stage.h"

/* Writes backbone.h5 from train.weights, whose head must be whole and of the corpus' classes, and tells its accuracy on
 * the validation split. Part of cfn train, after job_may_write. Collective. */
int train_keep(struct job *job);

#endif
