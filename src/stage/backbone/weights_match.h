/* Which tensors of a file are the parameters of a backbone (src/stage/backbone/weights_match.c). Rank 0; local. */
#ifndef STAGE_BACKBONE_WEIGHTS_MATCH_H
#define STAGE_BACKBONE_WEIGHTS_MATCH_H

#include "nn/graph.h"
#include "nn/weight_names.h"
#include "store/tensors.h"

struct weights;

enum { WEIGHT_PARTS = 3 };
/* Where a parameter comes from: tensors joined along their first extent, or nothing. */
struct weight_source {
    const struct tensor *parts[WEIGHT_PARTS];
    int count;
    bool zero;   /* the bias of a head without one */
    bool spread; /* one channel of a grey network's first layer, a third for each of ours */
};

/* Finds the parameters of `backbone` under the one prefix and naming that has most of them (`prefix`: under this one).
 * Fills list, count, sources, classes, naming and notes of `w`. Returns what is wrong with the file, or NULL. */
const char *weights_match(struct weights *w, const struct tensors *tensors, const char *backbone, int image_size,
                          const char *prefix);
/* Parameters of a backbone with a head of so many classes; 0: of any. */
const struct parameter *weights_parameters(struct arena *arena, const char *backbone, int image_size, int classes,
                                           int *count);
/* Position embeddings (1, tokens, width) of another image size: they will be interpolated. */
bool weights_other_grid(const struct parameter *p, const int64_t *dims, int rank);
/* Patches along a side of an image with so many tokens (one is the class token); 0 if they make no square. */
int weights_grid_side(int64_t tokens);

#endif
