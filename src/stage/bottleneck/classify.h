/* Parts of cfn classify (src/stage/classify*.c). */
#ifndef STAGE_BOTTLENECK_CLASSIFY_H
#define STAGE_BOTTLENECK_CLASSIFY_H

#include "concept/head.h"
#include "concept/head_basis.h"
#include "concept/head_sparse.h"
#include "stage/bottleneck/metrics.h"
#include "stage/features.h"
#include "stage/stage.h"

struct json_writer;

struct classify {
    struct job *job;
    const struct features *features;
    int M, S;
    bool rebuild;       /* input is the rebuilt representation, else the codes */
    const float *atoms; /* [M x D] selected vectors */
    int64_t *train;     /* [train_rows] */
    int64_t train_rows, val_rows;
    const double *class_weight; /* of head_rows, or NULL */
};

/* Codes of this rank's rows. */
struct classify_codes {
    int32_t *atom;    /* [mine.count x S] */
    double *value;    /* [mine.count x S] */
    double *constant; /* [mine.count] */
};

/* ---- classify_input.c ---- */

/* features, M, atoms, S, train, val_rows and class weights of `t`; returns the codes of codes.h5. Collective. */
struct classify_codes classify_open(struct classify *t);
struct classify_codes classify_codes_take(struct arena *arena, int64_t rows, int S);
/* x [mine.count x width]: what a head sees of each image: rebuilt in `basis`, or the codes themselves when NULL. */
void classify_inputs(float *x, const struct classify *t, const struct classify_codes *codes,
                     const struct head_basis *basis);
/* Training rows of this rank's leaves, prepared: inputs fetched from the ranks that hold them (x [mine.count x width]),
 * labels, and the fixed part of the logits (offset [mine.count x C], may be NULL). Owned by run. Collective. */
struct head_rows *classify_rows(const struct classify *t, const float *x, int width, const float *offset);

/* ---- classify_memory.c ---- */

/* Bytes a rank takes beyond what classify_open took, for --dry-run. Local. */
double classify_memory(const struct classify *t);

/* ---- classify_fit.c ---- */

/* What a model adds its logits to, and how its head sees x. */
struct classify_model {
    const float *x; /* [mine.count x width] */
    int width;
    bool standardise;    /* columns by their standard deviation over the training rows while fitting */
    const float *offset; /* [mine.count x C] fixed part of the logits; NULL = 0 */
    bool smallest;       /* the smallest C of the best ones, in place of the published search */
    struct head_rows *rows;
};
/* Fits the dense head of a model with the configured search; head (run), logits [mine.count x C] out. Collective. */
struct head_search classify_fit(struct classify *t, struct head *head, float *logits,
                                const struct classify_model *model);
/* Logits of this rank's rows in whole chunks, and their validation score (needs validation rows). */
void classify_logits(float *logits, const struct classify *t, const struct head *head, const float *x,
                     const float *offset);
double classify_validate(const struct classify *t, const float *logits, int C);
/* all [N x C] <- local [mine.count x C] of all ranks, on every rank. */
void classify_gather(const struct classify *t, float *all, const float *local);
float *classify_take_logits(const struct classify *t); /* [N x C], run */

/* ---- classify_probe.c ---- */

/* A dense head on the representation itself. */
struct classify_probe {
    struct head head;
    double c;      /* that the search chose */
    float *logits; /* [N x C] on every rank */
};
/* Its arrays live in run. Collective. */
struct classify_probe classify_probe_fit(struct classify *t);

/* ---- classify_sparse.c: heads at equal NEC ---- */

enum { CLASSIFY_LEVELS = 6 };
extern const int CLASSIFY_NEC[CLASSIFY_LEVELS]; /* 5 10 15 20 25 30 */

/* Main metric (accuracy; several labels: macro AUROC) of the heads of one path, by split (val, test) and level. */
struct classify_curve {
    double value[2][CLASSIFY_LEVELS];
    double nec[CLASSIFY_LEVELS];
};
struct classify_sparse {
    struct sparse_path *path; /* lives in run, as the weights of `chosen` */
    struct classify_curve curve;
    int levels[CLASSIFY_LEVELS + 1], level_count; /* of path->level: those of the curve and classify.nec */
    struct head chosen;                           /* of classify.nec */
    double chosen_nec;
};
/* The path on codes x [mine.count x M]; rows are its training rows. Collective. */
struct classify_sparse classify_sparse_path(struct classify *t, struct head_rows *rows, const float *x);
struct classify_sparse_report {
    const struct classify *task;
    const struct classify_curve *cbm, *controls; /* [1], [trials] */
    int trials;
};
void classify_sparse_write(struct json_writer *w, const void *report); /* section "sparse" of metrics.json */
void classify_sparse_print(const struct classify_sparse_report *report);

/* ---- classify_residual.c: what the concepts leave over ---- */

/* A second head on x - what the codes rebuild; `concepts` [mine.count x C] are the logits of the first, which stays. */
struct classify_residual {
    struct head head;
    struct head_search search;
    float *local;         /* [mine.count x C] what it adds to the logits, its bias included */
    float *hybrid_local;  /* [mine.count x C] concepts + local */
    float *part, *hybrid; /* [N x C] the same two, on every rank */
};
/* Its arrays live in run. Collective. */
struct classify_residual classify_residual_fit(struct classify *t, const struct classify_codes *codes,
                                               const float *concepts);
struct classify_residual_report {
    const struct classify *task;
    const struct classify_residual *residual;
    const float *concepts; /* [N x C] */
};
void classify_residual_write(struct json_writer *w, const void *report); /* section "residual" of metrics.json */
void classify_residual_print(const struct classify_residual_report *report);

/* ---- classify_calibrate.c ---- */

struct classify_calibration {
    const char *name; /* of the model; NULL ends a list */
    const struct classify *task;
    const float *logits; /* [N x C] on every rank */
    double temperature;
};
/* Of the validation rows; 1 when there are none. Local. */
double classify_temperature(const struct classify *t, const float *logits);
void classify_calibration_write(struct json_writer *w, const void *list); /* section "calibration" of metrics.json */
void classify_calibration_print(const struct classify_calibration *list);

#endif
