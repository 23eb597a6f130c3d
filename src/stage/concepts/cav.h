/* The parts of cfn cav: the task on a rank, the fits with their checkpoints (cav_run.c), and cav.h5 (cav_write.c). */
#ifndef STAGE_CONCEPTS_CAV_H
#define STAGE_CONCEPTS_CAV_H

#include "concept/cav.h"
#include "stage/concepts/cav_codes.h"
#include "stage/features.h"
#include "stage/stage.h"

/* What became of a neuron. */
enum cav_state { CAV_PENDING, CAV_KEPT, CAV_FEW_EXAMPLES, CAV_NO_DIRECTION };

struct cav_task {
    struct job *job;
    struct features *features;
    struct cav_codes *codes;
    struct cav_spec spec;
    int64_t *train;    /* [train_rows] global rows */
    int64_t *position; /* [N] position in train, or -1 */
    int64_t train_rows;
    int32_t *alive; /* [alive_count] neurons that fire, dealt: any block of them costs about as much as any other */
    int64_t alive_count;
    struct span mine; /* of alive */
    bool decoder;     /* vectors are rows of the dictionary */
    /* Of this rank's neurons, in their order. */
    uint8_t *state; /* [mine.count] enum cav_state */
    float *cav;     /* [mine.count x D] */
    struct cav_score *score;
    int64_t done;
    const char *identity; /* of a checkpoint */
    double block_seconds; /* of the slowest block so far */
    double last_save;
};

/* What is done already, from a checkpoint; job.force clears it. Collective. */
void cav_resume(struct cav_task *t);
/* Rows of the dictionary, where the fits will leave or rate them. Collective. */
void cav_read_decoder(struct cav_task *t);
/* Fits, or rates, the neurons that are pending. False: the job has to end, with a checkpoint. Collective. */
bool cav_fit_all(struct cav_task *t);
/* Bytes of that beyond what is there, at most: a pass of neurons, a block of codes, a block of fits with their examples
 * (over ranks also those sent). Local. */
double cav_fit_bytes(const struct cav_task *t);

/* Vectors first..first+count-1 of the file, in the order of the neurons, and totals over all ranks. */
struct cav_kept {
    int64_t count, first, total, few, degenerate;
    int32_t *neuron;
    float *cav, *bias, *accuracy, *pvalue;
};

/* The vectors found, shared out over the ranks; owned by job->run. Collective. */
struct cav_kept cav_gather(const struct cav_task *t);
/* cav.h5, and the end of the checkpoints. Collective. */
void cav_write(struct cav_task *t, const struct cav_kept *k);

#endif
