/* Weight files of other programs matched to a backbone (src/stage/backbone/weights.c), shared by import and train. */
#ifndef STAGE_BACKBONE_WEIGHTS_H
#define STAGE_BACKBONE_WEIGHTS_H

#include "nn/graph.h"
#include "stage/stage.h"

struct weights {
    struct arena *arena; /* of everything here, the file itself too */
    const char *path;
    const char *format; /* "PyTorch zip" */
    const char *naming; /* "torchvision" */
    const char *sha256; /* 64 hex digits */
    const char *known;  /* "torchvision's resnet18, IMAGENET1K_V1"; empty when the file is not a known one */
    const char *notes;  /* lines on what was taken and what was left */
    int classes;        /* of its head; 0: it has none */
    int count;
    const struct parameter *list;  /* [count] the backbone's parameters, with the file's head */
    struct weight_source *sources; /* [count] rank 0 only */
};

/* Reads `path`, an input of the job, on rank 0 and finds every parameter of `backbone` in it, by the prefix (NULL: any)
 * and naming that fit best; only the head may be absent. Ends all ranks with EXIT_NO_INPUT when the file cannot be
 * read, and with EXIT_BAD_DATA when it is damaged, is a published file with another checksum, or has missing, misshapen
 * or surplus tensors. The caller ends it with weights_close. Collective. */
struct weights *weights_open(struct job *job, const char *path, const char *backbone, int image_size,
                             const char *prefix);
/* out [list[parameter].count] on every rank. A value that is not finite ends the job with EXIT_BAD_DATA. Collective. */
void weights_take(struct job *job, const struct weights *weights, int parameter, float *out);
/* Is the parameter in the file? All are but those of an absent head. Local. */
bool weights_has(const struct weights *weights, int parameter);
/* Logs the notes, "who: " before each. Local. */
void weights_say(const struct weights *weights, const char *who);
void weights_close(struct weights *weights);
/* Is it one of the files weights_open reads? By its name: backbone.h5 is not. */
bool weights_is_foreign(const char *path);

#endif
