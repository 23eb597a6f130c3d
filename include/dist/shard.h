/* Who owns which rows. Blocks are contiguous, in rank order, balanced within one. */
#ifndef DIST_SHARD_H
#define DIST_SHARD_H

#include <stdint.h>

struct span {
    int64_t first, count;
};

/* Rows of `rank` out of n. */
struct span shard_rows(int64_t n, int ranks, int rank);
/* The same in whole chunks of `chunk` rows (the last chunk may be short), so
 * that a chunk is always formed by one rank, with the same neighbours, at any
 * rank count: results that depend on a kernel's batch keep their bits. */
struct span shard_chunks(int64_t n, int64_t chunk, int ranks, int rank);
/* Rank that owns `row` under shard_rows. */
int shard_owner(int64_t n, int ranks, int64_t row);

#endif
