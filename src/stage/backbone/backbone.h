/* Reading and writing backbone.h5 (src/stage/backbone/backbone.c), shared by train and embed. */
#ifndef STAGE_BACKBONE_BACKBONE_H
#define STAGE_BACKBONE_BACKBONE_H

#include "image/augment.h"
#include "nn/network.h"
#include "stage/stage.h"

/* What training leaves for its reader: one value per epoch. */
struct history {
    int epochs;
    double *loss, *train_accuracy, *val_accuracy; /* [epochs] borrowed */
};

/* Writes weights, buffers, what the network sees of images, and history as backbone.h5 and publishes it. Collective. */
void backbone_write(struct job *job, struct network *net, const struct preprocess *view, const struct history *history,
                    double best_val, int best_epoch, bool multi_label);

/* Fills the network from `store` by parameter name. A missing or misshapen parameter ends the job with
 * EXIT_BAD_DATA, except, with `new_head`, the last layer's: it keeps its initial values. Collective. */
void backbone_read(struct network *net, struct store *store, bool new_head);

/* The same from a file of another program (stage/backbone/weights.h); a head of another number of classes keeps its
 * initial values. Returns the classes of the file's head, 0 when it has none. Collective. */
int backbone_import(struct job *job, struct network *net, const char *path, const char *backbone, int image_size);

/* layout [parameters] <- the datasets /parameters/<name>; texts owned by the arena. */
void backbone_layout(struct arena *arena, struct layout *layout, const struct parameter *list, int parameters);

#endif
