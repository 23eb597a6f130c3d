/* Stages: one file each below src/stage, all of one shape: open -> shard ->
 * compute -> write -> report. Every stage is collective and returns an exit code. */
#ifndef STAGE_STAGE_H
#define STAGE_STAGE_H

#include "job/job.h"

int stage_pack(struct job *job);
int stage_audit(struct job *job);
int stage_train(struct job *job);
int stage_embed(struct job *job);
int stage_sae(struct job *job);
int stage_name(struct job *job);
int stage_cav(struct job *job);
int stage_select(struct job *job);
int stage_decompose(struct job *job);
int stage_classify(struct job *job);
int stage_explain(struct job *job);

int stage_demo_corpus(struct job *job);
int stage_import(struct job *job);
int stage_export(struct job *job);
int stage_info(struct job *job);
int stage_verify(struct job *job);
int stage_model(struct job *job);
int stage_bench_model(struct job *job);
int stage_selftest(struct job *job);

#endif
