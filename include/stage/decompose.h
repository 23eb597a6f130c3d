/* Settings of the sparse codes, for the stages that make some. */
#ifndef STAGE_DECOMPOSE_H
#define STAGE_DECOMPOSE_H

struct job;
struct pursuit_spec;

/* The keys decompose.*, with `nonzeros` atoms at most. */
struct pursuit_spec decompose_spec(const struct job *job, int nonzeros);

#endif
